"""Every page of the book for those who do not see it, or not well."""

from typing import Any

import pytest
from pages import check_names
from test_book_pages import EVERY, PAGES, dressed, opened

# What a canvas shows is said when it is painted, which may take a slow machine a second.
SAID = """() => [...document.querySelectorAll(".dl-widget canvas[role=img]")]
    .every(canvas => canvas.getAttribute("aria-label"))"""

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize("name", EVERY)
def test_a_page_has_no_serious_accessibility_fault(watched: Any, site: str, name: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, _ = watched
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(reduced_motion="reduce")
    options = {"resultTypes": ["violations"], "preload": False}
    contrast = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
    looks = {"light": options, "dark": options | contrast}  # in the dark only colours differ
    if name in PAGES:
        opened(watched, site, name)  # its widgets may come late
    else:
        page.goto(f"{site}/{name}.html")
    page.wait_for_function(SAID)
    faults = []
    for theme, rules in looks.items():
        dressed(page, theme)
        for fault in Axe().run(page, options=rules).response["violations"]:
            if fault["impact"] in ("serious", "critical"):
                where = [node["html"][:160] for node in fault["nodes"][:3]]
                faults.append((theme, fault["id"], len(fault["nodes"]), where))
    assert faults == []


@pytest.mark.parametrize("name", PAGES)
def test_widgets_have_names_for_screen_readers(watched: Any, site: str, name: str) -> None:
    page = opened(watched, site, name)
    page.page.wait_for_function(SAID)
    check_names(page)
