"""Answers are folded away, and open, in the book and in JupyterLab."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

pytestmark = pytest.mark.usefixtures("quiet")

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LESSONS = sorted(path.stem for path in NOTEBOOKS.glob("0[0-7]*.md"))
RAW = r"\*\*|(?<!\w)`|\$\w|\]\("
"""What Markdown leaves where nobody has read it."""


def check_answers(answers: Any, count: int) -> None:
    """Each opens by its first line, by a key as well, and holds text that was read as Markdown."""
    assert answers.count() == count > 0
    for i in range(count):
        answer = answers.nth(i)
        summary = answer.locator("summary")
        assert summary.inner_text() in ("Answer", "Solution")
        folded = answer.bounding_box()["height"]
        summary.click()
        assert answer.evaluate("e => e.open")
        assert answer.bounding_box()["height"] > folded + 15
        inside = answer.evaluate(
            """e => { e = e.cloneNode(true);
                for (const other of e.querySelectorAll("summary, pre, code, .math, mjx-container"))
                    other.remove();
                return e.textContent.trim(); }"""
        )
        assert len(inside) > 15 or answer.locator("pre, code, .math, mjx-container").count()
        assert not re.search(RAW, inside), inside
        summary.press("Enter")
        assert not answer.evaluate("e => e.open")


@pytest.mark.parametrize("name", LESSONS)
def test_in_the_book(watched: tuple[Any, Any], site: str, name: str) -> None:
    page, _ = watched
    page.goto(f"{site}/notebooks/{name}.html")
    cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    count = sum(cell.source.count("<details>") for cell in cells)
    check_answers(page.locator("article details:has(> summary)"), count)


def test_in_jupyterlab(open_executed: Callable[..., Any]) -> None:
    notebook = nbformat.read(NOTEBOOKS / "03_ddim.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "<details>" in cell.source]
    notebook.metadata.pop("widgets", None)
    count = sum(cell.source.count("<details>") for cell in notebook.cells)
    page = open_executed("answers.ipynb", notebook).page
    page.set_viewport_size({"width": 1240, "height": 4000})  # all cells are there at once
    answers = page.locator(".jp-RenderedMarkdown details")
    answers.nth(count - 1).wait_for()
    check_answers(answers, count)
