"""In JupyterLab the page gets networks from the kernel, and computes beside it."""

from typing import Any

import pytest
from greys import STORED
from pages import Page, until

SETUP = """
import time, torch
from functools import partial
from diffusion_lessons import from_noise_model, linear_schedule, load_pretrained
from diffusion_lessons.page.widgets import StepsExplorer

schedule = linear_schedule()
model = load_pretrained("digits-ddpm")
denoiser = from_noise_model(partial(model, label=torch.tensor([2, 7])), schedule, clip=1)
noise = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
"""
CELLS = [SETUP, "walks = StepsExplorer(denoiser, noise, schedule, (1, 4, 9), (0, 0.5))\nwalks"]
LABELS = {"walks": "Steps and eta explorer"}
CLOSE = 255 * 1e-2 / 2 + 1  # pictures equal to 1e-2, in greys, and their rounding

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def notebook(open_notebook: Any) -> Page:
    page = Page(open_notebook("here.ipynb", CELLS), LABELS)
    page.ready("walks")
    return page


def wait_for_engine(notebook: Page, state: str) -> None:
    look = "(e, state) => e.dataset.engine === state && e.dataset.ready === 'true'"
    until(notebook.widget("walks"), look, state)
    notebook.settle()


def test_what_is_in_sight_fills_in(notebook: Page) -> None:
    wait_for_engine(notebook, "ready")
    for k, steps in enumerate((1, 4, 9)):
        exact = notebook.python_bytes(f"list(walks.sampled({steps}, 0))[-1].x").view(56, 28)
        assert (notebook.greys("walks", f"finished-{k}", 56) - exact).abs().max() <= CLOSE + STORED
    # The kernel had nothing to do but the part that was stored, and sends the network.
    assert notebook.lab.python("[k for k in range(6) if walks._has(k)]") == "[2]"


def test_new_noise_in_the_page_is_the_kernels(notebook: Page) -> None:
    notebook.widget("walks").get_by_role("button", name="New noise").click()
    notebook.lab.wait_for_python("walks.seed", "1")
    wait_for_engine(notebook, "ready")
    exact = notebook.python_bytes("walks.pictures()").view(2, 28, 28)
    assert (notebook.greys("walks", "x-0") - exact[0]).abs().max() <= CLOSE + STORED


def test_the_page_goes_on_without_the_kernel(notebook: Page) -> None:
    exact = notebook.python_bytes("list(walks.sampled(6, 0))[-1].x").view(2, 28, 28)
    notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    slider = notebook.slider("walks", "steps")
    slider.focus()
    notebook.page.keyboard.press("Home")
    for _ in range(5):
        notebook.page.keyboard.press("ArrowRight")
    assert notebook.said("walks", "steps") == "6"
    wait_for_engine(notebook, "ready")
    assert "Computed here by digits-ddpm: 6 network calls" in notebook.words("walks")
    assert (notebook.greys("walks", "x-1") - exact[1]).abs().max() <= CLOSE + STORED
