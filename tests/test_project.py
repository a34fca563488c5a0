"""The house is in order: notebooks, requirements and files say the same thing everywhere."""

import ast
import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import jupytext
import nbformat
import numpy as np
import pytest
import torch
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from PIL import Image

from diffusion_lessons import load_pretrained, to_unit
from diffusion_lessons.course.lessons import read_lessons

ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.md"))
EXECUTED = [*LESSONS, ROOT / "book" / "index.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def test_conda_asks_for_the_same_versions_as_pip():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (python,) = (line for line in conda if str(line).startswith("python="))
    assert Version(python.removeprefix("python=")) in SpecifierSet(PROJECT["requires-python"])
    wanted = {python, "pip"}
    for requirement in PROJECT["dependencies"]:
        name, bound = re.fullmatch(r"([\w-]+)(>=[\d.]+)", requirement).groups()
        wanted.add(CONDA_NAMES.get(name, name) + bound)
    assert {line for line in conda if isinstance(line, str)} == wanted


def test_every_requirement_has_a_lower_bound_and_an_exact_pin():
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    pins = {name.lower().replace("_", "-"): pin for name, pin in pins.items()}
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in [line for group in groups for line in group]:
        name, bound = requirement.split(">=")
        assert tuple(map(int, bound.split("."))) <= tuple(
            int(part) for part in pins[name.lower()].split(".")
        )


@pytest.mark.parametrize("source", EXECUTED, ids=lambda path: path.stem)
def test_each_lesson_is_executed_and_in_step_with_its_source(source: Path):
    path = source.with_suffix(".ipynb")
    edited, executed = jupytext.read(source), nbformat.read(path, as_version=4)
    assert [(c.cell_type, c.source) for c in executed.cells] == [
        (c.cell_type, c.source) for c in edited.cells
    ], f"run: make notebooks LESSONS={source.stem}"
    assert path.stat().st_size <= 2e6
    for cell in executed.cells:
        assert "execution" not in cell.metadata  # times of execution
        if cell.cell_type == "code":
            assert cell.execution_count
            assert not [out for out in cell.outputs if out.output_type == "error"]


@pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
def test_each_lesson_keeps_the_form(source: Path):
    notebook = jupytext.read(source)
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 20
            assert "sys.path" not in cell.source
            assert "import *" not in cell.source
    for part in ["**Afterwards you can**", "**Time:**", "## In short", "## Sources"]:
        assert part in text
    alone = "If you have this file alone: `pip install -e .` in the course's folder."
    assert alone in notebook.cells[0].source
    if source.stem == "08_final_test":
        return  # it is one large exercise
    assert "## Exercises" in text
    exercises = re.findall(r"^\*\*(\d)\. \w", text, re.MULTILINE)
    assert exercises == list("12345")[: len(exercises)]
    assert len(exercises) >= 3
    assert text.count("<details><summary>Solution</summary>\n\n") == len(exercises)


@pytest.mark.slow
def test_the_longest_lessons_are_run_first_and_their_cells_in_order():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--nbval-lax"]
    command += ["-p", "no:cacheprovider", "notebooks"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    cells = re.findall(r"^notebooks/(.+)\.ipynb::(?:.*\.)?Cell (\d+)$", done.stdout, re.MULTILINE)
    names = list(dict.fromkeys(name for name, _ in cells))
    assert sorted(names) == [path.stem for path in LESSONS]
    assert cells == [(n, str(i)) for n in names for i in range(sum(n == m for m, _ in cells))]
    facts = {lesson.name: lesson.run_time.split() for lesson in read_lessons(ROOT / "notebooks")}
    seconds = [float(facts[n][0]) * (60 if "minute" in facts[n][1] else 1) for n in names]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] > seconds[-1]


def test_a_lesson_that_is_run_as_a_test_has_a_tenth_of_its_trainings_seconds_and_else_no_change():
    hurried = runpy.run_path(str(ROOT / "conftest.py"))["hurried"]
    trainings = 0
    for path in LESSONS:
        for cell in jupytext.read(path).cells:
            if cell.cell_type == "code":
                tree = ast.parse(cell.source)
                for part in ast.walk(tree):
                    if isinstance(part, ast.keyword) and part.arg == "seconds":
                        part.value = ast.parse(f"{part.value.value / 10:g}").body[0].value
                        trainings += 1
                assert ast.dump(ast.parse(hurried(cell.source))) == ast.dump(tree)
    assert trainings


PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "book").glob("*.md"))
MADE = {"lab.ipynb", "plane.ipynb", "bibliography.md"}  # pages that the build of the book makes


