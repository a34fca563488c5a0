"""Odd places: another folder, two notebooks at once, the stop button, no way to write, no home."""

import json
import os
import queue
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager, start_new_kernel

from diffusion_lessons import load_pretrained
from diffusion_lessons.networks.checkpoints import save

ROOT = Path(__file__).parent.parent
LESSON = ROOT / "notebooks" / "01_forward.ipynb"

pytestmark = pytest.mark.unix
# The package is found from any folder, installed or not.
HERE = {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}

EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
where = {"metadata": {"path": sys.argv[2]}}
NotebookClient(notebook, timeout=200, kernel_name="python3", resources=where).execute()
nbformat.write(notebook, sys.argv[3])
"""


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder with a lesson, in which nothing can be written."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    shutil.copy(LESSON, folder)
    (folder / LESSON.name).chmod(0o444)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


# ------------------------------------------------------------------ notebooks


@pytest.fixture
def beginning(tmp_path: Path) -> Path:
    """A lesson's first cells: the digits, a picture, a widget."""
    notebook = nbformat.read(LESSON, as_version=4)
    widget = next(i for i, cell in enumerate(notebook.cells) if "ForwardExplorer" in cell.source)
    del notebook.cells[widget + 1 :]
    nbformat.write(notebook, tmp_path / "beginning.ipynb")
    return tmp_path / "beginning.ipynb"


def told(path: Path) -> list[str]:
    """What each cell of a notebook showed: its text, and the kinds of what else there is."""
    return [
        "".join(out.get("text", "") or str(sorted(out.get("data", out))) for out in cell.outputs)
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
    ]


@pytest.mark.slow
def test_two_notebooks_run_at_once_from_folders_elsewhere(tmp_path: Path, beginning: Path):
    """Both come out as they are committed: every number printed, every picture drawn."""
    runs = []
    for source, folder in [(LESSON, tmp_path / "one"), (beginning, tmp_path / "two")]:
        folder.mkdir()
        command = [sys.executable, "-c", EXECUTE, source, folder, f"{folder}.ipynb"]
        runs.append(subprocess.Popen(command, env=os.environ | HERE))
    assert [run.wait(250) for run in runs] == [0, 0]
    assert told(tmp_path / "one.ipynb") == told(LESSON)
    assert told(tmp_path / "two.ipynb") == told(beginning)
    assert [*(tmp_path / "one").iterdir(), *(tmp_path / "two").iterdir()] == []  # no litter


@pytest.mark.slow
def test_a_notebook_runs_where_nothing_can_be_written(
    read_only: Path, bound: list[str], beginning: Path
):
    target = beginning.with_stem("executed")
    command = [*bound, sys.executable, "-c", EXECUTE, beginning, read_only, target]
    subprocess.run(command, cwd=read_only, env=os.environ | HERE, check=True, timeout=240)
    assert told(target) == told(beginning)


# ------------------------------------------------------------------ the stop button

