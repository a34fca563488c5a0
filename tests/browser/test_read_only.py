"""JupyterLab in a folder where nothing can be written, as a class shares one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

LESSON = Path(__file__).parents[2] / "notebooks" / "01_forward.ipynb"


@pytest.fixture
def lesson(tmp_path: Path) -> Iterator[Path]:
    """The beginning of a lesson, up to its first widget, without outputs, in a locked folder."""
    notebook = nbformat.read(LESSON, as_version=4)
    widget = next(i for i, cell in enumerate(notebook.cells) if "ForwardExplorer" in cell.source)
    del notebook.cells[widget + 1 :], notebook.metadata["widgets"]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    folder = tmp_path / "class"
    folder.mkdir()
    nbformat.write(notebook, folder / LESSON.name)
    (folder / LESSON.name).chmod(0o444)
    folder.chmod(0o555)
    yield folder / LESSON.name
    folder.chmod(0o755)


@pytest.mark.usefixtures("quiet")
def test_a_lesson_runs_and_says_that_it_cannot_be_saved(
    watched: tuple[Any, Any], lab_of: Callable[..., Any], bound: list[str], lesson: Path
):
    page, _ = watched
    lab = lab_of(lesson, bound)
    page.get_by_text("notebook is read-only").wait_for()
    lab.command("notebook:run-all-cells")
    explorer = page.get_by_label("Forward noising explorer")
    explorer.wait_for()
    slider = explorer.get_by_role("slider").first
    slider.focus()
    before = slider.input_value()
    page.keyboard.press("ArrowRight")
    assert slider.input_value() != before  # alive
    lab.command("docmanager:save")
    page.get_by_text("Document is read-only").last.wait_for()
    assert [path.name for path in lesson.parent.iterdir()] == [lesson.name]
