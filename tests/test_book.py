"""The published book as files: whole, self-contained, light, and true to the lessons."""

import base64
import gzip
import hashlib
import importlib.util
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
VIEW = "application/vnd.jupyter.widget-view+json"
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


class PageOf(HTMLParser):
    """What a page links to, what it loads, and the places in it that a link can lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.places |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if "src" in values:
            self.loads.append(values["src"])
        if tag == "link" and values.get("rel") in (
            "stylesheet",
            "icon",
            "preload",
            "shortcut icon",
        ):
            self.loads.append(values["href"])


@pytest.fixture(scope="session")
def pages(book: Path) -> dict[str, PageOf]:
    return {str(path.relative_to(book)): PageOf(path) for path in book.rglob("*.html")}


@pytest.fixture(scope="session")
def build(book: Path) -> ModuleType:
    """book/build.py as a module."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "book" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_lesson_is_a_page_and_on_the_first_one(pages: dict[str, PageOf]):
    wanted = [f"notebooks/{lesson.stem}.html" for lesson in LESSONS]
    assert set(wanted) <= pages.keys()
    links = [link for link in pages["index.html"].links if link in wanted]
    assert list(dict.fromkeys(links)) == wanted  # in order
    assert links.count(wanted[0]) >= 2  # in the side bar, and in the text with its question


def test_the_side_bar_is_the_table_of_contents(build: ModuleType, pages: dict[str, PageOf]):
    wanted = [
        re.sub(r"\.\w+$", ".html", page) for part in build.contents().values() for page in part
    ]
    links = [link for link in pages["index.html"].links if link in wanted]
    assert list(dict.fromkeys(links)) == wanted[1:]  # the first is this page
    assert set(wanted) <= pages.keys()


def test_every_internal_link_and_anchor_resolves(book: Path, pages: dict[str, PageOf]):
    lost = []
    for name, page in pages.items():
        if name.startswith("_static/"):
            continue  # templates of the theme
        for link in page.links + page.loads:
            url = urlsplit(link)
            if url.scheme or not (url.path or url.fragment):
                continue
            target = (book / name).parent / unquote(url.path) if url.path else book / name
            target = target.resolve()
            if not target.is_file():
                lost.append(f"{name}: {link}")
            elif url.fragment and target.suffix == ".html":
                places = pages[str(target.relative_to(book))].places
                if unquote(url.fragment) not in places:
                    lost.append(f"{name}: {link}")
    assert not lost
    assert sum(len(page.links) for page in pages.values()) > 1000  # the parser does find links


def test_pages_load_nothing_from_elsewhere(pages: dict[str, PageOf]):
    loads = {load for page in pages.values() for load in page.loads}
    assert any(urlsplit(load).path.endswith("widgets/host.js") for load in loads)
    assert not any("engine/" in load for load in loads)  # only who computes asks for it
    assert [load for load in loads if urlsplit(load).scheme not in ("", "data")] == []


def test_pages_are_light(book: Path, pages: dict[str, PageOf]):
    """Beyond what all pages share, uncompressed: a server that compresses sends a third of it."""
    for name, page in pages.items():
        own = [(book / name).parent / load for load in page.loads if "_images/" in load]
        weight = (book / name).stat().st_size + sum(path.stat().st_size for path in own)
        assert weight <= 3e6, f"{name} weighs {weight / 1e6:.1f} MB"


def test_names_in_the_lessons_lead_to_the_reference(pages: dict[str, PageOf]):
    links = pages["notebooks/03_ddim.html"].links
    for name in ("sampling.ddim_step", "sampling.sample", "schedule.NoiseSchedule.times"):
        assert f"../reference/math.html#diffusion_lessons.math.{name}" in links
    assert "../reference/widgets.html#diffusion_lessons.page.widgets.StepsExplorer" in links


def test_the_reference_has_every_public_name(pages: dict[str, PageOf]):
    import diffusion_lessons
    from diffusion_lessons.page import widgets

    places = {place for page in pages.values() for place in page.places}
    wanted = [getattr(diffusion_lessons, name) for name in diffusion_lessons.__all__]
    wanted += [getattr(widgets, name) for name in widgets.__all__]
    named = [thing for thing in wanted if hasattr(thing, "__qualname__")]
    homes = {f"{thing.__module__}.{thing.__qualname__}" for thing in named}
    homes = {re.sub(r"^(diffusion_lessons\.page\.widgets)\.\w+\.", r"\1.", home) for home in homes}
    assert homes - places == set()
    values = [name for name in diffusion_lessons.__all__ if name.isupper()]
    assert {name for name in values if not any(p.endswith(f".{name}") for p in places)} == set()


