"""CIFAR-10's recipes, on made pictures in its layout; their guided samples and their judge."""

import json
import sys
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

from diffusion_lessons import DiffusionModel, DrawSettings, TrainOptions, cli, load_pretrained
from diffusion_lessons.data import cats_and_dogs, to_unit
from diffusion_lessons.math.schedule import cosine_schedule
from diffusion_lessons.measuring import judge
from diffusion_lessons.measuring.evaluation import (
    evaluate,
    evaluate_classifier,
    evaluate_noisy_classifier,
    usual_count,
)
from diffusion_lessons.measuring.judge import (
    CATS_DOGS,
    CIFAR,
    DIGITS,
    accuracy,
    features,
    reference,
    subject_of,
)
from diffusion_lessons.networks import cards, checkpoints
from diffusion_lessons.networks.classifier import NoisyClassifier, ResidualClassifier
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.drawing import GUIDANCES, guide_of, noisy_classifier
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.page.viz import tile
from diffusion_lessons.training import recipes
from diffusion_lessons.training.loop import TrainStep
from diffusion_lessons.training.recipes import (
    cats_dogs_ddpm,
    cats_dogs_noisy_classifier,
    cifar10_adm,
    cifar10_classifier,
)

CAT, DOG = "3", "5"
FLOAT32 = Compute(torch.device("cpu"))
SAME = {"rtol": 0, "atol": 0}


def small(options: TrainOptions, **arguments: Any) -> Iterator[TrainStep]:
    options = options.usual(compute=FLOAT32, warmup=1, ema=0.0)
    return cifar10_adm(options, channels=16, batch_size=8, **arguments)


@pytest.mark.usefixtures("made_cifar10")
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


@pytest.mark.usefixtures("made_cifar10")
def test_without_the_data_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match="pip install torchvision"):
        small(TrainOptions(steps=1))


@pytest.mark.usefixtures("made_cifar10")
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
def trained(made_cifar10: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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
        (["sample", str(trained), "--labels", "10"], "--labels must lie in 0..9"),
        (["sample", str(trained), "--guidance", "classifier"], "classifiers that guide are of"),
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


@pytest.mark.usefixtures("made_cifar10")
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


def test_each_picture_is_shifted_by_itself_and_edges_are_mirrored():
    images = torch.randint(256, (300, 3, 8, 9), dtype=torch.uint8)
    moved = recipes._each_shifted(images, torch.Generator().manual_seed(0))
    shifts = []
    for before, after in zip(images.numpy(), moved.numpy(), strict=True):
        wide = np.pad(before, [(0, 0), (2, 2), (2, 2)], mode="reflect")
        fits = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if (wide[:, down : down + 8, right : right + 9] == after).all()
        ]
        assert len(fits) == 1
        shifts += fits
    assert moved.dtype == torch.uint8
    assert len(set(shifts)) == 25


