"""A learner's own copies of the lessons, which no update of the course overwrites.

`lay` makes the copies that are missing, and renews those in which nobody has worked; a small record
among them says what was laid. A copy is not kept in step with any source, as the lessons
themselves are, and it is signed as trusted: so JupyterLab shows its stored widgets alive before a
cell is run.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import nbformat
from anywidget import AnyWidget
from jupyter_core.paths import jupyter_data_dir
from jupyter_core.utils import ensure_dir_exists
from nbformat.sign import NotebookNotary

from ..files import ASSETS, aside, checksum, locked, outlet, read_bytes, read_json, write_json
from ..page.standalone import STATE

CLONE = Path(__file__).parents[2]
"""The folder of the clone that the package is used from, if it is not installed apart from one."""

HIDDEN = ".diffusion-lessons"
"""The folder, among the copies, of what belongs to them and is no lesson."""

ANYWIDGET: str = AnyWidget._model_module_version.default_value
"""The version of anywidget that a widget of this environment asks for."""

Digests = dict[str, str]
"""Of one notebook: ``text``, of what is written in it; ``work``, of that and of what came out."""


def originals() -> Path:
    """The folder of the lessons themselves: in the installed package, or in the clone."""
    installed = ASSETS / "lessons"
    return installed if installed.is_dir() else CLONE / "notebooks"


def usual_folder() -> Path:
    """Where the copies lie if no folder is named: in a clone, one that git ignores."""
    parent = Path.cwd() if originals().is_relative_to(ASSETS) else CLONE
    return parent / "my-lessons"


def lessons(folder: Path) -> list[Path]:
    """The lessons in a folder, in order."""
    return sorted(folder.glob("[0-9]*.ipynb"))


def is_workshop(folder: Path) -> bool:
    """Whether lessons are written in this folder: each has its source, a ``.md``, beside it."""
    sources = [path.with_suffix(".md") for path in lessons(folder)]
    return bool(sources) and all(source.exists() for source in sources)


def named(words: Sequence[str]) -> list[str]:
    """The names of lessons by their numbers: ``3`` and ``03`` are ``03_ddim``, as is that name.

    Raises ValueError for a lesson that there is not.
    """
    known: dict[str, str] = {}
    numbers = []
    for path in lessons(originals()):
        number = path.stem.partition("_")[0]
        numbers.append(number)
        known |= dict.fromkeys((path.name, path.stem, number, str(int(number))), path.stem)
    for word in words:
        if word not in known:
            raise ValueError(f"there is no lesson {word!r}; there are {', '.join(numbers)}")
    return [known[word] for word in words]


def lay(folder: Path, again: Sequence[str] = (), fetch: str = "--again ") -> list[str]:
    """Bring the copies in a folder up to date; returns what there is to tell, a line each.

    A missing copy is made. One in which nobody has worked becomes the lesson as it is now. One in
    which somebody has stays, and a line says so if the lesson's text or code is another now:
    ``fetch`` and the lesson's number are what brings it. Lessons named in ``again`` are laid anew;
    a copy in which somebody has worked keeps another name. Work is whatever is saved in the cells,
    by typing or by running them. Raises ValueError where there are no lessons, OSError, in words,
    where a missing copy cannot be written.
    """
    sources = lessons(originals())
    if not sources:
        raise ValueError(f"there are no lessons in {originals()}: is the course whole?")
    missing = [folder / source.name for source in sources if not (folder / source.name).exists()]
    if missing:
        outlet(missing[0])  # makes the folder, or tells why it cannot
    kept = folder / HIDDEN / "laid.json"
    with locked(folder / HIDDEN):
        record = _read_record(kept)
        before, told, trusted = json.dumps(record), [], []
        for source in sources:
            copy, new = folder / source.name, for_learners(read_bytes(source))
            laid = record.get(source.stem, {})
            record[source.stem], lines = _bring(new, copy, laid, source.stem in again, fetch)
            told += lines
            if read_bytes(copy) == new:
                trusted.append(new)
        if json.dumps(record) != before:
            try:
                write_json(outlet(kept), {"laid": record}, indent=1)
            except OSError:
                if missing or again:
                    raise
    return told + _trust(trusted)


def for_learners(notebook: bytes) -> bytes:
    """A lesson as it is laid: JupyterLab opens it without looking for its source.

    Its stored widgets ask for the anywidget that is installed, for no other would draw them.
    """
    content = json.loads(notebook)
    content["metadata"].pop("jupytext", None)
    models = content["metadata"].get("widgets", {}).get(STATE, {"state": {}})["state"]
    for model in models.values():
        if model["model_module"] == "anywidget":
            model["model_module_version"] = ANYWIDGET
            asked = ("_model_module_version", "_view_module_version")
            model["state"] |= dict.fromkeys(asked, ANYWIDGET)
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


# ------------------------------------------------------------------ one copy


def _bring(
    new: bytes, copy: Path, laid: Digests, again: bool, fetch: str
) -> tuple[Digests, list[str]]:
    """Bring one copy up to date: what is laid in its place now, and what to tell."""
    fresh = _digests(new) | {"anywidget": ANYWIDGET}
    try:
        now = read_bytes(copy)
    except FileNotFoundError:
        _write(copy, new)
        return fresh, []
    there = _digests(now)
    same = there.get("work") == fresh["work"]
    worked_in = not same and (not there or there["work"] != laid.get("work"))
    if again:
        words = f"{copy.name} is laid anew"
        if worked_in:
            other = _free_name(copy)
            _write(other, now)
            words += f"; yours is {other.name} now"
        _write(copy, new)
        return fresh, [f"{words}."]
    if same and laid.get("anywidget", ANYWIDGET) == ANYWIDGET:
        return fresh, []
    if not worked_in:
        try:
            _write(copy, new)
        except OSError as error:
            return laid, [f"{copy.name} has changed in the course: {error}"]
        words = f"{copy.name} has changed in the course; you had not worked in it yet."
        return fresh, [] if same else [words]
    if fresh["text"] in (laid.get("text"), there.get("text")):
        return laid, []
    words = "has changed in the course since your copy was made; yours stays"
    if not laid:
        words = "is not as the course has it, and stays"
    number = copy.name.partition("_")[0]
    return laid, [f"{copy.name} {words}. The new one, and yours renamed: {fetch}{number}"]


def _write(path: Path, content: bytes) -> None:
    with aside(path) as unfinished:
        unfinished.write_bytes(content)


def _free_name(copy: Path) -> Path:
    """A name beside the copy that tells the day until which it was the learner's lesson."""
    for i in count(1):
        suffix = "" if i == 1 else f"_{i}"
        path = copy.with_name(f"{copy.stem}_kept_{date.today()}{suffix}.ipynb")
        if not path.exists() and not path.is_symlink():
            return path
    raise AssertionError


