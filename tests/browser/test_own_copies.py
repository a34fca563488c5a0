"""A learner's first minute: `lab` opens copies whose widgets are alive, and what is saved stays.

The clone is a small one of its own, and so is the home: what Jupyter keeps there is looked at.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from pages import Widgets

from conftest import TOKEN, Lab, free_port, running

pytest.importorskip("anywidget")

pytestmark = pytest.mark.usefixtures("quiet")

ROOT = Path(__file__).parents[2]
START = {"player": "Sampling player", "latent": "Latent explorer"}
FORWARD = {"forward": "Forward noising explorer", "schedule": "Noise schedule explorer"}
FINAL_TEST = """
from diffusion_lessons.page.widgets import FinalTest
variants = [{"text": "One and one?", "answer": 2.0}]
more = {"kind": "number", "variants": variants, "reason": "so", "lesson": "00_start"}
test = FinalTest([{"id": name, **more} for name in "ab"])
test
"""


@dataclass
class Clone:
    """A clone of the course in which `lab` runs."""

    folder: Path
    home: Path
    address: str

    @property
    def copies(self) -> Path:
        return self.folder / "my-lessons"

    def git(self, *words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout

    def said(self) -> str:
        return (self.home / "log").read_text()


@pytest.fixture(scope="module")
def clone(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    folder = tmp_path_factory.mktemp("clone")
    home = tmp_path_factory.mktemp("home")
    for name in ("diffusion_lessons", "notebooks"):
        kept = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, folder / name, ignore=kept)
    shutil.copy(ROOT / ".gitignore", folder)
    config = home / ".jupyter"
    config.mkdir()
    # So that the tests can look into the page.
    app = {"LabApp": {"expose_app_in_browser": True}}
    (config / "jupyter_server_config.json").write_text(json.dumps(app))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "XDG_"))}
    env |= {"HOME": str(home), "PYTHONPATH": str(folder), "JUPYTER_TOKEN": TOKEN}
    port = free_port()
    command = [sys.executable, "-m", "diffusion_lessons", "lab", "--no-browser"]
    made = Clone(folder, home, f"http://127.0.0.1:{port}")
    made.git("init", "-q")
    made.git("add", ".")
    made.git("commit", "-qm", "the course")
    with running([*command, "--port", str(port)], env, home / "log", port, folder):
        yield made


def opened(page: Any, clone: Clone, name: str) -> Lab:
    """A notebook in the learner's folder, whole on the screen."""
    page.set_viewport_size({"width": 1240, "height": 12_000})
    return Lab.opened(page, clone.address, name)


def shown(path: Path) -> tuple[list[str], set[str]]:
    """The names of the widgets that a notebook's outputs show, and of the models stored in it."""
    notebook = nbformat.read(path, as_version=4)
    kind = "application/vnd.jupyter.widget-{}+json"
    bundles = [out.get("data", {}) for cell in notebook.cells for out in cell.get("outputs", [])]
    views = [
        data[kind.format("view")]["model_id"] for data in bundles if kind.format("view") in data
    ]
    return views, set(notebook.metadata.widgets[kind.format("state")]["state"])


def save(lab: Lab, path: Path) -> None:
    before = path.stat().st_mtime_ns
    lab.command("docmanager:save")
    lab.page.wait_for_function(
        "() => !window.jupyterapp.shell.currentWidget.context.model.dirty", polling=100
    )
    assert path.stat().st_mtime_ns > before


def end_kernel(page: Any) -> None:
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")


def test_a_lesson_opens_at_once_with_its_widgets_alive(
    watched: tuple[Any, Any], clone: Clone
) -> None:
    page, _ = watched
    (address,) = set(re.findall(r"http://127\S+", clone.said()))
    assert address.startswith(f"{clone.address}/lab/tree/00_start.ipynb?token=")
    page.set_viewport_size({"width": 1240, "height": 12_000})
    page.goto(address.replace("token=...", f"token={TOKEN}"))
    lab = Lab(page)
    widgets = Widgets(page, START)
    widgets.ready("player")
    before = widgets.read("player", "x-0")
    slider = widgets.slider("player", "frame")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    widgets.changed("player", "x-0", before)
    assert lab.python("'torch' in globals()") == "False"  # nothing was run
    page.locator(".jp-DirListing-item").nth(8).wait_for()
    listed = page.locator(".jp-DirListing-itemName").all_inner_texts()
    assert listed == [path.name for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]
    assert page.get_by_text("Jupyter news").count() == 0
    settings = clone.home / ".jupyter" / "lab" / "user-settings"
    assert not settings.exists()


def test_what_is_run_and_saved_is_alive_beside_what_never_ran(
    watched: tuple[Any, Any], clone: Clone
) -> None:
    page, _ = watched
    path = clone.copies / "01_forward.ipynb"
    before, _ = shown(path)
    lab = opened(page, clone, path.name)
    Widgets(page, FORWARD)
    save(lab, path)  # opened, and nothing else
    assert shown(path)[0] == before
    assert {*before} <= shown(path)[1]
    page.evaluate(
        """async () => {
            const { content } = window.jupyterapp.shell.currentWidget;
            const run = "ForwardExplorer";
            content.activeCellIndex =
                content.widgets.findIndex(cell => cell.model.sharedModel.getSource().includes(run));
            await window.jupyterapp.commands.execute("notebook:run-all-above");
            await window.jupyterapp.commands.execute("notebook:run-cell");
        }"""
    )
    save(lab, path)
    (new, *same), stored = shown(path)
    assert same == before[1:]
    assert new != before[0]
    assert {new, *same} <= stored
    assert before[0] not in stored
    assert clone.git("status", "--porcelain") == ""
    end_kernel(page)
    opened(page, clone, path.name)
    page_after = Widgets(page, FORWARD)
    picture = page_after.read("forward", "x_t")
    page_after.slider("forward", "t").press("End")
    page_after.changed("forward", "x_t", picture)


def test_the_answers_to_the_final_test_are_in_the_copy(
    watched: tuple[Any, Any], clone: Clone
) -> None:
    page, _ = watched
    path = clone.copies / "mine.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(FINAL_TEST)])
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata.kernelspec = kernel
    nbformat.write(notebook, path)
    lab = opened(page, clone, path.name)
    lab.command("notebook:run-all-cells")
    page.get_by_role("group", name="Final test").wait_for()
    save(lab, path)
    end_kernel(page)
    lab = opened(page, clone, path.name)
    answer(page, "a")  # as many do before they run anything: the browser keeps it
    lab.command("notebook:run-all-cells")
    lab.wait_for_python("[*test.answers]", "['a']")
    answer(page, "b")
    lab.wait_for_python("[*test.answers]", "['a', 'b']")
    save(lab, path)
    end_kernel(page)
    page.evaluate("() => localStorage.clear()")  # as in another browser
    opened(page, clone, path.name)
    page.locator(".dl-dot").last.click()
    assert "2 of 2 points at the first try" in page.locator("[data-part=score]").inner_text()


def answer(page: Any, item: str) -> None:
    page.locator(".dl-dot").nth("ab".index(item)).click()
    card = page.locator(f"section[data-part={item}]")
    card.get_by_role("textbox").fill("2")
    card.get_by_role("button", name="Check", exact=True).click()
    card.get_by_text("Right.").wait_for()
