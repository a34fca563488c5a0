"""A learner's copies: brought up to date, and never at the cost of what somebody did in them."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from nbformat.sign import NotebookNotary

from diffusion_lessons import cli
from diffusion_lessons.course import copies
from diffusion_lessons.course.copies import lay, named

ROOT = Path(__file__).parent.parent
NAMES = ["00_start", "01_forward", "02_ddpm"]
STAYS = "has changed in the course since your copy was made; yours stays"


def notebook(text: str, made: str = "1", count: int = 1) -> nbformat.NotebookNode:
    """A lesson with a line of text, a cell and what came out of it."""
    out = nbformat.v4.new_output("stream", text=f"{made}\n")
    cells = [
        nbformat.v4.new_markdown_cell(f"# A lesson\n\n{text}"),
        nbformat.v4.new_code_cell("print(1)", outputs=[out], execution_count=count),
    ]
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i}"
    pairing = {"jupytext": {"formats": "ipynb,md:myst"}, "lesson": {"question": "?"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=pairing)


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a course of three lessons, with their sources; and a home of its own."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in NAMES:
        nbformat.write(notebook("first"), folder / f"{name}.ipynb")
        (folder / f"{name}.md").write_text("the source")
    (folder / "execute.py").write_text("")
    monkeypatch.setattr(copies, "originals", lambda: folder)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return tmp_path / "mine"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != copies.HIDDEN)


def every(*more: str) -> list[str]:
    return sorted([*(f"{name}.ipynb" for name in NAMES), *more])


def update(course: Path, name: str = "01_forward", **what: Any) -> None:
    """The course has another lesson of this name now."""
    nbformat.write(notebook(**({"text": "second"} | what)), course / f"{name}.ipynb")


def open_and_save(path: Path) -> None:
    """What JupyterLab writes when nothing was done: its kernel's language, in its own layout."""
    content = nbformat.read(path, as_version=4)
    content.metadata["language_info"] = {"name": "python", "version": "3.99"}
    content.cells[1].metadata["trusted"] = True
    path.write_text(json.dumps(content, indent=4))


def write(path: Path, text: str = "mine") -> bytes:
    content = nbformat.read(path, as_version=4)
    content.cells.append(nbformat.v4.new_markdown_cell(text))
    nbformat.write(content, path)
    return path.read_bytes()


def text_of(path: Path) -> str:
    return str(nbformat.read(path, as_version=4).cells[0].source)


def trusted(path: Path, tmp_path: Path) -> bool:
    notary = NotebookNotary(data_dir=str(tmp_path / "jupyter"))
    return bool(notary.check_signature(nbformat.read(path, as_version=4)))


# ------------------------------------------------------------------ what is laid


def test_copies_are_lessons_and_nothing_else(course: Path, mine: Path, tmp_path: Path):
    assert lay(mine) == []
    assert files(mine) == every()
    for name in NAMES:
        copy, original = (nbformat.read(f / f"{name}.ipynb", as_version=4) for f in (mine, course))
        nbformat.validate(copy)
        assert copy.cells == original.cells
        assert copy.metadata == {"lesson": {"question": "?"}}  # no pairing
        assert trusted(mine / f"{name}.ipynb", tmp_path)
        assert not trusted(course / f"{name}.ipynb", tmp_path)
    laid = {path: path.stat() for path in mine.iterdir()}
    assert lay(mine) == []
    assert {path: path.stat() for path in mine.iterdir()} == laid


def test_the_courses_own_lessons_can_be_laid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    originals = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    assert lay(tmp_path / "mine") == []
    assert files(tmp_path / "mine") == [path.name for path in originals]
    for path in originals:
        copy, original = (nbformat.read(f / path.name, 4) for f in (tmp_path / "mine", path.parent))
        assert copy.cells == original.cells
        states, stored = (n.metadata.widgets[STATE]["state"] for n in (copy, original))
        assert states.keys() == stored.keys()
        assert "jupytext" not in copy.metadata
        assert trusted(tmp_path / "mine" / path.name, tmp_path)


