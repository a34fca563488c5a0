"""Recipes run, resume and save; the command says what it does and refuses the rest."""

import json
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest
import torch

from diffusion_lessons import cli, from_noise_model, linear_schedule, moons, sample
from diffusion_lessons.files import read_json_lines
from diffusion_lessons.networks import checkpoints
from diffusion_lessons.training import states
from diffusion_lessons.training.recipes import RECIPES


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - {"cifar10-adm"}))  # test_cifar10
def test_every_recipe_takes_a_step_and_can_be_saved(name: str, tmp_path: Path):
    *_, last = RECIPES[name](steps=2)
    assert last.step == 2
    assert last.loss.isfinite()
    checkpoints.save(tmp_path / "x.safetensors", last.model)


def test_train_writes_a_network_with_its_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["train", "moons-ddpm", "--steps", "20", "--out", str(tmp_path), "--seed", "3"]
    assert cli.main(arguments) == 0
    card = checkpoints.read_card(tmp_path / "moons-ddpm.safetensors")
    assert card["command"] == "diffusion-lessons train moons-ddpm --seed 3 --steps 20"
    assert card["steps"] == 20
    network = (tmp_path / "moons-ddpm.safetensors").read_bytes()
    (tmp_path / "moons-ddpm.safetensors").unlink()
    assert cli.main(arguments) == 0  # a finished run only writes its network again
    assert (tmp_path / "moons-ddpm.safetensors").read_bytes() == network
    assert "20 steps" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["digits-ddpm", "digits-ddgan"])
def test_train_goes_on_from_a_network_and_says_so(name: str, tmp_path: Path):
    arguments = ["train", name, "--steps", "1", "--seed", "7", "--out", str(tmp_path)]
    assert cli.main([*arguments, "--start", name]) == 0
    path = tmp_path / f"{name}.safetensors"
    card, shipped = checkpoints.read_card(path), checkpoints.read_card(cli._path(name))
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


def test_a_recipe_can_be_told_its_own_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["train", "digits-ddgan", "--steps", "1", "--out", str(tmp_path)]
    assert cli.main([*arguments, "--set", "T=2", "latent=0", "discriminator_lr=1e-4"]) == 0
    path = tmp_path / "digits-ddgan.safetensors"
    model = checkpoints.load(path)
    assert (model.T, model.generator_net.latent) == (2, 0)
    assert checkpoints.read_card(path)["command"].endswith(
        "--set T=2 latent=0 discriminator_lr=0.0001"
    )
    assert cli.main([*arguments, "--set", "seed=3"]) == 2
    assert "--set seed: digits-ddgan has T, latent, disc" in capsys.readouterr().err
    assert cli.main(["train", "digits-vae", "--set", "T=3"]) == 2
    assert "digits-vae has nothing to set" in capsys.readouterr().err
    assert cli.main([*arguments, "--set", "lr='fast'"]) == 2
    assert "lr must be a number" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*arguments, "--set", "T=two"])
    assert "must be NAME=VALUE" in capsys.readouterr().err


