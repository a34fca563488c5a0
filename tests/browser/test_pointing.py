"""Pictures that answer to a mouse and to a finger, and leave the page its swipes."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from test_no_kernel import made, show

from conftest import Watch

pytest.importorskip("anywidget")

PLANES = {
    "LatentExplorer": ("plane", ("across", "up")),
    "AttentionExplorer": ("x_t", ("row", "column")),
    "VectorExplorer": ("plane", ("x", "y")),
}


@pytest.fixture(scope="module")
def page(chromium: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page on a screen that is touched."""
    browser = request.getfixturevalue("browser")
    context = browser.new_context(viewport={"width": 390, "height": 700}, has_touch=True)
    watch = Watch(context)
    page = context.new_page()
    yield page
    assert watch.problems == []
    context.close()


@pytest.fixture(params=PLANES)
def plane(request: pytest.FixtureRequest, page: Any) -> Any:
    """Touch the plane of a widget; what came of it: the values before, after, and the scrolling."""
    torch.manual_seed(0)
    part, traits = PLANES[request.param]
    show(page, made()[request.param][0]())
    page.add_style_tag(content="body { padding: 400px 0 2000px }")
    canvas = page.locator(f'canvas[data-part="{part}"]')
    session = page.context.new_cdp_session(page)

    def values() -> list[str]:
        page.wait_for_timeout(80)
        sliders = [page.locator(f'[data-name="{trait}"]') for trait in traits]
        return [slider.input_value() for slider in sliders]

    def touch(way: list[tuple[float, float]], end: str = "touchEnd") -> tuple[Any, Any, float]:
        page.evaluate("scrollTo(0, 300)")
        canvas.evaluate("e => e.scrollIntoView({ block: 'center' })")
        before, box = values(), canvas.bounding_box()
        scrolled = page.evaluate("scrollY")

        def send(kind: str, *points: tuple[float, float]) -> None:
            where = [
                {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
                for x, y in points
            ]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})

        send("touchStart", way[0])
        for (x0, y0), (x1, y1) in pairwise(way):
            for k in range(1, 11):
                send("touchMove", (x0 + (x1 - x0) * k / 10, y0 + (y1 - y0) * k / 10))
        send(end)
        return before, values(), page.evaluate("scrollY") - scrolled

    return touch


def test_a_swipe_scrolls_the_page_and_moves_nothing(plane: Any) -> None:
    before, after, scrolled = plane([(0.8, 0.8), (0.8, 0.1)])
    assert scrolled > 50
    assert after == before


def test_a_tap_and_a_drag_sideways_move_the_point(plane: Any) -> None:
    before, after, scrolled = plane([(0.8, 0.7)])
    assert after != before
    before, after, scrolled = plane([(0.3, 0.3), (0.7, 0.3), (0.7, 0.7)])
    assert [a == b for a, b in zip(before, after, strict=True)].count(False) >= 1
    assert scrolled == 0


def test_a_drag_that_is_taken_away_is_put_back(plane: Any) -> None:
    before, after, _ = plane([(0.3, 0.3), (0.9, 0.3)], end="touchCancel")
    assert after == before