def test_stored_widgets_ask_for_the_anywidget_that_is_installed(
    course: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
):
    lesson = notebook("first")

    def states(version: str) -> dict[str, Any]:
        asked = dict.fromkeys(("_model_module_version", "_view_module_version"), version)
        one = {"model_module": "anywidget", "model_module_version": version, "state": asked}
        base = {"model_module": "@jupyter-widgets/base", "model_module_version": "2.0.0"}
        return {"a": one, "b": base | {"state": {"t": 3}}}

    lesson.metadata["widgets"] = {STATE: {"state": states("~0.5.*"), "version_major": 2}}
    nbformat.write(lesson, course / "00_start.ipynb")
    lay(mine)
    for version in (copies.ANYWIDGET, "~9.1.*"):  # which is another one from now on
        monkeypatch.setattr(copies, "ANYWIDGET", version)
        assert lay(mine) == []
        content = nbformat.read(mine / "00_start.ipynb", as_version=4)
        assert content.metadata.widgets[STATE]["state"] == states(version)
    saved = write(mine / "00_start.ipynb")
    monkeypatch.setattr(copies, "ANYWIDGET", "~9.2.*")
    assert lay(mine) == []
    assert (mine / "00_start.ipynb").read_bytes() == saved


def test_what_cannot_be_signed_is_laid_all_the_same(
    course: Path, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "file" / "jupyter"))
    (line,) = lay(mine)
    assert line.startswith("The widgets are alive once you run their cells (not signed as trusted")
    assert files(mine) == every()


# ------------------------------------------------------------------ updates


def test_an_update_brings_what_is_new(course: Path, mine: Path, tmp_path: Path):
    lay(mine)
    update(course)
    update(course, "03_ddim")
    (mine / "00_start.ipynb").unlink()
    assert lay(mine) == [
        "01_forward.ipynb has changed in the course; you had not worked in it yet."
    ]
    assert files(mine) == every("03_ddim.ipynb")
    assert "second" in text_of(mine / "01_forward.ipynb")
    assert trusted(mine / "01_forward.ipynb", tmp_path)
    assert lay(mine) == []


def test_what_was_only_opened_and_saved_is_renewed(course: Path, mine: Path):
    lay(mine)
    copy = mine / "01_forward.ipynb"
    open_and_save(copy)
    as_saved = copy.read_bytes()
    assert lay(mine) == []
    assert copy.read_bytes() == as_saved  # there is nothing new
    update(course)
    assert len(lay(mine)) == 1
    assert "second" in text_of(copy)


@pytest.mark.parametrize("work", ["typed", "run", "counted", "attached", "no notebook", "empty"])
def test_what_somebody_worked_in_stays(course: Path, mine: Path, work: str):
    lay(mine)
    copy = mine / "01_forward.ipynb"
    content = nbformat.read(copy, as_version=4)
    if work == "typed":
        content.cells[1].source = "print(2)"
    elif work == "run":
        content.cells[1].outputs[0].text = "2\n"
    elif work == "counted":
        content.cells[1].execution_count = 7
    elif work == "attached":
        content.cells[0]["attachments"] = {"a.png": {"image/png": "AAAA"}}
    nbformat.write(content, copy)
    if work in ("no notebook", "empty"):
        copy.write_text("{'my notes':" if work == "no notebook" else "")
    saved = copy.read_bytes()
    assert lay(mine) == []
    update(course)
    for _ in range(2):  # it is told at each start
        (line,) = lay(mine, fetch="make lab AGAIN=")
        assert line.startswith(f"01_forward.ipynb {STAYS}")
        assert line.endswith(": make lab AGAIN=01")
        assert copy.read_bytes() == saved
    assert files(mine) == every()


def test_a_lesson_that_was_only_executed_again_is_no_news_to_who_worked_in_it(
    course: Path, mine: Path
):
    lay(mine)
    saved = write(mine / "01_forward.ipynb")
    update(course, text="first", made="0.99")
    assert lay(mine) == []
    assert (mine / "01_forward.ipynb").read_bytes() == saved


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"laid": 3}', '{"laid": {"a": 3}}'])
def test_without_its_record_nothing_is_overwritten(course: Path, mine: Path, record: str | None):
    lay(mine)
    saved = write(mine / "00_start.ipynb")
    path = mine / copies.HIDDEN / "laid.json"
    path.unlink() if record is None else path.write_text(record)
    update(course, "01_forward")
    odd = "is not as the course has it, and stays. The new one, and yours renamed: --again "
    names = NAMES[:2]  # what nobody worked in cannot be told from what somebody did
    told = [f"{name}.ipynb {odd}{name[:2]}" for name in names]
    assert lay(mine) == told
    assert (mine / "00_start.ipynb").read_bytes() == saved
    assert "first" in text_of(mine / "01_forward.ipynb")
    update(course, "02_ddpm")  # which was found to be the course's own
    news = "02_ddpm.ipynb has changed in the course; you had not worked in it yet."
    assert lay(mine) == [*told, news]


# ------------------------------------------------------------------ a fresh copy


