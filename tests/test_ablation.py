"""The ablation trains what it says, measures it, and goes on where it was cut off."""

from pathlib import Path
from typing import Any

import pytest
import torch

from diffusion_lessons import DiffusionModel, cli, load_pretrained
from diffusion_lessons.files import read_json_lines
from diffusion_lessons.measuring import ablation
from diffusion_lessons.measuring.ablation import (
    BASE,
    MEMORY_VARIANTS,
    PLANE_VARIANTS,
    PREDICTION_VARIANTS,
    VARIANTS,
    ablate,
    ablate_gan,
    ablate_memorisation,
    ablate_plane,
    ablate_prediction,
    held_out_loss,
)
from diffusion_lessons.measuring.plane import PLANE, measure_plane, modes_found
from diffusion_lessons.measuring.tables import shipped_table
from diffusion_lessons.networks import cards
from diffusion_lessons.networks.gan import Gan, PointDiscriminator, PointGenerator
from diffusion_lessons.networks.unet import UNet


def test_each_variant_changes_its_part_alone():
    sizes = {}
    for name, change in VARIANTS.items():
        config = UNet(**BASE | change).config
        differing = {key for key, value in BASE.items() if config[key] != value}
        assert differing == set(change), name
        sizes[name] = sum(p.numel() for p in UNet(**BASE | change).parameters())
    assert sizes["4 heads"] == sizes["rescaling"] == sizes["base"]
    assert max(sizes.values()) < 1.4 * min(sizes.values())  # like for like, nearly
    three = VARIANTS["4 heads"] | VARIANTS["attention at 14 and 7"] | VARIANTS["BigGAN up and down"]
    assert VARIANTS["all three"] == three


@pytest.mark.slow
def test_an_ablation_that_was_cut_off_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out, small = tmp_path / "table.jsonl", {"steps": 2, "samples": 20, "sampling_steps": 2}
    variants = ["base", "4 heads"]
    first = ablate(out, (1,), variants=variants, **small)
    row = next(first)  # one row, then the run is cut off
    first.close()
    assert (row["variant"], row["seed"]) == ("base", 1)
    assert row["test_loss"] > 0
    assert row["floor"]["frechet_distance"] > 0
    rest = list(ablate(out, (1, 2), variants=variants, **small))
    assert [(r["seed"], r["variant"]) for r in rest] == [
        (1, "4 heads"),
        (2, "base"),
        (2, "4 heads"),
    ]
    assert {str(r["compute"]) for r in rest} == {str(row["compute"])}
    assert len(list(read_json_lines(out))) == 1 + 4  # the head, and the rows
    again = tmp_path / "again.jsonl"  # the seed alone decides
    (same,) = ablate(again, (1,), variants=["base"], **small)
    assert same["test_loss"] == row["test_loss"]
    with pytest.raises(ValueError, match="was measured with steps 2, not 3"):
        next(ablate(out, (1,), steps=3, samples=20, sampling_steps=2))
    with pytest.raises(ValueError, match="variants must be of"):
        next(ablate(out, variants=["wings"]))
    arguments = ["ablate", "--out", str(again), "--seeds", "1", "--steps", "2", "--samples", "20"]
    assert cli.main([*arguments, "--variants", "base"]) == 2  # measured with other sampling steps
    assert "was measured with sampling_steps 2, not 20" in capsys.readouterr().err


def test_the_held_out_loss_is_the_same_every_time_and_1_for_a_network_that_says_nothing():
    class Nothing(torch.nn.Module):
        shape, classes = (1, 28, 28), 10

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x_t, t, label):
            return self.weight * x_t

    losses = [held_out_loss(DiffusionModel(Nothing())) for _ in range(2)]
    assert losses[0] == losses[1]
    assert losses[0] == pytest.approx(1, abs=0.005)  # the noise's own variance


def test_the_shipped_ablation_has_three_seeds_of_each_variant():
    table = shipped_table("ablation")
    rows = {(row["variant"], row["seed"]): row for row in table["rows"]}
    assert {name for name, _ in rows} == set(VARIANTS)
    for name in VARIANTS:
        assert {seed for variant, seed in rows if variant == name} >= {0, 1, 2}
    assert len({str(row["compute"]) for row in rows.values()}) == 1  # like for like
    assert table["base"] == BASE
    for row in rows.values():
        assert row["class_accuracy"] > 0.5
        assert row["frechet_distance"] > row["floor"]["frechet_distance"]
    distance = {
        name: [rows[name, seed]["frechet_distance"] for seed in (0, 1, 2)] for name in VARIANTS
    }
    # What lesson 04 reads off, seed by seed.
    for name, sign in [("attention at 14 and 7", -1), ("all three", -1), ("addition for AdaGN", 1)]:
        assert all(
            sign * (a - b) > 0 for a, b in zip(distance[name], distance["base"], strict=True)
        )
    assert max(distance["base"]) - min(distance["base"]) > 0.5  # the spread it warns of


