"""Interactive pictures for the lessons: anywidget classes that answer in the browser itself.

Everything that follows from the sliders alone is computed in the page, and what needs a network is
computed beforehand, so both work the same with a kernel, without one, and in a published book.
"""

from .attention import AttentionExplorer
from .ddgan import DDGANStepper
from .final_test import FinalTest
from .forward import ForwardExplorer
from .guidance import GuidanceExplorer
from .interpolation import InterpolationExplorer
from .latent import LatentExplorer
from .multimodal import MultimodalExplorer
from .posterior import PosteriorExplorer
from .schedule import ScheduleExplorer
from .steps import StepsExplorer
from .trajectory import TrajectoryPlayer
from .trilemma import TrilemmaExplorer
from .truncation import TruncationExplorer
from .unet import UNetExplorer
from .vector import VectorExplorer

__all__ = [
    "AttentionExplorer",
    "DDGANStepper",
    "FinalTest",
    "ForwardExplorer",
    "GuidanceExplorer",
    "InterpolationExplorer",
    "LatentExplorer",
    "MultimodalExplorer",
    "PosteriorExplorer",
    "ScheduleExplorer",
    "StepsExplorer",
    "TrajectoryPlayer",
    "TrilemmaExplorer",
    "TruncationExplorer",
    "UNetExplorer",
    "VectorExplorer",
]
