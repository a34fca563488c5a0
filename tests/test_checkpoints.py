"""Networks on disk: what is written is read back, and nothing damaged is believed."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from diffusion_lessons import (
    NOISE,
    PREDICTIONS,
    VELOCITY,
    X0,
    DiffusionModel,
    NoiseSchedule,
    V,
    cosine_schedule,
    files,
    linear_schedule,
    straight_schedule,
    vp_schedule,
    zero_terminal,
)
from diffusion_lessons.networks import cards, checkpoints
from diffusion_lessons.networks.classifier import Classifier, NoisyClassifier
from diffusion_lessons.networks.gan import Discriminator, Gan, Generator
from diffusion_lessons.networks.latent import LatentDiffusion
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.networks.vae import VAE

TINY = {"size": 8, "channels": 8, "blocks": 1, "attention_resolutions": (), "heads": 2}

SCHEDULES = {
    "linear": linear_schedule(1000, beta_T=0.03),
    "cosine": cosine_schedule(1000, offset=0.01),
    "vp": vp_schedule(1000),
    "straight": straight_schedule(1000),
    "zero terminal": zero_terminal(linear_schedule()),
    "hand-given alpha_bar": NoiseSchedule([1, 0.9, 1 / 3, 0.1]),
    "hand-given path": NoiseSchedule(alpha=[1, 0.7, 0.1], sigma=[0, 1 / 3, 2]),
}


def points(*of: object) -> DiffusionModel:
    return DiffusionModel(MLP(width=16, layers=1), *of)


def small_gan(*of: object) -> Gan:
    return Gan(Generator(2, **TINY), Discriminator(channels=4, multipliers=(1,)), *of)


NETWORKS = [
    points(),
    Classifier(channels=4, features=8),
    NoisyClassifier(channels=8),
    DiffusionModel(UNet(size=8, channels=16, blocks=1, attention_resolutions=(), heads=2)),
    VAE(size=8, latent=2, width=8),
    LatentDiffusion(DiffusionModel(MLP(16, 8, 1, classes=10), straight_schedule(), V)),
    small_gan(),
]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "points.safetensors"
    checkpoints.save(path, points(), {"command": "made in a test"})
    return path


def change_card(path: Path, **changes: object) -> None:
    """Write a card anew, with its checksum; what is changed to None is left out."""
    card = cards.read_card(path) | changes
    cards.write_card(path, {k: value for k, value in card.items() if value is not None})


def ids(model: nn.Module) -> str:
    return type(getattr(model, "network", model)).__name__


@pytest.mark.parametrize("model", NETWORKS, ids=ids)
def test_a_saved_network_comes_back_rounded_to_half_precision(model: nn.Module, tmp_path: Path):
    path = tmp_path / "network.safetensors"
    checkpoints.save(path, model)
    loaded = checkpoints.load(path)
    assert type(loaded) is type(model)
    assert not loaded.training
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert after[name].dtype == value.dtype
        # float16 keeps 11 bits: half a unit in the last place is 2^-12 of the number.
        torch.testing.assert_close(after[name], value, rtol=2**-11, atol=1e-7)


@given(
    scale=st.floats(-12, 12).map(lambda power: 10**power),
    format=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_weights_of_any_size_come_back(scale: float, format: torch.dtype):
    """Half precision ends at 65,504, and below 6e-8 all is 0 in it: such ones stay in full."""
    model = points().to(format)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(Path(folder) / "network.safetensors", model)
        after = checkpoints.load(Path(folder) / "network.safetensors").state_dict()
    for name, value in model.state_dict().items():
        assert after[name].dtype == torch.float32
        lost = (after[name] - value.double()).abs().max()
        assert lost <= 2**-10 * value.abs().max(), name


def test_usual_weights_take_two_bytes_each_and_odd_ones_four(saved: Path):
    small, model = saved.stat().st_size, points()
    with torch.no_grad():
        model.network.input.weight[0, 0] = 1e5
    checkpoints.save(saved, model)
    grown = saved.stat().st_size - small
    assert abs(grown - 2 * model.network.input.weight.numel()) < 64  # the header's words
    assert checkpoints.load(saved).network.input.weight[0, 0] == 1e5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_weights_that_are_not_finite_are_not_saved(bad: float, saved: Path):
    for place in ("input.weight", "output.bias"):
        model = points().double()
        with torch.no_grad():
            model.network.get_parameter(place).view(-1)[0] = bad
        before = saved.read_bytes()
        words = f"this network is broken, its {place} is not finite"
        with pytest.raises(ValueError, match=words):
            checkpoints.save(saved, model)
        assert saved.read_bytes() == before


def test_a_card_with_attention_that_its_network_never_reached_still_loads(saved: Path):
    """Such networks were taken before, as if it had not been asked for."""
    for model in (DiffusionModel(UNet(**TINY)), small_gan()):
        checkpoints.save(saved, model)
        config = cards.read_card(saved)["config"]
        config.get("generator_net", config)["attention_resolutions"] = [7, 28]
        change_card(saved, config=config)
        again = checkpoints.load(saved)
        assert again.about == model.about
        for name, value in model.state_dict().items():
            torch.testing.assert_close(again.state_dict()[name], value, rtol=2**-11, atol=1e-7)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS.values(), ids=PREDICTIONS)
def test_what_is_predicted_and_under_which_schedule_come_back_bit_for_bit(
    prediction, schedule: NoiseSchedule, saved: Path
):
    if prediction is NOISE and schedule.alpha[-1] == 0:
        with pytest.raises(ValueError, match="x_0 cannot be read off predicted noise; predict x0"):
            points(schedule, prediction)
        return
    checkpoints.save(saved, points(schedule, prediction))
    loaded = checkpoints.load(saved)
    assert loaded.prediction is prediction
    assert loaded.schedule.same_as(schedule)
    assert loaded.schedule.config == schedule.config
    assert torch.equal(loaded.schedule.alpha, schedule.alpha)
    assert torch.equal(loaded.schedule.sigma, schedule.sigma)


@pytest.mark.parametrize("T", [2, 4])
def test_a_gan_and_a_noisy_classifier_keep_their_schedule(T: int, saved: Path):
    for make in (lambda s: small_gan(T, s), lambda s: NoisyClassifier(channels=4, schedule=s)):
        checkpoints.save(saved, make(cosine_schedule(T)))
        assert checkpoints.load(saved).schedule.same_as(cosine_schedule(T))


@pytest.mark.parametrize(
    ("model", "schedule"),
    [
        (points(cosine_schedule(), V), linear_schedule()),
        (DiffusionModel(UNet(**TINY), vp_schedule(1000), X0), linear_schedule()),
        (small_gan(3, cosine_schedule(3)), vp_schedule(3)),
        (NoisyClassifier(channels=4, schedule=cosine_schedule()), linear_schedule()),
    ],
    ids=lambda value: ids(value) if isinstance(value, nn.Module) else "",
)
def test_a_card_of_version_0_1_is_read_as_it_was_meant(
    model: nn.Module, schedule: NoiseSchedule, saved: Path
):
    """Those cards say nothing of prediction and schedule: they were noise, linear, a Gan's vp."""
    checkpoints.save(saved, model)
    change_card(saved, predicts=None, schedule=None)
    loaded = checkpoints.load(saved)
    assert loaded.schedule.same_as(schedule)
    assert getattr(loaded, "prediction", NOISE) is NOISE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predicts": "score"}, "must be one of noise, x0, v, velocity, got 'score'"),
        ({"predicts": ["v"]}, "must be one of noise, x0, v, velocity"),
        ({"schedule": {"kind": "spiral", "T": 10}}, "no schedule is described by .*spiral"),
        ({"schedule": {"kind": "linear", "T": 10, "speed": 2}}, "describes nothing.*speed"),
        ({"schedule": {"kind": "linear", "T": 0}}, "T must lie in 1"),
        ({"schedule": {"kind": "zero terminal", "of": {"kind": "x"}}}, "no schedule is described"),
        ({"schedule": {"alpha_bar": [1, 2]}}, "alpha_bar must fall strictly"),
        ({"schedule": {"alpha": [1, 0.5]}}, "no schedule is described"),
        ({"schedule": {}}, "no schedule is described"),
        ({"schedule": "linear"}, "no schedule is described by 'linear'"),
        ({"schedule": [1, 0.5]}, r"no schedule is described by \[1, 0.5\]"),
        ({"schedule": {"kind": "straight", "T": 10}}, "predict x0, v or velocity"),
        ({"network": "Unet"}, "its network must be one of UNet, MLP, .* got 'Unet'"),
        ({"network": ["UNet"]}, "its network must be one of UNet, MLP, "),
        ({"config": {"wings": 2}}, "wings"),
    ],
)
def test_a_card_that_describes_no_model_is_refused_by_its_file(
    changes: dict, message: str, saved: Path
):
    change_card(saved, **changes)
    wanted = rf"points\.safetensors describes no network .*{message}.* update the package"
    with pytest.raises(ValueError, match=wanted):
        checkpoints.load(saved)


