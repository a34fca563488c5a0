"""The doctor of networks: silent about what is well, and right about what was broken on purpose."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as save_tensors
from torch import nn

from diffusion_lessons import (
    NOISE,
    X0,
    DiffusionModel,
    NoiseSchedule,
    Prediction,
    TrainOptions,
    V,
    cli,
    cosine_schedule,
    final,
    linear_schedule,
    load_pretrained,
    straight_schedule,
    vp_schedule,
    zero_terminal,
)
from diffusion_lessons.checks import PAGE
from diffusion_lessons.files import read_json, write_json
from diffusion_lessons.measuring import doctor
from diffusion_lessons.measuring.doctor import Finding, examine
from diffusion_lessons.networks import cards, checkpoints
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.training.recipes import digits_ddpm

CPU = Compute(torch.device("cpu"))
BOOK_PAGE = Path(__file__).parents[1] / "book" / "when-it-does-not-work.md"
SECTIONS = {
    value
    for name, value in vars(doctor).items()
    if name.isupper() and isinstance(value, str) and name not in ("SHAPE", "PAGE")
}


def sections(path: Path) -> list[str]:
    return [finding.section for finding in examine(path, CPU)]


def small(
    prediction: Prediction = NOISE, schedule: NoiseSchedule | None = None, channels: int = 1
) -> DiffusionModel:
    """A network that has learnt nothing: its answer is 0."""
    network = UNet(size=8, in_channels=channels, channels=8, blocks=1, classes=0, heads=2)
    return DiffusionModel(network, schedule, prediction)


def saved(folder: Path, model: nn.Module, **card: Any) -> Path:
    path = folder / "mine.safetensors"
    checkpoints.save(path, model, card)
    return path


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """The shipped moons under another name, with a card that tells only what it must."""
    return saved(tmp_path, load_pretrained("moons-ddpm"))


@pytest.mark.slow
@pytest.mark.parametrize("name", cards.pretrained_names())
def test_nothing_is_said_of_a_shipped_network(name: str) -> None:
    assert examine(cards.pretrained_path(name), CPU) == []


def test_of_a_network_that_is_well_the_command_says_just_that(
    points: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", str(points)]) == 0
    assert capsys.readouterr().out == f"{points}: nothing wrong is seen\n"
    assert cli.main(["doctor", "moons-ddpm"]) == 0
    assert capsys.readouterr().out == "moons-ddpm: nothing wrong is seen\n"


def test_every_section_that_is_named_is_one_of_the_page() -> None:
    heads = re.findall(r"(?m)^## (.+)$", BOOK_PAGE.read_text("utf-8"))
    said = re.findall(r"see\(['\"](.+?)['\"]\)", sources())
    assert {*SECTIONS, *said} <= set(heads)
    assert len(said) >= 4


def sources() -> str:
    package = Path(doctor.__file__).parents[1]
    return "\n".join(path.read_text("utf-8") for path in package.rglob("*.py"))


# ------------------------------------------------------------------ the file


def without_a_card(path: Path) -> None:
    path.with_suffix(".json").unlink()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def of_another_network(path: Path) -> None:
    checkpoints.save(path.with_name("other.safetensors"), DiffusionModel(MLP(width=8)))
    path.write_bytes(path.with_name("other.safetensors").read_bytes())


def with_a_number_that_is_none(path: Path) -> None:
    weights = dict(load_pretrained("moons-ddpm").state_dict())
    weights["input.bias"] = weights["input.bias"] * float("nan")
    cards.write_network(path, save_tensors(weights), cards.read_card(path))


def of_another_width(path: Path) -> None:
    card = read_json(path.with_suffix(".json"))
    card["config"]["width"] += 32
    write_json(path.with_suffix(".json"), card, 2)


def junk(path: Path) -> None:
    path.write_bytes(b"\0\1\2 no network" * 99)


def a_card_of_junk(path: Path) -> None:
    path.with_suffix(".json").write_text("[[[")


@pytest.mark.parametrize(
    ("damage", "section"),
    [
        (without_a_card, doctor.DAMAGED),
        (cut_off, doctor.DAMAGED),
        (flipped, doctor.DAMAGED),
        (of_another_network, doctor.DAMAGED),
        (with_a_number_that_is_none, doctor.NAN),
        (of_another_width, doctor.SIZES),
        (junk, doctor.DAMAGED),
        (a_card_of_junk, doctor.DAMAGED),
    ],
)
def test_a_file_that_cannot_be_loaded_is_told_of_in_one_line(
    damage: Callable[[Path], None],
    section: str,
    points: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(points)
    assert cli.main(["doctor", str(points)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.count(PAGE) == 1
    assert f'"{PAGE}", {section})' in said.err


@pytest.mark.parametrize("name", ["gone.safetensors", "gone.training", "nobody", "folder", ""])
def test_what_is_no_network_is_refused_as_everywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert cli.main(["doctor", name]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_and_junk_by_the_name_of_a_network_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending in (".safetensors", ".training"):
        (tmp_path / f"folder{ending}").mkdir()
        (tmp_path / f"empty{ending}").touch()
        for name in ("folder", "empty"):
            assert cli.main(["doctor", str(tmp_path / f"{name}{ending}")]) == 2
            assert capsys.readouterr().err.count("\n") == 1


def test_weights_of_twice_the_channels_are_known_without_a_card(tmp_path: Path) -> None:
    """As guided-diffusion's: the first layer takes 3 channels, the last gives 6."""
    path = tmp_path / "theirs.safetensors"
    tensors = {
        "input_blocks.0.0.weight": torch.zeros(16, 3, 3, 3),
        "middle_block.0.weight": torch.zeros(16, 16, 3, 3),
        "out.2.weight": torch.zeros(6, 16, 3, 3),
    }
    path.write_bytes(save_tensors(tensors))
    with pytest.raises(FileNotFoundError, match="take 3 channels and give 6") as told:
        examine(path)
    assert doctor.CHANNELS in str(told.value)


