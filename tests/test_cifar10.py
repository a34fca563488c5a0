"""The CIFAR-10 recipe, on made pictures in the set's layout; its guided samples, in colour."""

import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from diffusion_lessons import TrainOptions, cli
from diffusion_lessons.networks import cards
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.page.viz import tile
from diffusion_lessons.training import recipes
from diffusion_lessons.training.loop import TrainStep
from diffusion_lessons.training.recipes import cifar10_adm

CAT, DOG = "3", "5"
FLOAT32 = Compute(torch.device("cpu"))
SAME = {"rtol": 0, "atol": 0}


class CIFAR10:
    """What torchvision's own offers: pictures [N, H, W, C] as an array, labels as a list."""

    def __init__(self, root: Path, train: bool, download: bool) -> None:
        self.data = np.random.default_rng(0).integers(256, size=(40, 32, 32, 3), dtype=np.uint8)
        self.targets = [i % 10 for i in range(40)]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision = types.ModuleType("torchvision")
    torchvision.datasets = types.SimpleNamespace(CIFAR10=CIFAR10)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)


def small(options: TrainOptions, **arguments: Any) -> Iterator[TrainStep]:
    options = options.usual(compute=FLOAT32, warmup=1, ema=0.0)
    return cifar10_adm(options, channels=16, batch_size=8, **arguments)


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("arguments", "weights", "operations", "looks", "head"),
    [
        ({}, 7.7e6, 2.6e9, {8, 4}, 32),
        ({"unshuffle": 1, "channels": 128}, 44e6, 43e9, {16, 8, 4}, 64),
    ],
)
def test_the_network_has_adms_parts_and_the_size_that_is_said(
    arguments: dict[str, int],
    weights: float,
    operations: float,
    looks: set[int],
    head: int,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(recipes, "train_with", lambda model, _, __, options: (model, options))
    model, options = cifar10_adm(TrainOptions(compute=FLOAT32), batch_size=8, **arguments)
    network = model.network
    given = torch.zeros(1, 3, 32, 32), torch.tensor([1]), torch.tensor([3])
    with FlopCounterMode(display=False) as counter:
        model(*given)
    stages = network.trace(*given)
    assert options.steps == 28_000
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(weights, rel=0.01)
    # The way back takes twice what the way there does: the gradients of inputs and of weights.
    assert 3 * counter.get_total_flops() == pytest.approx(operations, rel=0.01)
    assert stages[-1].output.shape == (1, 3, 32, 32)
    looking = [stage for stage in stages if stage.queries is not None]
    assert {stage.output.shape[2] for stage in looking} == looks  # 4 is the middle
    assert {stage.queries.shape[3] for stage in looking} == {head}
    parts = ("adaptive_norm", "residual_resampling")
    assert all(network.config[part] for part in parts)


@pytest.mark.usefixtures("made")
def test_without_the_data_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match="pip install torchvision"):
        small(TrainOptions(steps=1))


@pytest.mark.usefixtures("made")
def test_coloured_pictures_too_are_learned_by_another_prediction_and_schedule():
    step = next(small(TrainOptions(steps=1), predict="v", schedule="straight"))
    assert step.loss.isfinite()
    assert step.model.about["predicts"] == "v"
    assert step.model.schedule.config["kind"] == "straight"


def test_about_half_of_the_pictures_are_mirrored():
    images = torch.arange(400 * 6, dtype=torch.int32).view(400, 2, 1, 3)
    some_flipped = recipes._flipped(images, torch.Generator().manual_seed(0))
    flipped = (some_flipped == images.flip(3)).flatten(1).all(1)
    assert ((some_flipped == images).flatten(1).all(1) ^ flipped).all()
    assert 150 < flipped.sum() < 250


@pytest.fixture
def trained(made: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The network that the command writes after a few steps."""
    monkeypatch.setitem(recipes.RECIPES, "cifar10-adm", small)
    assert cli.main(["train", "cifar10-adm", "--steps", "3", "--out", str(tmp_path)]) == 0
    return tmp_path / "cifar10-adm.safetensors"


@pytest.mark.slow
def test_the_command_draws_cats_and_dogs_in_colour(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    card = cards.read_card(trained)
    assert card["command"] == "diffusion-lessons train cifar10-adm --seed 0 --steps 3"
    settings = [
        "--each",
        "2",
        "--labels",
        CAT,
        DOG,
        "--steps",
        "2",
        "--guidance",
        "classifier-free",
    ]

    def drawn(scale: str) -> np.ndarray:
        target = tmp_path / f"{scale}.png"
        arguments = ["sample", str(trained), *settings, "--scale", scale, "--out", str(target)]
        assert cli.main(arguments) == 0
        return matplotlib.image.imread(target)[:, :, :3]

    weak, strong = drawn("0"), drawn("8")
    assert weak.shape == (2 * 32 * 2, 2 * 32 * 2, 3)  # two rows of two, each pixel doubled
    assert np.abs(weak[:, :, 0] - weak[:, :, 2]).mean() > 0.05  # red is not blue
    assert np.abs(weak - strong).max() > 0

    capsys.readouterr()
    for wrong, message in [
        (["sample", str(trained), "--labels", "10"], "labels must lie in 0..9, got [10]"),
        (["sample", str(trained), "--guidance", "classifier"], "a classifier of digits"),
        (["evaluate", str(trained)], "the judge knows nothing else"),
    ]:
        assert cli.main([*wrong, "--steps", "2"]) == 2
        assert message in capsys.readouterr().err


def test_a_grid_keeps_colours_and_their_places():
    images = torch.zeros(3, 3, 2, 2)
    images[0, 0], images[1, 1], images[2, 2] = 1, 1, 1  # red, green, blue
    picture = tile(images, columns=2)
    assert picture.shape == (4, 4, 3)
    assert picture[0, 0].tolist() == [255, 128, 128]
    assert picture[1, 3].tolist() == [128, 255, 128]
    assert picture[3, 0].tolist() == [128, 128, 255]
    assert picture[3, 3].tolist() == [0, 0, 0]  # nobody is there
    grey = tile(images[:, :1], columns=2)
    assert grey.shape == (4, 4)
    with pytest.raises(ValueError, match=r"images must be \[N, 1, H, W\] or \[N, 3, H, W\]"):
        tile(torch.zeros(1, 2, 4, 4))


@pytest.mark.usefixtures("made")
def test_a_run_in_seconds_saves_as_it_goes_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """As on a rented GPU: so many seconds, then some more; the card says both."""

    @wraps(cifar10_adm)
    def saving(options: TrainOptions, **arguments: Any) -> Iterator[TrainStep]:
        return small(replace(options, save_every=1), **arguments)

    monkeypatch.setitem(recipes.RECIPES, "cifar10-adm", saving)
    command = ["train", "cifar10-adm", "--set", "unshuffle=1", "--out", str(tmp_path)]
    assert cli.main([*command, "--seconds", "1"]) == 0
    first = cards.read_card(tmp_path / "cifar10-adm.safetensors")
    words = "diffusion-lessons train cifar10-adm --seed 0 --seconds {} --set unshuffle=1"
    assert first["command"] == words.format(1)
    assert cli.main([*command, "--seconds", "2"]) == 0
    card = cards.read_card(tmp_path / "cifar10-adm.safetensors")
    assert card["command"].splitlines() == [
        f"{words.format(1)}  # stopped after {first['steps']}",
        words.format(2),
    ]
    assert card["steps"] > first["steps"]
    with pytest.raises(SystemExit):
        cli.main([*command, "--seconds", "1", "--steps", "1"])
    assert "not allowed with argument" in capsys.readouterr().err