@pytest.mark.usefixtures("made_cifar10")
@pytest.mark.parametrize("recipe", [cifar10_classifier, cats_dogs_noisy_classifier])
def test_a_classifiers_recipe_learns_the_made_pictures(recipe: Any):
    options = TrainOptions(steps=60, compute=FLOAT32, ema=0.5)
    losses = [step.loss.item() for step in recipe(options, channels=16, batch_size=8)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


@pytest.mark.usefixtures("made_cifar10")
@pytest.mark.parametrize("recipe", [cifar10_classifier, cats_dogs_noisy_classifier, cats_dogs_ddpm])
def test_a_recipe_draws_from_its_own_generator_and_can_be_saved(recipe: Any, tmp_path: Path):
    before = torch.get_rng_state()
    options = TrainOptions(steps=2, seed=5, compute=FLOAT32)
    for last in recipe(options, channels=16, batch_size=4):
        assert torch.equal(torch.get_rng_state(), before)
    assert last.step == 2
    assert last.loss.isfinite()
    checkpoints.save(tmp_path / "x.safetensors", last.model)


@pytest.mark.usefixtures("made_cifar10")
def test_the_classifiers_are_small_and_told_what_they_must_know(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recipes, "train_with", lambda model, *_: model)
    options = TrainOptions(compute=FLOAT32)
    clean: Any = cifar10_classifier(options, batch_size=8)
    noisy: Any = cats_dogs_noisy_classifier(options, batch_size=8)
    assert isinstance(clean, ResidualClassifier)
    assert sum(p.numel() for p in clean.parameters()) <= 700_000
    assert clean.features(torch.zeros(2, 3, 32, 32)).shape == (2, 64)
    assert clean(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert isinstance(noisy, NoisyClassifier)
    assert sum(p.numel() for p in noisy.parameters()) <= 450_000
    assert (noisy.shape, noisy.classes) == ((3, 32, 32), 2)
    assert noisy.schedule.same_as(cosine_schedule(1000))  # that of cats-dogs-ddpm


def test_a_residual_classifier_adds_and_is_saved(tmp_path: Path):
    model = ResidualClassifier(channels=4).eval()
    for name, part in model.named_modules():
        if name.split(".")[:2] in (["body", "2"], ["body", "4"]) and hasattr(part, "running_var"):
            torch.nn.init.zeros_(part.weight)  # then both pairs find nothing
    x = torch.randn(2, 3, 32, 32)
    body = [part for i, part in enumerate(model.body) if i not in (2, 4)]
    torch.testing.assert_close(model.features(x), torch.nn.Sequential(*body)(x))
    checkpoints.save(tmp_path / "it.safetensors", model)
    again: Any = checkpoints.load(tmp_path / "it.safetensors")
    assert isinstance(again, ResidualClassifier)
    torch.testing.assert_close(again(x), model(x), rtol=0.02, atol=0.02)  # half precision


# What belongs to a network: real pictures, a judge, a guide


def pets(**arguments: Any) -> DiffusionModel:
    """An untrained network of the kind of cats-dogs-ddpm."""
    network = UNet(size=32, in_channels=3, channels=8, blocks=1, classes=2)
    return DiffusionModel(network, arguments.get("schedule") or cosine_schedule(1000))


@pytest.mark.parametrize(
    ("shape", "classes", "subject"),
    [
        ((1, 28, 28), 10, DIGITS),
        ((1, 28, 28), 0, DIGITS),
        ((3, 32, 32), 10, CIFAR),
        ((3, 32, 32), 0, CIFAR),
        ((3, 32, 32), 2, CATS_DOGS),
        ((3, 32, 32), 3, None),
        ((1, 28, 28), 2, None),
        ((2,), 0, None),
    ],
)
def test_shape_and_classes_say_what_a_network_draws(shape: Any, classes: int, subject: Any):
    assert subject_of(shape, classes) == subject


@pytest.mark.usefixtures("made_cifar10")
def test_asked_for_a_cat_the_judge_must_see_a_cat_among_ten_classes():
    labels = torch.tensor([0, 1, 1, 0])
    seen = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    logits = judge.judge(subject=CIFAR).head(seen)
    wanted = [float(logits[i].argmax() == (3, 5)[label]) for i, label in enumerate(labels)]
    assert accuracy(seen, labels, subject=CATS_DOGS) == sum(wanted) / 4
    tens = logits.argmax(1)
    assert accuracy(seen, tens, subject=CIFAR) == 1
    with pytest.raises(ValueError, match="labels must"):
        accuracy(seen, labels + 1, subject=CATS_DOGS)


@pytest.mark.usefixtures("made_cifar10")
def test_real_cats_and_dogs_are_what_samples_are_compared_with():
    found = reference(8, subject=CATS_DOGS)
    images, labels = cats_and_dogs(train=False)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    seen = features(to_unit(images[order]), subject=CATS_DOGS)
    torch.testing.assert_close(found.features, seen)
    assert found.labels.tolist() == labels[order].tolist()
    assert found.floor["class_accuracy"] == accuracy(seen, labels[order], subject=CATS_DOGS)
    with pytest.raises(ValueError, match=r"count must lie in 2\.\.2000"):
        reference(2001, subject=CATS_DOGS)


@pytest.mark.usefixtures("made_cifar10")
def test_a_network_for_cats_and_dogs_is_measured_in_named_features():
    row = evaluate(pets(), DrawSettings(2, guidance="classifier", scale=1.0), 8, progress=False)
    assert row["features"] == "64 of cifar10-classifier"
    assert row["samples"] == 8
    assert {"class_accuracy", "frechet_distance", "floor"} <= row.keys()
    assert not any("fid" in name.lower() for name in row)
    assert (usual_count(pets()), usual_count(load_pretrained("digits-ddpm"))) == (2000, 10_000)


@pytest.mark.usefixtures("made_cifar10")
@pytest.mark.slow
def test_the_command_measures_a_network_for_cats_and_dogs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, out = tmp_path / "pets.safetensors", tmp_path / "pets.jsonl"
    checkpoints.save(path, pets())
    words = ["evaluate", str(path), "--samples", "8", "--steps", "1"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["features"] == "64 of cifar10-classifier"
    guided = ["--guidance", "classifier-free", "--scale", "1", "2", "--out", str(out)]
    assert cli.main([*words, *guided]) == 0
    assert [json.loads(line).get("scale") for line in out.read_text().splitlines()[1:]] == [1, 2]
    checkpoints.save(path, pets(), {"data": {"folder": "mine"}})
    assert cli.main(words) == 2
    assert "was trained on pictures of your own: name them with --data" in capsys.readouterr().err


def test_a_network_for_cats_and_dogs_has_a_guide_of_its_own():
    assert guide_of(pets()) == "cats-dogs-noisy-classifier"
    guide = noisy_classifier(name="cats-dogs-noisy-classifier")
    x, labels = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    model = pets()
    pushed = GUIDANCES["classifier"](model, labels, 2.0)(x, 500)
    from_it = x.clone().requires_grad_()
    told = guide(from_it, torch.full((2,), 500)).log_softmax(1)
    gradient = torch.autograd.grad(told[[0, 1], labels].sum(), from_it)[0]
    alpha, sigma = (float(part[500]) for part in (model.schedule.alpha, model.schedule.sigma))
    wanted = model.denoiser()(x, 500) + 2.0 * sigma**2 / alpha * gradient
    torch.testing.assert_close(pushed, wanted.clamp(-1, 1), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="trained on pictures noised under"):
        guide_of(pets(schedule=load_pretrained("digits-ddpm").schedule))
    with pytest.raises(ValueError, match="name must be one of digits-noisy-classifier, cats-dogs"):
        noisy_classifier(name="cifar10-classifier")


@pytest.mark.usefixtures("made_cifar10")
def test_the_shipped_classifiers_are_measured_on_their_pictures():
    clean = evaluate_classifier(judge.judge(subject=CIFAR))
    assert clean["test_pictures"] == 40
    assert len(clean["accuracy_by_class"]) == 10
    assert sum(clean["accuracy_by_class"]) / 10 == pytest.approx(clean["accuracy"])
    noisy = evaluate_noisy_classifier(noisy_classifier(name="cats-dogs-noisy-classifier"))
    assert noisy["test_pictures"] == 8
    with pytest.raises(ValueError, match="no test pictures"):
        evaluate_noisy_classifier(NoisyClassifier(channels=4, classes=3))


def test_the_shipped_classifiers_say_how_good_they_are():
    judged = cards.read_card(cards.pretrained_path("cifar10-classifier"))["measured"][-1]
    assert judged["test_pictures"] == 10_000
    assert judged["accuracy"] > 0.85
    guide = cards.read_card(cards.pretrained_path("cats-dogs-noisy-classifier"))["measured"][-1]
    assert guide["test_pictures"] == 2000
    assert guide["accuracy_at"]["1"] > 0.7
    assert guide["accuracy_at"]["1000"] < 0.6