def test_weights_for_other_pictures_than_the_card_s_are_compared(tmp_path: Path) -> None:
    path = saved(tmp_path, small(X0, channels=3))
    card = cards.read_card(path)
    card["config"]["in_channels"] = 1
    cards.write_card(path, card)
    with pytest.raises(
        ValueError, match=r"is \[8, 12, 3, 3\], and \[8, 4, 3, 3\] by the card"
    ) as e:
        examine(path)
    assert doctor.SIZES in str(e.value)


# ------------------------------------------------------------------ how it was made


@pytest.mark.parametrize(
    ("card", "section"),
    [
        ({"steps": 50}, doctor.UPDATES),
        ({"steps": 100, "start": {"steps": 100}}, doctor.UPDATES),
        ({"averaged": [{"steps": 40}, {"steps": 90}]}, doctor.UPDATES),
    ],
)
def test_few_updates_are_told_by_the_card(card: Any, section: str, tmp_path: Path) -> None:
    assert sections(saved(tmp_path, load_pretrained("moons-ddpm"), **card)) == [section]


def test_updates_before_are_counted_too(tmp_path: Path) -> None:
    card = {"steps": 100, "start": {"averaged": [{"steps": 200}, {"step": 10}]}}
    assert doctor.updates_of(card) == 300
    assert sections(saved(tmp_path, load_pretrained("moons-ddpm"), **card)) == []
    assert doctor.updates_of({}) is None


@pytest.mark.parametrize("junk", [None, "x", -1, 0.5, [], ["x"], {}, {"x": 1}, True, [None] * 3])
def test_a_card_of_odd_values_is_read_as_far_as_it_can_be(junk: Any, tmp_path: Path) -> None:
    names = ("steps", "averaged", "start", "data", "command", "batches")
    path = saved(tmp_path, load_pretrained("digits-vae"), **dict.fromkeys(names, junk))
    assert {*sections(path)} <= {doctor.UPDATES}
    for name in ("pictures", "size", "mean"):
        path = saved(tmp_path, load_pretrained("digits-vae"), data={name: junk})
        assert {*sections(path)} <= {doctor.COPIES, doctor.SIZES}


@pytest.mark.parametrize(
    ("steps", "told", "words"),
    [
        (5000, {"pictures": 50}, "trained on 50 pictures"),
        (3000, {"pictures": 500}, "each of its 500 pictures 384 times"),
        (2000, {"pictures": 500}, "each of its 500 pictures 256 times"),
        (5000, {"pictures": 60_000}, None),
    ],
)
def test_few_pictures_are_told_by_the_card(
    steps: int, told: Any, words: str | None, tmp_path: Path
) -> None:
    path = saved(tmp_path, load_pretrained("digits-vae"), steps=steps, data=told)
    found = examine(path, CPU)
    assert [finding.section for finding in found] == [doctor.COPIES] * (words is not None)
    assert words is None or words in found[0].words


def test_the_batch_counts_where_the_command_names_another(tmp_path: Path) -> None:
    card = {"steps": 2000, "data": {"pictures": 500}}
    card["command"] = "diffusion-lessons train digits-ddpm --data mine --set batch_size=8"
    assert sections(saved(tmp_path, load_pretrained("digits-vae"), **card)) == []


def test_pictures_of_another_size_are_told(tmp_path: Path) -> None:
    card = {"data": {"pictures": 60_000, "size": 32}}
    assert sections(saved(tmp_path, load_pretrained("digits-vae"), **card)) == [doctor.SIZES]


def test_a_training_state_is_looked_at_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.training"
    options = TrainOptions(steps=2, checkpoint=path, compute=CPU)
    final(digits_ddpm(options, channels=8, batch_size=2))
    assert cli.main(["doctor", str(path)]) == 0
    out = capsys.readouterr().out
    assert "for 2 updates only, 0.0 passes over 60,000 pictures (How many updates)" in out
    assert f"({doctor.NOISE})" in out
    path.write_bytes(path.read_bytes()[:-5])
    assert cli.main(["doctor", str(path)]) == 2
    assert f"{doctor.DAMAGED})" in capsys.readouterr().err