def test_a_run_that_began_otherwise_is_not_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Else the card would tell of settings, and of a beginning, that the network never had."""
    arguments = ["train", "digits-ddgan", "--steps", "1", "--out", str(tmp_path)]
    settings = ["--set", "latent=0", "lr=1e-4"]
    assert cli.main([*arguments, *settings]) == 0
    assert cli.main([*arguments, *settings]) == 0
    assert cli.main([*arguments, "--set", "latent=0", "lr=1e-3"]) == 2
    assert "another identity: {'settings': 'latent=0 lr=0.0001'" in capsys.readouterr().err
    made = tmp_path / "digits-ddgan.safetensors"
    assert cli.main([*arguments, *settings, "--start", str(made)]) == 2
    assert "training of another identity" in capsys.readouterr().err


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
    card = checkpoints.read_card(target)
    assert card["command"] == f"diffusion-lessons average {one} {state}"
    first, second = card["averaged"]
    assert first["command"].endswith("--seed 1 --steps 3")
    assert (second["steps"], second["seed"]) == (3, 2)


def test_average_refuses_what_is_not_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    target = tmp_path / "x.safetensors"
    assert cli.main(["average", "digits-ddpm", "digits-ddgan", "--out", str(target)]) != 0
    assert "of one kind and size" in capsys.readouterr().err
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
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == 50
    assert found["command"].startswith("diffusion-lessons evaluate digits-ddpm --samples 50")


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


@pytest.mark.parametrize(
    ("network", "guidance", "steps"),
    [("digits-ddpm", "classifier", "2"), ("digits-vae", "truncation", "1")],
)
def test_evaluate_measures_what_steers(
    network: str, guidance: str, steps: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["evaluate", network, "--samples", "20", "--steps", steps]
    guided = ["--guidance", guidance, "--scale"]
    assert cli.main([*arguments, *guided, "0.5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["guidance"], found["scale"]) == (guidance, 0.5)
    assert f"--guidance {guidance} --scale 0.5" in found["command"]
    out = tmp_path / "table.jsonl"
    assert cli.main([*arguments, *guided, "0.5", "2", "--out", str(out)]) == 0
    _, *rows = dict(read_json_lines(out)).values()
    assert [row["scale"] for row in rows] == [0.5, 2.0]
    assert f"{guidance} 2" in capsys.readouterr().out


def test_evaluate_can_write_into_the_card(tmp_path: Path):
    path = tmp_path / "classifier.safetensors"
    checkpoints.save(path, checkpoints.load_pretrained("digits-classifier"))
    for _ in range(2):  # the same measurement again replaces the first
        assert cli.main(["evaluate", str(path), "--write"]) == 0
    (measured,) = checkpoints.read_card(path)["measured"]
    assert measured["accuracy"] >= 0.985


def test_doctor_tells_device_versions_and_speed(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ["torch", "jupyterlab", "threads", "<- used", "digits-ddpm: whole"]:
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
        (["evaluate", "gone.safetensors"], "gone.json"),
        (["evaluate", "digits-ddpm", "--steps", "1", "2"], "make a table: say where with --out"),
        (["evaluate", "digits-ddpm", "--write", "--out", "x.jsonl"], "give one of them"),
        (["evaluate", "digits-classifier", "--out", "x.jsonl"], "a table needs one for digits"),
        (["evaluate", "moons-ddpm", "--guidance", "classifier"], "draws points"),
        (["evaluate", "moons-ddpm", "--spacing", "quadratic"], "draws points"),
        (["evaluate", "digits-vae", "--steps", "2"], "a VAE draws in 1 step"),
        (["evaluate", "digits-ddpm", "--guidance", "truncation"], "guidance of a UNet must be"),
        (["train", "moons-ddpm", "--start", "digits-ddpm"], "--start is not for moons-ddpm"),
        (["train", "digits-ddgan", "--start", "digits-ddpm"], "start must be a Gan, got a UNet"),
        (["lab", "--folder", "nowhere"], "no lessons in nowhere"),
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


@pytest.mark.parametrize("arguments", [["train", "nothing"], [], ["sample", "--steps", "0"]])
def test_the_parser_refuses_what_it_does_not_know(arguments: list[str]):
    with pytest.raises(SystemExit):
        cli.main(arguments)


def test_a_busy_port_gets_one_line(capsys: pytest.CaptureFixture[str]):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert cli.main(["lab", "--folder", "notebooks", "--port", port, "--no-browser"]) == 2
    assert f"port {port} is busy" in capsys.readouterr().err


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "diffusion_lessons", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == cli.__version__


def test_the_shipped_moons_look_like_moons(capsys: pytest.CaptureFixture[str]):
    arguments = ["--samples", "2000", "--steps", "50", "--eta", "1"]
    assert cli.main(["evaluate", "moons-ddpm", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["near_data"] > 0.95
    assert found["frechet_distance"] < 0.02  # of data with variance 1 in each direction
    schedule, generator = linear_schedule(), torch.Generator().manual_seed(0)
    denoiser = from_noise_model(checkpoints.load_pretrained("moons-ddpm"), schedule)
    start = torch.randn(2000, 2, generator=generator)
    *_, last = sample(denoiser, start, schedule, 100, generator=generator)
    data, _ = moons(2000, generator)
    # And nothing is left out: nearly every real point has a sample near it.
    assert (torch.cdist(data, last.x).min(1).values < 0.2).double().mean() > 0.97
