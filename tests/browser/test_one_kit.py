"""A notebook carries the kit once, and its widgets find it: live, reopened, published."""

import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from pages import Page, Widgets

from diffusion_lessons.page import kit

ROOT = Path(__file__).parents[2]
STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
CELLS = [
    "from diffusion_lessons.page.widgets import PosteriorExplorer, ScheduleExplorer",
    "explorer = ScheduleExplorer()\nexplorer",
    "post = PosteriorExplorer()\npost",
    "other = PosteriorExplorer()\nother",
]
LABELS = {
    "explorer": "Noise schedule explorer",
    "post": "Posterior explorer",
    "other": "Posterior explorer",
}
# For each widget a slider, and a canvas that follows it.
MOVING = {
    "explorer": ("beta_T", "alpha_bar"),
    "post": ("x_t", "bells"),
    "other": ("x_0", "bells"),
}
# How often the page has got each of the course's modules, by name.
MODULES = """() => {
    const counts = {};
    for (const text of globalThis[Symbol.for("diffusion-lessons")].addresses.keys()) {
        const name = text.split("//# sourceURL=diffusion-lessons/").at(-1);
        counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
}"""

pytestmark = pytest.mark.usefixtures("quiet")


def check_alive(page: Widgets) -> None:
    """Every widget answers its slider."""
    for name, (trait, part) in MOVING.items():
        before = page.read(name, part)
        for key in ("Home", "ArrowRight", "ArrowRight"):
            page.slider(name, trait).press(key)
        page.changed(name, part, before)


def check_modules(page: Widgets) -> None:
    """The page has each script once, the kit's and the widgets' own."""
    files = kit.unpack_files(kit.Kit._files.default())
    names = [name for name, _ in files[1:] if name.endswith(".js")]  # the first brings the others
    names += ["schedule.js", "_back.js", "posterior.js"]
    assert page.page.evaluate(MODULES) == dict.fromkeys(names, 1)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A notebook as the course's own are made: run from the first to the last cell, and stored."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    return notebook


def test_live_and_after_a_restart(open_notebook: Any) -> None:
    page = Page(open_notebook("one_kit.ipynb", CELLS), LABELS)
    check_modules(page)
    check_alive(page)
    page.lab.wait_for_python("post.x_t", page.slider("post", "x_t").input_value())
    page.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    before = page.widget("post").element_handle()
    page.lab.command("notebook:run-all-cells")
    page.page.wait_for_function("old => !old.isConnected", arg=before)
    again = Page(page.lab, LABELS)
    check_modules(again)  # the same kit: nothing new for the page
    check_alive(again)
    again.lab.wait_for_python("post.x_t", again.slider("post", "x_t").input_value())


def test_a_page_that_is_loaded_again_beside_a_running_kernel(open_notebook: Any) -> None:
    lab = open_notebook("again.ipynb", CELLS)
    Page(lab, LABELS)
    lab.command("docmanager:save")
    lab.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.model.dirty")
    lab.page.reload()
    page = Page(lab, LABELS)
    check_modules(page)
    check_alive(page)


def test_the_stored_state_has_the_kit_once(executed: Any) -> None:
    text = nbformat.writes(executed)
    assert text.count(kit.Kit._files.default()) == 1
    pictures = [output.data for cell in executed.cells for output in cell.outputs]
    assert sum(VIEW in data for data in pictures) == 3
    assert all("image/png" in data for data in pictures)  # for who runs no scripts


def test_a_stored_notebook_lives_in_jupyterlab_before_it_is_run(
    open_executed: Any, executed: Any
) -> None:
    page = Page(open_executed("stored.ipynb", executed), LABELS)
    check_modules(page)
    check_alive(page)
    assert page.lab.python("'explorer' in globals()") == "False"


def test_a_stored_notebook_lives_in_a_page_without_a_kernel(
    watched: tuple[Any, Any], book: Path, executed: Any, tmp_path: Path
) -> None:
    """The scripts are those of the book; what a page gets here is the state as it was stored."""
    scripts = (book / "_static" / "widgets").as_uri()
    views = [
        output.data[VIEW]
        for cell in executed.cells
        for output in cell.outputs
        if VIEW in output.data
    ]

    def script(kind: str, content: Any) -> str:
        return f'<script type="{kind}">{json.dumps(content)}</script>'

    (tmp_path / "page.html").write_text(
        "<!doctype html><html lang=en><title>stored</title><body><main>"
        + "".join(f"<div>{script(VIEW, view)}</div>" for view in views)
        + script(STATE, executed.metadata.widgets[STATE])
        + f'</main><script src="{scripts}/host.js"></script>',
        "utf-8",
    )
    watched[0].goto((tmp_path / "page.html").as_uri())
    page = Widgets(watched[0], LABELS)
    check_modules(page)
    check_alive(page)
