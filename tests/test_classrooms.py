"""Where classes work: Binder, Colab, and the image for a JupyterHub."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager

from diffusion_lessons.page.standalone import VIEW
from diffusion_lessons.page.widgets import ScheduleExplorer

ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
HOOK = ROOT / "docker" / "20-lessons.sh"
COURSE = f"{sys.executable} -m diffusion_lessons"

pytestmark = pytest.mark.unix  # bash runs what an image or a workflow would


def shell(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run bash the way the image's start script runs: an error would end it."""
    command = ["bash", "-e", "-o", "pipefail", "-c", code]
    return subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=60)


# ------------------------------------------------------------------ Binder


def test_binder_finds_the_environment():
    for name in ["Dockerfile", "binder", ".binder"]:  # it would take these before environment.yml
        assert not (ROOT / name).exists()
    *_, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert pip == {"pip": ["-e ."]}  # a local path: Binder copies the repository before it installs


# ------------------------------------------------------------------ the image


def instructions(name: str) -> list[str]:
    """What the Dockerfile tells with one word; a line goes on after a backslash."""
    text = (ROOT / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)", text, re.MULTILINE)


def ignored(path: Path) -> bool:
    """Does .dockerignore keep this out of the image?"""
    lines = (ROOT / ".dockerignore").read_text().split()
    inside = path.relative_to(ROOT)
    found = [inside, *inside.parents][:-1]
    return any(parent.match(line.removeprefix("**/")) for line in lines for parent in found)


def copied(target: Path) -> None:
    """Lay out below ``target`` what the image holds."""
    for line in instructions("COPY"):
        *sources, place = line.split()
        folder = target / place.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            paths = [path for path in ROOT.glob(source) if not ignored(path)]
            assert paths, f"nothing to copy: {source}"
            for path in paths:
                if path.is_dir():  # its content is copied, not the folder itself
                    shutil.copytree(path, folder, dirs_exist_ok=True)
                else:
                    shutil.copy(path, folder)


@pytest.mark.slow
def test_the_image_holds_what_its_installation_needs(tmp_path: Path):
    copied(tmp_path)
    course = tmp_path / "opt" / "diffusion-lessons"
    (run,) = instructions("RUN")
    for path in re.findall(r"/opt/[\w./-]+", run):
        assert (tmp_path / path.lstrip("/")).exists()
    assert {path.name for path in (course / "notebooks").iterdir()} == {
        lesson.name for lesson in LESSONS
    }
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(tmp_path), str(course)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert "diffusion_lessons/assets/mnist.zip" in held
    assert {f"diffusion_lessons/assets/lessons/{lesson.name}" for lesson in LESSONS} <= held


def test_the_image_is_of_one_day_and_not_run_as_root():
    (base,) = instructions("FROM")
    assert re.fullmatch(r"quay\.io/jupyter/minimal-notebook:\d{4}-\d\d-\d\d", base)
    assert instructions("USER") == []  # the base image's own, who is not root


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


def start(home: Path, uid: int = 1000, **env: str) -> subprocess.CompletedProcess[str]:
    """Source the hook as a container does at its start, and go on."""
    code = f"""
        id() {{ echo {uid}; }}
        setpriv() {{ echo "setpriv $1 $2 $3 $4 $5"; shift 5; "$@"; }}
        diffusion-lessons() {{ $COURSE "$@"; }}
        source {HOOK}
        echo started"""
    kept = [name for name in os.environ if name.startswith(("JUPYTER", "XDG"))]
    return shell(
        f"unset x {' '.join(kept)}\n{code}", **({"HOME": str(home), "COURSE": COURSE} | env)
    )


@pytest.mark.slow
def test_a_new_user_gets_the_lessons_and_an_old_one_keeps_hers(home: Path):
    lessons = home / "diffusion-lessons"
    words = f"Your copies of the lessons are in {lessons}"
    first = start(home)
    assert first.stdout.startswith(words), first.stderr
    assert first.stdout.endswith("\nstarted\n")
    assert {path.name for path in lessons.glob("*")} == {
        ".diffusion-lessons",
        *(lesson.name for lesson in LESSONS),
    }
    assert (home / ".local" / "share" / "jupyter" / "nbsignatures.db").exists()  # they are trusted
    mine = lessons / LESSONS[0].name
    mine.write_text("my answers")
    assert start(home).stdout == f"{words}\nstarted\n"
    assert mine.read_text() == "my answers"


