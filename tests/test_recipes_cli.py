"""Recipes run, resume and save; the command says what it does and refuses the rest."""

import errno
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
import torch
from safetensors.torch import save_file

from diffusion_lessons import DiffusionModel, TrainOptions, cli, moons, sample
from diffusion_lessons.cli import lab
from diffusion_lessons.files import read_json_lines
from diffusion_lessons.measuring.evaluation import evaluate_points
from diffusion_lessons.networks import cards, checkpoints
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.training import states
from diffusion_lessons.training.recipes import RECIPES

SMALL_RECIPES = sorted(name for name in RECIPES if not name.startswith(("cifar10", "cats")))
"""Those for CIFAR-10, or some of it, are tried in test_cifar10."""


@pytest.mark.slow
@pytest.mark.usefixtures("small_pools")
@pytest.mark.parametrize("name", SMALL_RECIPES)
def test_every_recipe_takes_a_step_draws_from_its_own_generator_and_can_be_saved(
    name: str, tmp_path: Path
):
    before = torch.get_rng_state()
    for last in RECIPES[name](TrainOptions(steps=2, seed=5)):
        assert torch.equal(torch.get_rng_state(), before)
    assert last.step == 2
    assert last.loss.isfinite()
    checkpoints.save(tmp_path / "x.safetensors", last.model)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("digits-ddpm", {"predict": "velocity", "schedule": "straight"}),
        ("digits-adm", {"predict": "v", "schedule": "cosine"}),
        ("digits-noisy-classifier", {"schedule": "cosine"}),
    ],
)
def test_a_recipe_for_digits_takes_another_prediction_and_schedule(
    name: str, arguments: dict[str, str], tmp_path: Path
):
    step = next(RECIPES[name](TrainOptions(steps=2), **arguments))
    path = tmp_path / "x.safetensors"
    checkpoints.save(path, step.model)
    card = cards.read_card(path)
    assert card["schedule"]["kind"] == arguments["schedule"]
    assert card.get("predicts") == arguments.get("predict")
    assert checkpoints.load(path).schedule.same_as(step.model.schedule)


@pytest.mark.parametrize("name", ["predict", "schedule"])
def test_a_recipe_refuses_an_unknown_prediction_or_schedule(name: str):
    with pytest.raises(ValueError, match=f"{name} must be one of .*, got 'unknown'"):
        RECIPES["digits-ddpm"](TrainOptions(steps=2), **{name: "unknown"})


