"""What half an hour of answers has made stays: after a reload, in another page, on paper."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import served
from test_book_hosts import Host

PAGE = "notebooks/08_final_test"
ITEMS, FIRST_BUG = 35, 21  # one of matching and twenty with numbers stand before it


@pytest.fixture(scope="module")
def site(book: Path) -> Iterator[str]:
    with served(book, Host) as address:
        yield address


@pytest.fixture
def context(chromium: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    browser = request.getfixturevalue("browser")
    context = browser.new_context(viewport={"width": 1240, "height": 900})
    context.add_init_script("window.print = () => { window.printed = true; }")
    yield context
    context.close()


def opened(context: Any, site: str, ending: str = ".html") -> Any:
    page = context.new_page()
    page.goto(f"{site}/{PAGE}{ending}")
    page.get_by_role("group", name="Final test").wait_for()
    return page


def answer(page: Any) -> None:
    """The first question with numbers, wrongly; a line of the first faulty code; nothing more."""
    page.locator(".dl-dot").nth(1).click()
    card = page.locator('section[data-part="number-1"]')
    card.get_by_role("textbox").fill("7,5")
    card.get_by_role("button", name="Check").click()
    card.get_by_text("Not yet.").wait_for()
    page.locator(".dl-dot").nth(FIRST_BUG).click()
    card = page.locator('section[data-part="bug-1"]')
    card.get_by_role("radio").first.check()
    card.get_by_role("button", name="Check").click()
    card.get_by_role("status").wait_for()


def states(page: Any, still_open: int) -> list[str]:
    """What the dots say, once so many items are open."""
    count = "n => document.querySelectorAll('.dl-dot[data-state=open]').length === n"
    page.wait_for_function(count, arg=still_open)
    return [dot.get_attribute("data-state") for dot in page.locator(".dl-dot").all()]


def test_answers_are_there_after_a_reload(context: Any, site: str) -> None:
    page = opened(context, site)
    answer(page)
    before = states(page, ITEMS - 2)
    question = page.locator('section[data-part="number-1"] label').inner_text()
    said = page.locator('section[data-part="number-1"] [role=status]').inner_text()
    page.reload()
    page.locator('section[data-part="bug-1"]').wait_for()  # where one was
    assert states(page, ITEMS - 2) == before
    assert page.locator('section[data-part="bug-1"] [type=radio]').first.is_checked()
    page.locator(".dl-dot").nth(1).click()
    card = page.locator('section[data-part="number-1"]')
    assert card.locator("label").inner_text() == question  # the same numbers
    assert card.get_by_role("textbox").input_value() == "7,5"
    assert card.get_by_role("status").inner_text() == said
    assert "Your answers are kept in this browser." in page.locator(".dl-kept").inner_text()


def test_another_page_with_the_test_goes_along_and_begins_anew(context: Any, site: str) -> None:
    context.add_init_script(
        """window.written = 0;
        const set = Storage.prototype.setItem;
        Storage.prototype.setItem = function (...pair) {
            window.written++;
            set.apply(this, pair);
        };"""
    )
    page, other = opened(context, site), opened(context, site)
    answer(page)
    assert states(other, ITEMS - 2) == states(page, ITEMS - 2)
    page.wait_for_timeout(300)
    written = page.evaluate("window.written") + other.evaluate("window.written")
    assert written < 20  # each tells of what it was told? Then it goes on for ever
    page.bring_to_front()  # a page behind another has no animation frames, and is never stable
    page.locator(".dl-dot").last.click()
    page.get_by_role("button", name="Start over").click()
    page.get_by_role("button", name="Delete all answers").click()
    states(other, ITEMS)
    page.reload()
    states(page, ITEMS)


@pytest.mark.parametrize(
    "content",
    [
        *("", "null", "7", '{"answers": null}', '{"item": "x", "answers": {"number-1": 3}}'),
        '{"item": 1e9, "answers": {"number-1": {"first": 99, "now": -1}, "y": {}}}',
    ],
)
def test_what_makes_no_sense_in_the_memory_is_passed_over(
    context: Any, site: str, content: str
) -> None:
    page = opened(context, site)
    states(page, ITEMS)
    page.evaluate(
        "text => { for (const key of Object.keys(localStorage)) "
        "if (key.includes('final test')) localStorage.setItem(key, text); }",
        content,
    )
    page.reload()
    states(page, ITEMS)


def test_it_says_so_where_a_browser_keeps_nothing(context: Any, site: str) -> None:
    context.add_init_script("Storage.prototype.setItem = () => { throw new Error('denied'); }")
    page = opened(context, site)
    answer(page)
    assert "This browser keeps no answers for this page" in page.locator(".dl-kept").inner_text()


def test_the_list_of_all_items_is_printed(context: Any, site: str) -> None:
    page = opened(context, site)
    answer(page)
    page.locator(".dl-dot").last.click()
    rows = page.locator(".dl-list tbody tr")
    rows.nth(ITEMS - 1).wait_for()
    assert "0 of 1" in rows.nth(1).inner_text()
    with context.expect_page() as new:
        page.get_by_role("button", name="Print the list").click()
    paper = new.value
    paper.wait_for_function("window.printed")
    text = paper.locator("body").inner_text()
    assert "of 41 points at the first try" in text
    assert paper.locator("tbody tr").count() == ITEMS
    page.evaluate("window.open = () => null")
    page.get_by_role("button", name="Print the list").click()
    page.get_by_text("the list stands above").wait_for()


@pytest.mark.parametrize("ending", [".html", ""])
@pytest.mark.parametrize("rewritten", [False, True], ids=["as built", "links rewritten"])
def test_an_answer_leads_to_its_lesson_whatever_the_addresses(
    context: Any, site: str, ending: str, rewritten: bool
) -> None:
    page = opened(context, site, ending)
    if rewritten:  # as hosts do that show no endings
        page.evaluate(
            "document.querySelectorAll('nav a').forEach(a => "
            "a.setAttribute('href', a.getAttribute('href').replace(/\\.html$/, '')))"
        )
    answer(page)
    page.locator(".dl-dot").nth(1).click()
    link = page.locator('section[data-part="number-1"]').get_by_role("link", name="lesson 00")
    with context.expect_page() as new:
        link.click()
    new.value.wait_for_load_state()
    assert "Start here" in new.value.title()