TRAIN = """
import torch
from diffusion_lessons import linear_schedule, moons, noise_prediction_loss, shuffled, train, watch
from diffusion_lessons.networks.mlp import MLP
schedule = linear_schedule()
x, _ = moons(2000, torch.Generator().manual_seed(0))
run = train(
    MLP(),
    lambda model, batch, g: noise_prediction_loss(model, batch[0], schedule, g),
    shuffled(x, batch_size=128),
    steps=800,  # some seconds
)
seen = []
"""
LOOP = """
for step in watch(run, "moons"):
    seen.append(step.step)
    if len(seen) == 20:
        print("going")
"""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[KernelManager, "Client"]]:
    monkeypatch.setenv("PYTHONPATH", HERE["PYTHONPATH"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    manager, client = start_new_kernel(kernel_name="python3")
    yield manager, Client(client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


class Client:
    """Runs cells, and keeps what they say."""

    def __init__(self, client) -> None:
        self.client = client

    def start(self, code: str) -> str:
        return self.client.execute(code)

    def messages(self, cell: str, until: str = "") -> list[dict]:
        """What a cell says until it is done, or until it has printed ``until``."""
        found = []
        end = time.monotonic() + 240
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=end - time.monotonic())
            except queue.Empty:
                pytest.fail(f"the kernel went silent after {found[-1:]}")
            if message["parent_header"].get("msg_id") != cell:
                continue
            found.append(message)
            content = message["content"]
            if content.get("execution_state") == "idle":
                assert not until, f"the cell ended and never printed {until!r}"
                return found
            if until and until in content.get("text", ""):
                return found

    def run(self, code: str) -> list[dict]:
        return self.messages(self.start(code))


def errors(messages: list[dict]) -> list[str]:
    return [m["content"]["ename"] for m in messages if m["msg_type"] == "error"]


def bar_style(messages: list[dict]) -> list[str]:
    """The styles that the progress bar took: "danger" is red, a run that did not end."""
    states = [
        m["content"]["data"].get("state", {}) for m in messages if m["msg_type"] == "comm_msg"
    ]
    return [state["bar_style"] for state in states if state.get("bar_style")]


@pytest.mark.slow
def test_a_stopped_training_goes_on_when_its_cell_is_run_again(
    kernel: tuple[KernelManager, Client],
):
    manager, client = kernel
    assert errors(client.run(TRAIN)) == []
    cell = client.start(LOOP)
    heard = client.messages(cell, until="going")
    manager.interrupt_kernel()
    heard += client.messages(cell)
    assert errors(heard) == ["KeyboardInterrupt"]
    assert bar_style(heard) == ["danger"]

    heard = client.run(LOOP)
    assert errors(heard) == []
    assert bar_style(heard) == []
    assert "comm_close" in [m["msg_type"] for m in heard]  # the bar is gone
    heard = client.run("assert seen == list(range(1, len(seen) + 1)) and step.progress == 1")
    assert errors(heard) == []


# ------------------------------------------------------------------ no home

USE = """
import warnings; warnings.simplefilter("error")
warnings.simplefilter("ignore", DeprecationWarning)  # of what other packages call in each other
import diffusion_lessons
from diffusion_lessons import digits, linear_schedule, to_unit
from diffusion_lessons.page.viz import show_images
from diffusion_lessons.page.widgets import ForwardExplorer
x_0 = to_unit(digits()[0][:2])
show_images(x_0)
assert ForwardExplorer(x_0, linear_schedule())._repr_mimebundle_()
"""


@pytest.fixture(params=["none", "unwritable"])
def homeless(request: pytest.FixtureRequest, read_only: Path) -> dict[str, str]:
    """An environment without a home, or with one that is of no use."""
    kept = ("MPLCONFIGDIR", "IPYTHONDIR")  # each would be a home of its own
    env = {k: v for k, v in (os.environ | HERE).items() if k != "HOME" and k not in kept}
    env = {k: v for k, v in env.items() if not k.startswith(("XDG_", "JUPYTER_"))}
    return env | ({} if request.param == "none" else {"HOME": str(read_only)})


@pytest.mark.slow
def test_package_pictures_and_widgets_need_no_home(homeless: dict[str, str], bound: list[str]):
    command = [*bound, sys.executable, "-c", USE]
    subprocess.run(command, env=homeless, check=True, timeout=240)


@pytest.mark.slow
def test_the_command_needs_no_home(read_only: Path, bound: list[str], tmp_path: Path):
    env = os.environ | HERE | {"HOME": str(read_only), "OMP_NUM_THREADS": "1"}
    env = {k: v for k, v in env.items() if k not in ("DIFFUSION_LESSONS_CACHE", "XDG_CACHE_HOME")}
    command = [*bound, sys.executable, "-m", "diffusion_lessons"]
    picture = tmp_path / "digits.png"
    options = ["--each", "1", "--steps", "2", "--out", str(picture)]
    subprocess.run([*command, "sample", *options], cwd=read_only, env=env, check=True, timeout=240)
    assert picture.read_bytes().startswith(b"\x89PNG")
    refused = subprocess.run(
        [*command, "sample", *options[:-1], "here.png"],
        cwd=read_only,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert refused.returncode == 2
    last = refused.stderr.splitlines()[-1]
    assert last.startswith("diffusion-lessons: here.png could not be written (Permission denied)")


# ------------------------------------------------------------------ two at once

WRITE = """
import sys
from diffusion_lessons import load_pretrained
from diffusion_lessons.networks.checkpoints import load, save
net = load_pretrained("moons-ddpm")
for i in range(40):
    save(sys.argv[1], net, {"who": sys.argv[2]})
"""


@pytest.mark.slow
def test_two_that_save_to_one_place_leave_a_whole_network(tmp_path: Path):
    path = tmp_path / "net.safetensors"
    save(path, load_pretrained("moons-ddpm"))
    command = [sys.executable, "-c", WRITE, str(path)]
    both = [subprocess.Popen([*command, who], env=os.environ | HERE) for who in "ab"]
    assert [run.wait(60) for run in both] == [0, 0]
    assert json.loads(path.with_suffix(".json").read_text())["who"] in "ab"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.json", "net.safetensors"]
