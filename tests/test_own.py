"""Your own pictures: trained on, drawn, measured, and told from copies, by function and command."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_lessons import (
    DrawSettings,
    Pictures,
    TrainOptions,
    cli,
    digits,
    final,
    load_pretrained,
    pictures,
)
from diffusion_lessons.data import Images, to_unit
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.measuring.judge import scores
from diffusion_lessons.measuring.nearest import beside, different, memorisation, nearest
from diffusion_lessons.measuring.own import OwnJudge, RandomFeatures, evaluate_pictures
from diffusion_lessons.networks import cards, checkpoints
from diffusion_lessons.networks.export import exported
from diffusion_lessons.page.viz import show_named
from diffusion_lessons.training import recipes
from diffusion_lessons.training.recipes import RECIPES, clamped_snr

TWO = TrainOptions(steps=2)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUSION_LESSONS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """60 digits of 28 x 28 without classes."""
    place = tmp_path / "mine"
    place.mkdir()
    for i, image in enumerate(digits(train=False).images[:60, 0].numpy()):
        Image.fromarray(image).save(place / f"{i:02}.png")
    return place


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """60 coloured pictures of 8 x 8, red ones and blue ones."""
    place = tmp_path / "coloured"
    random = np.random.default_rng(0)
    for label, name in enumerate(("red", "blue")):
        (place / name).mkdir(parents=True)
        for i in range(30):
            pixels = random.integers(0, 60, (8, 8, 3), dtype=np.uint8)
            pixels[..., 2 * label] += 180
            Image.fromarray(pixels).save(place / name / f"{i}.png")
    return place


def read(folder: Path, size: int = 28) -> Pictures:
    return pictures(folder, size, progress=False)


def made(images: torch.Tensor, held_out: torch.Tensor | None = None) -> Pictures:
    """Pictures that came from no folder."""
    held_out = images[:0] if held_out is None else held_out
    parts = [Images(part, torch.zeros(len(part), dtype=torch.int64)) for part in (images, held_out)]
    return Pictures(Path("made"), *parts, classes=(), names=())


# Training


@pytest.mark.parametrize("recipe", ["digits-ddpm", "digits-ddgan"])
def test_a_network_is_sized_to_the_pictures_and_draws_them(
    recipe: str, folder: Path, classes: Path, tmp_path: Path
):
    for place, size, shape, kinds in ((folder, 28, (1, 28, 28), 0), (classes, 8, (3, 8, 8), 2)):
        data = read(place, size)
        model: Any = final(RECIPES[recipe](TWO, data=data, channels=8, batch_size=8)).model
        assert (model.shape, model.classes) == (shape, kinds)
        checkpoints.save(tmp_path / "x.safetensors", model)
        again: Any = checkpoints.load(tmp_path / "x.safetensors")
        settings = DrawSettings(2 if recipe == "digits-ddpm" else None)
        assert draw(again, [1, 0] if kinds else 2, settings).shape == (2, *shape)
        if recipe == "digits-ddpm":  # its classes have the folders' names, saved and loaded
            assert model.names == again.names == data.classes


def test_a_network_that_goes_on_has_the_names_of_its_new_pictures(classes: Path):
    data = read(classes, 8)
    start: Any = final(RECIPES["digits-ddpm"](TWO, data=data, channels=8, batch_size=8)).model
    start.names = ("one", "other")
    model: Any = final(RECIPES["digits-ddpm"](TWO, data=data, start=start, batch_size=8)).model
    assert (start.names, model.names) == (("one", "other"), ("blue", "red"))


def test_the_shipped_pets_have_names(monkeypatch: pytest.MonkeyPatch):
    pictures = Images(torch.zeros(64, 3, 32, 32, dtype=torch.uint8), torch.zeros(64).long())
    monkeypatch.setattr(recipes, "cats_and_dogs", lambda: pictures)
    monkeypatch.setattr(recipes, "train_with", lambda model, *others: model)
    assert RECIPES["cats-dogs-ddpm"]().names == ("cat", "dog")
    shipped: Any = load_pretrained("cats-dogs-ddpm")
    assert (shipped.names, shipped.shape) == (("cat", "dog"), (3, 32, 32))


@pytest.mark.parametrize("size", [8, 12, 28, 32, 36, 48, 64])
@pytest.mark.parametrize("recipe", ["digits-ddpm", "digits-ddgan"])
def test_every_size_that_a_folder_is_read_in_makes_a_network(recipe: str, size: int):
    data = made(torch.zeros(4, 3, size, size, dtype=torch.uint8))
    run = RECIPES[recipe](TrainOptions(steps=1), data=data, channels=8, batch_size=2)
    assert final(run).model.shape == (3, size, size)


def test_it_predicts_x0_unless_asked_for_another(folder: Path):
    data = read(folder)
    for asked, wanted in (({}, "x0"), ({"predict": "v", "schedule": "cosine"}, "v")):
        model: Any = final(
            RECIPES["digits-ddpm"](TWO, data=data, channels=8, batch_size=8, **asked)
        ).model
        assert model.prediction.name == wanted
    snr = torch.tensor([0.0, 1, 100])
    torch.testing.assert_close(clamped_snr(snr), torch.tensor([0.3, 1, 5]))


@pytest.mark.parametrize("recipe", ["digits-ddpm", "digits-ddgan"])
def test_fewer_pictures_than_a_batch_are_refused(recipe: str, folder: Path):
    with pytest.raises(ValueError, match=r"54 pictures to train on, fewer than a batch of 64.*=27"):
        RECIPES[recipe](TWO, data=read(folder))


@pytest.mark.parametrize("recipe", ["digits-ddpm", "digits-ddgan"])
def test_mirror_images_are_twice_as_many_to_train_on(recipe: str, folder: Path):
    run: Any = RECIPES[recipe](TWO, data=read(folder), flip=True, channels=8)
    assert (run.plan.steps, run.plan.done) == (2, 0)
    assert (run.plan.rows, run.plan.batch_size) == (108, 64)
    images, _ = run._training.batches.tensors
    assert torch.equal(images[54:], images[:54].flip(3))
    with pytest.raises(ValueError, match="a mirrored digit is none"):
        RECIPES[recipe](TWO, flip=True)


def test_training_goes_on_from_a_network_of_the_same_size(folder: Path):
    data, start = read(folder), load_pretrained("digits-ddpm")
    with pytest.raises(ValueError, match="in 0 classes, and draws"):
        RECIPES["digits-ddpm"](TWO, data=data, start=start)
    first = final(RECIPES["digits-ddpm"](TWO, data=data, channels=8, batch_size=8)).model
    on = final(RECIPES["digits-ddpm"](TWO, data=data, batch_size=8, start=first)).model
    assert on.about == first.about


# Features


def test_random_features_are_the_same_every_time_and_leave_random_numbers_alone():
    before = torch.get_rng_state()
    x = to_unit(digits(train=False).images[:4])
    assert torch.equal(RandomFeatures(1)(x), RandomFeatures(1)(x))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_features_tell_what_principal_components_do_not():
    """Noise, blur and a missing class are further from real digits than other real ones are."""
    test = digits(train=False)
    judge = OwnJudge(made(digits().images[:1000]))
    real, others = (to_unit(test.images[rows]) for rows in (slice(0, 500), slice(500, 1000)))
    seen = judge.features(real)
    noise = 0.2 * torch.randn(others.shape, generator=torch.Generator().manual_seed(0))
    few = to_unit(test.images[(test.labels < 5).nonzero()[500:1000, 0]])
    changed = {
        "noise": (others + noise).clamp(-1, 1),
        "blur": torch.nn.functional.avg_pool2d(others, 3, 1, 1),
        "half of the classes": few,
        "one picture": others[:1].expand_as(others),
    }
    floor = scores(judge.features(others), seen)
    for name, x in changed.items():
        found = scores(judge.features(x), seen)
        assert found["frechet_distance"] > 1.3 * floor["frechet_distance"], name
        assert found["recall"] < floor["recall"], name


def test_features_are_standardised_on_what_is_trained_on(folder: Path):
    data = read(folder)
    seen = OwnJudge(data).features(to_unit(data.train.images))
    torch.testing.assert_close(seen.mean(0), torch.zeros(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std(0, correction=0), torch.ones(64), atol=1e-4, rtol=0)


def test_the_class_is_seen_in_held_out_pictures(classes: Path):
    data = read(classes, 8)
    judge = OwnJudge(data)
    assert judge.accuracy(to_unit(data.held_out.images), data.held_out.labels) == 1
    assert judge.accuracy(to_unit(data.held_out.images), 1 - data.held_out.labels) == 0


def test_evaluate_compares_with_half_of_what_was_held_out_and_shows_the_floor():
    test = digits(train=False).images
    data = made(test[:100], test[1000:1100])
    model: Any = final(RECIPES["digits-ddpm"](TWO, data=data, channels=8)).model
    two = DrawSettings(2)
    result = evaluate_pictures(model, data, two, progress=False)
    assert result["samples"] == 50
    assert "random weights" in result["features"]
    assert "fid" not in json.dumps(result).lower()
    assert result["floor"]["frechet_distance"] < result["frechet_distance"]
    assert "class_accuracy" not in result
    fewer = evaluate_pictures(model, data, two, count=20, progress=False)
    assert fewer["samples"] == 20
    with pytest.raises(ValueError, match="count must lie in"):
        evaluate_pictures(model, data, count=51)


def test_evaluate_refuses_what_does_not_fit(folder: Path, classes: Path):
    ddpm: Any = load_pretrained("digits-ddpm")
    with pytest.raises(ValueError, match=r"knows 10 classes, and .* has 0"):
        evaluate_pictures(ddpm, read(folder))
    with pytest.raises(ValueError, match=r"the pictures are \(3, 8, 8\), and the network draws"):
        evaluate_pictures(ddpm, read(classes, 8))
    images = digits(train=False).images
    model: Any = final(RECIPES["digits-ddpm"](TWO, data=made(images[:64]), channels=8)).model
    with pytest.raises(ValueError, match="0 of the pictures are held out, and four are the least"):
        evaluate_pictures(model, made(images[:64]))


# Nearest pictures


def test_the_nearest_are_those_of_smallest_distance():
    test = digits(train=False).images
    x, images = to_unit(test[:150]), test[150:350]
    found = nearest(x, images, 3)
    difference = x[:, None] - to_unit(images)[None]
    distances = difference.square().mean((2, 3, 4)).sqrt()
    wanted = distances.topk(3, 1, largest=False)
    torch.testing.assert_close(found.distances, wanted.values, atol=1e-4, rtol=1e-4)
    assert torch.equal(found.rows, wanted.indices)


def test_a_mirror_image_counts_if_it_was_trained_on():
    images = digits(train=False).images[:50]
    x = to_unit(images[7:8]).flip(3)
    assert nearest(x, images).distances > 0.1
    found = nearest(x, images, mirrored=True)
    assert found.rows.item() == 7
    assert found.distances < 1e-3


def test_beside_each_sample_lie_its_nearest():
    images = digits(train=False).images[:20]
    x = to_unit(images[[3, 5]])
    row = beside(x, images, nearest(x, images, 2)).unflatten(0, (2, 3))
    assert torch.equal(row[:, 0], x)
    assert torch.equal(row[:, 1], x)
    assert not torch.equal(row[:, 2], x)


def test_nearest_refuses_other_shapes_and_numbers():
    images = digits(train=False).images[:5]
    with pytest.raises(ValueError, match=r"x must be \[B, 1, 28, 28\]"):
        nearest(torch.zeros(1, 3, 28, 28), images)
    with pytest.raises(ValueError, match=r"k must lie in 1\.\.5"):
        nearest(torch.zeros(1, 1, 28, 28), images, 6)


def test_copies_are_told_from_samples_as_new_as_any():
    """Noisy copies of what was trained on, and digits that neither half holds."""
    images = digits().images
    train, held_out, new = images[:300], images[300:600], to_unit(images[1000:2000])
    noise = 0.1 * torch.randn(300, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    copied = memorisation((to_unit(train) + noise).clamp(-1, 1), train, held_out)
    assert (copied.nearer, copied.nearer_by_chance) == (1, 0.5)
    assert copied.copies > 0.9
    fresh = memorisation(new, train, held_out)
    assert fresh.nearer == pytest.approx(0.5, abs=0.08)
    assert max(fresh.copies, fresh.copies_held_out) < 0.01
    uneven = memorisation(new, images[:300], images[300:400])
    assert uneven.nearer_by_chance == 0.75
    assert uneven.nearer == pytest.approx(0.75, abs=0.08)
    assert "by chance 75.0%" in uneven.in_words()


def test_a_picture_that_is_there_twice_counts_once():
    images = digits().images[:30]
    twice = torch.cat([images, images])
    assert torch.equal(different(twice), images)
    assert memorisation(to_unit(images), twice, digits().images[50:80]).copies == 1


def test_memorisation_needs_something_held_out():
    images = digits().images[:30]
    with pytest.raises(ValueError, match="got 30 and 0"):
        memorisation(to_unit(images), images, images[:0])


# The command


def run(*arguments: str | Path) -> int:
    return cli.main([*map(str, arguments), "--threads", "1"])


@pytest.mark.slow
def test_from_a_folder_to_samples_and_what_they_are_worth(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "broken.jpg").write_bytes(b"")
    out = tmp_path / "runs"
    small = ["--set", "channels=8", "batch_size=16"]
    arguments = ["train", "digits-ddpm", "--data", folder, "--flip", "--steps", "4", *small]
    assert run(*arguments, "--out", out) == 0
    said = capsys.readouterr()
    assert "60 grey pictures of 28 x 28: 54 to train on, 6 held out" in said.out
    assert "4 updates of 16 pictures, 0.6 passes over 108: about " in said.out
    assert said.err.count("left out: broken.jpg: no picture that Pillow can read") == 1
    path = out / "mine-ddpm.safetensors"
    card = cards.read_card(path)
    assert card["data"]["pictures"] == 54
    assert card["data"]["flip"] is True
    assert f"--data {folder} --flip --set batch_size=16 channels=8" in card["command"]

    grid = tmp_path / "grid.png"
    assert run("sample", path, "--each", "3", "--steps", "2", "--out", grid) == 0
    assert Image.open(grid).size == (3 * 28 * 2, 28 * 2)

    capsys.readouterr()
    assert run("evaluate", path, "--data", folder, "--steps", "2", "--write") == 0
    said = capsys.readouterr()
    assert "3 samples have no covariance of 64 features" in said.err
    result = json.loads(said.out)
    assert result["samples"] == 3
    assert result["floor"]["frechet_distance"] > 0
    assert cards.read_card(path)["measured"] == [result]

    near = tmp_path / "near.png"
    options = ["--samples", "20", "--rows", "4", "--steps", "2", "--out", near]
    assert run("nearest", path, "--data", folder, *options) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert (told["pictures"], told["held_out"], told["samples"]) == (54, 6, 20)
    assert told["nearer_by_chance"] == 0.9
    assert "by chance 90.0%" in said.err
    assert Image.open(near).size == (6 * 28 * 2, 4 * 28 * 2)

    Image.new("L", (28, 28)).save(folder / "one more.png")
    for command in ("evaluate", "nearest"):
        assert run(command, path, "--data", folder) == 2
        assert "was trained on other pictures (mine: 54 and 6 held out)" in capsys.readouterr().err
    assert run(*arguments, "--out", out) == 2
    assert "6 held out) than there are now (61 grey pictures" in capsys.readouterr().err


@pytest.mark.slow
def test_with_classes_each_is_drawn_and_seen(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    small = ["--size", "8", "--steps", "2", "--set", "channels=8", "batch_size=8"]
    assert run("train", "digits-ddgan", "--data", classes, *small, "--out", tmp_path) == 0
    said = capsys.readouterr().out
    assert "60 coloured pictures of 8 x 8 in 2 classes" in said
    assert "\nclasses: blue, red\n" in said
    path, grid = tmp_path / "coloured-ddgan.safetensors", tmp_path / "grid.png"
    assert cards.read_card(path)["data"]["classes"] == ["blue", "red"]
    assert run("sample", path, "--each", "3", "--out", grid) == 0
    assert Image.open(grid).size == (3 * 8 * 2, 2 * 8 * 2)
    assert "rows: blue, red\n" in capsys.readouterr().err
    named = tmp_path / "named.png"
    for labels, rows, out in ((["1"], "red", grid), (["red"], "red", named)):
        assert run("sample", path, "--labels", *labels, "--out", out) == 0
        assert f"rows: {rows}\n" in capsys.readouterr().err
    assert grid.read_bytes() == named.read_bytes()
    for wrong in ("2", "-1", "green", "1.0"):
        assert run("sample", path, "--labels", wrong) == 2
        words = f"--labels must lie in 0..1 (blue, red), got '{wrong}'"
        assert words in capsys.readouterr().err
    single = tmp_path / "single"
    assert run("sample", path, "--each", "2", "--single", "--out", single) == 0
    drawn = sorted(file.relative_to(single) for file in single.rglob("*.png"))
    assert drawn == [Path(f"{name}/00{i}.png") for name in ("blue", "red") for i in (0, 1)]
    assert read(single, 8).classes == ("blue", "red")
    capsys.readouterr()
    assert run("evaluate", path, "--data", classes) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["floor"]["class_accuracy"] == 1
    assert "class_accuracy" in result


@pytest.mark.slow
def test_a_run_on_a_folder_goes_on_and_says_what_is_left(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    small = ["--set", "channels=8", "batch_size=8", "--out", tmp_path]
    for steps, words in ((2, "2 updates"), (5, "3 updates"), (5, None)):
        assert run("train", "digits-ddpm", "--data", folder, "--steps", str(steps), *small) == 0
        said = capsys.readouterr().out
        assert (words in said) if words else ("updates of" not in said)
    timed = ["--seconds", "1", *small[:-1], tmp_path / "timed"]
    assert run("train", "digits-ddpm", "--data", folder, *timed) == 0
    said = capsys.readouterr().out
    assert re.search(r"about \d+ updates? of 8 pictures, [\d.]+ passes over 54: a second on", said)


@pytest.mark.slow
def test_ctrl_c_saves_what_was_made_and_the_same_command_goes_on(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    arguments = ["train", "digits-ddpm", "--data", folder, "--steps", "4"]
    arguments += ["--set", "channels=8", "batch_size=8", "--out"]
    assert run(*arguments, tmp_path / "whole") == 0

    def broken_off(steps: Any, label: str) -> Any:
        for step in steps:
            if step.step == 3:
                raise KeyboardInterrupt
            yield step

    with monkeypatch.context() as patch:
        patch.setattr(cli.training, "watch", broken_off)
        assert run(*arguments, tmp_path / "stopped") == 130
    said = capsys.readouterr().err.splitlines()
    assert said[-2:] == ["3 updates are saved; the same command goes on", "stopped"]
    short = [*arguments[:5], "3", *arguments[6:]]  # as many as were made: the network as it is
    assert run(*short, tmp_path / "stopped") == 0
    card = cards.read_card(tmp_path / "stopped" / "mine-ddpm.safetensors")
    assert card["steps"] == 3
    assert "--steps 4 " in card["command"]
    assert card["command"].endswith("  # stopped after 3")
    capsys.readouterr()
    assert run(*arguments, tmp_path / "stopped") == 0
    assert "1 update of 8 pictures" in capsys.readouterr().out
    whole, stopped = (
        cards.read_card(tmp_path / place / "mine-ddpm.safetensors")["sha256"]
        for place in ("whole", "stopped")
    )
    assert whole == stopped

    picture = folder / "00.png"
    Image.new("L", (28, 28)).save(picture)  # another picture of the same name
    assert run(*arguments, tmp_path / "stopped") == 2
    words = "a training on other pictures (60 grey pictures of 28 x 28: 54 to train on, 6 held out)"
    assert f"{words} than lie there now: begin anew" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "moons-ddpm", "--data", "FOLDER"], "--data is not for moons-ddpm"),
        (["train", "digits-ddpm", "--size", "32"], "name it with --data"),
        (["train", "digits-ddpm", "--flip"], "name it with --data"),
        (["train", "digits-ddpm", "--data", "FOLDER"], "fewer than a batch of 64"),
        (["train", "digits-ddpm", "--data", "FOLDER", "--size", "30"], "a multiple of 4"),
        (["train", "digits-ddpm", "--data", "missing"], "missing is not there"),
        (["evaluate", "digits-ddpm", "--data", "FOLDER"], "knows 10 classes"),
        (["evaluate", "digits-classifier", "--data", "FOLDER"], "draws no pictures"),
        (["evaluate", "digits-ddpm", "--data", "FOLDER", "--out", "x.jsonl"], "no table"),
        (["nearest", "moons-ddpm", "--data", "FOLDER"], "draws no pictures"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(
    arguments: list[str],
    words: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    given = [str(folder) if each == "FOLDER" else each for each in arguments]
    assert run(*given) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.glob("**/*.safetensors.part"))


# In JupyterLab


def test_three_lines_lead_from_a_folder_to_a_network_and_its_pictures(folder: Path):
    data = pictures(folder, progress=False)
    model: Any = final(RECIPES["digits-ddpm"](TWO, data=data, channels=8, batch_size=8)).model
    assert draw(model, 4, DrawSettings(2)).shape == (4, 1, 28, 28)


def test_pictures_stand_under_their_names() -> None:
    images = torch.linspace(-1, 1, 3 * 3 * 8 * 8).view(3, 3, 8, 8)
    names = ["a_$b$.png", "cat/IMG_20261127_235959_BURST001.jpg", "cat/d.png"]
    axes = show_named(images, names, columns=2).axes
    short = "cat/IMG_202…BURST001.jpg"
    assert [ax.get_title() for ax in axes] == [names[0], short, names[2], ""]
    shown = axes[2].images[0].get_array()
    assert shown.shape == (8, 8, 3)
    assert shown.max() == 255
    with pytest.raises(ValueError, match="names must be 3, one a picture, got 2"):
        show_named(images, names[:2])


def test_a_network_of_your_own_becomes_a_graph_and_steps_that_can_be_explored(
    folder: Path, classes: Path
):
    from diffusion_lessons.page.widgets import StepsExplorer

    small = {"channels": 8, "batch_size": 8}
    model: Any = final(RECIPES["digits-ddpm"](TWO, data=read(folder), **small)).model
    noise = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    explorer = StepsExplorer(model.denoiser(clip=1), noise, model.schedule, (1, 2), (0,))
    assert explorer.pictures().shape == (2, 1, 28, 28)
    assert set(exported(model).inputs) == {"x_t", "t"}
    gan: Any = final(RECIPES["digits-ddgan"](TWO, data=read(classes, 8), **small)).model
    assert set(exported(gan).inputs) == {"x_t", "z", "t", "label"}
