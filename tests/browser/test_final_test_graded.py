"""The final test alone in a page: what is typed in is read, and all points lead further."""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("anywidget")

from pages import until
from test_no_kernel import show

from diffusion_lessons.course.quiz import numbers
from diffusion_lessons.page.widgets import FinalTest

pytestmark = pytest.mark.usefixtures("quiet")

ITEMS = numbers.items(variants=1)  # they need no network
SHARE = next(i for i, item in enumerate(ITEMS) if item["share"])
OTHER = next(i for i, item in enumerate(ITEMS) if item["variants"][0]["answer"] > 1)


@pytest.fixture
def page(watched: tuple[Any, Any]) -> Iterator[Any]:
    page, _ = watched
    show(page, FinalTest(ITEMS))
    yield page
    page.goto("about:blank")


class Card:
    """One item, which is gone to."""

    def __init__(self, page: Any, number: int) -> None:
        self.dot = page.locator(".dl-dot").nth(number)
        self.dot.click()
        self.part = page.locator(f'section[data-part="{ITEMS[number]["id"]}"]')
        self.answer = ITEMS[number]["variants"][0]["answer"]

    def give(self, text: str) -> str:
        """Type in an answer: what is said of it."""
        verdict = self.part.locator("[role=status]")
        before = verdict.inner_text()
        self.part.get_by_role("textbox").fill(text)
        self.part.get_by_role("button", name="Check").click()
        until(verdict, "(e, before) => e.innerText && e.innerText !== before", before)
        return str(verdict.inner_text())

    def becomes(self, state: str) -> None:
        """Its dot is in this state, or will be when it is painted."""
        until(self.dot, "(e, state) => e.dataset.state === state", state)


def test_a_share_as_a_whole_number_costs_no_try(page: Any) -> None:
    card = Card(page, SHARE)
    percent = round(100 * card.answer)
    said = card.give(str(percent))
    assert f"write {percent} % or {percent / 100:g}, if you mean that" in said
    assert card.give("120").endswith("A share is at most 1.")
    card.becomes("open")
    assert card.give(f"{percent} %").startswith("Right.")
    card.becomes("right")
    page.locator(".dl-dot").last.click()
    words = "1 of 20 points at the first try"
    until(page.locator(".dl-score"), "(e, words) => e.innerText.startsWith(words)", words)


def test_where_no_share_is_asked_any_number_is_an_answer(page: Any) -> None:
    card = Card(page, OTHER)
    assert "if you mean that" not in card.give(f"{card.answer + 7:.2f}")
    card.becomes("wrong")


def test_all_points_lead_to_the_lesson_that_was_not_asked_about(page: Any) -> None:
    for number in range(len(ITEMS)):
        card = Card(page, number)
        assert card.give(str(card.answer)).startswith("Right."), ITEMS[number]
    page.locator(".dl-dot").last.click()
    score = page.locator('section[data-part="score"]')
    words = "Nothing in lessons 00 to 07 is left for you; lesson 09 is"
    until(score, "(e, words) => e.innerText.includes(words)", words)
    assert score.get_by_role("link", name="lesson 09").get_attribute("href") == "09_since.ipynb"
