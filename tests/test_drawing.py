"""Drawing: a picture belongs to its seed and its number, and no network is asked what it cannot."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from PIL import Image
from torch import Tensor, nn

from diffusion_lessons import (
    DiffusionModel,
    DrawSettings,
    cli,
    cosine_schedule,
    linear_schedule,
    load_pretrained,
)
from diffusion_lessons.math.randomness import RowGenerator
from diffusion_lessons.measuring.drawing import draw, draw_batches, draw_walk
from diffusion_lessons.networks import checkpoints
from diffusion_lessons.networks.classifier import Classifier
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.unet import UNet

FLOAT32 = Compute(torch.device("cpu"))
CLOSE = {"rtol": 0, "atol": 1e-4}

EACH_WAY = [
    ("digits-ddpm", DrawSettings(6)),
    ("digits-ddpm", DrawSettings(6, 1.0)),
    ("digits-ddpm", DrawSettings(6, sampler="ddpm")),
    ("digits-ddpm", DrawSettings(6, sampler="heun")),
    ("digits-ddpm", DrawSettings(6, sampler="dpm++")),
    ("digits-ddpm", DrawSettings(6, 1.0, guidance="classifier-free", scale=2.0)),
    ("digits-ddpm", DrawSettings(6, 1.0, guidance="label+classifier", scale=2.0)),
    ("digits-ddpm", DrawSettings(6, guidance="truncation", scale=0.5)),
    ("digits-ddgan", DrawSettings()),
    ("digits-vae", DrawSettings()),
    ("digits-vae", DrawSettings(guidance="truncation", scale=0.5)),
    ("digits-latent", DrawSettings(6)),
    ("digits-latent", DrawSettings(6, 1.0, guidance="classifier-free", scale=2.0)),
    ("moons-ddpm", DrawSettings(6, 1.0)),
    ("moons-ddpm", DrawSettings(6, guidance="truncation", scale=0.5)),
]


def in_short(value: object) -> str:
    if not isinstance(value, DrawSettings):
        return str(value)
    return f"{value.sampler or 'usual'}-{value.eta or 0:g}-{value.guidance}"


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command draws in float32, in which rounding cannot be seen."""
    monkeypatch.setenv("DIFFUSION_LESSONS_FORMAT", "float32")


@pytest.fixture
def without_classes(tmp_path: Path) -> Path:
    """A network for digits that knows no classes, saved."""
    torch.manual_seed(0)
    path = tmp_path / "any.safetensors"
    checkpoints.save(path, DiffusionModel(UNet(channels=8, blocks=1, classes=0)))
    return path


# A picture belongs to its seed and its number


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), EACH_WAY, ids=in_short)
def test_a_picture_belongs_to_its_seed_and_its_number_alone(name: str, settings: DrawSettings):
    model: Any = load_pretrained(name)
    numbers = torch.arange(10)
    labels: Any = numbers if model.classes else 10

    def some(rows: list[int], seed: int = 5) -> Tensor:
        wanted = labels[rows] if model.classes else len(rows)
        return draw(model, wanted, settings, seed, numbers[rows], FLOAT32)

    alone = some([7])
    torch.testing.assert_close(some([3, 7, 9])[1:2], alone, **CLOSE)
    torch.testing.assert_close(some([7, 0])[:1], alone, **CLOSE)
    parts = list(draw_batches(model, labels, settings, 5, compute=FLOAT32, batch_size=4))
    assert [len(part.x) for part in parts] == [4, 4, 2]
    torch.testing.assert_close(parts[1].x[3:], alone, **CLOSE)
    other_seed, again = some([7], seed=6), some([7])
    torch.testing.assert_close(again, alone, rtol=0, atol=0)
    assert (other_seed - alone).abs().mean() > 0.02


@pytest.mark.parametrize(("name", "settings"), EACH_WAY, ids=in_short)
def test_another_number_is_another_picture(name: str, settings: DrawSettings):
    model: Any = load_pretrained(name)
    labels = torch.tensor([4, 4]) if model.classes else 2
    one, other = draw(model, labels, settings, numbers=torch.tensor([7, 8]), compute=FLOAT32)
    assert (one - other).abs().mean() > 0.02