def test_a_gan_of_another_number_of_steps_than_its_schedule_is_refused(saved: Path):
    checkpoints.save(saved, small_gan(4))
    change_card(saved, schedule=vp_schedule(2).config)
    with pytest.raises(ValueError, match=r"points\.safetensors .* a Gan of 4 steps needs"):
        checkpoints.load(saved)


@pytest.mark.parametrize("name", cards.pretrained_names())
def test_loading_leaves_the_random_numbers_of_others_alone(name: str):
    before = torch.random.get_rng_state()
    checkpoints.load_pretrained(name)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("network", [UNet(**TINY), MLP(width=16)], ids=ids)
def test_a_network_alone_is_not_saved_for_nobody_would_know_what_it_predicts(
    network: nn.Module, tmp_path: Path
):
    with pytest.raises(ValueError, match="a DiffusionModel around a UNet or MLP"):
        checkpoints.save(tmp_path / "x.safetensors", network)
    assert not list(tmp_path.iterdir())


def test_networks_of_another_prediction_or_schedule_have_no_mean():
    alike = points(straight_schedule(), V)
    mean = checkpoints.mean_weights([alike, points(straight_schedule(), V)])
    assert (mean.prediction, mean.schedule.config) == (V, straight_schedule().config)
    for other in (points(straight_schedule(), VELOCITY), points(cosine_schedule(), V)):
        with pytest.raises(ValueError, match="of one kind, size, prediction and schedule"):
            checkpoints.mean_weights([alike, other])