def test_the_reference_says_what_a_widget_takes(book: Path):
    text = (book / "reference" / "widgets.html").read_text("utf-8")
    assert "x_T" in text
    assert "*args" not in re.sub(r"<[^>]+>", "", text)


def test_docstrings_are_set_without_leftovers(book: Path):
    for path in (book / "reference").glob("*.html"):
        page = path.read_text("utf-8")
        text = re.sub(r"<script.*?</script>|<[^>]+>", "", page, flags=re.DOTALL)
        assert not re.findall(r".*`.*", text), path.name
        assert "Alias for field" not in text
        assert "Should be overridden" not in text


@pytest.mark.parametrize("repository", ["", "https://github.com/owner/lessons"])
def test_a_page_of_the_book_links_to_files_where_they_are_published(
    build: ModuleType, repository: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BOOK_REPOSITORY", repository)
    text = "[one](../notebooks/01_forward.ipynb), [`two`](../benchmarks/x.json), [three](lab.ipynb)"
    two = f"[`two`]({repository}/blob/HEAD/benchmarks/x.json)" if repository else "`two`"
    wanted = f"[one](notebooks/01_forward.ipynb), {two}, [three](lab.ipynb)"
    assert build.in_the_book(text) == wanted


def test_pages_show_their_pictures(book: Path, pages: dict[str, PageOf]):
    assert "_images/cost.png" in pages["measured.html"].loads
    assert "_images/from-noise-to-digits.png" in pages["command.html"].loads


def test_what_a_cell_prints_stands_together(book: Path):
    text = (book / "notebooks" / "03_ddim.html").read_text("utf-8")
    assert re.search(r"even: .*\nquadratic: .*\neta 0,  2 steps, uniform ", text)


def test_lessons_can_be_launched_and_downloaded(book: Path, pages: dict[str, PageOf]):
    for lesson in LESSONS:
        links = pages[f"notebooks/{lesson.stem}.html"].links
        place = f"owner/lessons/blob/colab/{lesson.name}"
        assert f"https://colab.research.google.com/github/{place}" in links
        start = "https://mybinder.org/v2/gh/owner/lessons/main?urlpath=lab/tree/notebooks/"
        assert start + lesson.name in links
        assert f"../_sources/notebooks/{lesson.name}" in links
        copy = nbformat.read(book / "_sources" / "notebooks" / lesson.name, as_version=4)
        original = nbformat.read(lesson, as_version=4)
        (said,) = re.findall(r"If you have this file alone: `(.*?)`", copy.cells[0].source)
        assert said == "pip install git+https://github.com/owner/lessons"
        for cell in original.cells:
            cell.source = cell.source.replace(
                "pip install -e .` in the course's folder", f"{said}`"
            ).replace("](../book/", "](../")
        assert [cell.source for cell in copy.cells] == [cell.source for cell in original.cells]
    others = pages["index.html"].links + pages["glossary.html"].links
    assert not [link for link in others if "colab" in link or "mybinder" in link]


def test_widgets_run_the_scripts_of_today(book: Path):
    """Whenever the notebook was executed; and the page has the kit once, not once a widget."""
    from diffusion_lessons.page import widgets
    from diffusion_lessons.page.kit import Kit

    text = (book / "notebooks" / "01_forward.html").read_text("utf-8")
    (stored,) = re.findall(
        r'<script type="application/vnd\.jupyter\.widget-state\+json">(.*?)</script>',
        text,
        re.DOTALL,
    )
    states = {name: model["state"] for name, model in json.loads(stored)["state"].items()}
    shown = {
        state["_anywidget_id"].rpartition(".")[2]: state
        for state in states.values()
        if "_anywidget_id" in state
    }
    assert set(shown) == {"ForwardExplorer", "ScheduleExplorer", "MultimodalExplorer"}

    for name, state in shown.items():
        assert state["_files"] == getattr(widgets, name)._files.default()
        kit = states[state["_kit"].removeprefix("IPY_MODEL_")]
        assert kit["_files"] == Kit._files.default()
    assert stored.count(Kit._files.default()) == 1


def test_a_stored_notebook_gets_todays_kit_once(build: ModuleType) -> None:
    from diffusion_lessons.page.widgets import PosteriorExplorer

    old = {"_anywidget_id": "diffusion_lessons.page.widgets.posterior.PosteriorExplorer", "t": 7}
    old |= {"_kit": "IPY_MODEL_k1", "_files": "packed", "_esm": "of that day"}
    models = {"w1": {"state": dict(old)}, "w2": {"state": dict(old)}, "k1": {"state": {}}}
    notebook = {"metadata": {"widgets": {build.STATE: {"state": models}}}}
    mended = json.loads(build.with_todays_scripts(json.dumps(notebook)))
    mended = mended["metadata"]["widgets"][build.STATE]["state"]
    assert mended.keys() == {"w1", "w2", build.KIT}
    assert mended[build.KIT]["model_name"] == "WidgetModel"
    for name in ("w1", "w2"):
        state = mended[name]["state"]
        assert state["t"] == 7
        assert state["_esm"] == PosteriorExplorer._esm
        assert state["_kit"] == f"IPY_MODEL_{build.KIT}"
        assert state["_files"] == PosteriorExplorer._files.default()


@pytest.mark.parametrize("scripts", [{"_kit": "IPY_MODEL_k1", "_files": [["a.js", ""]]}, {}])
def test_a_widget_stored_in_an_earlier_form_keeps_its_scripts(
    build: ModuleType, scripts: dict[str, Any]
) -> None:
    old = {"_anywidget_id": "diffusion_lessons.widgets.posterior.PosteriorExplorer", "t": 7}
    models = {"w1": {"state": {**old, **scripts}}, "k1": {"state": {"_files": []}}}
    notebook = {"metadata": {"widgets": {build.STATE: {"state": models}}}}
    assert json.loads(build.with_todays_scripts(json.dumps(notebook))) == notebook


@pytest.fixture
def rerun(tmp_path: Path) -> Path:
    """A lesson that was run in JupyterLab and saved: its widgets are new ones, without state."""
    content = json.loads((ROOT / "notebooks" / "01_forward.ipynb").read_text("utf-8"))
    for cell in content["cells"]:
        for output in cell.get("outputs", []):
            if VIEW in output.get("data", {}):
                output["data"][VIEW]["model_id"] += "-new"
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "01_forward.ipynb"
    path.write_text(json.dumps(content), "utf-8")
    return path


def test_widgets_without_their_state_are_named_with_the_command_that_mends_it(
    build: ModuleType,
    rerun: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    build.tell_unsaved(["book/index.ipynb", "notebooks/01_forward.ipynb"])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(build, "ROOT", rerun.parents[1])
    build.tell_unsaved(["notebooks/01_forward.ipynb"])
    said = capsys.readouterr().err
    assert said.startswith("notebooks/01_forward.ipynb: 3 of its widgets were saved without")
    assert "make notebooks LESSONS=01_forward" in said


@pytest.mark.parametrize("saved", [True, False])
def test_the_stored_picture_stands_in_a_widgets_place(rerun: Path, tmp_path: Path, saved: bool):
    """With a view for what is saved, and without one where it would stay empty."""
    spec = importlib.util.spec_from_file_location("conf", ROOT / "book" / "conf.py")
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    if saved:
        shutil.copy(ROOT / "notebooks" / rerun.name, rerun)
    outputs = [
        output["data"]
        for cell in json.loads(rerun.read_text("utf-8"))["cells"]
        for output in cell.get("outputs", [])
        if VIEW in output.get("data", {})
    ]
    views = [f'<script type="{VIEW}">{json.dumps(data[VIEW])}</script>' for data in outputs]
    context = {"body": "<p>before</p>".join(views), "pathto": lambda name, _: f"../{name}"}
    app = SimpleNamespace(srcdir=tmp_path, outdir=tmp_path / "html")
    app.outdir.mkdir()
    conf.stored_pictures(app, "notebooks/01_forward", "page.html", context, None)
    body = context["body"]
    names = re.findall(r'<img src="\.\./(_images/\w+\.png)" alt="Stored picture of (\w+)"', body)
    kinds = ["ForwardExplorer", "ScheduleExplorer", "MultimodalExplorer"]
    assert [name for _, name in names] == kinds
    for (place, _), data in zip(names, outputs, strict=True):
        assert (app.outdir / place).read_bytes() == base64.b64decode(data["image/png"])
    assert body.count(VIEW) == 3 * saved
    assert body.count("was not saved with this notebook") == 3 * (not saved)


def test_scripts_of_others_are_the_published_ones_with_their_licences(book: Path):
    static = book / "_static"
    vendor = ROOT / "book" / "vendor"
    sums = dict(line.split()[::-1] for line in (vendor / "SHA256SUMS").read_text().splitlines())
    kept = {str(path.relative_to(vendor)).removesuffix(".gz") for path in vendor.rglob("*.*")}
    assert sums.keys() == {name for name in kept if name.endswith((".js", ".woff2"))}
    for name, wanted in sums.items():
        if "fonts" not in name:
            assert hashlib.sha256((static / name).read_bytes()).hexdigest() == wanted
    assert len((static / "mathjax" / "LICENSE").read_text()) > 500
    assert "MIT licence" in (static / "engine" / "README.md").read_text()


def test_the_engines_runtime_is_the_published_one():
    vendor = ROOT / "diffusion_lessons" / "page" / "engine" / "vendor"
    sums = dict(line.split()[::-1] for line in (vendor / "SHA256SUMS").read_text().splitlines())
    assert sums.keys() == {path.stem for path in vendor.glob("*.gz")}
    for name, wanted in sums.items():
        content = gzip.decompress((vendor / f"{name}.gz").read_bytes())
        assert hashlib.sha256(content).hexdigest() == wanted
        if name == "ort.wasm.min.js":
            assert b"Licensed under the MIT License" in content[:500]


def test_each_widget_is_a_page_of_its_own_under_a_megabyte(book: Path, pages: dict[str, PageOf]):
    from diffusion_lessons.page import widgets

    alone = {path.stem: path for path in (book / "embed").glob("*.html")}
    assert {name.partition("-")[0] for name in alone} == set(widgets.__all__)
    for path in alone.values():
        assert path.stat().st_size < 1e6, path.name
    linked = {link for page in pages.values() for link in page.links if "embed/" in link}
    assert {Path(link).stem for link in linked} == alone.keys()


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "swapped"])
def test_a_damaged_script_stops_the_build(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
):
    shutil.copytree(ROOT / "book" / "vendor", tmp_path / "vendor")
    monkeypatch.setattr(build, "HERE", tmp_path)
    build.unpack_vendor(tmp_path / "whole")
    packed = tmp_path / "vendor" / "mathjax" / "tex-svg.js.gz"
    content = bytearray(packed.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    packed.write_bytes(
        {
            "cut": content[:-100],
            "flipped": content,
            "emptied": b"",
            "swapped": gzip.compress(b"alert(1)"),
        }[damage]
    )
    with pytest.raises(ValueError, match=r"vendor/mathjax/tex-svg\.js is damaged"):
        build.unpack_vendor(tmp_path / "static")


@pytest.mark.slow
def test_a_page_that_has_gone_leaves_no_source_behind(build: ModuleType, tmp_path: Path):
    build.stage(tmp_path)
    kept = tmp_path / "notebooks" / LESSONS[0].name
    before = kept.stat().st_mtime_ns
    (tmp_path / "notebooks" / "99_gone.ipynb").write_text("{}")
    build.stage(tmp_path)
    assert not (tmp_path / "notebooks" / "99_gone.ipynb").exists()
    assert kept.stat().st_mtime_ns == before  # unchanged pages are not built again


def test_a_book_is_built_into_a_folder_of_its_own(build: ModuleType, tmp_path: Path):
    own, others, file = tmp_path / "own", tmp_path / "others", tmp_path / "file"
    (own / "screenshots").mkdir(parents=True)
    assert build.own_folder(own) == own
    (own / "source").mkdir()  # of a build that was killed
    assert build.own_folder(own) == own
    (others / "source").mkdir(parents=True)
    (others / "source" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"folders that a book would overwrite \(source\)"):
        build.own_folder(others)
    file.write_text("")
    with pytest.raises(OSError, match="A part of its path is a file, not a folder"):
        build.own_folder(file)


def test_every_paper_that_is_named_is_in_the_bibliography():
    sources = [*(ROOT / "notebooks").glob("*.md"), *(ROOT / "diffusion_lessons").rglob("*.py")]
    named = {
        number
        for source in sources
        for number in re.findall(r"arXiv[ :](\d{4}\.\d{5})", source.read_text("utf-8"))
    }
    listed = re.findall(r"arxiv\.org/abs/(\d{4}\.\d{5})", (ROOT / "book" / "refs.bib").read_text())
    assert len(named) >= 8
    assert named <= set(listed)
    assert len(listed) == len(set(listed))


def test_the_glossary_gives_the_korean_terms_in_order():
    text = (ROOT / "book" / "glossary.md").read_text("utf-8")
    terms = re.findall(r"^([a-zA-Z].*)\n: ", text, re.MULTILINE)
    assert len(terms) > 30
    for term in terms:
        assert re.search(r"\(.*[가-힣].*\)$", term), term
    assert terms == sorted(terms, key=str.casefold)


def test_nothing_tells_where_it_was_built(book: Path):
    kinds = ("*.html", "*.js", "*.ipynb", "*.css")
    for path in [path for kind in kinds for path in book.rglob(kind)]:
        assert str(ROOT) not in path.read_text("utf-8", errors="replace"), path