def test_a_fresh_copy_leaves_the_old_one_under_another_name(course: Path, mine: Path):
    lay(mine)
    copy, kept = mine / "01_forward.ipynb", []
    for i in range(3):
        saved = write(copy, f"attempt {i}")
        (line,) = lay(mine, ["01_forward"])
        assert line.startswith("01_forward.ipynb is laid anew; yours is 01_forward_kept_20")
        kept.append(line.split("; yours is ")[1].removesuffix(" now."))
        assert (mine / kept[-1]).read_bytes() == saved
        assert nbformat.read(copy, as_version=4).cells == notebook("first").cells
    assert files(mine) == every(*kept)
    assert len({*kept}) == 3
    assert lay(mine, ["01_forward"]) == ["01_forward.ipynb is laid anew."]  # nothing to keep
    assert files(mine) == every(*kept)


def test_a_fresh_copy_is_the_news(course: Path, mine: Path, tmp_path: Path):
    lay(mine)
    write(mine / "01_forward.ipynb")
    update(course)
    assert STAYS in lay(mine)[0]
    lay(mine, ["01_forward"])
    assert "second" in text_of(mine / "01_forward.ipynb")
    assert trusted(mine / "01_forward.ipynb", tmp_path)
    assert lay(mine) == []


def test_lessons_are_named_by_their_numbers(course: Path):
    for word in ["1", "01", "01_forward", "01_forward.ipynb"]:
        assert named([word]) == ["01_forward"]
    assert named(["2", "00"]) == ["02_ddpm", "00_start"]
    for word in ["3", "-1", "", "x", "forward", "01_", "1.5", "../01_forward", "\u0661"]:
        with pytest.raises(ValueError, match=r"there is no lesson '.*'; there are 00, 01, 02"):
            named([word])


# ------------------------------------------------------------------ odd places


def test_a_folder_that_is_a_file_is_told(course: Path, mine: Path):
    mine.write_text("")
    with pytest.raises(OSError, match=r"00_start.ipynb could not be written .*is a file, not a"):
        lay(mine)


