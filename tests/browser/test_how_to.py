"""The widget of the page "How to write a widget", exactly as it is printed there."""

import re
from pathlib import Path
from typing import Any

import pytest
from pages import Page, check_names, check_narrow

PAGE = Path(__file__).parents[2] / "book" / "how-to-write-a-widget.md"


def blocks() -> list[str]:
    """The code of the page, block by block: mix.py, mix.js, how it is shown, ..."""
    return re.findall(r"^```\w+\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_example_is_short() -> None:
    python, javascript, *_ = blocks()
    lines = [line for line in (python + javascript).splitlines() if line.strip()]
    assert len(lines) < 60


@pytest.fixture(scope="module")
def notebook(open_notebook: Any, lab_server: Any) -> Page:
    python, javascript, show, *_ = blocks()
    _, root = lab_server
    (root / "mix.py").write_text(python, "utf-8")
    (root / "mix.js").write_text(javascript, "utf-8")
    *setup, shown = show.strip().splitlines()
    cells = ["\n".join(setup), f"widget = {shown}\nwidget"]
    return Page(open_notebook("how_to.ipynb", cells), {"widget": "Mix explorer"})


@pytest.mark.usefixtures("quiet")
def test_the_example_works_as_printed(notebook: Page) -> None:
    slider = notebook.slider("widget", "percent")
    slider.focus()
    notebook.page.keyboard.press("Home")
    for _ in range(3):
        notebook.page.keyboard.press("PageUp")
    value = int(slider.input_value())
    assert 0 < value < 100
    notebook.lab.wait_for_python("widget.percent", str(value))
    exact = notebook.python_bytes("widget.mixed").view(28, 28)
    assert (notebook.greys("widget", "mixed") - exact).abs().max() <= 1
    assert notebook.said("widget", "percent") == f"{value} %"
    notebook.widget("widget").get_by_role("button", name="Play").click()
    notebook.lab.wait_for_python("widget.percent", "100")
    assert notebook.lab.python("len(widget._repr_mimebundle_()[0]['image/png']) > 500") == "True"
    refused = "MixExplorer(9 * a, b)"
    answer = notebook.lab.python(
        "said", f"try: {refused}\nexcept ValueError as error: said = str(error)"
    )
    assert "must lie in -1..1" in answer
    check_names(notebook)
    check_narrow(notebook)
