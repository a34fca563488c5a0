"""Networks on disk: what is written is read back, and nothing damaged is believed."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from diffusion_lessons import files
from diffusion_lessons.networks import cards, checkpoints
from diffusion_lessons.networks.classifier import Classifier, NoisyClassifier
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.networks.vae import VAE

NETWORKS = [
    MLP(width=16, layers=1),
    Classifier(channels=4, features=8),
    NoisyClassifier(channels=8),
    UNet(size=8, channels=16, blocks=1, attention_resolutions=(), heads=2),
    VAE(size=8, latent=2, width=8),
]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "points.safetensors"
    checkpoints.save(path, MLP(width=16, layers=1), {"command": "made in a test"})
    return path


@pytest.mark.parametrize("model", NETWORKS, ids=lambda model: type(model).__name__)
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
    checkpoints.save(other, MLP(width=16, layers=1))
    shutil.copy(other, saved)
    with pytest.raises(ValueError, match="not the ones its card describes"):
        checkpoints.load(saved)


def test_a_card_cannot_name_code_to_run(saved: Path):
    card = cards.read_card(saved)
    for network in ["os.system", "Linear", "__import__"]:
        saved.with_suffix(".json").write_text(json.dumps(card | {"network": network}))
        with pytest.raises(ValueError, match="is damaged"):
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
