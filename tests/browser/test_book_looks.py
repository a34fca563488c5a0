"""Every page of the book as it looks: light, dark, and on a phone.

Screenshots are left in book/_build/screenshots.
"""

from typing import Any

import pytest
from test_book_pages import EVERY, ROOT, dressed

SHOTS = ROOT / "book" / "_build" / "screenshots"

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize("name", EVERY)
def test_a_page_fits_light_dark_and_a_phone(watched: Any, site: str, name: str) -> None:
    page, _ = watched
    page.goto(f"{site}/{name}.html")
    views = page.locator('script[type="application/vnd.jupyter.widget-view+json"]').count()
    page.wait_for_function("n => document.querySelectorAll('.dl-widget').length === n", arg=views)
    SHOTS.mkdir(parents=True, exist_ok=True)
    for look, width in [("light", 1280), ("dark", 1280), ("phone", 320)]:
        page.set_viewport_size({"width": width, "height": 900})
        theme = "dark" if look == "dark" else "light"
        dressed(page, theme)
        found = page.evaluate(
            "[...document.querySelectorAll('.dl-widget')].map(e => e.dataset.dlTheme)"
        )
        assert found == [theme] * views
        page.screenshot(path=SHOTS / f"{name.replace('/', '-')}-{look}.png", full_page=True)
        if look == "phone":
            excess = "e => e.scrollWidth - e.clientWidth"
            boxes = page.locator("html, .bd-article-container, .dl-widget").all()
            assert max(box.evaluate(excess) for box in boxes) <= 0