@pytest.mark.slow
def test_started_as_root_the_lessons_belong_to_the_user(home: Path):
    user = "../" * len(home.parents) + str(home)  # /home/$NB_USER
    found = start(Path("/nonexistent"), uid=0, NB_USER=user, NB_UID="1234", NB_GID="100")
    user_alone = "setpriv --reuid 1234 --regid 100 --clear-groups"
    assert found.stdout.startswith(f"{user_alone}\nYour copies of"), found.stderr
    assert (home / "diffusion-lessons" / LESSONS[0].name).exists()


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["a file in the way", "no course"])
def test_the_hook_never_stops_the_start(home: Path, trouble: str):
    if trouble == "no course":
        found = start(home, COURSE="no-such-command")
    else:
        (home / "diffusion-lessons").write_text("mine")
        found = start(home)
        assert (home / "diffusion-lessons").read_text() == "mine"
    assert found.returncode == 0
    assert found.stdout == "started\n"
    assert found.stderr.endswith("There are no new lessons today\n")


def test_the_images_jupyterlab_keeps_widgets_and_asks_about_no_news(tmp_path: Path):
    copied(tmp_path)
    settings = tmp_path / "usr/local/etc/jupyter/labconfig/default_setting_overrides.json"
    said = json.loads(settings.read_text())
    assert said["@jupyter-widgets/jupyterlab-manager:plugin"]["saveState"]
    assert (tmp_path / "usr/local/etc/jupyter/jupyter_server_config.py").exists()


# ------------------------------------------------------------------ Colab


class Machine:
    """A notebook's shell that keeps what it was asked to do."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def run_line_magic(self, name: str, line: str) -> None:
        self.asked.append(f"%{name} {line}")


def run(cell: str) -> list[str]:
    """What a cell asks of its notebook."""
    machine = Machine()
    code = TransformerManager().transform_cell(cell)
    exec(code, {"get_ipython": lambda: machine})
    return machine.asked


@pytest.fixture(scope="module")
def colab(book: Path) -> Path:
    return book.parent / "colab"


def test_every_lesson_has_a_copy_for_colab_that_installs_the_course(colab: Path):
    page = (colab / "README.md").read_text()
    for lesson in LESSONS:
        copy = nbformat.read(colab / lesson.name, as_version=4)
        nbformat.validate(copy)
        original = nbformat.read(lesson, as_version=4)
        book = "](https://github.com/owner/lessons/blob/HEAD/book/"  # which is not in that branch
        wanted = [c.source.replace("](../book/", book) for c in original.cells]
        assert [c.source for c in copy.cells[1:]] == wanted
        assert "git+https://github.com/owner/lessons\n" in copy.cells[0].source
        for cell, same in zip(copy.cells[1:], original.cells, strict=True):
            data = [output.get("data", {}) for output in cell.get("outputs", [])]
            stored = [output.get("data", {}) for output in same.get("outputs", [])]
            assert data == [{k: v for k, v in d.items() if k != VIEW} for d in stored]
            assert all("image/png" in d for d, s in zip(data, stored, strict=True) if VIEW in s)
        assert (
            f"https://colab.research.google.com/github/owner/lessons/blob/colab/{lesson.name}"
            in page
        )


def test_the_install_cell_works_in_colab_and_is_silent_elsewhere(
    colab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cell = nbformat.read(colab / LESSONS[0].name, as_version=4).cells[0].source
    assert run(cell) == []
    enabled = []
    google, page, output = (ModuleType(name) for name in ["google", "google.colab", "output"])
    google.colab, page.output = page, output
    output.enable_custom_widget_manager = lambda: enabled.append(True)
    monkeypatch.setitem(sys.modules, "google", google)
    monkeypatch.setitem(sys.modules, "google.colab", page)
    install = "%pip install -q --no-deps git+https://github.com/owner/lessons"
    assert run(cell) == ["%pip install -q anywidget", install]
    assert enabled == [True]
    assert capsys.readouterr().out == ""


def test_a_widget_tells_colab_which_manager_draws_it(monkeypatch: pytest.MonkeyPatch):
    """As anywidget does, which asks Colab for its address."""
    installed = SimpleNamespace(_installed_url="https://example.org/manager.js")
    output = ModuleType("google.colab.output")
    output.enable_custom_widget_manager, output._widgets = lambda: None, installed
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    data, metadata = ScheduleExplorer()._repr_mimebundle_()
    assert VIEW in data
    manager = metadata[VIEW]["colab"]["custom_widget_manager"]
    assert manager == {"url": installed._installed_url}


def test_the_workflow_publishes_the_copies_as_a_branch(colab: Path, tmp_path: Path):
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())
    (step,) = (s for s in workflow["jobs"]["publish"]["steps"] if "REMOTE" in s.get("env", {}))
    assert step["working-directory"] == "book/_build/colab"
    remote = tmp_path / "remote.git"
    for _ in range(2):  # as on the next push
        folder = tmp_path / "copies"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in ["README.md", LESSONS[0].name]:  # two will do
            shutil.copy(colab / name, folder)
        subprocess.run(["git", "init", "-q", "--bare", remote], check=True)
        done = shell(f"cd {folder}\n{step['run']}", REMOTE=str(remote))
        assert done.returncode == 0, done.stderr
    listed = shell(f"git --git-dir {remote} ls-tree --name-only colab").stdout.split()
    assert listed == [LESSONS[0].name, "README.md"]