def test_train_writes_a_network_with_its_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["train", "moons-ddpm", "--steps", "20", "--out", str(tmp_path), "--seed", "3"]
    assert cli.main(arguments) == 0
    card = cards.read_card(tmp_path / "moons-ddpm.safetensors")
    assert card["command"] == "diffusion-lessons train moons-ddpm --seed 3 --steps 20"
    assert card["steps"] == 20
    network = (tmp_path / "moons-ddpm.safetensors").read_bytes()
    (tmp_path / "moons-ddpm.safetensors").unlink()
    assert cli.main(arguments) == 0  # a finished run only writes its network again
    assert (tmp_path / "moons-ddpm.safetensors").read_bytes() == network
    assert "20 steps" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("predict", "schedule"),
    [("v", "cosine"), ("v", "straight"), ("x0", "straight"), ("velocity", "straight")],
)
def test_what_a_network_predicts_and_its_schedule_stand_on_its_card_and_are_read_from_it(
    predict: str, schedule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Read as noise under the linear schedule, the same weights draw nothing of sense."""
    arguments = ["train", "moons-ddpm", "--predict", predict, "--schedule", schedule]
    assert cli.main([*arguments, "--steps", "200", "--out", str(tmp_path)]) == 0
    path = tmp_path / "moons-ddpm.safetensors"
    card = cards.read_card(path)
    assert (card["predicts"], card["schedule"]["kind"]) == (predict, schedule)
    assert f"--predict {predict} --schedule {schedule}" in card["command"]
    capsys.readouterr()
    assert cli.main(["evaluate", str(path), "--samples", "1000"]) == 0
    measured = json.loads(capsys.readouterr().out)
    misread = evaluate_points(DiffusionModel(checkpoints.load(path).network), count=1000)
    assert measured["frechet_distance"] < 0.05
    assert measured["frechet_distance"] < 0.1 * misread["frechet_distance"]


def test_noise_is_not_predicted_where_nothing_of_the_picture_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """At T of the straight schedule the guess of x_0 would be a division by 0."""
    for predict in ([], ["--predict", "noise"]):
        arguments = ["train", "moons-ddpm", *predict, "--schedule", "straight"]
        assert cli.main([*arguments, "--out", str(tmp_path)]) == 2
        assert "predict x0, v or velocity" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["sample", "evaluate"])
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("predicts", "the weather", "what the network predicts must be one of noise, x0, v"),
        ("schedule", {"kind": "crooked", "T": 1000}, "no schedule is described by"),
        ("schedule", {"kind": "linear", "length": 3}, "describes nothing"),
        ("usual", {"sampler": "magic", "steps": 2}, "the usual sampler must be one of"),
        ("usual", {"sampler": "ddim", "speed": 2}, "unexpected keyword argument 'speed'"),
        ("usual", {"sampler": "ddim", "steps": "two"}, "the usual steps must be an int"),
    ],
)
def test_a_card_of_an_unknown_prediction_or_schedule_is_refused_and_named(
    command: str,
    name: str,
    value: object,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    path = tmp_path / "strange.safetensors"
    checkpoints.save(path, checkpoints.load_pretrained("digits-ddpm"))
    cards.write_card(path, cards.read_card(path) | {name: value})
    assert cli.main([command, str(path), "--steps", "1"]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert words in error


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits-ddpm", "digits-ddgan"])
def test_train_goes_on_from_a_network_and_says_so(name: str, tmp_path: Path):
    arguments = ["train", name, "--steps", "1", "--seed", "7", "--out", str(tmp_path)]
    assert cli.main([*arguments, "--start", name]) == 0
    path, start = tmp_path / f"{name}.safetensors", cards.pretrained_path(name)
    card, shipped = cards.read_card(path), cards.read_card(start)
    assert card["command"].endswith(f"--steps 1 --start {name}")
    assert card["start"]["sha256"] == shipped["sha256"]
    old, new = checkpoints.load_pretrained(name), checkpoints.load(path)
    moved = [
        ((a - b).norm() / a.norm()).item()
        for a, b in zip(old.parameters(), new.parameters(), strict=True)
    ]
    assert 0 < max(moved) < 0.1  # the first step, warming up, moves the weights but little
    if name == "digits-ddgan":  # whose average holds to what it began with from the first step on
        tensors = states.read_state(path.with_suffix(".training"))[1]
        for key, weight in old.named_parameters():
            now, average = tensors[f"model/{key}"], tensors[f"ema/{key}"]
            share = 0.0003 if key.startswith("generator_net") else 1.0
            torch.testing.assert_close(average, weight.lerp(now, share), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_recipe_can_be_told_its_own_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["train", "digits-ddgan", "--steps", "1", "--out", str(tmp_path)]
    assert cli.main([*arguments, "--set", "T=2", "latent=0", "discriminator_lr=1e-4"]) == 0
    path = tmp_path / "digits-ddgan.safetensors"
    model = checkpoints.load(path)
    assert (model.T, model.generator_net.latent) == (2, 0)
    assert cards.read_card(path)["command"].endswith("--set T=2 discriminator_lr=0.0001 latent=0")
    assert cli.main([*arguments, "--set", "seed=3"]) == 2
    assert "--set seed: digits-ddgan has T, latent, disc" in capsys.readouterr().err
    assert cli.main(["train", "digits-vae", "--set", "T=3"]) == 2
    assert "digits-vae has nothing to set" in capsys.readouterr().err
    assert cli.main([*arguments, "--set", "lr='fast'"]) == 2
    assert "lr must be a number" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*arguments, "--set", "T=two"])
    assert "must be NAME=VALUE" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_began_otherwise_is_not_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Else the card would tell of settings, and of a beginning, that the network never had."""
    arguments = ["train", "digits-ddgan", "--steps", "1", "--out", str(tmp_path)]
    settings = ["--set", "latent=0", "lr=1e-4"]
    assert cli.main([*arguments, *settings]) == 0
    assert cli.main([*arguments, "--set", *settings[:0:-1]]) == 0  # in whatever order
    assert cli.main([*arguments, "--set", "latent=0", "lr=1e-3"]) == 2
    assert "another identity: {'settings': 'latent=0 lr=0.0001'" in capsys.readouterr().err
    made = tmp_path / "digits-ddgan.safetensors"
    assert cli.main([*arguments, "--set", "lr=1e-4", "--start", str(made)]) == 2
    assert "training of another" in capsys.readouterr().err
    assert cli.main([*arguments, *settings, "--start", str(made)]) == 2
    assert "latent: a Gan that training goes on from keeps its own" in capsys.readouterr().err


def made_by(card: dict[str, Any], out: Path) -> torch.nn.Module:
    """The network that a card's command makes, run as a shell script would."""
    for line in card["command"].splitlines():
        words = shlex.split(line, comments=True)
        assert words[:2] == ["diffusion-lessons", "train"]
        assert cli.main([*words[1:], "--out", str(out)]) == 0
    return checkpoints.load(out / f"{words[2]}.safetensors")


def test_the_command_on_a_card_makes_the_network_however_often_it_was_gone_on_with(tmp_path: Path):
    """With more steps the learning rate rises again: the last command alone makes another."""
    arguments = ["train", "moons-ddpm", "--seed", "2"]
    for steps in ("4", "7", "9"):
        assert cli.main([*arguments, "--steps", steps, "--out", str(tmp_path / "a b")]) == 0
    path = tmp_path / "a b" / "moons-ddpm.safetensors"
    card = cards.read_card(path)
    assert [(part["from"], part["steps"]) for part in card["history"]] == [(0, 4), (4, 7), (7, 9)]
    again = made_by(card, tmp_path / "again")
    assert_same(again, checkpoints.load(path))
    once = tmp_path / "once"
    assert cli.main([*arguments, "--steps", "9", "--out", str(once)]) == 0
    other = checkpoints.load(once / "moons-ddpm.safetensors")
    assert not torch.equal(next(other.parameters()), next(again.parameters()))
    assert "history" not in cards.read_card(once / "moons-ddpm.safetensors")


def assert_same(one: torch.nn.Module, other: torch.nn.Module) -> None:
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_a_run_that_was_stopped_and_given_other_steps_says_so(tmp_path: Path):
    options = TrainOptions(steps=6, checkpoint=tmp_path / "moons-ddpm.training", save_every=2)
    options = replace(options, identity={"settings": "", "start": ""})
    steps = RECIPES["moons-ddpm"](options)
    for _ in range(3):
        next(steps)
    assert cli.main(["train", "moons-ddpm", "--steps", "4", "--out", str(tmp_path)]) == 0
    first, second = cards.read_card(tmp_path / "moons-ddpm.safetensors")["command"].splitlines()
    assert first == "diffusion-lessons train moons-ddpm --seed 0 --steps 6  # stopped after 2"
    assert second == "diffusion-lessons train moons-ddpm --seed 0 --steps 4"


@pytest.mark.slow
def test_paths_on_a_card_are_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "my runs; 'really'"
    start, target = folder / "digits-ddpm.safetensors", folder / "mean.safetensors"
    checkpoints.save(start, checkpoints.load_pretrained("digits-ddpm"))
    options = ["--steps", "1", "--out", str(tmp_path)]
    assert cli.main(["train", "digits-ddpm", "--start", str(start), *options]) == 0
    command = cards.read_card(tmp_path / "digits-ddpm.safetensors")["command"]
    assert shlex.split(command)[-2:] == ["--start", str(start)]
    assert cli.main(["average", str(start), str(start), "--out", str(target)]) == 0
    command = cards.read_card(target)["command"]
    assert shlex.split(command) == ["diffusion-lessons", "average", str(start), str(start)]
    capsys.readouterr()
    assert cli.main(["evaluate", str(start), "--steps", "1", "--samples", "10"]) == 0
    command = json.loads(capsys.readouterr().out)["command"]
    assert shlex.split(command)[2] == str(start)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["sample", "evaluate", "table", "train"])
