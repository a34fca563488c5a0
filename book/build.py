"""Build the book: python book/build.py [--out FOLDER]

Nothing is executed and nothing is fetched: the lessons' committed outputs and widget states become
web pages, the scripts they need lie in book/vendor. `myst.yml` says which pages there are.
"""

import argparse
import base64
import gzip
import hashlib
import json
import os
import re
import shutil
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import yaml
from ipywidgets import Widget
from sphinx.cmd.build import main as sphinx

from diffusion_lessons.course.lessons import read_lesson
from diffusion_lessons.files import aside, expanded, outlet
from diffusion_lessons.page import engine, standalone, widgets
from diffusion_lessons.page.kit import Explorer, Kit
from diffusion_lessons.page.standalone import STATE, VIEW

HERE = Path(__file__).parent
ROOT = HERE.parent
LESSONS = "notebooks/"
LABS: dict[str, type[Explorer]] = {"lab.md": widgets.DigitLab, "plane.md": widgets.PlaneLab}
"""Pages that are one widget, and a few words."""
TO_THE_BOOK = "](../book/"
"""How a link of a lesson to one of the book's own pages begins, where the lesson is edited."""
TO_A_LESSON = f"](../{LESSONS}"
"""How a link of one of these pages to a lesson begins there."""
MARK = ".book"  # a file in the folder of a book, which may be overwritten by the next
KIT = "diffusion-lessons-kit"  # the id of the kit's model on every page

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


def every_page() -> list[str]:
    """The pages of all parts, in order."""
    return [page for part in contents().values() for page in part]


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
    parts = contents()
    every = every_page()
    lessons = [page for page in every if page.startswith(LESSONS)]
    labs = {str(Path(page).with_suffix(".ipynb")): page for page in LABS}
    taken: Counter[str] = Counter()  # names of embedded pages

    def content(page: str) -> bytes:
        return with_embed_names(text_of(page), taken) if page.endswith(".ipynb") else text_of(page)

    def text_of(page: str) -> bytes:
        if page in labs:
            return lab_page(labs[page])
        if page == "index.ipynb":
            return landing(parts, lessons)
        if page in lessons:
            lesson = (ROOT / page).read_text("utf-8").replace(TO_THE_BOOK, "](../")
            return with_todays_scripts(with_its_source(lesson))
        if page.endswith(".md") and "/" not in page:
            return in_the_book((HERE / page).read_text("utf-8")).encode()
        return (HERE / page).read_bytes()

    # The first page comes last: its player is named after the lessons' own.
    others = [*images(every), "refs.bib", "myst.yml"]
    order = sorted([*every, *others], key=lambda page: page == "index.ipynb")
    wanted = {source / page: content(page) for page in order}
    for old in [path for path in source.rglob("*") if path.is_file()]:
        if old not in wanted:
            old.unlink()
    for path, text in wanted.items():
        if path.exists() and path.read_bytes() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside(path) as unfinished:
            unfinished.write_bytes(text)


def images(pages: list[str]) -> list[str]:
    """The pictures that the book's own pages show."""
    texts = [(HERE / page).read_text("utf-8") for page in pages if page.endswith(".md")]
    return sorted({name for text in texts for name in re.findall(r"\]\((images/[^)]+)\)", text)})


def in_the_book(text: str) -> str:
    """A page of this folder as the book has it.

    In the repository its links lead to lessons and files that lie beside the folder. The book has
    the lessons; to the files it links where they are published, or else only names them.
    """
    text = text.replace(TO_A_LESSON, f"]({LESSONS}")
    place = rf"[\1]({github()}/blob/HEAD/\2)" if github() else r"\1"
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", place, text)


def lab_page(source: str) -> bytes:
    """A page that is one widget, between the words of its Markdown file."""
    before, after = in_the_book((HERE / source).read_text("utf-8")).split("<!-- lab -->")
    widget = LABS[source]()
    bundle = widget._repr_mimebundle_()
    assert bundle is not None
    code = f"from diffusion_lessons.page.widgets import {type(widget).__name__}\n\n"
    cell = nbformat.v4.new_code_cell(f"{code}{type(widget).__name__}()")
    cell.metadata["tags"] = ["hide-input"]
    cell.outputs = [nbformat.v4.new_output("display_data", bundle[0])]
    words = [nbformat.v4.new_markdown_cell(text.strip()) for text in (before, after)]
    page = nbformat.v4.new_notebook(cells=[words[0], cell, words[1]])
    page.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    page.metadata["widgets"] = {STATE: Widget.get_manager_state(widgets=[widget, widget._kit])}
    return with_todays_scripts(nbformat.writes(page))