def test_the_card_tells_what_it_was_given(saved: Path):
    card = cards.read_card(saved)
    assert card["command"] == "made in a test"
    assert card["network"] == "MLP"
    assert card["parameters"] == sum(p.numel() for p in checkpoints.load(saved).parameters())


@pytest.mark.parametrize("where", [0, 8, 40, 200, -1])
def test_any_flipped_byte_is_found(saved: Path, where: int):
    content = bytearray(saved.read_bytes())
    content[where] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ValueError, match=r"points\.safetensors is damaged.*[Dd]elete"):
        checkpoints.load(saved)


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_truncated_file_is_found(saved: Path, length: int):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"points\.safetensors is damaged"):
        checkpoints.load(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"network": "MLP"}', "\x00"])
def test_a_damaged_card_is_found(saved: Path, text: str):
    saved.with_suffix(".json").write_text(text)
    with pytest.raises(ValueError, match=r"points\.json is (damaged|not the card)"):
        checkpoints.load(saved)


def test_weights_of_another_network_are_found(saved: Path, tmp_path: Path):
    other = tmp_path / "other.safetensors"
    checkpoints.save(other, points())
    shutil.copy(other, saved)
    with pytest.raises(ValueError, match="not the ones its card describes"):
        checkpoints.load(saved)


def test_a_card_cannot_name_code_to_run(saved: Path):
    card = cards.read_card(saved)
    for network in ["os.system", "Linear", "__import__"]:
        saved.with_suffix(".json").write_text(json.dumps(card | {"network": network}))
        with pytest.raises(ValueError, match="its network must be one of UNet, MLP, "):
            checkpoints.load(saved)