def test_the_number_format_is_an_option_and_is_told(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    told = set()
    for name in ("float32", "bfloat16"):
        out = tmp_path / name
        how = ["--steps", "1", "--format", name, "--threads", "2"]
        words = {
            "sample": ["sample", "digits-ddpm", "--each", "1", "--out", f"{out}.png"],
            "evaluate": ["evaluate", "digits-ddpm", "--samples", "10"],
            "table": ["evaluate", "digits-ddpm", "--samples", "10", "--out", f"{out}.jsonl"],
            "train": ["train", "digits-vae", "--out", str(out)],
        }[command]
        assert cli.main([*words, *how]) == 0
        printed = capsys.readouterr()
        if command == "evaluate":
            row = json.loads(printed.out)
        elif command == "table":
            _, row = dict(read_json_lines(f"{out}.jsonl")).values()
        elif command == "train":
            row = cards.read_card(out / "digits-vae.safetensors")
        else:
            row = {"compute": {"dtype": name, "threads": 2}, "command": " ".join(how)}
            told.add(Path(f"{out}.png").read_bytes())
        assert (row["compute"]["dtype"], row["compute"]["threads"]) == (name, 2)
        assert f"--format {name} --threads 2" in row["command"]
        assert f"{name}, " in printed.out + printed.err
        assert "2 threads, on" in printed.out + printed.err
    assert command != "sample" or len(told) == 2  # the pictures differ in their last bits


def test_another_format_on_the_way_stands_on_the_card(tmp_path: Path):
    arguments = ["train", "digits-vae", "--out", str(tmp_path / "a")]
    assert cli.main([*arguments, "--steps", "1", "--format", "float32", "--threads", "1"]) == 0
    assert cli.main([*arguments, "--steps", "2", "--format", "bfloat16", "--threads", "1"]) == 0
    path = tmp_path / "a" / "digits-vae.safetensors"
    card = cards.read_card(path)
    assert [part["compute"]["dtype"] for part in card["history"]] == ["float32", "bfloat16"]
    assert_same(made_by(card, tmp_path / "b"), checkpoints.load(path))


def test_average_takes_the_means_of_networks_and_of_training_states(tmp_path: Path):
    for seed in ("1", "2"):
        folder = str(tmp_path / seed)
        assert (
            cli.main(["train", "moons-ddpm", "--steps", "3", "--seed", seed, "--out", folder]) == 0
        )
    one, two = (tmp_path / seed / "moons-ddpm.safetensors" for seed in "12")
    target = tmp_path / "mean.safetensors"
    state = two.with_suffix(".training")
    assert cli.main(["average", str(one), str(state), "--out", str(target)]) == 0
    parts = [checkpoints.load(one), states.load_state(state)[0]]
    for name, value in checkpoints.load(target).state_dict().items():
        mean = sum(part.state_dict()[name] for part in parts) / 2
        torch.testing.assert_close(value, mean, atol=1e-3, rtol=1e-3)  # files hold half precision
    card = cards.read_card(target)
    assert card["command"] == f"diffusion-lessons average {one} {state}"
    first, second = card["averaged"]
    assert first["command"].endswith("--seed 1 --steps 3")
    assert (second["steps"], second["seed"]) == (3, 2)


def without(path: Path, *names: str) -> None:
    """Rewrite a training state as a version that did not say this would have written it."""
    metadata, tensors = states.read_state(path)
    kept = {key: value for key, value in metadata.items() if key not in (*names, "sha256")}
    kept["sha256"] = states._checksum(tensors, kept)
    save_file(tensors, path, metadata={"training": json.dumps(kept)})


def test_a_training_state_of_version_0_1_is_of_noise_under_the_linear_schedule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["train", "moons-ddpm", "--out", str(tmp_path)]
    state = tmp_path / "moons-ddpm.training"
    assert cli.main([*arguments, "--steps", "2"]) == 0
    without(state, "predicts", "schedule", "batches")
    for other, word in ([["--predict", "v"], "prediction"], [["--schedule", "vp"], "schedule"]):
        assert cli.main([*arguments, "--steps", "4", *other]) == 2
        assert f"{state} holds the training of another {word}" in capsys.readouterr().err
    target = tmp_path / "mean.safetensors"
    assert cli.main(["average", str(state), str(state), "--out", str(target)]) == 0
    card = cards.read_card(target)
    assert (card["predicts"], card["schedule"]["kind"]) == ("noise", "linear")
    assert cli.main([*arguments, "--steps", "4"]) == 0  # goes on
    assert "4 steps" in capsys.readouterr().out


def test_a_picture_that_nobody_could_write_is_refused_before_it_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name in ("grid.xyz", "grid"):
        assert cli.main(["sample", "digits-vae", "--out", str(tmp_path / name)]) == 2
        assert "the name of a picture must end in" in capsys.readouterr().err


def test_average_refuses_what_is_not_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    target = tmp_path / "x.safetensors"
    assert cli.main(["average", "digits-ddpm", "digits-ddgan", "--out", str(target)]) != 0
    assert "of one kind, size, prediction and schedule" in capsys.readouterr().err
    assert not target.exists()
    with pytest.raises(ValueError, match="at least one"):
        checkpoints.mean_weights([])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--steps", "2"],
        ["digits-ddgan"],
        ["digits-vae", "--guidance", "truncation", "--scale", "0.5"],
    ],
)
def test_sample_writes_a_grid(arguments: list[str], tmp_path: Path):
    target = tmp_path / "grid.png"
    assert cli.main(["sample", *arguments, "--each", "2", "--out", str(target)]) == 0
    picture = matplotlib.image.imread(target)
    assert picture.shape[:2] == (10 * 28 * 2, 2 * 28 * 2)  # ten rows of two, each pixel doubled