def test_the_network_of_lesson_04_looks_around_at_two_resolutions():
    net = load_pretrained("digits-adm").network
    assert isinstance(net, UNet)
    assert net.config["attention_resolutions"] == [14, 7]
    (measured,) = cards.read_card(cards.pretrained_path("digits-adm"))["measured"]
    assert measured["class_accuracy"] > 0.93


@pytest.mark.slow
def test_the_gan_is_ablated_the_same_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "gan.jsonl"
    rows = list(ablate_gan(out, (0,), 1, 20, ["T = 1", "no z"]))
    assert [row["variant"] for row in rows] == ["T = 1", "no z"]
    assert rows[0]["parameters"] > rows[1]["parameters"]  # z's mapping
    assert all(row["frechet_distance"] > row["floor"]["frechet_distance"] for row in rows)
    with pytest.raises(ValueError, match="variants must be of"):
        next(ablate_gan(out, variants=["wings"]))
    arguments = ["ablate", "ddgan", "--out", str(out), "--samples", "20", "--variants", "T = 1"]
    assert cli.main(arguments) == 2
    assert "was measured with steps 1, not 1200" in capsys.readouterr().err


@pytest.mark.slow
def test_so_is_what_a_network_predicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ablation, "SMALL", ablation.SMALL | {"channels": 8})
    out = tmp_path / "prediction.jsonl"
    variants = ["noise", "v", "x0, weighed, cosine"]
    rows = list(ablate_prediction(out, (1,), 2, 20, 2, variants))
    assert [row["variant"] for row in rows] == variants
    assert len({row["frechet_distance"] for row in rows}) == 3  # each learns something else
    assert len({row["parameters"] for row in rows}) == 1
    assert not list(ablate_prediction(out, (1,), 2, 20, 2, variants))
    with pytest.raises(ValueError, match="variants must be of"):
        next(ablate_prediction(out, variants=["wings"]))


@pytest.mark.slow
def test_the_plane_is_ablated_the_same_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plane.jsonl"
    assert PLANE_VARIANTS["T = 4"] == {}
    rows = list(ablate_plane(out, (1,), steps=100, variants=["T = 1", "no z"]))
    assert [row["variant"] for row in rows] == ["T = 1", "no z"]
    for row in rows:
        assert len(row["course"]) == 1
        assert 0 <= row["close"] <= 1
        assert len(row["found_from_one_start"]) == 20
        assert (row["found_with_one_z"] is None) == (row["variant"] == "no z")
    again = tmp_path / "again.jsonl"  # the seed alone decides
    (same,) = ablate_plane(again, (1,), steps=100, variants=["T = 1"])
    assert same["close"] == rows[0]["close"]
    assert cli.main(["ablate", "plane", "--out", str(out), "--samples", "20"]) == 2
    assert "leave --samples out" in capsys.readouterr().err


def test_gaussians_are_found_if_enough_points_are_close(generator: torch.Generator) -> None:
    points, component = PLANE.sample(5000, generator)
    assert modes_found(points, PLANE.means)[0] == 25
    close = modes_found(points, PLANE.means)[1]
    assert close == pytest.approx(1 - torch.tensor(-2.0).exp().item(), abs=0.02)  # in the plane
    assert modes_found(points[component != 7], PLANE.means)[0] == 24
    assert modes_found(PLANE.means[:3] + 0.3, PLANE.means) == (0, 0.0)


@pytest.mark.slow
def test_a_generator_that_does_not_see_x_1_is_found_out() -> None:
    """One that always draws the same point: nothing found, and no correlation with x_1."""
    net = PointGenerator(latent=2)
    with torch.no_grad():
        for parameter in net.body.parameters():
            parameter.mul_(1e-3)
        net.body.output.weight.zero_()
        net.body.output.weight[:, 0] = 1e-9  # as good as nothing, but not constant
    result = measure_plane(Gan(net, PointDiscriminator(), 4))
    assert result["found"] == 1  # the one in the middle
    assert result["found_from_one_start"] == result["found_with_one_z"] == [1] * 20
    assert 0.8 < result["true_correlation"] < 0.86


def test_the_shipped_plane_shows_what_lesson_06_reads_off() -> None:
    rows = {(row["variant"], row["seed"]): row for row in shipped_table("ablation-plane")["rows"]}
    assert set(rows) == {(name, seed) for name in PLANE_VARIANTS for seed in (0, 1, 2)}
    assert len({str(row["compute"]) for row in rows.values()}) == 1  # like for like

    def of(name: str, column: str) -> list[Any]:
        return [rows[name, seed][column] for seed in (0, 1, 2)]

    four, one, without = (of(name, "found") for name in ("T = 4", "T = 1", "no z"))
    assert (four, one, without) == ([25, 19, 24], [22, 13, 16], [24, 24, 25])
    assert of("D sees x_s alone", "found") == [23, 25, 22]
    assert [course[5] for course in of("no z", "course")] == [18] * 3  # after 600 updates
    assert max(course[5] for course in of("T = 4", "course")) == 5
    assert [round(sum(found) / 20) for found in of("T = 4", "found_with_one_z")] == [14, 9, 14]
    for (name, _), row in rows.items():
        one_start = sum(row["found_from_one_start"]) / 20
        assert one_start < 15 if name == "T = 1" else one_start > 0.9 * row["found"]
        gap = abs(row["correlation"] - row["true_correlation"])
        assert gap > 0.08 if name == "D sees x_s alone" else gap < 0.025
    assert [round(r, 2) for r in of("D sees x_s alone", "correlation")] == [0.52, 0.91, 0.55]


