"""In JupyterLab the page gets networks from the kernel, and computes beside it."""

from typing import Any

import pytest
import torch
from greys import STORED
from pages import Page, until
from test_colour import COLOURS

SETUP = """
import time, torch
from functools import partial
from diffusion_lessons import from_noise_model, linear_schedule, load_pretrained
from diffusion_lessons.networks.drawing import GUIDANCES
from diffusion_lessons.page.widgets import GuidanceExplorer, StepsExplorer

schedule = linear_schedule()
model = load_pretrained("digits-ddpm")
denoiser = from_noise_model(partial(model, label=torch.tensor([2, 7])), schedule, clip=1)
noise = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
"""
ANIMALS = """
animals = load_pretrained("cats-dogs-ddpm")
free = {"classifier-free": partial(GUIDANCES["classifier-free"], animals)}
start = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
guided = GuidanceExplorer(free, start, animals.schedule, (0, 1, 4), (0, 1, 2), 4)
guided
"""
CELLS = [
    SETUP,
    "walks = StepsExplorer(denoiser, noise, schedule, (1, 4, 9), (0, 0.5))\nwalks",
    ANIMALS,
]
LABELS = {"walks": "Steps and eta explorer", "guided": "Guidance explorer"}
CLOSE = 255 * 1e-2 / 2 + 1  # pictures equal to 1e-2, in greys, and their rounding

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def notebook(open_notebook: Any) -> Page:
    page = Page(open_notebook("here.ipynb", CELLS), LABELS)
    for name in LABELS:
        page.ready(name)
    return page


def wait_for_engine(notebook: Page, state: str, name: str = "walks") -> None:
    look = "(e, state) => e.dataset.engine === state && e.dataset.ready === 'true'"
    until(notebook.widget(name), look, state)
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


def test_a_dog_in_colour_is_the_kernels(notebook: Page) -> None:
    notebook.slider("guided", "label").select_option("dog")
    notebook.lab.wait_for_python("guided.label", "1")
    wait_for_engine(notebook, "ready", "guided")
    assert "Computed here by cats-dogs-ddpm: 4 network calls" in notebook.words("guided")
    last = "list(guided.sampled('classifier-free', 1, 1.0))[-1].x"
    exact = notebook.python_bytes(f"torch.cat([*{last}], 2)").view(3, 32, 64)
    seen = torch.tensor(notebook.canvas("guided", "samples").evaluate(COLOURS, [32, 64]))
    assert (seen.view(32, 64, 3).movedim(-1, 0) - exact).abs().max() <= CLOSE
    assert notebook.lab.python("[k for k in range(9) if guided._has(k)]") == "[1]"


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
