"""How widgets look on paper and in a reader's own colours."""

from typing import Any

import pytest
from pages import settle
from test_no_kernel import made, show

pytest.importorskip("anywidget")

from diffusion_lessons.page import widgets

pytestmark = pytest.mark.usefixtures("quiet")
NAMES = [name for name in widgets.__all__ if name not in ("FinalTest", "DigitLab")]

# How bright, 0 to 255, the ink of a plot is: below its axis there are words alone.
BRIGHTNESS = """canvas => {
    const high = Math.round((18 * canvas.height) / canvas.clientHeight);
    const ctx = canvas.getContext("2d");
    const { data } = ctx.getImageData(0, canvas.height - high, canvas.width, high);
    let [sum, count] = [0, 0];
    for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] < 200) continue;
        sum += 0.3 * data[i] + 0.6 * data[i + 1] + 0.1 * data[i + 2];
        count++;
    }
    return sum / count;
}"""


@pytest.fixture
def page(watched: tuple[Any, Any]) -> Any:
    page = watched[0]
    yield page
    page.emulate_media(media="screen", forced_colors="none", color_scheme="light")


def dark(page: Any) -> None:
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_function("document.querySelector('.dl-widget').dataset.dlTheme === 'dark'")
    settle(page)


@pytest.mark.parametrize("way", ["event", "medium"])
def test_on_paper_a_dark_page_is_dark_ink_on_white(page: Any, way: str) -> None:
    """As browsers tell it: by events around printing, or by the medium alone."""
    show(page, widgets.ScheduleExplorer())
    root, canvas = page.locator(".dl-widget"), page.locator('canvas[data-part="alpha_bar"]')
    settle(page)
    brightness = canvas.evaluate(BRIGHTNESS)
    dark(page)
    assert canvas.evaluate(BRIGHTNESS) > brightness + 100
    if way == "event":
        page.evaluate("dispatchEvent(new Event('beforeprint'))")  # painted when this returns
    else:
        page.emulate_media(media="print")
        page.wait_for_function("document.querySelector('.dl-widget').dataset.dlTheme === 'print'")
    style = "e => { const s = getComputedStyle(e); return [s.color, s.backgroundColor]; }"
    assert root.evaluate(style) == ["rgb(34, 39, 46)", "rgb(255, 255, 255)"]
    assert canvas.evaluate(BRIGHTNESS) == pytest.approx(brightness, abs=5)
    if way == "event":
        page.evaluate("dispatchEvent(new Event('afterprint'))")
    else:
        page.emulate_media(media="screen")
    page.wait_for_function("document.querySelector('.dl-widget').dataset.dlTheme === 'dark'")


def test_bars_and_boxes_are_printed(page: Any) -> None:
    for name, mark in [("ForwardExplorer", ".dl-fill-signal"), ("UNetExplorer", ".dl-box")]:
        show(page, made()[name][0]())
        exact = page.locator(mark).first.evaluate("e => getComputedStyle(e).printColorAdjust")
        assert exact == "exact"


def test_in_a_readers_own_colours_plots_are_drawn_in_them(page: Any) -> None:
    """Whatever the page's own theme is."""
    show(page, widgets.ScheduleExplorer())
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    brightness = {}
    for scheme in ("light", "dark"):
        page.emulate_media(forced_colors="active", color_scheme=scheme)
        theme = "scheme => document.querySelector('.dl-widget').dataset.dlTheme === scheme"
        page.wait_for_function(theme, arg=scheme)
        settle(page)
        canvas = page.locator('canvas[data-part="alpha_bar"]')
        brightness[scheme] = canvas.evaluate(BRIGHTNESS)
    assert brightness["dark"] > brightness["light"] + 100


def test_in_a_readers_own_colours_what_is_chosen_can_be_told(page: Any) -> None:
    page.emulate_media(forced_colors="active")
    show(page, made()["UNetExplorer"][0]())
    border = "e => getComputedStyle(e).borderTopColor"
    fill = "e => getComputedStyle(e).backgroundColor"
    boxes = page.locator(".dl-box").evaluate_all(f"all => all.map({fill})")
    assert len(set(boxes)) > 1
    show(page, made()["DDGANStepper"][0]())
    thumbs = page.locator(".dl-thumb")
    borders = thumbs.evaluate_all(f"all => all.map({border})")
    assert len(set(borders)) == 2
    assert page.locator(".dl-icon").first.evaluate("e => e.tagName") == "svg"
    show(page, made()["ForwardExplorer"][0]())
    parts = [".dl-fill-signal", ".dl-fill-noise", ".dl-track"]
    assert len({page.locator(part).first.evaluate(fill) for part in parts}) == 3


@pytest.mark.parametrize("name", NAMES)
def test_it_is_painted_for_paper_and_for_every_palette(page: Any, name: str) -> None:
    """Without an error, and back again."""
    show(page, made()[name][0]())
    for media in ({"forced_colors": "active"}, {"media": "print"}, {"media": "screen"}):
        page.emulate_media(**media)
        settle(page)
    canvases = page.locator(".dl-widget canvas").all()
    assert all(canvas.evaluate("e => e.width") for canvas in canvases if canvas.is_visible())
