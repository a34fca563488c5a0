"""Build the book: python book/build.py [--out FOLDER]

Nothing is executed and nothing is fetched: the lessons' committed outputs and widget states become
web pages, the scripts they need lie in book/vendor. `myst.yml` says which pages there are.
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anywidget
import nbformat
import yaml
from sphinx.cmd.build import main as sphinx

from diffusion_lessons import widgets

HERE = Path(__file__).parent
ROOT = HERE.parent
LESSONS = "notebooks/"
STATE = "application/vnd.jupyter.widget-state+json"

# ------------------------------------------------------------------ the table of contents


def contents() -> dict[str, list[str]]:
    """The book's parts and their pages, in order, from myst.yml. The first page stands alone."""
    parts: dict[str, list[str]] = {"": []}
    for entry in yaml.safe_load((HERE / "myst.yml").read_text("utf-8"))["project"]["toc"]:
        if "title" not in entry:
            parts[""] += pages(entry)
            continue
        parts[entry["title"]] = [page for child in entry["children"] for page in pages(child)]
    return parts


def pages(entry: dict[str, str]) -> Iterator[str]:
    """The pages of one entry: a file, or a pattern for several."""
    if "file" in entry:
        yield entry["file"]
        return
    folder = ROOT if entry["pattern"].startswith(LESSONS) else HERE
    yield from sorted(str(path.relative_to(folder)) for path in folder.glob(entry["pattern"]))


# ------------------------------------------------------------------ the sources


def stage(source: Path) -> None:
    """Lay out the pages as the book has them. What has not changed keeps its date."""
    wanted: dict[Path, bytes] = {Path("myst.yml"): (HERE / "myst.yml").read_bytes()}
    parts = contents()
    lessons = [page for part in parts.values() for page in part if page.startswith(LESSONS)]
    for page in (page for part in parts.values() for page in part):
        if page == "notation.md":
            text = notation((ROOT / lessons[0]).with_suffix(".md").read_text("utf-8"))
            wanted[Path(page)] = text.encode()
        elif page.startswith(LESSONS):
            wanted[Path(page)] = with_todays_scripts((ROOT / page).read_text("utf-8"))
        else:
            wanted[Path(page)] = (HERE / page).read_bytes()
    wanted[Path("index.ipynb")] = landing(parts, lessons)
    wanted[Path("refs.bib")] = (HERE / "refs.bib").read_bytes()
    for image in (HERE / "images").iterdir():
        wanted[Path("images") / image.name] = image.read_bytes()

    for old in [path for path in source.rglob("*") if path.is_file()]:
        if old.relative_to(source) not in wanted:
            old.unlink()
    for name, content in wanted.items():
        path = source / name
        if path.exists() and path.read_bytes() == content:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def notation(lesson: str) -> str:
    """The notation table of lesson 00, as a page of its own."""
    (section,) = re.findall(r"^## Notation\n(.*?)^## ", lesson, re.MULTILINE | re.DOTALL)
    return f"# Notation\n{section}"


def landing(parts: dict[str, list[str]], lessons: list[str]) -> bytes:
    """The first page: its list of lessons, each with its question, and the table of contents."""
    page = nbformat.reads((HERE / "index.ipynb").read_text("utf-8"), as_version=4)
    rows = []
    for lesson in lessons:
        text = (ROOT / lesson).with_suffix(".md").read_text("utf-8")
        (title,) = re.findall(r"^# (.*)", text, re.MULTILINE)[:1]
        (question,) = re.findall(r"^\*\*The question:\*\* (.*)", text, re.MULTILINE)
        question = question[0].upper() + question[1:]
        rows.append(f"[**{title}**]({lesson})\n: {question}\n")
    trees = [
        f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(files) + "\n```\n"
        for title, files in parts.items()
        if title
    ]
    (place,) = (cell for cell in page.cells if "<!-- lessons -->" in cell.source)
    place.source = place.source.replace("<!-- lessons -->", "\n".join(rows)) + "\n\n"
    place.source += "\n".join(trees)
    return with_todays_scripts(nbformat.writes(page))


def with_todays_scripts(notebook: str) -> bytes:
    """The notebook, its stored widgets drawn by the scripts and styles of the package as it is.

    A notebook carries the ones of the day it was executed; a widget mended since is mended here.
    """
    content = json.loads(notebook)
    stored = content["metadata"].get("widgets", {}).get(STATE, {"state": {}})["state"]
    for model in stored.values():
        if name := model["state"].get("_anywidget_id"):
            widget = getattr(widgets, name.rpartition(".")[2])
            model["state"] |= {"_esm": widget._esm, "_css": widget._css}
    return json.dumps(content, ensure_ascii=False).encode()


# ------------------------------------------------------------------ the scripts


def checked_vendor() -> None:
    """Refuse to build from scripts that are not the published ones."""
    for line in (HERE / "vendor" / "SHA256SUMS").read_text().splitlines():
        wanted, name = line.split(maxsplit=1)
        found = hashlib.sha256((HERE / "vendor" / name).read_bytes()).hexdigest()
        if found != wanted:
            raise ValueError(f"book/vendor/{name} is damaged: restore it with git checkout")


def stage_scripts(target: Path) -> None:
    """The folder that becomes ``_static/``: ours, the vendored scripts, anywidget's own."""
    checked_vendor()
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(HERE / "static", target)
    shutil.copytree(HERE / "vendor", target, dirs_exist_ok=True)
    widgets = target / "widgets"
    # ipywidgets' style sheets look for their fonts in both places.
    for folder in ["@jupyter-widgets", "@jupyter-widgets/html-manager/dist"]:
        shutil.copytree(widgets / "fonts", widgets / folder, dirs_exist_ok=True)
    shutil.rmtree(widgets / "fonts")
    # From the installed package, since the stored state is written for the same version.
    package = Path(anywidget.__file__).parent
    shutil.copy(package / "nbextension" / "index.js", widgets / "anywidget.js")
    (licence,) = package.parent.glob("anywidget-*.dist-info/licenses/LICENSE")
    shutil.copy(licence, widgets / "anywidget.js.LICENSE.txt")


def build(out: Path) -> int:
    """Build into ``out/html``; returns Sphinx's exit status, 0 if there was not one warning."""
    stage(out / "source")
    stage_scripts(out / "static")
    folders: list[Any] = [out / "source", out / "html"]
    options: list[Any] = ["-b", "html", "-c", HERE, "-d", out / "doctrees", "-q"]
    options += ["-D", f"html_static_path={out / 'static'}"]
    return sphinx([str(word) for word in [*options, "-W", "--keep-going", *folders]])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "_build", help="default: book/_build")
    status = build(parser.parse_args().out.resolve())
    if not status:
        print(f"{parser.parse_args().out / 'html' / 'index.html'}")
    sys.exit(status)
