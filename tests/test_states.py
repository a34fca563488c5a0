"""Training states: where they may lie, whose they are, and what is said of one that will not do."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from diffusion_lessons import TrainOptions, TrainStep, train
from diffusion_lessons.files import claimed, read_metadata
from diffusion_lessons.networks import checkpoints
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.training import states
from diffusion_lessons.training.recipes import moons_ddpm

resource = pytest.importorskip("resource", reason="limits are Unix's")
pytestmark = pytest.mark.unix

ROOT = Path(__file__).parent.parent
POINTS = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))


def loss(model: Any, batch: Any, generator: torch.Generator) -> torch.Tensor:
    return (model(batch[0], torch.ones(64).long()) - batch[0]).square().mean()


def run(path: Path | str, steps: int = 4, **options: Any) -> Iterator[TrainStep]:
    return train(
        MLP(width=16, layers=1),
        loss,
        lambda step: (POINTS,),
        steps=steps,
        compute=Compute(torch.device("cpu")),
        checkpoint=path,
        **options,
    )


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A run of four steps that is finished."""
    path = tmp_path / "x.training"
    list(run(path))
    return path


def refused(path: Path | str, kind: type[Exception], words: str) -> str:
    """What is said, before the first step, of a place that will not do."""
    with pytest.raises(kind, match=words) as caught:
        next(run(path, steps=9))
    return str(caught.value)


def test_a_missing_folder_is_made_and_the_home_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    list(run("~/new/x.training"))
    assert states.read_state("~/new/x.training")[0]["step"] == 4
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["x.training"]


def test_a_place_that_will_not_do_is_refused_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    words = "A part of its path is a file, not a folder"
    refused(tmp_path / "file" / "x.training", OSError, words)
    refused(tmp_path, IsADirectoryError, "Name a file, not a folder")


def test_a_state_has_the_mode_of_the_umask_and_then_keeps_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x.training"
    before = os.umask(0o027)
    try:
        list(run(path))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o664)
    list(run(path, steps=8))
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_a_link_to_another_disk_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "disk" / "x.training", tmp_path / "x.training"
    link.symlink_to(real)
    list(run(link))
    assert link.is_symlink()
    assert states.read_state(real)[0]["step"] == 4


def test_a_write_protected_state_is_gone_on_with_only_where_nothing_is_written(state: Path) -> None:
    state.chmod(0o440)
    before = state.read_bytes()
    words = refused(state, PermissionError, "it is write-protected")
    assert "elete" not in words
    assert state.read_bytes() == before
    assert [step.step for step in run(state)] == [4]  # it is finished


def of_a_network(path: Path) -> None:
    save_file({"a": torch.zeros(2)}, path)


def of_another_version(path: Path) -> None:
    metadata, tensors = states.read_state(path)
    del metadata["compute"]
    write(path, metadata, tensors)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("change", "words", "whole"),
    [
        (of_a_network, "holds tensors, but no training state; choose another file", True),
        (of_another_version, "of another version, without compute; go on with the version", True),
        (cut, "is not a whole training state .*; delete it", False),
    ],
)
def test_only_what_is_damaged_is_to_be_deleted(
    change: Callable[[Path], None], words: str, whole: bool, state: Path
) -> None:
    change(state)
    assert ("delete" in refused(state, ValueError, words)) != whole


@contextmanager
def few_files() -> Iterator[None]:
    """No further file can be opened."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_too_many_open_files_are_not_called_damage(state: Path) -> None:
    words = r"x\.training could not be read \(Too many open files\)\. Close some files"
    with few_files(), pytest.raises(OSError, match=words) as caught:
        states.read_state(state)
    assert "delete" not in str(caught.value)


def test_a_state_of_another_account_is_not_called_damaged(state: Path, bound: list[str]) -> None:
    read = "import sys; from diffusion_lessons.training import states; "
    read += "states.read_state(sys.argv[1])"
    state.chmod(0)
    command = [*bound, sys.executable, "-c", read, str(state)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"PermissionError: {state} could not be read (Permission denied)")
    assert "delete" not in last


# ------------------------------------------------------------------ two runs, one place


def test_a_run_does_not_overwrite_the_state_of_another(tmp_path: Path) -> None:
    path = tmp_path / "x.training"
    one, two = run(path, steps=6, save_every=2), run(path, steps=6, save_every=2, seed=1)
    next(one), next(one)  # saved
    next(two)
    with pytest.raises(
        ValueError, match=r"x\.training holds the training of another seed: 0, not 1"
    ):
        next(two)
    assert len(list(one)) == 4
    assert states.read_state(path)[0]["seed"] == 0


def test_a_run_does_not_fall_behind_a_state_of_its_own_that_is_further(tmp_path: Path) -> None:
    path = tmp_path / "x.training"
    slow = run(path, steps=6, save_every=2)
    next(slow)
    list(run(path, steps=6, save_every=2))
    with pytest.raises(ValueError, match="is at step 6 already; begin again to go on from there"):
        next(slow)
    assert json_step(path) == 6


def json_step(path: Path) -> int:
    return int(json.loads(read_metadata(path)["training"])["step"])


def test_a_state_that_another_process_claims_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "x.training"
    code = "import sys; from diffusion_lessons.files import claimed\n"
    code += "with claimed(sys.argv[1]): print(flush=True); sys.stdin.readline()"
    pipe = subprocess.PIPE
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    other = subprocess.Popen([sys.executable, "-c", code, path], env=env, stdin=pipe, stdout=pipe)
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(OSError, match="is being written by another process"):
        list(run(path))
    other.communicate(b"\n")
    assert not path.exists()
    with claimed(path):
        list(run(path))
    assert path.exists()


# ------------------------------------------------------------------ broken


def test_a_state_of_a_broken_network_is_no_part_of_a_mean(tmp_path: Path) -> None:
    path = tmp_path / "x.training"
    list(moons_ddpm(TrainOptions(steps=1, checkpoint=path)))
    metadata, tensors = states.read_state(path)
    assert isinstance(states.load_state(path)[0], type(checkpoints.load_pretrained("moons-ddpm")))
    name = next(name for name in tensors if name.startswith("ema/"))
    tensors[name].view(-1)[0] = torch.nan
    write(path, metadata, tensors)
    with pytest.raises(ValueError, match=r"x\.training: this network is broken"):
        states.load_state(path)


def write(path: Path, metadata: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """A state that is whole, whatever it holds."""
    metadata = {**metadata, "sha256": states._checksum(tensors, metadata)}
    save_file(tensors, path, metadata={"training": json.dumps(metadata)})
