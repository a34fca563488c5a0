"""``python -m diffusion_lessons`` is the command ``diffusion-lessons``."""

import sys

from .cli import main

sys.exit(main())
