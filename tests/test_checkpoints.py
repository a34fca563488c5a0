"""Networks on disk: what is written is read back, and nothing damaged is believed."""

import json
import shutil
from pathlib import Path

import pytest
import torch
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
    with pytest.raises(ValueError, match=r"points\.json is damaged"):
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
