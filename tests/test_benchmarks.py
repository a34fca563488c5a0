"""The benchmark of a GPU, where there may be none: the same parts, small, on the processor."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffusion_lessons import load_pretrained
from diffusion_lessons.networks import cards

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "device.py"
TORCHVISION = """
import types
import numpy as np

class CIFAR10:
    def __init__(self, root, train, download):
        self.data = np.random.default_rng(0).integers(256, size=(40, 32, 32, 3), dtype=np.uint8)
        self.targets = [i % 10 for i in range(40)]

datasets = types.SimpleNamespace(CIFAR10=CIFAR10)
"""
"""Made pictures in CIFAR-10's layout"""


def measured(folder: Path, *parts: str, more: tuple[str, ...] = (), code: int = 0) -> Any:
    """What the script writes of its parts, made small."""
    (folder / "made").mkdir(exist_ok=True)
    (folder / "made" / "torchvision.py").write_text(TORCHVISION)
    command = [sys.executable, SCRIPT, "--small", "--train", "2", "--parts", *parts, *more]
    paths = os.pathsep.join([str(ROOT), str(folder / "made")])
    alone = {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    alone |= {"HOME": str(folder)}  # no CIFAR-10 there
    out = folder / "device.json"
    files = ["--out", str(out), "--runs", str(folder / "runs")]
    done = subprocess.run([*command, *files], env=os.environ | alone, timeout=500)
    assert done.returncode == code
    return json.loads(out.read_text())["parts"]


@pytest.mark.slow
def test_lesson_02s_network_is_held_to_its_bar(tmp_path: Path):
    rows = measured(tmp_path, "bar")["bar"]["rows"]
    assert len(rows) == 4  # both networks, both times: nobody learns digits in half a second
    for row in rows:
        assert row["updates"] >= 1
        assert row["reached"] is False
        assert row["frechet_distance"] > row["floor"]


@pytest.mark.slow
def test_digits_a_second_are_counted_with_the_networks_operations(tmp_path: Path):
    rows = measured(tmp_path, "sampling")["sampling"]["rows"]
    assert {row["memory_format"] for row in rows} == {"contiguous_format", "channels_last"}
    for row in rows:
        assert row["images_per_second"] > 0
        assert row["share_of_peak"] > 0
        # Each of the two steps calls the network once; attention multiplies a little more.
        each = row["operations_per_second"] / row["images_per_second"] / 2
        assert each == pytest.approx(1.05 * operations_of_layers(), rel=0.06)


def operations_of_layers() -> int:
    """Multiplications and additions of the shipped network's layers, for one picture."""
    model, counted = load_pretrained("digits-ddpm"), 0

    def count(layer: nn.Module, _: object, out: Tensor) -> None:
        nonlocal counted
        counted += 2 * out.numel() * layer.weight[0].numel()  # type: ignore[union-attr, operator]

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, 1, 28, 28), torch.tensor([1]))
    return counted


@pytest.mark.slow
def test_both_races_are_run_and_stand_beside_the_papers(tmp_path: Path):
    rows = measured(tmp_path, "race")["race"]["rows"]
    assert len(rows) == 2
    for row in rows:
        seconds = row["seconds"]
        assert row["steps"] == 3
        assert seconds["DDPM"] > 0
        ratio = seconds["DDPM"] / seconds["DDGAN"]
        assert row["times_as_quick"] == pytest.approx(ratio, rel=0.1)
        assert row["seconds_in_the_paper_on_a_V100"] == {"DDPM": 80.5, "DDGAN": 0.21}


@pytest.mark.slow
def test_updates_are_counted_and_profiled(tmp_path: Path):
    rows = measured(tmp_path, "updates")["updates"]["rows"]
    assert len(rows) == 4  # two layouts, and the profile of each
    for row, profile in zip(rows[::2], rows[1::2], strict=True):
        assert row["ms_an_update"] == pytest.approx(4000 / row["pictures_per_second"], rel=0.1)
        assert profile["profile_of"]["memory_format"] == row["memory_format"]
        parts = profile["program_ms_by_part"]
        assert parts.keys() == waiting().PARTS.keys()
        assert sum(parts.values()) > 0
        assert "gpu_busy_share" not in profile  # there is none