def with_embed_names(notebook: bytes, taken: Counter[str]) -> bytes:
    """The notebook, each of its widgets' outputs with the name of the page that shows it alone.

    That is the widget's class, and a number from the second of its kind on.
    """
    content = json.loads(notebook)
    models = content["metadata"].get("widgets", {}).get(STATE, {"state": {}})["state"]
    for cell in content["cells"]:
        for output in cell.get("outputs", []):
            model = models.get(output.get("data", {}).get(VIEW, {}).get("model_id"))
            if model is None or "_anywidget_id" not in model["state"]:
                continue
            kind = model["state"]["_anywidget_id"].rpartition(".")[2]
            taken[kind] += 1
            output["metadata"]["embed"] = kind + (f"-{taken[kind]}" if taken[kind] > 1 else "")
    return json.dumps(content, ensure_ascii=False).encode()


def write_embeds(source: Path, target: Path) -> None:
    """Each widget of the book as a page of its own, which other sites can show in a frame."""
    target.mkdir(parents=True, exist_ok=True)
    for notebook in source.rglob("*.ipynb"):
        content = json.loads(notebook.read_text("utf-8"))
        models = content["metadata"].get("widgets", {}).get(STATE, {"state": {}})["state"]
        for output in (o for cell in content["cells"] for o in cell.get("outputs", [])):
            if name := output.get("metadata", {}).get("embed"):
                data = output["data"]
                png = base64.b64decode("".join(data["image/png"]))
                shown = data[VIEW]["model_id"]
                kind = name.partition("-")[0]
                title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).capitalize()
                page = standalone.page_of(models, shown, title, png, "../_static/engine/")
                (target / f"{name}.html").write_text(page, "utf-8")


def landing(parts: dict[str, list[str]], lessons: list[str]) -> bytes:
    """The first page: its list of lessons, each with its question, and the table of contents."""
    page = nbformat.reads((HERE / "index.ipynb").read_text("utf-8"), as_version=4)
    rows = []
    for lesson in lessons:
        facts = read_lesson((ROOT / lesson).with_suffix(".md"))
        rows.append(f"[**{facts.title}**]({lesson})\n: {facts.question}\n")
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
    One stored in the form of an earlier version, its scripts unpacked, keeps the scripts that know
    that form.
    """
    content = json.loads(notebook)
    models = content["metadata"].get("widgets", {}).get(STATE, {"state": {}})["state"]
    states = [model["state"] for model in models.values() if "_anywidget_id" in model["state"]]
    shown = [state for state in states if isinstance(state.get("_files"), str)]
    if shown:
        for state in shown:
            models.pop(state["_kit"].removeprefix("IPY_MODEL_"), None)
            state |= scripts_of(state["_anywidget_id"])
        (models[KIT],) = Widget.get_manager_state(widgets=[Kit()])["state"].values()
    return json.dumps(content, ensure_ascii=False).encode()


# What each lesson says of the package it needs, for who has its file alone.
IN_A_FOLDER = "`pip install -e .` in the course's folder"


def with_its_source(notebook: str) -> str:
    """The lesson, with the address of the package where one is known."""
    if not (repository := github()):
        return notebook
    return notebook.replace(IN_A_FOLDER, f"`pip install git+{repository}`")


def github() -> str:
    """Where the course is published on GitHub; empty if that is not said."""
    repository = os.environ.get("BOOK_REPOSITORY", "").removesuffix("/")
    return repository if urlsplit(repository).hostname == "github.com" else ""


def unsaved(page: str) -> int:
    """How many of a notebook's widgets were saved without their state.

    JupyterLab does so when its notebook was run in it and saved, unless a setting tells it to.
    """
    notebook = json.loads((ROOT / page).read_text("utf-8"))
    models = notebook["metadata"].get("widgets", {}).get(STATE, {"state": {}})["state"]
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    views = [output["data"][VIEW] for output in outputs if VIEW in output.get("data", {})]
    return sum(view["model_id"] not in models for view in views)


def tell_unsaved(pages: list[str]) -> None:
    """Name the notebooks whose widgets the book can only show as pictures."""
    for page in pages:
        if count := unsaved(page):
            print(
                f"{page}: {count} of its widgets were saved without their state, and the book "
                f"shows stored pictures of them. make notebooks LESSONS={Path(page).stem} makes "
                "them anew.",
                file=sys.stderr,
            )


def scripts_of(anywidget_id: str) -> dict[str, Any]:
    """What a widget's state says about the scripts that draw it; the id ends in its class."""
    widget = getattr(widgets, anywidget_id.rpartition(".")[2])
    return {
        "_esm": widget._esm,
        "_files": widget._files.default(),
        "_kit": f"IPY_MODEL_{KIT}",
    }


# ------------------------------------------------------------------ Colab

