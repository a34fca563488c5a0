"""What lesson 09's two widgets show, beside what Python says of the same values."""

import re
from typing import Any

import pytest
import torch
from pages import GREYS
from test_no_kernel import READ, show

from diffusion_lessons.data import to_bytes
from diffusion_lessons.math.exact import ring_mixture

pytest.importorskip("anywidget")

from diffusion_lessons.page import widgets
from diffusion_lessons.page.kit import ring
from diffusion_lessons.page.widgets import paths

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def page(watched: tuple[Any, Any]) -> Any:
    return watched[0]


def seen(canvas: Any) -> torch.Tensor:
    canvas.evaluate(READ)  # once it is painted
    return torch.tensor(canvas.evaluate(GREYS, [28, 28])).view(28, 28)


@pytest.mark.parametrize("predicted", ["noise", "x0", "velocity", "score"])
def test_pictures_are_those_that_python_reads_off(page: Any, predicted: str) -> None:
    explorer = widgets.PredictionExplorer(ring())
    show(page, explorer)
    page.locator(f'[data-name="predicted"][value="{predicted}"]').check()
    page.locator('[data-name="t"]').press("PageUp")
    time = int(page.locator('[data-name="t"]').input_value())
    for _ in range(4):
        page.locator('[data-name="off"]').press("ArrowRight")
    explorer.predicted, explorer.t, explorer.off = predicted, time, 5
    assert time > 500
    sigma = float(explorer.schedules["linear"].sigma[time])
    for name in ("noise", "x0", "v", "velocity", "score"):
        picture = explorer.read_off(name)
        assert picture is not None
        shown = picture[0] * (sigma if name == "score" else 1)
        wanted = to_bytes(shown.clamp(-1, 1).float()).int()
        assert (seen(page.locator(f'canvas[data-part="{name}"]')) - wanted).abs().max() <= 1
    described = page.locator('canvas[data-part="in_x0"]').get_attribute("aria-label")
    (times,) = re.findall(
        rf" of a predicted {predicted} ([\d.]+) times at time {time} of", described
    )
    assert float(times) == pytest.approx(explorer.enlarged("x0"), rel=0.05)


def test_where_noise_says_nothing_of_the_picture_the_page_says_so(page: Any) -> None:
    show(page, widgets.PredictionExplorer(ring()))
    page.locator('[data-name="schedule"]').select_option("straight")
    page.locator('[data-name="t"]').press("End")
    picture = page.locator('canvas[data-part="x0"]')
    assert seen(picture).unique().numel() == 1
    assert (
        picture.get_attribute("aria-label")
        == "x 0 cannot be read off a predicted noise at time 1000"
    )
    assert "does not determine x0" in page.locator('[data-part="note"]').inner_text()
    page.locator('[data-name="predicted"][value="noise"]').press("ArrowRight")  # x_0
    assert seen(picture).unique().numel() > 2
    said = page.locator('[data-part="note"]').inner_text()
    assert "off by 0\N{NO-BREAK SPACE}% in the noise" in said


@pytest.mark.parametrize("width", [320, 900])
def test_paths_are_counted_as_python_counts_them(page: Any, width: int) -> None:
    """By keyboard: from random pairs to the flow, and on to reflow."""
    explorer = widgets.PathsExplorer(ring_mixture(5, 0.2, 1.5), 20)
    page.set_viewport_size({"width": width, "height": 800})
    show(page, explorer)
    kinds = page.locator('[data-name="kind"]')
    plane = page.locator('canvas[data-part="plane"]')
    looks = set()
    for i, kind in enumerate(paths.KINDS):
        if i:
            kinds.nth(i - 1).press("ArrowRight")
        looks.add(plane.evaluate(READ))
        walk = explorer.walk(kind)
        said = [
            page.locator(f'dd[data-part="{part}"]').inner_text()
            for part in ("meet", "cross", "stretch", "hit")
        ]
        met, crossed = len(paths.meetings(walk)), paths.crossings(walk)
        assert said[:2] == [f"{met} of 190", f"{crossed} of 190"]
        assert said[2] == f"{paths.stretch(walk):.2f}"
        if kind == "pairs":
            assert said[3] == ""  # nothing steps along them
        else:
            assert said[3] == f"{explorer.on_data(explorer.one_step(kind))} of 20"
        landings = page.locator('canvas[data-part^="one-"]').filter(visible=True)
        assert landings.count() == i  # none, the flow's, both
    assert len(looks) == 3
    page.locator('[data-name="frame"]').press("End")
    plane.evaluate(READ)
    assert "reflow, at time 0;" in plane.get_attribute("aria-label")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
