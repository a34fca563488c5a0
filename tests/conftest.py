"""What all tests share: the schedules they run over, hypothesis, the published book."""

import os
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import settings

from diffusion_lessons import data
from diffusion_lessons.math.schedule import (
    NoiseSchedule,
    cosine_schedule,
    linear_schedule,
    vp_schedule,
)
from diffusion_lessons.measuring import judge

ROOT = Path(__file__).parent.parent

# What the course keeps for its user is not the tests' to read or to write: they have a folder of
# their own, which subprocesses and the workers of a parallel run share.
if "PYTEST_XDIST_WORKER" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="diffusion-lessons-")
    os.environ["DIFFUSION_LESSONS_CACHE"] = CACHE.name

# The tests' tensors are small: a second thread costs more than it brings.
torch.set_num_threads(1)

# The same examples every time, so that a failure on one machine is a failure on all.
settings.register_profile("lessons", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("lessons")

SCHEDULES = {
    "linear": linear_schedule(1000),
    "cosine": cosine_schedule(1000),
    "vp": vp_schedule(4),
}


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the book waits until it is built.

    Of the browser's files one begins, which builds it, and the others that need it come last: no
    second worker has to wait.
    """
    needing = set()
    for item in items:
        if "book" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
            needing.add(item.path)
    browser = Path(__file__).parent / "browser"
    first = browser / "test_every_page.py"

    def place(item: pytest.Item) -> tuple[bool, bool, bool]:
        with_browser = item.path.parent == browser
        return item.path != first, not with_browser, with_browser and item.path in needing

    items.sort(key=place)


@pytest.fixture(params=SCHEDULES)
def schedule(request: pytest.FixtureRequest) -> NoiseSchedule:
    """Each kind of schedule in turn: two long ones and the four steps of a denoising GAN."""
    return SCHEDULES[request.param]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools of one batch of pairs, where a training by reflow makes pools of twenty."""
    monkeypatch.setattr("diffusion_lessons.training.pairs.POOL", 64)


class MadeCIFAR10:
    """What torchvision's own offers: pictures [N, H, W, C] as an array, labels as a list."""

    def __init__(self, root: Path, train: bool, download: bool) -> None:
        noise = np.random.default_rng(0).integers(120, size=(40, 32, 32, 3), dtype=np.uint8)
        self.targets = [i % 10 for i in range(40)]  # a class is the brighter, the higher its label
        self.data = noise + 14 * np.array(self.targets, np.uint8)[:, None, None, None]


@pytest.fixture
def made_cifar10(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Made pictures, even where the set itself lies in the user's cache."""
    torchvision = types.ModuleType("torchvision")
    torchvision.datasets = types.SimpleNamespace(CIFAR10=MadeCIFAR10)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setattr(data, "_class_file", lambda folder, name: tmp_path / "none" / name)
    judge._reference.cache_clear()
    yield
    judge._reference.cache_clear()


@pytest.fixture
def bar_moves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], int]:
    """How often progress bars have been drawn, where whatever they wait for takes seconds."""
    clock = count()  # a second goes by whenever a bar looks
    monkeypatch.setattr("tqdm.std.time", lambda: float(next(clock)))
    return lambda: capsys.readouterr().err.count("\r")


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book, built once for all tests as it is built for publishing: the folder of its pages."""
    pytest.importorskip("sphinx", reason="the book needs pip install '.[book]'")
    several = "PYTEST_XDIST_WORKER" in os.environ  # each has a folder in the one of the whole run
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if several else base) / "book"
    env = os.environ | {"BOOK_REPOSITORY": "https://github.com/owner/lessons"}
    command = [sys.executable, "book/build.py", "--out", str(out)]
    with FileLock(f"{out}.lock"):
        if not (out / "whole").exists():
            built = subprocess.run(
                command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280
            )
            assert built.returncode == 0, built.stdout + built.stderr  # warnings are errors
            (out / "whole").touch()
    return out / "html"


@pytest.fixture(scope="session")
def bound() -> list[str]:
    """What to put before a command so that file permissions hold for it, root's as well."""
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions are Unix's")
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write anywhere, and there is no setpriv to take that away")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