def places(page: Path) -> set[str]:
    """What a link may name behind #: the headings, as GitHub and the book spell them."""
    prose = re.sub(r"(?s)```.*?```", "", page.read_text("utf-8"))
    heads = re.findall(r"(?m)^#+ (.+)$", prose)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("source", [*LESSONS, *PAGES], ids=lambda path: path.stem)
def test_links_lead_somewhere_in_the_repository(source: Path):
    prose = re.sub(r"(?s)```.*?```", "", source.read_text("utf-8"))
    links = re.findall(r"(?:\]\(|(?:src|srcset)=\")(?!http)([^)#\"]*)(?:#([^)\"]+))?[)\"]", prose)
    for target, place in links:
        path = (source.parent / target) if target else source
        if source.parent.name == "book" and target in MADE:
            continue
        assert path.exists(), f"{source.name} links to {target}"
        if place and path.suffix == ".md":
            assert place in places(path), f"{source.name} links to {target}#{place}"


def test_the_readme_shows_a_film_that_is_light_and_ends():
    """By one command, which stands below it; who wants less motion sees a picture that stays."""
    readme = (ROOT / "README.md").read_text("utf-8")
    (moving,) = re.findall(r'<img src="(.+?\.gif)"', readme)
    (still,) = re.findall(r'media="\(prefers-reduced-motion: reduce\)" srcset="(.+?)"', readme)
    (command,) = re.findall(r"`diffusion-lessons (sample --film .+?) --out digits.gif`", readme)
    assert command.split() == figures().FILM
    assert (ROOT / moving).stat().st_size < 1e6
    with Image.open(ROOT / moving) as film:
        assert "loop" not in film.info  # it is played once
        times = []
        for i in range(film.n_frames):
            film.seek(i)
            times.append(film.info["duration"])
        assert sum(times[:-1]) <= 5000
        assert film.size == (10 * 28 * 3, 28 * 3)
        greys = np.asarray(film.convert("L"))
    digits = to_unit(torch.tensor(greys[1::3, 1::3])).view(28, 10, 28).transpose(0, 1)[:, None]
    judge = load_pretrained("digits-classifier")
    assert judge(digits).argmax(1).tolist() == list(range(10))
    with Image.open(ROOT / still) as picture:
        assert getattr(picture, "n_frames", 1) == 1