def _digests(notebook: bytes) -> Digests:
    """What tells two notebooks apart, however they were saved; nothing if this is no notebook.

    JupyterLab notes its kernel's version and the like in what it saves: that is nobody's work.
    """
    try:
        cells = json.loads(notebook)["cells"]
        text = [[cell["cell_type"], _joined(cell["source"])] for cell in cells]
        made = [
            [_joined(cell.get(key)) for key in ("outputs", "execution_count", "attachments")]
            for cell in cells
        ]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return {"text": checksum({"text": text}), "work": checksum({"text": text, "made": made})}


def _joined(value: Any) -> Any:
    """The value, its texts whole: a notebook may hold one as a list of lines."""
    if isinstance(value, dict):
        return {key: _joined(part) for key, part in value.items()}
    if isinstance(value, list):
        if all(isinstance(part, str) for part in value):
            return "".join(value)
        return [_joined(part) for part in value]
    return value


def _read_record(path: Path) -> dict[str, Digests]:
    """What was laid, by the lessons' names. One that is lost or damaged leaves every copy alone."""
    try:
        record = read_json(path)["laid"]
        return {name: dict(digests) for name, digests in record.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _trust(notebooks: Iterable[bytes]) -> list[str]:
    """Sign what was laid, as Jupyter does when it saves what its user has run."""
    try:
        folder = jupyter_data_dir()
        ensure_dir_exists(folder, mode=0o700)
        notary = NotebookNotary(data_dir=folder)
        for notebook in notebooks:
            notary.sign(nbformat.reads(notebook.decode(), as_version=4))
        notary.store.close()
    except Exception as error:  # whatever it is, the lessons open without
        return [f"The widgets are alive once you run their cells (not signed as trusted: {error})."]
    return []
