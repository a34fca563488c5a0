"""The book in Firefox: every page's widgets are alive, and the lab computes.

Firefox is the system's (`firefox-esr` or `firefox` on the path), driven by the npm package
puppeteer-core: the environment variable PUPPETEER names the folder in which it was installed.
Without them the test is skipped; on CI it fails instead.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch
from greys import STORED
from pages import served

from conftest import unavailable
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.networks.checkpoints import load_pretrained
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.drawing import DrawSettings
from diffusion_lessons.page.widgets import DigitLab

SCRIPT = Path(__file__).with_name("firefox.mjs")
ENTRY = "node_modules/puppeteer-core/lib/esm/puppeteer/puppeteer-core.js"


def test_every_page_is_alive_and_the_lab_computes(book: Path) -> None:
    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    node = shutil.which("node")
    puppeteer = Path(os.environ.get("PUPPETEER", ".")) / ENTRY
    for what, there in [("Firefox", firefox), ("node", node), ("PUPPETEER", puppeteer.exists())]:
        if not there:
            unavailable(f"no {what} found")
    with served(book) as address:
        pages = [
            path.relative_to(book)
            for path in sorted(book.rglob("*.html"))
            if "dl-place" in path.read_text("utf-8") and path.parent.name != "embed"
        ]
        given = {
            "puppeteer": puppeteer.resolve().as_uri(),
            "firefox": firefox,
            "pages": [f"{address}/{page}" for page in pages],
            "lab": f"{address}/lab.html",
        }
        done = subprocess.run(
            [str(node), str(SCRIPT), json.dumps(given)],
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == []
    assert len(told["found"]) == len(pages) >= 11  # the lessons, the lab and the first page
    assert [page for page, state in told["found"].items() if not state["whole"]] == []
    assert told["lab"]["calls"] == "10"
    # The picture that Python restores of the same digit from the same noise.
    assert furthest(told["lab"], DigitLab().pictures()) <= 3 + STORED
    # And the one that the command draws in two calls.
    model, cpu = load_pretrained("digits-consistency"), Compute(torch.device("cpu"))
    assert furthest(told["few"], draw(model, 1, DrawSettings(), compute=cpu)) <= 3


def furthest(told: dict[str, Any], pictures: torch.Tensor) -> float:
    """Between what the page shows and the first of some pictures, in greys."""
    wanted = ((pictures[0, 0].clamp(-1, 1) + 1) * 127.5).round().flatten()
    return max(abs(a - b) for a, b in zip(told["greys"], wanted.tolist(), strict=True))