def test_evaluate_prints_json(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["evaluate", "digits-ddpm", "--samples", "50", "--steps", "2"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["samples"] == 50
    assert measured["command"].startswith("diffusion-lessons evaluate digits-ddpm --samples 50")


def test_evaluate_fills_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "table.jsonl"
    arguments = ["evaluate", "digits-ddpm", "--samples", "20", "--steps", "1", "2", "--eta", "0"]
    arguments += ["--spacing", "uniform", "quadratic", "--out", str(out)]
    assert cli.main(arguments) == 0
    _, *rows = dict(read_json_lines(out)).values()
    assert [(row["steps"], row["spacing"]) for row in rows] == [
        (1, "uniform"),
        (1, "quadratic"),
        (2, "uniform"),
        (2, "quadratic"),
    ]
    assert rows[0]["images_per_second"] > 0
    assert rows[0]["command"].startswith("diffusion-lessons evaluate digits-ddpm --samples 20")
    assert capsys.readouterr().out.count("Frechet distance") == 4


def test_a_table_says_how_often_each_solver_called_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Heun's method twice a step, but once in the last."""
    out = tmp_path / "table.jsonl"
    arguments = ["evaluate", "digits-ddpm", "--samples", "20", "--steps", "3", "--out", str(out)]
    arguments += ["--sampler", "heun", "dpm++", "--spacing", "log-snr"]
    assert cli.main(arguments) == 0
    _, *rows = dict(read_json_lines(out)).values()
    assert {row["sampler"]: row["network_calls"] for row in rows} == {"heun": 5, "dpm++": 3}
    assert all(row["spacing"] == "log-snr" for row in rows)
    assert "--steps 3 --sampler heun --spacing log-snr" in rows[0]["command"]
    told = capsys.readouterr().out
    assert "3 steps of 5 calls, heun, log-snr" in told
    assert "3 steps, dpm++, log-snr" in told


def test_a_network_without_classes_is_drawn_from_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, grid = tmp_path / "classless.safetensors", tmp_path / "grid.png"
    checkpoints.save(path, DiffusionModel(UNet(channels=8, blocks=1, classes=0)))
    steps = ["--steps", "1"]
    assert cli.main(["sample", str(path), *steps, "--each", "3", "--out", str(grid)]) == 0
    assert matplotlib.image.imread(grid).shape[:2] == (28 * 2, 3 * 28 * 2)  # one row
    assert cli.main(["sample", str(path), *steps, "--labels", "3"]) == 2
    assert "this network knows no classes" in capsys.readouterr().err
    table = ["--out", str(tmp_path / "table.jsonl")]
    assert cli.main(["evaluate", str(path), *steps, "--samples", "20", *table]) == 0
    out = capsys.readouterr().out
    assert "Frechet distance" in out
    assert "class accuracy" not in out


@pytest.mark.parametrize(
    ("network", "guidance", "steps"),
    [
        ("digits-ddpm", "classifier", "2"),
        ("digits-ddpm", "truncation", "2"),
        ("digits-vae", "truncation", "1"),
    ],
)
def test_evaluate_measures_what_steers(
    network: str, guidance: str, steps: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["evaluate", network, "--samples", "20", "--steps", steps]
    guided = ["--guidance", guidance, "--scale"]
    assert cli.main([*arguments, *guided, "0.5"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert (measured["guidance"], measured["scale"]) == (guidance, 0.5)
    assert f"--guidance {guidance} --scale 0.5" in measured["command"]
    out = tmp_path / "table.jsonl"
    assert cli.main([*arguments, *guided, "0.5", "2", "--out", str(out)]) == 0
    _, *rows = dict(read_json_lines(out)).values()
    assert [row["scale"] for row in rows] == [0.5, 2.0]
    assert f"{guidance} 2" in capsys.readouterr().out


def test_evaluate_measures_points_with_any_settings_of_a_walk(capsys: pytest.CaptureFixture[str]):
    settings = ["--steps", "5", "--spacing", "quadratic", "--sampler", "heun"]
    assert cli.main(["evaluate", "moons-ddpm", "--samples", "100", *settings]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert (measured["sampler"], measured["spacing"], measured["network_calls"]) == (
        "heun",
        "quadratic",
        9,
    )


@pytest.mark.slow
def test_evaluate_can_write_into_the_card(tmp_path: Path):
    path = tmp_path / "classifier.safetensors"
    checkpoints.save(path, checkpoints.load_pretrained("digits-classifier"))
    for _ in range(2):  # the same measurement again replaces the first
        assert cli.main(["evaluate", str(path), "--write"]) == 0
    (measured,) = cards.read_card(path)["measured"]
    assert measured["accuracy"] >= 0.985


@pytest.mark.slow
def test_doctor_tells_device_versions_and_speed(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ["torch", "jupyterlab", "threads", "Networks run in", "digits-ddpm: whole"]:
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "nothing"], "no pretrained network 'nothing'"),
        (["sample", "digits-classifier"], "which draws no pictures"),
        (["sample", "digits-ddgan", "--steps", "5"], "this Gan draws in 4 steps with eta 1"),
        (["sample", "--steps", "5000"], "steps must lie in 1..1000"),
        (["sample", "--eta", "2", "--steps", "2"], "eta must lie in 0..1"),
        (["evaluate", "digits-ddpm", "--samples", "20000"], "count must lie in"),
        (["evaluate", "gone.safetensors"], "gone.safetensors is not there"),
        (["evaluate", "digits-ddpm", "--steps", "1", "2"], "make a table: say where with --out"),
        (["evaluate", "digits-ddpm", "--write", "--out", "x.jsonl"], "give one of them"),
        (["evaluate", "digits-classifier", "--out", "x.jsonl"], "a network that draws pictures"),
        (["evaluate", "moons-ddpm", "--out", "x.jsonl"], "a network that draws pictures"),
        (
            ["evaluate", "moons-ddpm", "--guidance", "classifier"],
            "classifiers that guide are of digits",
        ),
        (["evaluate", "moons-ddpm", "--guidance", "classifier-free"], "knows no classes"),
        (["evaluate", "digits-vae", "--steps", "2"], "a VAE draws in 1 step"),
        (["evaluate", "digits-ddgan", "--guidance", "truncation"], "guidance of a Gan"),
        (["train", "moons-ddpm", "--start", "digits-ddpm"], "--start is not for moons-ddpm"),
        (["train", "digits-ddgan", "--start", "digits-ddpm"], "start must be a Gan, got a Diff"),
        (["train", "digits-ddpm", "--start", "digits-ddgan"], "start must be a DiffusionModel"),
        (["train", "digits-vae", "--predict", "v"], "--predict is not for digits-vae"),
        (["train", "moons-ddpm", "--schedule", "cosine"], "predict x0, v or velocity"),
        (["sample", "digits-ddpm", "--scale", "3"], "--scale belongs to a --guidance"),
        (["evaluate", "digits-ddpm", "--scale", "2", "3"], "--scale belongs to a --guidance"),
        (["evaluate", "digits-classifier", "--sampler", "heun"], "--sampler: "),
        (["ablate", "--samples", "3"], "samples must lie in 10..10000"),
        (["train", "digits-ddpm", "--start", "moons-ddpm"], "start must draw (1, 28, 28)"),
        (["train", "digits-ddgan", "--start", "digits-gan", "--set", "T=8"], "keeps its own"),
        (["train", "digits-ddgan", "--schedule", "vp"], "--schedule is not for digits-ddgan"),
        (
            ["train", "digits-ddpm", "--start", "digits-ddpm", "--predict", "v"],
            "a network that training goes on from keeps its own",
        ),
        (["lab", "--again", "12"], "there is no lesson '12'; there are 00, 01, 02"),
        (["ablate", "--samples", "20000"], "samples must lie in 10..10000"),
        (["ablate", "--seeds", "0", "-1"], "each of seeds must lie in 0.."),
        (["trilemma", "--divide", "100000"], "divide must lie in 1..500"),
        (["trilemma", "--seed", "-1"], "seed must lie in 0.."),
        (["trilemma", "--out", "x.txt"], "x.txt: the name of a table must end in .jsonl"),
        (["evaluate", "digits-vae", "--out", "moons-ddpm.json"], "choose another file, say moons"),
        (["evaluate", "digits-classifier", "--samples", "5"], "is measured on all test pictures"),
        (["evaluate", "digits-vae", "--seed", "99999999999999999999"], "seed must lie in 0.."),
        (["average", "digits-vae", "--out", "mean"], "mean: the name of a network's file must end"),
        (["sample", "digits-vae", "--each", "1001"], "--each must lie in 1..1000, got 1001"),
        (["evaluate", __file__], "test_recipes_cli.py: the name of a network's file must end in"),
    ],
)
def test_mistakes_get_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    if arguments[0] in ("sample", "train"):
        arguments = [*arguments, "--out", str(tmp_path / "x.png")]
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "nothing"],
        [],
        ["sample", "--steps", "0"],
        ["train", "moons-ddpm", "--predict", "score"],
        ["train", "moons-ddpm", "--schedule", "given"],
        ["lab", "--port", "70000"],
        ["lab", "--port", "0"],
    ],
)
def test_the_parser_refuses_what_it_does_not_know(arguments: list[str]):
    with pytest.raises(SystemExit):
        cli.main(arguments)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "port 80 may not be used by this account"),
        (errno.EADDRINUSE, "port 80 is busy"),
        (errno.EADDRNOTAVAIL, "port 80 cannot be used (Cannot assign requested address)"),
    ],
)
def test_why_a_port_cannot_be_used_is_told(
    number: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("socket.socket.bind", refuse)
    assert cli.main(["lab", "--folder", "notebooks", "--port", "80", "--no-browser"]) == 2
    assert words in capsys.readouterr().err


# ------------------------------------------------------------------ places and mishaps


def never(*_: object, **__: object) -> None:
    raise AssertionError("the work was begun")


def test_places_are_tried_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    inside = tmp_path / "file" / "x"
    for module in ("cli.drawing.draw", "measuring.evaluation.evaluate"):
        monkeypatch.setattr(f"diffusion_lessons.{module}", never)
    monkeypatch.setattr("diffusion_lessons.measuring.trilemma.draw", never)
    monkeypatch.setattr("diffusion_lessons.measuring.ablation.watch", never)
    monkeypatch.setattr("diffusion_lessons.networks.checkpoints.mean_weights", never)
    monkeypatch.setitem(RECIPES, "moons-ddpm", never)
    commands = [
        ["sample", "digits-vae", "--out", f"{inside}.png"],
        ["evaluate", "digits-vae", "--out", f"{inside}.jsonl"],
        ["train", "moons-ddpm", "--out", str(inside)],
        ["average", "digits-vae", "--out", f"{inside}.safetensors"],
        ["ablate", "--out", f"{inside}.jsonl"],
        ["ablate", "ddgan", "--out", f"{inside}.jsonl"],
        ["trilemma", "--out", f"{inside}.jsonl"],
    ]
    for command in commands:
        assert cli.main(command) == 2, command
        error = capsys.readouterr().err
        assert f"{inside}" in error
        assert "A part of its path is a file, not a folder" in error
        assert error.count("\n") == 1


@pytest.mark.unix
def test_the_home_folder_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "moons-ddpm", "--steps", "2", "--out=~/runs"]) == 0
    network = "~/runs/moons-ddpm.safetensors"
    assert (
        cli.main(["average", network, "~/runs/moons-ddpm.training", "--out=~/m.safetensors"]) == 0
    )
    assert cli.main(["evaluate", "~/m.safetensors", "--samples", "10", "--steps", "1"]) == 0
    assert cli.main(["sample", "digits-vae", "--each", "1", "--out=~/p/x.png"]) == 0
    there = {"runs", "m.safetensors", "m.json", "p"}
    assert {file.name for file in tmp_path.iterdir()} == there