def test_links_are_followed_and_lose_nothing(course: Path, mine: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mine.symlink_to(elsewhere)
    lay(mine)
    assert mine.is_symlink()
    copy, target = mine / "01_forward.ipynb", tmp_path / "on-a-stick.ipynb"
    saved = write(copy)
    copy.rename(target)
    copy.symlink_to(target)
    (line,) = lay(mine, ["01_forward"])
    assert (mine / line.split()[-2]).read_bytes() == saved
    assert copy.is_symlink()
    target.unlink()
    lay(mine)
    assert text_of(target) == text_of(mine / "00_start.ipynb")


def test_a_course_without_lessons_is_told(course: Path, mine: Path):
    for path in course.iterdir():
        path.unlink()
    with pytest.raises(
        ValueError, match=r"there are no lessons in .*notebooks: is the course whole"
    ):
        lay(mine)
    assert not mine.exists()


LAY = """
import sys
from pathlib import Path
from diffusion_lessons.course import copies
copies.originals = lambda: Path(sys.argv[1])
print(*copies.lay(Path(sys.argv[2]), sys.argv[3:]), sep="\\n")
"""


def laying(course: Path, mine: Path, *again: str, bound: list[str] = []) -> list[str]:  # noqa: B006
    return [*bound, sys.executable, "-c", LAY, str(course), str(mine), *again]


def here() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_told_unless_all_is_there(
    course: Path, mine: Path, bound: list[str]
):
    mine.mkdir()
    command = laying(course, mine, bound=bound)
    for whole in (False, True):
        if whole:
            lay(mine)
        mine.chmod(0o555)
        done = subprocess.run(command, env=here(), capture_output=True, text=True, timeout=100)
        mine.chmod(0o755)
        assert (done.returncode == 0) == whole, done.stderr
        assert whole or "00_start.ipynb could not be written (Permission denied)" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_several_at_once_lay_one_set(course: Path, mine: Path, again: bool):
    if again:
        lay(mine)
        saved = write(mine / "01_forward.ipynb")
    command = laying(course, mine, *["01_forward"] * again)
    runs = [
        subprocess.Popen(command, env=here(), stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    told = [run.communicate(timeout=200)[0].split() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    kept = [words[-2] for words in told if "yours" in words]
    assert len(kept) == again  # of one only: to the others it was laid anew already
    assert [(mine / name).read_bytes() for name in kept] == ([saved] if again else [])
    assert files(mine) == every(*kept)
    for name in NAMES:
        assert nbformat.read(mine / f"{name}.ipynb", 4).cells == notebook("first").cells
    assert lay(mine) == []


class Killed(BaseException):
    """Nothing after this happens, as when the process is killed."""


# The lesson that is new, the kept copy, the fresh one, the record.
@pytest.mark.parametrize("done", range(4))
def test_whoever_is_killed_leaves_whole_files_and_all_work(
    course: Path, mine: Path, monkeypatch: pytest.MonkeyPatch, done: int
):
    lay(mine)
    saved = write(mine / "01_forward.ipynb")
    update(course, "00_start")
    replace, moves = os.replace, iter(range(done))

    def move(*paths: Any) -> None:
        if next(moves, None) is None:
            raise Killed
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", move)
        with pytest.raises(Killed):
            lay(mine, ["01_forward"])
    for path in mine.glob("*.ipynb"):
        nbformat.validate(nbformat.read(path, as_version=4))
    assert saved in [path.read_bytes() for path in mine.glob("01_*")]
    lay(mine)
    assert "second" in text_of(mine / "00_start.ipynb")
    lay(mine, ["01_forward"])
    assert nbformat.read(mine / "01_forward.ipynb", 4).cells == notebook("first").cells
    assert saved in [path.read_bytes() for path in mine.glob("01_forward_kept_*")]


# ------------------------------------------------------------------ the command


@pytest.fixture
def started(course: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs ``lab`` with these words; what would become of the process, or its exit status."""

    def lab(*words: str) -> Any:
        found: list[Any] = []
        with monkeypatch.context() as patch:
            patch.setenv("JUPYTER_CONFIG_PATH", "/mine")
            patch.setattr("os.execv", lambda path, command: found.append((command, {**os.environ})))
            status = cli.main(["lab", "--port", "8765", *words])
        return SimpleNamespace(command=found[0][0], env=found[0][1]) if found else status

    return lab


def test_lab_opens_the_copies_at_the_first_lesson(
    started: Callable[..., Any], mine: Path, capsys: pytest.CaptureFixture[str]
):
    for words in ([], ["--again", "2"]):
        lab = started("--folder", str(mine), *words)
        assert f"--ServerApp.root_dir={mine}" in lab.command
        first = "02_ddpm" if words else "00_start"
        assert f"--LabApp.default_url=/lab/tree/{first}.ipynb" in lab.command
        assert f"--LabApp.workspaces_dir={mine / copies.HIDDEN / 'workspaces'}" in lab.command
        ours, others = lab.env["JUPYTER_CONFIG_PATH"].split(os.pathsep)
        assert others == "/mine"
        assert (Path(ours) / "labconfig" / "default_setting_overrides.json").exists()
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == (
        f"Your copies of the lessons are in {mine}; what you do in them is yours, and no update "
        "overwrites it"
    )
    assert second == f"Your copies of the lessons are in {mine}"
    assert third == "02_ddpm.ipynb is laid anew."


def test_lab_says_by_which_command_the_news_comes(
    started: Callable[..., Any],
    course: Path,
    mine: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("MAKELEVEL", raising=False)
    monkeypatch.setattr(copies, "usual_folder", lambda: mine)
    lay(mine)
    write(mine / "01_forward.ipynb")
    update(course)
    assert started("--no-server") == 0
    assert started("--no-server", "--folder", str(mine)) == 0
    monkeypatch.setenv("MAKELEVEL", "1")
    assert started("--no-server") == 0
    ends = [line.split(": ")[1] for line in capsys.readouterr().out.splitlines() if STAYS in line]
    assert ends == [
        "diffusion-lessons lab --again 01",
        f"diffusion-lessons lab --folder {mine} --again 01",
        "make lab AGAIN=01",
    ]


def test_the_lessons_own_folder_is_opened_as_it_is(
    started: Callable[..., Any], course: Path, capsys: pytest.CaptureFixture[str]
):
    before = files(course)
    lab = started("--folder", str(course))
    assert f"--ServerApp.root_dir={course}" in lab.command
    assert not [word for word in lab.command if "workspaces_dir" in word]
    assert files(course) == before
    assert capsys.readouterr().out == ""
    assert started("--folder", str(course), "--again", "1") == 2
    assert "holds the lessons themselves; --again is for copies" in capsys.readouterr().err


def test_what_is_wrong_is_told_in_one_line(
    started: Callable[..., Any], mine: Path, capsys: pytest.CaptureFixture[str]
):
    assert started("--folder", str(mine), "--again", "12") == 2
    error = capsys.readouterr().err
    assert error == "diffusion-lessons: there is no lesson '12'; there are 00, 01, 02\n"
    assert not mine.exists()
    mine.write_text("")
    assert started("--folder", str(mine)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "could not be written" in line
    assert line.endswith("; another place is named by: diffusion-lessons lab --folder FOLDER")


@pytest.mark.parametrize("folder", ["\0", "x" * 300, "/dev/null/x", "/proc/x"])
def test_a_folder_that_cannot_be_is_told_in_one_line(
    started: Callable[..., Any], folder: str, capsys: pytest.CaptureFixture[str]
):
    assert started("--folder", folder) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("diffusion-lessons: ")


def test_a_clone_has_its_copies_inside_where_git_ignores_them():
    assert copies.originals() == ROOT / "notebooks"
    assert copies.usual_folder() == ROOT / "my-lessons"
    assert "my-lessons/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.slow
def test_without_a_home_jupyters_own_files_go_beside_the_copies(tmp_path: Path, bound: list[str]):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o555)
    env = {k: v for k, v in here().items() if not k.startswith(("JUPYTER", "XDG", "IPYTHON"))}
    env["HOME"] = str(home)
    command = [*bound, sys.executable, "-m", "diffusion_lessons", "lab", "--no-server", "--folder"]

    def lab(folder: Path) -> subprocess.CompletedProcess[str]:
        words = [*command, str(folder)]
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=100)

    mine = tmp_path / "mine"
    done = lab(mine)
    assert done.returncode == 0, done.stderr
    place = mine / copies.HIDDEN
    first = done.stdout.splitlines()[0]
    assert first == f"Your home cannot be written: Jupyter's own files go to {place}"
    notary = NotebookNotary(data_dir=str(place / "jupyter-data"))
    assert notary.check_signature(nbformat.read(mine / "00_start.ipynb", as_version=4))
    refused = lab(home / "mine")
    assert refused.returncode == 2
    assert refused.stderr.startswith("diffusion-lessons: neither your home nor ")
    home.chmod(0o755)


# ------------------------------------------------------------------ what JupyterLab saves

CONFIG = ROOT / "diffusion_lessons" / "assets" / "jupyter" / "jupyter_server_config.py"
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Saves a notebook of these outputs and states as the server does; what stands in the file."""
    config = SimpleNamespace(ContentsManager=SimpleNamespace())
    runpy.run_path(str(CONFIG), {"get_config": lambda: config})
    manager = SimpleNamespace(root_dir=str(tmp_path))

    def saved(shown: list[str], states: dict[str, Any]) -> dict[str, Any]:
        outputs = [{"data": {VIEW: {"model_id": name}}} for name in shown]
        content = {
            "cells": [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": outputs}],
            "metadata": {"widgets": {STATE: {"state": states}}} if states else {},
        }
        model = {"type": "notebook", "content": content}
        hook = config.ContentsManager.pre_save_hook
        hook(model=model, path="/a.ipynb", contents_manager=manager)
        (tmp_path / "a.ipynb").write_text(json.dumps(content))
        found = content["metadata"].get("widgets", {STATE: {"state": {}}})
        return dict(found[STATE]["state"])

    return saved


def test_saving_keeps_the_widgets_that_are_shown(save: Callable[..., dict[str, Any]]):
    kit = {"state": {"files": "k"}}
    old = {"state": {"t": 1, "_kit": "IPY_MODEL_kit", "layout": "IPY_MODEL_l"}}
    assert save(["a", "b"], {"a": old, "b": {}, "kit": kit, "l": {}, "odd": {}}) == {
        "a": old,
        "b": {},
        "kit": kit,
        "l": {},
    }
    # A cell was run: of the others JupyterLab tells nothing.
    new = {"state": {"t": 2, "_kit": "IPY_MODEL_kit2"}}
    assert save(["a", "c"], {"c": new, "kit2": kit}) == {
        "a": old,
        "kit": kit,
        "l": {},
        "c": new,
        "kit2": kit,
    }
    assert save(["a"], {"a": new, "kit2": kit}) == {"a": new, "kit2": kit}  # the newer one
    assert save(["gone"], {}) == {}
    assert save([], {"x": {}}) == {"x": {}}  # shown nowhere, and not ours to judge


def test_only_notebooks_are_looked_at(save: Callable[..., dict[str, Any]]):
    config = SimpleNamespace(ContentsManager=SimpleNamespace())
    runpy.run_path(str(CONFIG), {"get_config": lambda: config})
    for model in ({"type": "file", "content": "x"}, {"type": "notebook"}):
        before = json.dumps(model)
        config.ContentsManager.pre_save_hook(model=model, path="a", contents_manager=None)
        assert json.dumps(model) == before