def test_a_missing_file_is_called_missing(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        checkpoints.load(tmp_path / "nothing.safetensors")


def test_only_known_networks_are_saved(tmp_path: Path):
    with pytest.raises(ValueError, match=r"cannot save a Linear.*UNet"):
        checkpoints.save(tmp_path / "x.safetensors", nn.Linear(2, 2))


def test_unknown_pretrained_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'digits-dpm'.*digits-ddpm"):
        checkpoints.load_pretrained("digits-dpm")


@pytest.mark.parametrize("name", cards.pretrained_names())
def test_every_shipped_network_loads_and_says_how_it_was_made(name: str):
    path = cards.pretrained_path(name)
    assert path.stat().st_size <= 8e6
    card = cards.read_card(path)
    for made in card.get("averaged", [card]):
        assert made["command"].startswith(f"diffusion-lessons train {name} --seed ")
        assert made["seconds"] > 0
    assert card["machine"]["processor"]
    assert card["measured"]
    assert all(p.isfinite().all() for p in checkpoints.load_pretrained(name).parameters())


def test_what_the_lessons_need_is_shipped():
    assert set(cards.pretrained_names()) >= {"digits-ddpm", "digits-classifier", "moons-ddpm"}
    total = sum(file.stat().st_size for file in files.ASSETS.glob("*.safetensors"))
    assert total <= 30e6


# ------------------------------------------------------------------ places, pairs, causes


@pytest.mark.parametrize("name", ["a.json", "m.v1", "noext", "a.safetensors.bak", ".safetensors"])
def test_a_name_under_which_nobody_would_find_it_again_is_refused(name: str, tmp_path: Path):
    for act in (lambda path: checkpoints.save(path, points()), checkpoints.load):
        with pytest.raises(
            ValueError, match=r"the name of a network's file must end in \.safetens"
        ):
            act(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_networks_with_dots_in_their_names_have_a_card_each(tmp_path: Path):
    for width in (8, 16):
        name = f"m.v{width}.safetensors"
        checkpoints.save(tmp_path / name, DiffusionModel(MLP(width=width, layers=1)))
    for width in (8, 16):
        assert (
            checkpoints.load(tmp_path / f"m.v{width}.safetensors").network.config["width"] == width
        )


def test_no_card_overwrites_what_is_no_card(tmp_path: Path):
    path = tmp_path / "points.safetensors"
    table = path.with_suffix(".json")
    files.write_json(table, {"rows": [1, 2, 3]}, 1)
    before = table.read_bytes()
    for act in (
        lambda: checkpoints.save(path, points()),
        lambda: cards.write_card(path, {"network": "MLP"}),
    ):
        with pytest.raises(ValueError, match=r"points\.json is no network's card, .*overwrite it"):
            act()
    assert table.read_bytes() == before
    assert list(tmp_path.iterdir()) == [table]


@pytest.mark.unix
def test_links_are_followed_unless_they_lead_to_a_network_with_a_card(saved: Path, tmp_path: Path):
    """Else that card would describe weights that are gone."""
    disk = tmp_path / "disk"
    disk.mkdir()
    alone, link, folder = (tmp_path / name for name in ("alone.safetensors", "l.safetensors", "f"))
    alone.symlink_to(disk / "weights.safetensors")
    link.symlink_to(saved)
    folder.symlink_to(disk)
    for _ in range(2):
        checkpoints.save(alone, points())
        checkpoints.save(folder / "n.safetensors", points())
    assert alone.is_symlink()
    assert {file.name for file in disk.iterdir()} == {
        "weights.safetensors",
        "n.safetensors",
        "n.json",
    }
    checkpoints.load(alone)
    with pytest.raises(
        ValueError, match=r"is a link to .*points\.safetensors, which has a card of"
    ):
        checkpoints.save(link, points())
    link.with_suffix(".json").symlink_to(saved.with_suffix(".json"))  # both are links: one network
    checkpoints.save(link, points(), {"command": "through links"})
    assert cards.read_card(saved)["command"] == "through links"
    checkpoints.load(saved)


def test_a_card_that_was_changed_by_hand_is_written_anew(saved: Path):
    card = saved.with_suffix(".json")
    card.write_text(card.read_text().replace("made in a test", "made by hand"))
    with pytest.raises(ValueError, match="its checksum is wrong"):
        checkpoints.load(saved)
    checkpoints.save(saved, points())
    checkpoints.load(saved)


OLD, NEW = ({"command": word} for word in ("old", "new"))


def of_width(width: int) -> DiffusionModel:
    return DiffusionModel(MLP(width=width, layers=1))


class Killed(BaseException):
    """What nothing in the package catches, as nothing catches SIGKILL."""


@pytest.mark.parametrize("error", [Killed(), OSError(28, "No space left on device")])
def test_a_network_and_its_card_are_one_whenever_saving_ends(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Whichever rename does not happen: the old network is there with its card, or the new one."""
    rename, renames = files.os.replace, 0

    def limited(source: object, target: object) -> None:
        nonlocal renames
        if renames == 0:
            raise error
        renames -= 1
        rename(source, target)

    found = []
    for done in range(4):
        path = tmp_path / str(done) / "points.safetensors"
        checkpoints.save(path, of_width(8), OLD)
        renames = done
        with monkeypatch.context() as patch:
            patch.setattr(files.os, "replace", limited)
            with suppress(Killed, OSError):
                checkpoints.save(path, of_width(16), NEW)
        width = checkpoints.load(path).network.config["width"]
        card = cards.read_card(path)
        assert card["command"] == {8: "old", 16: "new"}[width]
        assert "replaces" not in card
        cards.add_measured(path, card["sha256"], {"command": "measured"})
        checkpoints.load(path)
        checkpoints.save(path, of_width(24), NEW)  # and once more, over whatever is there
        assert checkpoints.load(path).network.config["width"] == 24
        assert {file.suffix for file in path.parent.iterdir()} == {".safetensors", ".json"}
        assert "replaces" not in json.loads(path.with_suffix(".json").read_text())
        found.append(width)
    assert found == [8, 8, 16, 16]


def test_a_first_network_whose_saving_failed_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "points.safetensors"
    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match=r"points\.json could not be written \(No space left"):
        checkpoints.save(path, points())
    assert not list(tmp_path.iterdir())


def test_damage_is_told_from_the_card_of_another_network(saved: Path, tmp_path: Path):
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ValueError, match=r"points\.safetensors is damaged: its checksum is wrong"):
        checkpoints.load(saved)
    checkpoints.save(tmp_path / "other.safetensors", points())
    shutil.copy(tmp_path / "other.safetensors", saved)
    with pytest.raises(ValueError, match=r"does not belong to points\.json") as caught:
        checkpoints.load(saved)
    assert "elete" not in str(caught.value)


def test_what_is_missing_is_named(saved: Path):
    card = saved.with_suffix(".json")
    text, content = card.read_text(), saved.read_bytes()
    card.unlink()
    with pytest.raises(FileNotFoundError, match=r"points\.json is not there, the card of points"):
        checkpoints.load(saved)
    saved.write_bytes(content[:-1])  # cut, and without a card: the weights are what is wrong
    with pytest.raises(ValueError, match=r"points\.safetensors is damaged"):
        checkpoints.load(saved)
    saved.unlink()
    card.write_text(text)
    with pytest.raises(FileNotFoundError, match=r"points\.safetensors is not there$"):
        checkpoints.load(saved)
    card.unlink()
    for act in (checkpoints.load, cards.read_card):
        with pytest.raises(FileNotFoundError, match=r"points\.safetensors is not there$"):
            act(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_network_is_said_to_be_broken(value: float, saved: Path):
    model = checkpoints.load(saved)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = value
    words = r"points\.safetensors: this network is broken, its .* is not finite"
    with pytest.raises(ValueError, match=words):
        checkpoints.save(saved, model)
    checkpoints.load(saved)  # the good one is still there
    tensors, _ = files.read_tensors(saved.read_bytes())
    name = next(iter(tensors))
    tensors[name].view(-1)[0] = value
    content = safetensors.torch.save(tensors, {"checksum": files.tensors_checksum(tensors)})
    cards.write_network(saved, content, cards.read_card(saved))
    with pytest.raises(ValueError, match=words):
        checkpoints.load(saved)


def test_a_result_is_not_written_on_the_card_of_a_network_that_was_not_measured(saved: Path):
    measured = cards.read_card(saved)["sha256"]
    cards.add_measured(saved, measured, {"command": "a", "x": 1})
    cards.add_measured(saved, measured, {"command": "b", "x": 2})
    cards.add_measured(saved, measured, {"command": "a", "x": 3})
    assert [row["x"] for row in cards.read_card(saved)["measured"]] == [2, 3]
    checkpoints.save(saved, points(), {"command": "another"})
    with pytest.raises(ValueError, match="was replaced while it was measured"):
        cards.add_measured(saved, measured, {"command": "c"})


ADD = """
import sys
from diffusion_lessons.networks import cards
path, who = sys.argv[1:]
sha256 = cards.read_card(path)["sha256"]
for i in range(20):
    cards.add_measured(path, sha256, {"command": f"{who} {i}"})
"""


@pytest.mark.slow
def test_two_that_measure_one_network_both_find_their_results_on_its_card(saved: Path):
    command = [sys.executable, "-c", ADD, str(saved)]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    both = [subprocess.Popen([*command, who], env=env) for who in "ab"]
    assert [run.wait(100) for run in both] == [0, 0]
    assert len(cards.read_card(saved)["measured"]) == 40


@pytest.mark.slow
def test_a_network_that_may_not_be_read_is_not_called_damaged(saved: Path, bound: list[str]):
    load = "import sys; from diffusion_lessons.networks.checkpoints import load; load(sys.argv[1])"
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    for file in (saved.with_suffix(".json"), saved):
        file.chmod(0)
        command = [*bound, sys.executable, "-c", load, str(saved)]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"PermissionError: {file} could not be read (Permission denied)")
        assert "elete" not in last