def test_numbers_may_be_as_large_as_integers_are():
    model = DiffusionModel(MLP(width=16))
    numbers = torch.tensor([0, 2**32, 2**62])
    drawn = draw(model, 3, DrawSettings(2), numbers=numbers, compute=FLOAT32)
    assert torch.pdist(drawn).min() > 1e-3
    last = draw(model, 1, DrawSettings(2), numbers=numbers[2:], compute=FLOAT32)
    torch.testing.assert_close(last, drawn[2:], **CLOSE)


def test_drawing_leaves_the_random_numbers_of_others_alone():
    model = load_pretrained("digits-ddgan")
    before = torch.random.get_rng_state()
    draw(model, torch.tensor([1, 2]), compute=FLOAT32)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize(
    ("network", "settings"),
    [
        ("digits-ddpm", ["--steps", "5"]),
        ("digits-ddpm", ["--steps", "5", "--eta", "1"]),
        ("digits-ddgan", []),
        ("digits-vae", []),
        ("digits-latent", []),
    ],
)
def test_the_command_draws_the_same_3s_whatever_stands_beside_them(
    network: str, settings: list[str], tmp_path: Path
):
    def rows(each: int, *labels: int) -> list[Tensor]:
        out = tmp_path / "grid.png"
        words = ["sample", network, *settings, "--out", str(out), "--each", str(each)]
        assert cli.main([*words, "--labels", *map(str, labels)]) == 0
        greys = torch.tensor(imread(out))[::2, ::2]  # each pixel is two wide
        return list(greys.split(28))

    (threes,) = rows(2, 3)
    assert threes.shape == (28, 2 * 28)
    ones, beside, twos = rows(2, 1, 3, 2)
    level = 1 / 255 + 1e-6
    torch.testing.assert_close(beside, threes, rtol=0, atol=level)
    (more,) = rows(3, 3)
    torch.testing.assert_close(more[:, : 2 * 28], threes, rtol=0, atol=level)
    assert (ones - twos).abs().mean() > 0.02


# On the way


@pytest.mark.parametrize(
    ("name", "settings", "calls"),
    [
        ("digits-ddpm", DrawSettings(3, eta=1.0), [1, 2, 3, 3]),
        ("digits-ddpm", DrawSettings(2, guidance="classifier-free", scale=2.0), [2, 4, 4]),
        ("digits-ddpm", DrawSettings(2, sampler="heun"), [1, 3, 3]),
        ("digits-ddgan", DrawSettings(), [1, 2, 3, 4, 4]),
    ],
)
def test_a_walk_ends_in_what_is_drawn(name: str, settings: DrawSettings, calls: list[int]):
    model: Any = load_pretrained(name)
    labels = torch.tensor([1, 2, 3])
    walk = draw_walk(model, labels, settings, seed=4, compute=FLOAT32)
    torch.testing.assert_close(walk[-1].x, draw(model, labels, settings, 4, compute=FLOAT32))
    assert [step.calls for step in walk] == calls
    times = [step.t for step in walk]
    assert (times[0], times[-1]) == (model.schedule.T, 0)
    assert times == sorted(times, reverse=True)
    assert abs(walk[0].x.std() - 1) < 0.1  # noise
    assert all(step.x0_hat.shape == (3, 1, 28, 28) for step in walk)


def test_a_walk_is_cut_into_batches_and_thinned(monkeypatch: pytest.MonkeyPatch):
    model = load_pretrained("moons-ddpm")
    whole = draw_walk(model, 7, DrawSettings(20), compute=FLOAT32)
    monkeypatch.setattr("diffusion_lessons.measuring.drawing.BATCH", 3)
    walk = draw_walk(model, 7, DrawSettings(20), compute=FLOAT32, moments=5)
    assert [step.t for step in walk] == [whole[i].t for i in (0, 5, 10, 15, 20)]
    for step, same in zip(walk, (whole[i] for i in (0, 5, 10, 15, 20)), strict=True):
        torch.testing.assert_close(step.x, same.x, **CLOSE)


def test_what_draws_in_one_go_has_no_walk():
    with pytest.raises(ValueError, match="a VAE draws in one go"):
        draw_walk(load_pretrained("digits-vae"), 2)


def test_whoever_follows_a_gans_walk_computes_in_his_own_format():
    model: Any = load_pretrained("digits-ddgan")
    compute = Compute(torch.device("cpu"), torch.bfloat16)
    generator = RowGenerator(0, torch.arange(2))
    label = torch.tensor([1, 2])
    for _ in model.walk(2, label, generator, model.settled(DrawSettings()), compute):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


