"""Two processes train, draw and measure as one does; real ones, started by Accelerate."""

import json
import os
import socket
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
import several
import torch

from diffusion_lessons.data import Images
from diffusion_lessons.files import read_json_lines
from diffusion_lessons.math.losses import random_times
from diffusion_lessons.math.randomness import (
    RowGenerator,
    derived,
    rand,
    randn_like,
    random_integers,
)
from diffusion_lessons.networks import cards
from diffusion_lessons.networks.processes import Processes, processes

ROOT = Path(__file__).parent.parent
SAME = {"rtol": 0, "atol": 0}


def launch(*arguments: str, code: int = 0) -> str:
    """``accelerate launch`` with two processes on this machine; what they print."""
    pytest.importorskip("accelerate", reason="several processes need pip install '.[scale]'")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
    command += ["--multi_gpu", "--num_machines", "1", "--main_process_port", free_port()]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", *arguments]
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=hidden, capture_output=True, text=True, timeout=250
    )
    assert bool(done.returncode) == bool(code), done.stdout + done.stderr
    return done.stdout


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    """What each of two processes found, before one of them was killed."""
    parts = "train,muon,draw,refuse,compute,die"
    launch("tests/several.py", parts, str(folder), code=1)
    return [json.loads((folder / f"train-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("alone")
    return {part: several.PARTS[part](out) for part in ("train", "muon", "draw")}


def test_two_processes_hold_the_same_weights_and_see_the_same_losses(two: list[dict[str, Any]]):
    for part in ("train", "muon", "draw", "compute"):
        first, second = (dict(each[part]) for each in two)
        first.pop("files written", 0), second.pop("files written", 0)
        assert first == second


@pytest.mark.parametrize("what", ["unet", "vae", "gan", "cifar10"])
def test_the_same_batch_gives_the_losses_and_weights_of_one_process(
    what: str, two: list[dict[str, Any]], alone: dict[str, Any]
):
    one, both = (torch.tensor(each["train"][what]) for each in (alone, two[0]))
    torch.testing.assert_close(both, one, rtol=1e-5, atol=1e-5)


def test_with_muon_the_losses_are_one_processs_within_bfloat16(
    two: list[dict[str, Any]], alone: dict[str, Any]
):
    one, both = (torch.tensor(each["muon"]["muon"]) for each in (alone, two[0]))
    torch.testing.assert_close(both, one, rtol=2e-3, atol=0)


def test_one_process_writes_the_checkpoints(two: list[dict[str, Any]]):
    assert [each["train"]["files written"] for each in two] == [[4], [0]]


def test_pictures_and_tables_are_those_of_one_process(
    two: list[dict[str, Any]], alone: dict[str, Any], folder: Path
):
    assert two[0]["draw"].keys() == alone["draw"].keys()
    for name, pictures in alone["draw"].items():
        torch.testing.assert_close(torch.tensor(two[0]["draw"][name]), torch.tensor(pictures))
    assert len(list(read_json_lines(folder / "table.jsonl"))) == 2  # the head, and one row


def test_what_is_refused_is_refused_by_all_and_for_the_same_reason(two: list[dict[str, Any]]):
    assert two[0]["refuse"] == two[1]["refuse"]
    indivisible, damaged, broken, strange = two[0]["refuse"]["errors"]
    assert "a batch of 7 cannot be divided by 2 processes" in indivisible
    assert "wrong.training is not a whole training state" in damaged
    assert "the loss is nan at step 1" in broken  # in one process alone
    assert "not a str" in strange


def test_the_main_processs_clock_ends_a_run_in_seconds(two: list[dict[str, Any]]):
    (*before, last), other = (each["refuse"]["clock"] for each in two)
    assert [*before, last] == other
    assert all(seconds < 0.2 for seconds in before)
    assert last >= 0.2


def test_a_killed_run_goes_on_with_another_number_of_processes(
    two: list[dict[str, Any]], folder: Path
):
    """Two processes, one of them killed after step 4; one alone to step 6; two to the end."""
    whole = two[0]["train"]["unet"][:8]
    losses = several.resumed(folder, until=6)
    out = launch("tests/several.py", "finish,sample", str(folder))
    losses += json.loads((folder / "finish-1.json").read_text())["finish"]
    assert len(losses) == 4
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(whole[4:]), rtol=1e-5, atol=1e-5)
    # And the command, in the same launch: one speaks and writes.
    assert out.count("grid.png") == 1
    assert matplotlib.image.imread(folder / "grid.png").shape[:2] == (2 * 28 * 2, 2 * 28 * 2)


def test_a_recipe_runs_unchanged(tmp_path: Path):
    command = ["train", "moons-ddpm", "--steps", "3", "--out", str(tmp_path)]
    out = launch("-m", "diffusion_lessons", *command)
    assert out.count("3 steps in") == 1
    card = cards.read_card(tmp_path / "moons-ddpm.safetensors")
    assert (card["steps"], card["processes"]) == (3, 2)
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json", ".training"}


# Alone


def test_alone_nothing_is_imported_and_nothing_changes():
    probe = (
        "import sys; from diffusion_lessons.networks.processes import processes;"
        "assert processes().size == 1 and processes().main; print('accelerate' in sys.modules)"
    )
    # Left over from a cluster's shell, without a launch: one process.
    left = {key: value for key, value in os.environ.items() if key != "LOCAL_RANK"}
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env=left | {"WORLD_SIZE": "4"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
    shared = processes()
    batch, x = {"any": "thing"}, torch.tensor([1.0, 2.0])
    assert shared.rows(batch) is batch
    shared.mean_([x])
    shared.copy_([x])
    assert x.tolist() == [1, 2]
    assert shared.gather("a") == ["a"]
    with shared.one_first():
        assert shared.from_main(lambda: 3) == 3


def test_without_accelerate_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ImportError, match="pip install accelerate"):
        processes.__wrapped__()


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_random_numbers_of_all_processes_are_those_of_one(size: int):
    def numbers(n: int, g: torch.Generator) -> list[torch.Tensor]:
        return [
            randn_like(torch.empty(n, 3), g),
            random_times(n, 1000, g),
            rand((n, 1, 5), g, torch.device("cpu")),
            random_integers(1, 4, n, g, torch.device("cpu")),
            torch.rand(2, generator=g),  # what a batch has in common
        ]

    seed = derived(3, 7)
    *rows, common = numbers(12, RowGenerator(seed))
    parts = [numbers(12 // size, RowGenerator(seed, rank=rank, size=size)) for rank in range(size)]
    for i, whole in enumerate(rows):
        assert len(whole.unique()) > 1
        torch.testing.assert_close(torch.cat([part[i] for part in parts]), whole, **SAME)
    for part in parts:
        torch.testing.assert_close(part[-1], common, **SAME)


def test_the_rows_of_all_processes_are_the_batch():
    batch = (torch.arange(12), (torch.arange(24).view(12, 2),))
    parts = [Processes(rank, 3).rows(batch) for rank in range(3)]
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), batch[0], **SAME)
    torch.testing.assert_close(torch.cat([part[1][0] for part in parts]), batch[1][0], **SAME)


def test_a_batch_is_shared_out_by_rows_and_stays_what_it_is():
    images = Images(torch.arange(4), torch.arange(4, 8))
    batch = {"data": images, "more": [(torch.zeros(4, 2),)]}
    for rank in (0, 1):
        mine = Processes(rank, 2).rows(batch)
        assert isinstance(mine["data"], Images)
        assert mine["data"].labels.tolist() == [4 + 2 * rank, 5 + 2 * rank]
        assert [part.shape for part in mine["more"][0]] == [(2, 2)]


@pytest.mark.parametrize(
    ("gpus", "options"),
    [
        (1, {"cpu": False, "backend": "gloo"}),  # NCCL would refuse the second
        (2, {"cpu": False}),
        (0, {"cpu": True}),
    ],
)
def test_more_processes_than_gpus_talk_another_way(
    gpus: int, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    accelerate = pytest.importorskip("accelerate")

    def connected(**asked: Any) -> Any:
        assert asked == options
        return types.SimpleNamespace(process_index=1, num_processes=2)

    monkeypatch.setattr(accelerate, "PartialState", connected)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    for name, value in {"WORLD_SIZE": 2, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    assert processes.__wrapped__() == Processes(1, 2)
