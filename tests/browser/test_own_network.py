"""A learner's own network in the digit lab: the kernel exports it, the page computes with it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pages import Page, Widgets, until
from test_colour import COLOURS

pytest.importorskip("anywidget")
pytest.importorskip("onnxscript", reason="pip install '.[page]'")

from diffusion_lessons.networks.diffusion import DiffusionModel
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.page.standalone import standalone
from diffusion_lessons.page.widgets import DigitLab

pytestmark = pytest.mark.usefixtures("quiet")

SETUP = """
import torch
from diffusion_lessons import final, linear_schedule
from diffusion_lessons.data import digits, to_unit
from diffusion_lessons.math.editing import restore
from diffusion_lessons.math.prediction import V, VELOCITY, X0
from diffusion_lessons.math.randomness import RowGenerator
from diffusion_lessons.math.sampling import ddim_step, stepwise
from diffusion_lessons.math.schedule import cosine_schedule, straight_schedule, zero_terminal
from functools import partial
from diffusion_lessons.measuring import drawing
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.diffusion import DiffusionModel
from diffusion_lessons.networks.drawing import DrawSettings
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.page.widgets import DigitLab

draw = partial(drawing.draw, compute=Compute(torch.device("cpu")))  # in float32

def tiny(prediction, schedule, classes, size=28, channels=1, **words):
    torch.manual_seed(0)
    sizes = {"size": size, "in_channels": channels, "classes": classes}
    net = UNet(**sizes, channels=8, multipliers=(1,), blocks=1, heads=2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return DiffusionModel(net.eval(), schedule, prediction, **words)
"""
CELLS = [
    SETUP,
    "v = tiny(V, zero_terminal(linear_schedule()), 0)\nlab = DigitLab(v, name='mine')\nlab",
    "flow = tiny(VELOCITY, straight_schedule(200), 3)\n"
    "other = DigitLab(flow, task='draw', label=2, steps=6, scale=2.0, seed=5)\nother",
    "animals = tiny(X0, cosine_schedule(), 2, 16, 3, names=['cat', 'dog'])\n"
    "pets = DigitLab(animals, 'animals')\npets",
]
LABELS = {"lab": "Digit lab", "other": "Digit lab", "pets": "Digit lab"}
CLOSE = 255 * 1e-2 / 2 + 1  # pictures equal to 1e-2, in greys, and their rounding


@pytest.fixture(scope="module")
def notebook(open_notebook: Any) -> Page:
    page = Page(open_notebook("own.ipynb", CELLS), LABELS)
    for name in LABELS:
        page.ready(name)
    return page


def compute(notebook: Page, name: str) -> None:
    """Press the button, and wait for the pictures; an export takes its time."""
    root = notebook.widget(name)
    root.locator('[data-action="run"]').click()
    wait(notebook, name)


def wait(notebook: Page, name: str) -> None:
    settled = "e => ['ready', 'none'].includes(e.dataset.engine)"
    until(notebook.widget(name), settled, timeout=420_000)
    assert notebook.widget(name).get_attribute("data-engine") == "ready", notebook.words(name)
    notebook.settle()


def check(notebook: Page, name: str, expression: str, count: int = 6) -> None:
    """The pictures on the canvases are the kernel's, which torch draws."""
    wanted = notebook.python_bytes(expression).view(count, 28, 28).float()
    seen = torch.stack([notebook.greys(name, f"x-{k}") for k in range(count)])
    assert (seen - wanted).abs().max() <= CLOSE
    assert wanted.std() > 20  # it is no flat grey


def test_restored_by_a_network_without_classes(notebook: Page) -> None:
    shown = notebook.slider("lab", "network")
    assert shown.input_value() == "mine"
    assert not notebook.slider("lab", "label").is_visible()
    compute(notebook, "lab")
    assert "mine (" in notebook.words("lab")
    check(
        notebook,
        "lab",
        "final(restore(v.denoiser(clip=1), lab._first[3:4].expand(6, -1, -1, -1), 500, v.schedule,"
        " 10, RowGenerator(0, torch.arange(6)), stepwise(ddim_step))).x",
    )


def test_drawn_as_the_command_draws(notebook: Page) -> None:
    notebook.widget("lab").get_by_text("New digits", exact=True).click()
    wait(notebook, "lab")
    check(notebook, "lab", "draw(v, 6, DrawSettings(steps=10))")
    notebook.slider("lab", "sampler").select_option("dpm++")
    wait(notebook, "lab")
    check(notebook, "lab", "draw(v, 6, DrawSettings(steps=10, sampler='dpm++'))")


def test_guided_with_its_own_classes_and_times(notebook: Page) -> None:
    options = notebook.slider("other", "label").locator("option:not([hidden])")
    assert options.all_inner_texts() == ["any digit", "0", "1", "2"]
    compute(notebook, "other")
    settings = "DrawSettings(steps=6, guidance='classifier-free', scale=2.0)"
    check(
        notebook,
        "other",
        f"draw(flow, torch.full((6,), 2), {settings}, 5, 2000 + torch.arange(6))",
    )
    notebook.widget("other").get_by_text("Restore", exact=True).click()
    wait(notebook, "other")
    assert notebook.slider("other", "t").get_attribute("max") == "200"


def test_beside_the_shipped_networks(notebook: Page) -> None:
    notebook.widget("lab").get_by_text("Compare", exact=True).click()
    wait(notebook, "lab")
    lanes = notebook.widget("lab").locator('[data-part="lane"] strong').all_inner_texts()
    few = ["VAE", "Consistency", "Reflow", "Denoising diffusion GAN"]
    assert lanes == [*few, "DDIM", "DDPM", "DDIM with mine"]
    notebook.widget("lab").get_by_text("Restore", exact=True).click()
    wait(notebook, "lab")
    options = notebook.slider("lab", "network").locator("option:not([hidden])")
    assert options.all_inner_texts() == ["diffusion, digits-ddpm", "mine"]
    notebook.slider("lab", "network").select_option("digits-ddpm")
    wait(notebook, "lab")
    assert "digits-ddpm (" in notebook.words("lab")
    assert notebook.slider("lab", "label").is_visible()
    notebook.lab.wait_for_python("lab.network", "'digits-ddpm'")


def check_colours(notebook: Page, expression: str) -> None:
    wanted = notebook.python_bytes(expression).view(6, 3, 16, 16).float()
    notebook.settle()
    seen = [notebook.canvas("pets", f"x-{k}").evaluate(COLOURS, [16, 16]) for k in range(6)]
    colours = torch.tensor(seen).view(6, 16, 16, 3).movedim(-1, 1)
    assert (colours - wanted).abs().max() <= CLOSE
    assert wanted.std() > 20  # it is no flat colour
    assert (wanted[:, 0] - wanted[:, 2]).abs().max() > 20  # nor grey


def test_in_colour_it_has_the_lab_for_itself(notebook: Page) -> None:
    root = notebook.widget("pets")
    tabs = root.locator('[role="radiogroup"][aria-label="what to do"] label')
    assert tabs.all_inner_texts() == ["New pictures", "Blend"]
    check_colours(notebook, "pets.pictures()")  # the stored ones
    compute(notebook, "pets")
    check_colours(notebook, "draw(animals, 6, DrawSettings(steps=10))")
    label = notebook.slider("pets", "label")
    options = label.locator("option:not([hidden])")
    assert options.all_inner_texts() == ["any picture", "cat", "dog"]
    label.select_option("dog")
    wait(notebook, "pets")
    check_colours(
        notebook,
        "draw(animals, torch.ones(6).long(), DrawSettings(steps=10), 0, 1000 + torch.arange(6))",
    )
    assert root.get_by_text("asked: dog").count() == 6
    assert "nearest" not in notebook.words("pets")
    tabs.get_by_text("Blend").click()
    wait(notebook, "pets")
    assert "turns each into a picture" in notebook.words("pets")
    assert notebook.canvas("pets", "x-6").is_visible()


def test_it_is_exported_once(notebook: Page) -> None:
    assert (
        notebook.lab.python("sorted(lab._model.files)") == "['about.json', 'graph.onnx', 'weights']"
    )
    assert notebook.lab.python("lab._model.part != other._model.part") == "True"


def test_a_published_page_says_that_it_has_no_such_network(
    watched: tuple[Any, Any], tmp_path: Path
) -> None:
    network = UNet(channels=8, multipliers=(1,), blocks=1, heads=2)
    lab = DigitLab(DiffusionModel(network), "mine")
    (tmp_path / "lab.html").write_text(standalone(lab, "Digit lab", "engine/"), "utf-8")
    watched[0].goto((tmp_path / "lab.html").as_uri())
    page = Widgets(watched[0], {"lab": "Digit lab"})
    page.ready("lab")
    page.widget("lab").locator('[data-action="run"]').click()
    page.page.wait_for_function("() => document.querySelector('[data-engine=none]')")
    words = "this page does not have that network, which only its kernel has"
    assert f"The networks cannot run here: {words}." in page.words("lab")
