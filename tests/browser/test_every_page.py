"""Every page of the book as it looks, light, dark and on a phone, and for those who see it badly.

Each page is opened once for all its tests. WIDGET_SHOTS=folder leaves pictures of it there.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from pages import Widgets, check_names
from test_book_pages import EVERY, PAGES, dressed, opened

# What a canvas shows is said when it is painted, which may take a slow machine a second.
SAID = """() => [...document.querySelectorAll(".dl-widget canvas[role=img]")]
    .every(canvas => canvas.getAttribute("aria-label"))"""
VIEWS = 'script[type="application/vnd.jupyter.widget-view+json"]'

# Marks one text of each look. A page has thousands of texts, and those of one look, all that its
# contrast comes from, have one contrast: size, weight, colour, and what lies around and behind.
MARK_LOOKS = """() => {
    document.querySelectorAll("[data-look]").forEach(e => e.removeAttribute("data-look"));
    const looks = new Map();
    const lookOf = e => {
        if (!e) return "";
        if (looks.has(e)) return looks.get(e);
        const s = getComputedStyle(e);
        const around = lookOf(e.parentElement);
        const own = [s.backgroundColor, s.backgroundImage, s.opacity, s.filter, s.mixBlendMode,
            s.position, s.overflow, s.clip, s.clipPath].join();
        looks.set(e, around.endsWith(own) ? around : `${around}|${own}`);
        return looks.get(e);
    };
    const seen = new Set();
    const mark = e => {
        const s = getComputedStyle(e);
        const there = e.checkVisibility({ visibilityProperty: true });
        const look = [e.localName, e.className, s.color, s.fontSize, s.fontWeight, s.textShadow,
            there, lookOf(e)].join(";");
        if (!seen.has(look)) e.dataset.look = seen.size;
        seen.add(look);
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text; (text = texts.nextNode());) if (text.data.trim()) mark(text.parentElement);
    document.querySelectorAll("input, select, textarea").forEach(mark);
}"""
ONE_OF_EACH = {"include": [["[data-look]"]]}

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module", params=EVERY)
def name(request: pytest.FixtureRequest, watched: Any, site: str) -> str:
    """The page that is open, its widgets in place and at rest."""
    page, _ = watched
    name = str(request.param)
    page.emulate_media(reduced_motion="reduce")
    if name in PAGES:
        opened(watched, site, name)
    else:
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(f"{site}/{name}.html")
    views = page.locator(VIEWS).count()
    page.wait_for_function("n => document.querySelectorAll('.dl-widget').length === n", arg=views)
    return name


def test_it_fits_light_dark_and_a_phone(watched: Any, name: str) -> None:
    page, _ = watched
    views = page.locator(VIEWS).count()
    for look, width in [("light", 1280), ("dark", 1280), ("phone", 320)]:
        page.set_viewport_size({"width": width, "height": 900})
        theme = "dark" if look == "dark" else "light"
        dressed(page, theme)
        found = page.evaluate(
            "[...document.querySelectorAll('.dl-widget')].map(e => e.dataset.dlTheme)"
        )
        assert found == [theme] * views
        if folder := os.environ.get("WIDGET_SHOTS"):
            shot = Path(folder) / f"{name.replace('/', '-')}-{look}.png"
            page.screenshot(path=shot, full_page=True)
        if look == "phone":
            excess = "e => e.scrollWidth - e.clientWidth"
            boxes = page.locator("html, .bd-article-container, .dl-widget").all()
            assert max(box.evaluate(excess) for box in boxes) <= 0


def test_it_has_no_serious_accessibility_fault(watched: Any, name: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, _ = watched
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(reduced_motion="reduce")
    page.wait_for_function(SAID)
    options = {"resultTypes": ["violations"], "preload": False}
    contrast = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
    faults = []
    for theme, rules, where in [  # in the dark only colours differ
        ("light", {"rules": {"color-contrast": {"enabled": False}}}, None),
        ("light", contrast, ONE_OF_EACH),
        ("dark", contrast, ONE_OF_EACH),
    ]:
        dressed(page, theme)
        page.evaluate(MARK_LOOKS)
        for fault in Axe().run(page, where, options | rules).response["violations"]:
            if fault["impact"] in ("serious", "critical"):
                nodes = [node["html"][:160] for node in fault["nodes"][:3]]
                faults.append((theme, fault["id"], len(fault["nodes"]), nodes))
    assert faults == []
    check_names(Widgets(page, {}))