# Films and single pictures


@pytest.mark.parametrize("network", [["digits-ddpm", "--steps", "3"], ["digits-ddgan"]])
def test_sample_writes_a_film_that_ends_on_the_grid(network: list[str], tmp_path: Path):
    film, grid = tmp_path / "film.webp", tmp_path / "grid.png"
    words = ["sample", *network, "--format", "float32", "--each", "2", "--columns", "10"]
    assert cli.main([*words, "--out", str(grid)]) == 0
    assert cli.main([*words, "--film", "--loop", "--out", str(film)]) == 0
    with Image.open(film) as moving, Image.open(grid) as still:
        assert (moving.n_frames, moving.info["loop"]) == (4 if "--steps" in words else 5, 0)
        assert moving.size == (10 * 28 * 3, 2 * 28 * 3)
        first = np.asarray(moving.convert("L"))[1::3, 1::3].astype(float)
        assert 80 < first.std() < 100  # noise of deviation 1, cut off at -1 and 1: 127.5 * 0.72
        moving.seek(moving.n_frames - 1)
        last = np.asarray(moving.convert("L"))[1::3, 1::3]
        assert (last == np.asarray(still.convert("L"))[::2, ::2]).all()


def test_sample_writes_single_pictures_into_folders_of_their_classes(
    without_classes: Path, tmp_path: Path
):
    words = ["sample", "digits-vae", "--each", "2", "--labels", "3", "7"]
    assert cli.main([*words, "--out", str(tmp_path / "grid.png")]) == 0
    assert cli.main([*words, "--single", "--out", str(tmp_path / "of classes")]) == 0
    with Image.open(tmp_path / "grid.png") as grid:
        whole = np.asarray(grid.convert("L"))[::2, ::2]
    for row, label in enumerate("37"):
        for column in range(2):
            with Image.open(tmp_path / "of classes" / label / f"00{column}.png") as picture:
                cut = whole[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
                assert (np.asarray(picture.convert("L")) == cut).all()
    words = ["sample", str(without_classes), "--steps", "1", "--each", "2"]
    assert cli.main([*words, "--single", "--out", str(tmp_path / "of none")]) == 0
    assert sorted(p.name for p in (tmp_path / "of none").iterdir()) == ["000.png", "001.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits-vae", "--film"], "a VAE draws in one go"),
        (["--film", "--out", "x.png"], "the name of a film must end in .gif or .webp"),
        (["--film", "--each", "101"], "pictures in a film must lie in 1..1000"),
        (["--loop"], "--loop belongs to --film"),
        (["--single", "--columns", "3"], "--columns belongs to a grid or a film"),
        (["--single", "--out", "x.png"], "--single fills a folder, and x.png is the name of"),
    ],
)
def test_sample_refuses_what_is_no_film_and_no_folder(
    words: list[str], message: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sample", *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# Networks without classes


def test_a_network_without_classes_draws_a_number_of_pictures(without_classes: Path):
    model = checkpoints.load(without_classes)
    drawn = draw(model, 3, DrawSettings(2))
    assert drawn.shape == (3, 1, 28, 28)
    assert drawn.abs().max() <= 1
    with pytest.raises(ValueError, match="knows no classes: give a number of pictures, not labels"):
        draw(model, torch.tensor([1, 2]))
    for guidance in ("classifier-free", "classifier", "label+classifier"):
        with pytest.raises(ValueError, match="guid"):
            draw(model, 3, DrawSettings(2, guidance=guidance))


def test_the_command_draws_from_it_and_asks_for_no_labels(
    without_classes: Path, capsys: pytest.CaptureFixture[str]
):
    out = without_classes.with_suffix(".png")
    words = ["sample", str(without_classes), "--steps", "2", "--each", "3", "--out", str(out)]
    assert cli.main(words) == 0
    assert imread(out).shape[:2] == (2 * 28, 3 * 2 * 28)
    assert cli.main([*words, "--labels", "3"]) == 2
    assert "--labels: this network knows no classes" in capsys.readouterr().err


def test_a_network_with_classes_draws_any_of_them_unless_labels_are_given():
    model = load_pretrained("digits-ddpm")
    assert draw(model, 2, DrawSettings(2)).shape == (2, 1, 28, 28)


def test_points_are_drawn_like_pictures_and_limited_by_nothing():
    model = load_pretrained("moons-ddpm")
    drawn = draw(model, 200, DrawSettings(20))
    assert drawn.shape == (200, 2)
    assert drawn.abs().max() > 1


# What is refused


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("digits-vae", {"steps": 2}, "a VAE draws in 1 step with eta 0, got 2 steps"),
        ("digits-vae", {"eta": 0.5}, "a VAE draws in 1 step with eta 0, got .* eta 0.5"),
        ("digits-vae", {"sampler": "heun"}, "sampler of a VAE, which has no walk, must be"),
        ("digits-vae", {"spacing": "quadratic"}, "a VAE has no choice of spacing"),
        (
            "digits-vae",
            {"guidance": "classifier-free"},
            "guidance of a VAE must be one of none, tr",
        ),
        (
            "digits-vae",
            {"guidance": "truncation", "scale": 0},
            "scale, the threshold of truncation",
        ),
        ("digits-ddgan", {"steps": 50}, "this Gan draws in 4 steps with eta 1, got 50 steps"),
        ("digits-ddgan", {"eta": 0.0}, "this Gan draws in 4 steps with eta 1, got .* eta 0"),
        ("digits-ddgan", {"sampler": "heun"}, "sampler of a Gan must be one of ddpm"),
        ("digits-ddgan", {"spacing": "quadratic"}, "this Gan has no choice of spacing"),
        ("digits-ddgan", {"guidance": "classifier-free"}, "guidance of a Gan must be one of none"),
        ("digits-ddgan", {"guidance": "truncation"}, "guidance of a Gan must be one of none"),
        ("moons-ddpm", {"guidance": "classifier"}, "the classifiers that guide are of"),
        ("moons-ddpm", {"guidance": "classifier-free"}, "this network knows no classes"),
        ("moons-ddpm", {"steps": 1001}, r"steps must lie in 1\.\.1000, got 1001"),
        ("digits-ddpm", {"steps": 1001}, r"steps must lie in 1\.\.1000, got 1001"),
        (
            "digits-ddpm",
            {"sampler": "heun", "eta": 0.5},
            "eta belongs to the sampler ddim, not to h",
        ),
        (
            "digits-ddpm",
            {"sampler": "ddpm", "eta": 0.0},
            "eta belongs to the sampler ddim, not to d",
        ),
        (
            "digits-ddpm",
            {"guidance": "truncation", "scale": 0},
            "scale, the threshold of truncation",
        ),
    ],
)
def test_what_a_network_cannot_do_is_refused_before_anything_is_drawn(
    name: str, settings: dict, message: str
):
    model: Any = load_pretrained(name)
    labels = torch.tensor([1, 2]) if model.classes else 2
    with pytest.raises(ValueError, match=message):
        draw_batches(model, labels, DrawSettings(**settings))


