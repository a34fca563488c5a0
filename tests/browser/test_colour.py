"""Pictures in colour on the canvases of a page: each widget's red, green and blue are Python's."""

from typing import Any

import coloured
import pytest
import torch
from pages import Widgets
from test_no_kernel import show

pytest.importorskip("anywidget")

pytestmark = pytest.mark.usefixtures("quiet")

# Red, green and blue in the middle of each of the picture's own pixels.
COLOURS = """(canvas, [rows, columns]) => {
    const ctx = canvas.getContext("2d");
    const [down, across] = [canvas.height / rows, canvas.width / columns];
    const at = (row, column) =>
        [...ctx.getImageData((column + 0.5) * across, (row + 0.5) * down, 1, 1).data.slice(0, 3)];
    return Array.from({ length: rows * columns },
        (_, i) => at(Math.floor(i / columns), i % columns));
}"""


@pytest.fixture(scope="module")
def every() -> dict[str, Any]:
    return coloured.made()


NAMES = [
    *("StepsExplorer", "GuidanceExplorer", "TruncationExplorer", "FilmPlayer", "TrajectoryPlayer"),
    *("InterpolationExplorer", "ForwardExplorer", "ScheduleExplorer", "LatentExplorer"),
    *("UNetExplorer", "AttentionExplorer", "DDGANStepper"),
]


def test_every_widget_of_pictures_is_tried(every: dict[str, Any]) -> None:
    assert list(every) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_canvas_has_the_colours(
    watched: tuple[Any, Any], every: dict[str, Any], name: str
) -> None:
    page = watched[0]
    widget, label, canvases = every[name]
    show(page, widget)
    shown = Widgets(page, {"it": label})
    if name not in ("ForwardExplorer", "ScheduleExplorer"):  # which have nothing to unpack
        shown.ready("it")
    framed = name == "InterpolationExplorer"  # the place of the slider, in its strips
    for part, wanted in canvases.items():
        rows, columns = wanted.shape[1:]
        seen = torch.tensor(shown.canvas("it", part).evaluate(COLOURS, [rows, columns]))
        seen = seen.view(rows, columns, 3).movedim(-1, 0)
        off = (seen - (wanted.clamp(-1, 1) + 1) * 127.5).abs()
        if framed and part.startswith("strip"):
            off = off[:, 2:-2, [0, 1, 2, 3, -4, -3, -2, -1]]
        assert off.max() <= 1, (part, off.max())
        red, green, blue = seen
        assert not torch.equal(red, green), part
        assert not torch.equal(green, blue), part