def test_training_does_not_overwrite_what_is_no_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    table = tmp_path / "moons-ddpm.json"
    table.write_text('{"rows": [1, 2]}')
    assert cli.main(["train", "moons-ddpm", "--steps", "2", "--out", str(tmp_path)]) == 2
    assert f"{table} is no network's card" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == [table.name]


def test_a_result_is_printed_even_where_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "x.safetensors"
    checkpoints.save(path, checkpoints.load_pretrained("moons-ddpm"))
    measure = ["evaluate", str(path), "--samples", "10", "--steps", "1", "--write"]
    path.with_suffix(".json").chmod(0o444)
    assert cli.main(measure) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "it is write-protected" in said.err
    path.with_suffix(".json").chmod(0o644)

    def refuse(*_: object) -> None:
        raise OSError("the disk is full by now")

    with monkeypatch.context() as patch:
        patch.setattr(cards, "add_measured", refuse)
        assert cli.main(measure) == 2
    said = capsys.readouterr()
    assert json.loads(said.out)["samples"] == 10
    assert "the disk is full by now" in said.err
    assert cli.main(measure) == 0
    assert len(cards.read_card(path)["measured"]) == 1


TWO = """
import sys
from diffusion_lessons import cli
sys.exit(cli.main(["train", "moons-ddpm", "--steps", "150", "--seed", *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_of_two_runs_into_one_folder_one_is_refused(tmp_path: Path):
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, seed, "--out", str(tmp_path)],
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in "12"
    ]
    said = [run.communicate(timeout=200)[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 2]
    (winner,) = (seed for seed, run in zip("12", runs, strict=True) if run.returncode == 0)
    (words,) = (text for text, run in zip(said, runs, strict=True) if run.returncode == 2)
    assert "is being written by another process" in words or "training of another seed" in words
    card = cards.read_card(tmp_path / "moons-ddpm.safetensors")
    assert f"--seed {winner}" in card["command"]
    checkpoints.load(tmp_path / "moons-ddpm.safetensors")


class OutOfMemoryError(RuntimeError):
    """As torch's."""


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (
            RuntimeError("mat1 and mat2\n  cannot be multiplied"),
            1,
            "unexpected RuntimeError: mat1 and",
        ),
        (AssertionError(), 1, "unexpected AssertionError"),
        (KeyError("recall"), 1, "unexpected KeyError: 'recall'"),
        (OverflowError("int too large"), 1, "unexpected OverflowError: int too large"),
        (MemoryError(), 2, "out of memory: take fewer"),
        (OutOfMemoryError("CUDA out of memory\nTried"), 2, "out of memory: CUDA out of memory"),
        (ValueError("this\nthat"), 2, "this"),
        (OSError(28, "No space left on device", "x"), 2, "x: No space left on device"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_raised_ends_in_one_line_and_the_traceback_can_be_asked_for(
    error: Exception,
    status: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("diffusion_lessons.cli.drawing.checkpoints.load", fail)
    for asked in (False, True):
        arguments = ["sample", "digits-vae", *["--traceback"] * asked]
        assert cli.main(arguments) == status
        said = capsys.readouterr().err
        assert said.splitlines()[-1].startswith(f"diffusion-lessons: {words}")
        assert ("Traceback" in said) == asked
        assert asked or said.count("\n") == 1
        assert ("--traceback tells where" in said) == (status == 1)


def test_a_compiler_that_is_missing_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def compiled(function: object) -> object:
        def call(x: torch.Tensor) -> None:
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nand more")

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setitem(RECIPES, "moons-ddpm", never)
    assert cli.main(["train", "moons-ddpm", "--compile", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert (
        "--compile: torch.compile does not work on this machine (InvalidCxxCompiler: No w" in said
    )
    assert "or leave --compile out" in said
    assert said.count("\n") == 1


def test_a_busy_port_gets_one_line(capsys: pytest.CaptureFixture[str]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert cli.main(["lab", "--folder", "notebooks", "--port", port, "--no-browser"]) == 2
    assert f"port {port} is busy" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.unix
def test_ctrl_c_is_jupyterlabs_where_it_has_a_process_of_its_own(tmp_path: Path):
    """As on Windows: the command waits for JupyterLab, which asks what Ctrl-C shall mean."""
    (tmp_path / "child.py").write_text(
        "import signal, sys, time\n"
        "def stop(*_): print('asked', flush=True); sys.exit(7)\n"
        "signal.signal(signal.SIGINT, stop)\n"
        "print('here', flush=True)\n"
        "time.sleep(60)\n"
    )
    code = (
        "import sys; from diffusion_lessons.cli.lab import wait_for; "
        f"sys.exit(wait_for([sys.executable, {str(tmp_path / 'child.py')!r}]))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "here\n"
        os.killpg(parent.pid, signal.SIGINT)  # as a console does: to both
        assert parent.stdout.read() == "asked\n"
        assert parent.wait(60) == 7


def test_on_windows_the_command_waits_for_jupyterlab(monkeypatch: pytest.MonkeyPatch):
    started: list[list[str]] = []
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it would go on out of its console"))
    monkeypatch.setattr(lab, "wait_for", lambda command: started.append(command) or 5)
    # There a port with this option could be taken while another has it.
    monkeypatch.setattr("socket.socket.setsockopt", lambda *_: pytest.fail("no option is asked"))
    with pytest.raises(SystemExit, match=r"^5$"):
        cli.main(["lab", "--folder", "notebooks", "--port", str(free_port()), "--no-browser"])
    ((python, *arguments),) = started
    assert python == sys.executable
    assert arguments[:2] == ["-m", "jupyterlab"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_the_module_is_the_command():
    command = [sys.executable, "-m", "diffusion_lessons", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == cli.__version__


@pytest.mark.slow
def test_the_shipped_moons_look_like_moons(capsys: pytest.CaptureFixture[str]):
    arguments = ["--samples", "2000", "--steps", "50", "--eta", "1"]
    assert cli.main(["evaluate", "moons-ddpm", *arguments]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["near_data"] > 0.95
    assert measured["frechet_distance"] < 0.02  # of data with variance 1 in each direction
    model, generator = checkpoints.load_pretrained("moons-ddpm"), torch.Generator().manual_seed(0)
    start = torch.randn(2000, 2, generator=generator)
    *_, last = sample(model.denoiser(), start, model.schedule, 100, generator=generator)
    data, _ = moons(2000, generator)
    # And nothing is left out: nearly every real point has a sample near it.
    assert (torch.cdist(data, last.x).min(1).values < 0.2).double().mean() > 0.97