@pytest.mark.slow
def test_two_processes_see_the_losses_of_one(tmp_path: Path):
    pytest.importorskip("accelerate", reason="several processes need pip install '.[scale]'")
    (row,) = measured(tmp_path, "processes")["processes"]["rows"]
    assert row["processes"] == 2
    assert row["smoke_test"] == "passed"
    assert len(row["losses"]) == 8
    assert row["losses"] == pytest.approx(row["alone"], rel=1e-3)


@pytest.mark.slow
def test_cifar10_is_trained_and_kept_as_it_goes(tmp_path: Path):
    part = measured(tmp_path, "cifar10")["cifar10"]
    *before, last = part["rows"]
    assert before  # after a second, and at the end
    assert last["updates"] > before[0]["updates"]
    assert last["seconds"] >= 2
    found = {path.name for path in (tmp_path / "runs").iterdir() if path.suffix != ".lock"}
    names = {f"cifar10-adm.{ending}" for ending in ("safetensors", "json", "png", "training")}
    assert found == names
    card = cards.read_card(tmp_path / "runs" / "cifar10-adm.safetensors")
    assert card["command"].endswith("--seconds 2 --set batch_size=4 channels=16")
    assert card["steps"] == last["updates"]


@pytest.mark.slow
def test_what_fails_or_hangs_leaves_the_others_alone(tmp_path: Path):
    """One part in a second, which not even its imports can do; then another, which has time."""
    parts = measured(tmp_path, "bar", "race", more=("--total", "1"), code=2)
    assert parts["bar"]["rows"] == [{"failed": "stopped after 1 s"}]
    assert parts["race"]["rows"] == [{"failed": "no time was left"}]
    (tmp_path / "runs").write_text("no folder")  # nothing can be kept there
    parts = measured(tmp_path, "cifar10", "sampling", code=1)
    assert "runs" in parts["cifar10"]["rows"][-1]["failed"]
    assert len(parts["sampling"]["rows"]) >= 2
    assert parts["race"]["rows"] == [{"failed": "no time was left"}]  # as it was


# The profile of a GPU, from a made one


def waiting() -> ModuleType:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        return importlib.import_module("waiting")
    finally:
        sys.path.remove(str(SCRIPT.parent))


def event(kind: str, name: str, began: float, lasted: float, number: int = 0) -> dict[str, Any]:
    about = {"correlation": number} if number else {}
    return {"ph": "X", "cat": kind, "name": name, "ts": began, "dur": lasted, "args": about}


def test_a_gpu_waits_for_the_part_in_which_it_was_asked_too_late():
    loss, optimisers = "loss", "optimisers"
    events = [
        event("user_annotation", loss, 0, 100),
        event("user_annotation", optimisers, 500, 200),
        event("gpu_user_annotation", loss, 50, 400),  # the GPU's mirror image of it is no part
        # Asked in the loss; the second has been asked before the first ends.
        event("cuda_runtime", "cudaLaunchKernel", 10, 5, 1),
        event("cuda_runtime", "cudaLaunchKernel", 20, 5, 2),
        event("kernel", "one", 50, 100, 1),
        event("kernel", "two", 160, 40, 2),
        # The GPU is free at 200; the next is asked for at 600, in the optimisers.
        event("cuda_runtime", "cudaLaunchKernel", 600, 5, 3),
        event("kernel", "three", 610, 90, 3),
        event("cuda_runtime", "cudaStreamSynchronize", 620, 80),
        # And at 900, in no part.
        event("cuda_runtime", "cudaMemcpyAsync", 900, 5, 4),
        event("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 950, 50, 4),
        {"ph": "M", "name": "process_name"},
    ]
    found = waiting().summed(events, 2)
    assert found["program_ms_by_part"] == {"optimisers": 0.1, "loss": 0.05}
    assert found["gpu_busy_share"] == pytest.approx((100 + 40 + 90 + 50) / 950, abs=1e-4)
    assert found["gpu_busy_ms"] == 0.14
    idle = {"optimisers": 0.205, "the rest": 0.125, "between two kernels": 0.005}
    assert found["gpu_idle_ms_by_part"] == idle
    assert found["program_waits_ms_by_call"] == {"cudaStreamSynchronize": 0.04}
    assert found["kernels"] == 1.5
    assert found["copies"] == {"Memcpy DtoH (Device -> Pageable)": 0.5}