# ------------------------------------------------------------------ prediction and schedule


@pytest.mark.parametrize(
    ("model", "section", "words"),
    [
        (small(NOISE, cosine_schedule()), doctor.LAST, "20,291 times"),
        (small(NOISE, linear_schedule(beta_T=0.025)), doctor.LAST, "times as large in x_0"),
        (small(NOISE, linear_schedule(50)), doctor.BLACK, "leaves 0.78 of the picture at T"),
        (small(X0, linear_schedule(50)), doctor.BLACK, "leaves 0.78"),
    ],
)
def test_a_schedule_that_does_not_suit_is_told(
    model: DiffusionModel, section: str, words: str, tmp_path: Path
) -> None:
    found = examine(saved(tmp_path, model), CPU)
    (first, *_) = [finding for finding in found if finding.section == section]
    assert words in first.words


@pytest.mark.parametrize(
    "model",
    [
        small(NOISE),
        small(V, cosine_schedule()),
        small(X0, straight_schedule()),
        small(V, zero_terminal(linear_schedule())),
        small(X0, vp_schedule(4)),
    ],
)
def test_of_a_schedule_that_suits_nothing_is_said(model: DiffusionModel, tmp_path: Path) -> None:
    assert not {doctor.LAST, doctor.BLACK} & set(sections(saved(tmp_path, model)))


# ------------------------------------------------------------------ what it draws


def test_mere_noise_is_told(tmp_path: Path) -> None:
    (finding,) = examine(saved(tmp_path, small(NOISE)), CPU)
    assert finding.section == doctor.NOISE


def test_samples_that_are_all_alike_are_told(tmp_path: Path) -> None:
    model: Any = load_pretrained("digits-vae")
    with torch.no_grad():
        model.decoder[0].weight[:, : model.latent] = 0  # it looks at the class alone
    (finding,) = examine(saved(tmp_path, model), CPU)
    assert finding == Finding("its samples are all alike, those of a class at least", doctor.COPIES)


def test_samples_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    """The weights are numbers, and their products are too large to be any."""
    model = load_pretrained("moons-ddpm")
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1e25)
    assert sections(saved(tmp_path, model)) == [doctor.NAN]


@pytest.mark.slow
def test_a_network_that_is_misread_is_told(tmp_path: Path) -> None:
    model: Any = load_pretrained("digits-ddpm")
    path = saved(
        tmp_path, DiffusionModel(model.network, model.schedule, X0), command="train digits-ddpm"
    )
    assert doctor.NOISE in sections(path)


@pytest.mark.slow
def test_x0_hat_that_is_clipped_a_great_deal_is_told(tmp_path: Path) -> None:
    model: Any = load_pretrained("digits-ddpm")
    with torch.no_grad():
        list(model.network.parameters())[-1].add_(0.3)  # the same error in each predicted noise
    found = examine(saved(tmp_path, model), CPU)
    assert [finding.section for finding in found] == [doctor.LAST]
    assert "of x0_hat lie outside" in found[0].words


def test_digits_that_nobody_recognises_are_told(tmp_path: Path) -> None:
    model: Any = load_pretrained("digits-vae")
    with torch.no_grad():
        by_class = model.decoder[0].weight[:, -10:]
        by_class.copy_(by_class.flip(1))  # each class is taken for another
    found = examine(saved(tmp_path, model, command="train digits-vae --seed 0"), CPU)
    assert doctor.NOISE in [finding.section for finding in found]
    assert "the judge recognises" in found[0].words


def coloured(mean: list[float]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    greys = 0.2 * torch.randn(20, 1, 1, 1, generator=generator)
    return torch.tensor(mean).view(1, 3, 1, 1) + greys.expand(-1, 3, 8, 8)


@pytest.mark.parametrize(
    ("mean", "found"),
    [
        ([0.1, 0.0, -0.1], False),
        ([0.2, 0.05, -0.05], False),
        ([0.1, 0.4, -0.1], True),
        ([0.6, 0.5, 0.4], True),
    ],
)
def test_a_tint_is_told_where_the_card_tells_the_mean(mean: list[float], found: bool) -> None:
    card = {"data": {"mean": [0.1, 0.0, -0.1]}}
    told = list(doctor._of_its_colours(coloured(mean), card, False))
    assert [finding.section for finding in told] == [doctor.TINT] * found
    assert not list(doctor._of_its_colours(coloured(mean), {}, False))


def test_digits_that_are_too_bright_are_told(tmp_path: Path) -> None:
    model: Any = load_pretrained("digits-vae")
    with torch.no_grad():
        list(model.decoder.parameters())[-1].add_(3)
    path = saved(tmp_path, model, data={"mean": [-0.74]})
    assert sections(path) == [doctor.TINT]


def test_a_walk_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    path = saved(tmp_path, small(NOISE))
    assert examine(path, CPU, patience=-1) == []
