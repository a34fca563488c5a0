"""The book where its widgets cannot start, and on paper: pictures and words in their place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import Quiet, served

PAGE = "notebooks/01_forward.html"
LINE = "A stored picture, since the widget has not started: "
SELF = "default-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self'"


class Host(Quiet):
    """A server with a policy, which may say less about addresses than a page expects."""

    policy = ""

    def end_headers(self) -> None:
        if Host.policy:
            self.send_header("Content-Security-Policy", Host.policy)
        super().end_headers()

    def translate_path(self, path: str) -> str:
        found = super().translate_path(path)
        return found if Path(found).exists() else f"{found}.html"


@pytest.fixture(scope="module")
def site(book: Path) -> Iterator[str]:
    with served(book, Host) as address:
        yield address
    Host.policy = ""


@pytest.fixture
def opened(chromium: str, request: pytest.FixtureRequest, site: str) -> Iterator[Any]:
    """Opens the page: with or without JavaScript, under a policy, one of its scripts missing."""
    browser = request.getfixturevalue("browser")
    contexts = []

    def open_page(policy: str = "", missing: str = "", address: str = PAGE, **how: Any) -> Any:
        Host.policy = policy
        context = browser.new_context(viewport={"width": 1240, "height": 900}, **how)
        contexts.append(context)
        page = context.new_page()
        if missing:
            page.route(f"**/{missing}*", lambda route: route.abort())
        page.goto(f"{site}/{address}")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ({"java_script_enabled": False}, "JavaScript is switched off"),
        ({"policy": f"{SELF} 'unsafe-inline' 'unsafe-eval'"}, "does not allow scripts from blob:"),
        ({"missing": "host.js"}, ""),
    ],
    ids=["no script", "no blob", "no host"],
)
def test_a_widget_that_cannot_start_leaves_its_picture_and_says_why(
    opened: Any, host: dict[str, Any], why: str
) -> None:
    page = opened(**host)
    places = page.locator(".dl-place")
    assert places.count() == 3
    for place in places.all():
        line = place.locator(".dl-stored p")
        line.wait_for(timeout=20_000)
        assert LINE[:-2] in line.inner_text()
        assert why in line.inner_text()
        picture = place.locator(".dl-stored img")
        picture.scroll_into_view_if_needed()
        assert picture.is_visible()
        assert picture.bounding_box()["height"] > 50
        assert place.locator(".dl-alive").filter(visible=True).count() == 0


def test_no_page_needs_eval(opened: Any) -> None:
    page = opened(policy=f"{SELF} 'unsafe-inline' blob:")
    for place in page.locator(".dl-place").all():
        place.locator(".dl-widget").wait_for()


def test_where_widgets_live_there_is_nothing_else_in_their_place(opened: Any) -> None:
    page = opened()
    for place in page.locator(".dl-place").all():
        place.locator(".dl-widget").wait_for()
        assert not place.locator(".dl-stored").is_visible()


def test_a_dark_page_is_printed_in_the_light(opened: Any) -> None:
    page = opened(color_scheme="dark")
    for place in page.locator(".dl-place").all():
        place.locator(".dl-widget").wait_for()
    look = """() => [getComputedStyle(document.body).color,
        document.documentElement.dataset.theme,
        ...[...document.querySelectorAll(".dl-widget")].map(e => e.dataset.dlTheme)]"""
    dark = page.evaluate(look)
    assert dark[1:] == ["dark"] * 4
    page.evaluate(
        f"() => {{ const look = {look};"
        "addEventListener('beforeprint', () => { window.printed = look(); }); }"
    )
    page.pdf()
    printed = page.evaluate("window.printed")
    assert printed[1:] == ["light", *["print"] * 3]
    assert printed[0] != dark[0]
    page.wait_for_function("document.querySelector('.dl-widget').dataset.dlTheme === 'dark'")
    assert page.evaluate(look) == dark


def test_no_line_of_code_is_cut_at_the_papers_edge(opened: Any) -> None:
    page = opened(address="notebooks/02_ddpm.html")
    page.set_viewport_size({"width": 640, "height": 900})
    excess = """() => Math.max(...[...document.querySelectorAll(".bd-article pre")]
        .map(e => e.scrollWidth - e.clientWidth))"""
    assert page.evaluate(excess) > 0  # on the screen it scrolls
    page.emulate_media(media="print")
    assert page.evaluate(excess) <= 0