def test_the_shipped_one_has_three_seeds_and_a_gap_beyond_their_spread():
    table = shipped_table("ablation-prediction")
    assert (table["steps"], table["samples"]) == (700, 2000)
    names = [name for name in PREDICTION_VARIANTS if name != "noise, cosine"]
    found = {name: [] for name in names}
    for row in table["rows"]:
        found[row["variant"]].append(
            (row["class_accuracy"], row["frechet_distance"], row["recall"])
        )
    assert {len(rows) for rows in found.values()} == {3}
    noise = found.pop("noise")
    assert all(min(rows)[0] > max(noise)[0] for rows in found.values())
    flow = found.pop("velocity, straight")  # beside velocity it changes the path alone
    for column, worse in ((1, 1), (2, -1)):
        gaps = [
            worse * (on_path[column] - plain[column])
            for on_path, plain in zip(flow, found["velocity"], strict=True)
        ]
        assert min(gaps) > 0
    for rows in found.values():
        assert max(far for _, far, _ in rows) < min(far for _, far, _ in noise)
    # What the weights alone change: not the classes, but how much of the data is drawn.
    (least, *_), (most, *_) = min(found["x0"]), max(found["x0"])
    assert all(least < right < most for right, *_ in found["x0, weighed"])
    plain, weighed = ([recall for *_, recall in found[name]] for name in ("x0", "x0, weighed"))
    assert min(weighed) > max(plain) + 0.15


@pytest.mark.slow
def test_few_pictures_are_trained_on_as_often_as_many_and_looked_for_among_the_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "memorisation.jsonl"
    small = {"steps": 2, "samples": 20, "sampling_steps": 2}
    rows = list(ablate_memorisation(out, (3,), variants=["20", "200"], **small))
    assert [row["pictures"] for row in rows] == [20, 200]
    for row in rows:
        assert row["nearer_by_chance"] == 0.5  # as many are held out
        assert row["copies_held_out"] == 0  # MNIST holds hardly any picture twice
        assert 0 <= row["nearer"] <= 1
        assert row["floor"]["frechet_distance"] > 0
    assert "batch_size" in next(iter(read_json_lines(out)))[1]
    again = ["ablate", "memorisation", "--seeds", "3", "--variants", "20", "200", "--steps", "2"]
    assert cli.main([*again, "--samples", "20", "--out", str(out)]) == 2  # of another budget
    capsys.readouterr()
    other = tmp_path / "other.jsonl"
    few = [*again[:4], "--variants", "20", "--steps", "2", "--samples", "20"]
    assert cli.main([*few, "--out", str(other)]) == 0
    assert "20, seed 3: " in (said := capsys.readouterr().out)
    assert "nearest to a training picture" in said


def test_the_digits_held_out_of_a_memorisation_are_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen = {}
    real = ablation.memorisation

    def looked(x: torch.Tensor, train: torch.Tensor, held_out: torch.Tensor) -> Any:
        seen["parts"] = {image.numpy().tobytes() for image in train}, held_out
        return real(x, train, held_out)

    monkeypatch.setattr(ablation, "memorisation", looked)
    small = {"steps": 1, "samples": 10, "sampling_steps": 1}
    list(ablate_memorisation(tmp_path / "x.jsonl", (0,), variants=["200"], **small))
    trained, held_out = seen["parts"]
    assert len(held_out) == 200
    assert not any(image.numpy().tobytes() in trained for image in held_out)


def test_the_shipped_curve_of_memorisation_falls_to_chance_with_three_seeds():
    table = shipped_table("ablation-memorisation")
    assert (table["steps"], table["samples"], table["batch_size"]) == (1000, 500, 32)
    of: dict[int, list[dict[str, Any]]] = {n: [] for n in MEMORY_VARIANTS.values()}
    for row in table["rows"]:
        assert row["nearer_by_chance"] == 0.5
        of[row["pictures"]].append(row)
    assert [sorted(row["seed"] for row in rows) for rows in of.values()] == [[0, 1, 2]] * 5
    for n, rows in of.items():
        for row in rows:
            assert row["nearer"] > 0.95 if n <= 50 else row["nearer"] < 0.75
            assert row["copies"] > 0.4 if n <= 50 else row["copies"] < 0.01
    means = [sum(row["nearer"] for row in rows) / 3 for rows in of.values()]
    assert means == sorted(means, reverse=True)
    assert means[-1] == pytest.approx(0.5, abs=0.05)