# Colab has the rest: with it, pip would exchange parts that the page itself runs on.
INSTALL = """\
#@title In Colab, run this first: it installs the course
import sys

if "google.colab" in sys.modules:
    from google.colab import output

    %pip install -q anywidget
    %pip install -q --no-deps git+{repository}
    output.enable_custom_widget_manager()"""


def stage_colab(target: Path, repository: str) -> None:
    """The lessons with an install cell in front, and a page with a badge for each.

    Colab opens what lies in a repository: the workflow publishes this folder as its branch
    ``colab``. So the lessons themselves need no such cell. Until that cell is run, Colab has only a
    notice where a stored widget would be: without its view the stored picture is shown.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    place = f"https://colab.research.google.com/github{urlsplit(repository).path}/blob/colab"
    badges = ["# The lessons, for Colab\n"]
    for lesson in sorted((ROOT / LESSONS).glob("[0-9]*.ipynb")):
        text = lesson.read_text("utf-8").replace(TO_THE_BOOK, f"]({repository}/blob/HEAD/book/")
        notebook = nbformat.reads(text, as_version=4)
        notebook.metadata.pop("widgets", None)
        for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
            output.get("data", {}).pop(VIEW, None)
        cell = nbformat.v4.new_code_cell(INSTALL.format(repository=repository), id="install")
        cell.metadata["cellView"] = "form"  # the title alone is shown
        notebook.cells.insert(0, cell)
        nbformat.write(notebook, target / lesson.name)
        title = read_lesson(lesson.with_suffix(".md")).title
        image = "https://colab.research.google.com/assets/colab-badge.svg"
        badges.append(f"- [![Open in Colab]({image})]({place}/{lesson.name}) {title}")
    (target / "README.md").write_text("\n".join(badges) + "\n", "utf-8")


# ------------------------------------------------------------------ the scripts


def unpack_vendor(target: Path) -> None:
    """The scripts of others, decompressed; refuses those that are not the published ones."""
    vendor = HERE / "vendor"
    shutil.copytree(vendor, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.gz"))
    for line in (vendor / "SHA256SUMS").read_text().splitlines():
        wanted, name = line.split()
        packed = vendor / f"{name}.gz"
        try:
            if packed.exists():
                (target / name).write_bytes(gzip.decompress(packed.read_bytes()))
            whole = hashlib.sha256((target / name).read_bytes()).hexdigest() == wanted
        except (OSError, EOFError, zlib.error):
            whole = False
        if not whole:
            raise ValueError(f"book/vendor/{name} is damaged: restore it with git checkout")


def stage_scripts(target: Path) -> None:
    """The folder that becomes ``_static/``: ours, those of others, anywidget's own."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(HERE / "static", target)
    unpack_vendor(target)
    (target / "widgets").mkdir()
    shutil.copy(standalone.HOST, target / "widgets")
    (target / "engine").mkdir()
    for name in engine.PARTS:
        (target / "engine" / f"{name}.js").write_text(engine.as_script(name), "utf-8")
    shutil.copy(engine.HERE / "vendor" / "README.md", target / "engine" / "README.md")


def own_folder(out: Path) -> Path:
    """The folder of a book, ``~`` expanded, tried before the work.

    What else lies in a book's folders is deleted, so ValueError where they are not a book's;
    OSError, in words, where nothing can be written.
    """
    out = expanded(out).resolve()
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    others = there & {"source", "static", "colab", "html"}
    if others and not there & {MARK, "doctrees"}:  # the second: of a version without the mark
        names = ", ".join(sorted(others))
        raise ValueError(f"{out} has folders that a book would overwrite ({names}): name another")
    with aside(outlet(out / MARK)):
        return out


def build(out: Path) -> int:
    """Build into ``out/html``; returns Sphinx's exit status, 0 if there was not one warning."""
    stage(out / "source")
    tell_unsaved(["book/index.ipynb", *(page for page in every_page() if page.startswith(LESSONS))])
    stage_scripts(out / "static")
    if repository := github():
        stage_colab(out / "colab", repository)
    folders: list[Any] = [out / "source", out / "html"]
    options: list[Any] = ["-b", "html", "-c", HERE, "-d", out / "doctrees", "-q"]
    options += ["-D", f"html_static_path={out / 'static'}"]
    status = sphinx([str(word) for word in [*options, "-W", "--keep-going", *folders]])
    write_embeds(out / "source", out / "html" / "embed")
    return status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "_build", help="default: book/_build")
    try:
        out = own_folder(parser.parse_args().out)
        status = build(out)
    except (ValueError, OSError) as error:
        sys.exit(f"book: {error}")
    if not status:
        print(out / "html" / "index.html")
    sys.exit(status)