@pytest.mark.parametrize("guidance", ["classifier", "label+classifier"])
@pytest.mark.parametrize(
    "schedule", [cosine_schedule(), linear_schedule(beta_T=0.03), linear_schedule(500)], ids=repr
)
def test_a_classifier_guides_under_its_own_schedule_alone(guidance: str, schedule: Any):
    model = DiffusionModel(UNet(channels=8, blocks=1), schedule)
    settings = DrawSettings(2, guidance=guidance)
    with pytest.raises(ValueError, match=r"was trained on pictures noised under .*linear, T=1000"):
        draw(model, torch.tensor([1, 2]), settings)


@pytest.mark.parametrize("guidance", ["classifier", "label+classifier"])
def test_a_classifier_pushes_towards_a_label(guidance: str):
    with pytest.raises(ValueError, match="towards a class: give labels"):
        draw(load_pretrained("digits-ddpm"), 2, DrawSettings(2, guidance=guidance))


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (UNet(channels=8, blocks=1), "UNet"),
        (MLP(width=16), "MLP"),
        (Classifier(channels=4), "Classifier"),
        (nn.Identity(), "Identity"),
        (None, "NoneType"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_drawer_draws_nothing(model: Any, kind: str):
    with pytest.raises(TypeError, match=f"a {kind} draws no pictures"):
        draw(model, 3)


def test_of_a_network_on_several_devices_the_one_within_is_asked_for():
    wrapped = torch.nn.DataParallel(torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match=r"DataParallel: give the network within, model\.module"):
        draw(wrapped, 3)