def figures() -> ModuleType:
    """book/figures.py as a module."""
    spec = importlib.util.spec_from_file_location("figures", ROOT / "book" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install` would put in place, from a source distribution made of this folder."""
    folder = tmp_path_factory.mktemp("built")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), "-t"]
    subprocess.run([*build, "sdist"], cwd=ROOT, check=True)
    (packed,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(packed, folder)
    source = folder / packed.name.removesuffix(".tar.gz")
    subprocess.run([*build, "wheel"], cwd=source, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_data_networks_widgets_and_lessons(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "diffusion_lessons"
    kinds = ["*.py", "*.js", "*.css", "assets/**/*", "engine/**/*.gz", "*.onnx"]
    files = {f for kind in kinds for f in package.rglob(kind) if f.is_file()}
    expected = {str(f.relative_to(ROOT)) for f in files if "__pycache__" not in f.parts}
    assert any(name.endswith("tables/speed-quality.jsonl") for name in expected)
    assert any(name.endswith("labconfig/default_setting_overrides.json") for name in expected)
    lessons = {f"diffusion_lessons/assets/lessons/{path.stem}.ipynb" for path in LESSONS}
    assert expected <= names
    assert {name for name in names if "/lessons/" in name} == lessons  # and not their sources


@pytest.mark.slow
def test_who_installed_a_wheel_gets_copies_beside_the_current_folder(wheel: Path, tmp_path: Path):
    installed, here = tmp_path / "site-packages", tmp_path / "here"
    here.mkdir()
    zipfile.ZipFile(wheel).extractall(installed)
    env = os.environ | {"PYTHONPATH": str(installed), "JUPYTER_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", "diffusion_lessons", "lab", "--no-server"]
    done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"Your copies of the lessons are in {here / 'my-lessons'}; what you do in them is yours, "
        "and no update overwrites it\n"
    )
    copies = sorted(path.name for path in (here / "my-lessons").glob("*.ipynb"))
    assert copies == [path.with_suffix(".ipynb").name for path in LESSONS]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"version": 1}, "is too old: 3.11 or newer is needed"),
        ({"version": 0, "venv": 1}, "sudo apt install python3-venv"),
    ],
)
def test_make_says_what_to_do_about_a_python_that_will_not_do(
    answers: dict[str, int], message: str, tmp_path: Path
):
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        f"  *version_info*) exit {answers['version']};;\n"
        f"  *'import venv'*) exit {answers.get('venv', 0)};;\n"
        "  *) echo Python 3.9.2;;\n"
        "esac\n"
    )
    python.chmod(0o755)
    found = make("lab", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}")
    assert found.returncode
    assert message in found.stdout
    assert "Traceback" not in found.stdout + found.stderr


def test_the_lowest_versions_are_the_bounds(tmp_path: Path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    made = make("-C", str(tmp_path), "-f", str(ROOT / "Makefile"), ".venv-lowest.txt")
    assert made.returncode == 0, made.stderr
    pins = (tmp_path / ".venv-lowest.txt").read_text().split()
    extras = PROJECT["optional-dependencies"].values()
    wanted = {line for group in [PROJECT["dependencies"], *extras] for line in group}
    assert {pin.replace("==", ">=") for pin in pins} == wanted


def test_make_says_what_to_do_without_python(tmp_path: Path):
    found = make("lab", "PYTHON=no-such-python", f"VENV={tmp_path / 'venv'}")
    assert found.returncode
    assert "No no-such-python found" in found.stdout


PYTHON = r"""#!/bin/sh
# A Python of version VERSION as far as make can tell.
case "$*" in
  *'sys.version_info[:2]'*) echo VERSION;;
  '-m venv '*)
    mkdir -p "$3/bin"
    printf 'version = VERSION.1\ncommand = /usr/bin/python3 -m venv %s/%s\n' "$(pwd -P)" "$3" \
      >"$3/pyvenv.cfg"
    ln -sf "$0" "$3/bin/python"
    printf '#!/bin/sh\necho opened by VERSION\n' >"$3/bin/diffusion-lessons"
    chmod +x "$3/bin/diffusion-lessons";;
  '-m pip '*) echo installed;;
esac
"""


def fake_python(folder: Path, version: str) -> Path:
    """A script that make takes for Python; a venv that it makes installs nothing."""
    path = folder / f"python{version}"
    path.write_text(PYTHON.replace("VERSION", version))
    path.chmod(0o755)
    return path


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A folder with what `make lab` looks at, and two Pythons beside it; python3 is the older."""
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    course = tmp_path / "the course"
    course.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, course)
    (tmp_path / "python3").symlink_to(fake_python(tmp_path, "3.11"))
    fake_python(tmp_path, "3.12")
    return course


def lab(
    course: Path, *arguments: str, before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(course.parent), os.environ["PATH"]])
    command = [*before, "make", "--no-print-directory", "lab", *arguments]
    env = outside_make() | {"PATH": path}
    return subprocess.run(command, cwd=course, env=env, capture_output=True, text=True, timeout=60)


def outside_make() -> dict[str, str]:
    """The environment without what a make that runs these tests hands down to another."""
    handed = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "VENV", "PYTHON")
    return {name: value for name, value in os.environ.items() if name not in handed}


def test_make_sets_up_once(course: Path):
    first, second = lab(course), lab(course)
    assert first.stdout.splitlines()[-2:] == ["installed", "opened by 3.11"]
    assert second.stdout.splitlines() == ["opened by 3.11"]
    assert "anew" not in first.stdout


def test_in_a_clone_of_another_account_make_says_what_to_do(course: Path, bound: list[str]):
    course.chmod(0o555)
    try:
        found = lab(course, before=bound)
        assert found.returncode
        assert f"This account may not write into {course}. Take a clone of your own" in found.stdout
        assert "Permission denied" not in found.stdout + found.stderr
        found = lab(course, f"VENV={course.parent / 'mine'}", before=bound)
        assert found.stdout.splitlines()[-2:] == ["installed", "opened by 3.11"]
    finally:
        course.chmod(0o755)


def test_make_sets_up_anew_when_the_folder_was_moved(course: Path):
    lab(course)
    moved = course.rename(course.parent / "renamed")
    found = lab(moved)
    assert found.stdout.startswith(f".venv will not do: it was made for {course}/.venv.")
    assert found.stdout.splitlines()[-2:] == ["installed", "opened by 3.11"]
    assert lab(moved).stdout.splitlines() == ["opened by 3.11"]


def test_make_sets_up_anew_when_python_has_become_another(course: Path):
    lab(course)
    for link in (course.parent / "python3", course / ".venv" / "bin" / "python"):
        link.unlink()
        link.symlink_to(course.parent / "python3.12")
    found = lab(course)
    assert "it was made with Python 3.11.1, and runs with 3.12. Setting it up" in found.stdout
    assert found.stdout.splitlines()[-1] == "opened by 3.12"


def test_make_sets_up_anew_when_its_python_has_gone(course: Path):
    lab(course)
    python = course / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(course.parent / "gone")
    found = lab(course)
    assert ".venv will not do: its Python does not run. Setting it up anew" in found.stdout
    assert found.stdout.splitlines()[-1] == "opened by 3.11"


def test_make_sets_up_anew_for_another_python_that_is_named(course: Path):
    lab(course)
    found = lab(course, "PYTHON=python3.12")
    assert "it has Python 3.11, and python3.12 is 3.12" in found.stdout
    assert found.stdout.splitlines()[-1] == "opened by 3.12"
    assert lab(course).stdout.splitlines() == ["opened by 3.12"]  # and that one stays


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_make_never_removes_what_it_did_not_make(course: Path, kind: str):
    venv = course / ".venv"
    if kind == "folder":
        venv.mkdir()
        (venv / "mine").write_text("of another tool")
    else:
        venv.symlink_to(course.parent / "nowhere")
    for _ in range(2):
        found = lab(course)
        assert found.returncode
        assert "As make did not make it, it stays:" in found.stdout
        assert (venv / "mine").exists() if kind == "folder" else venv.is_symlink()
    found = lab(course, "VENV=.venv-course")
    assert found.stdout.splitlines()[-1] == "opened by 3.11"


def test_make_uses_a_venv_of_another_tool_that_does(course: Path):
    python = str(course.parent / "python3.11")
    subprocess.run([python, "-m", "venv", ".venv"], cwd=course, check=True)
    found = lab(course)
    assert found.stdout.splitlines()[-2:] == ["installed", "opened by 3.11"]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    command = ["make", "--no-print-directory", *arguments]
    env = outside_make()
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
