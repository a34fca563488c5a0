"""Diffusion in a VAE's latent: what it draws, what is saved of it, what it refuses."""

from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor

from diffusion_lessons import (
    SAMPLERS,
    VELOCITY,
    DiffusionModel,
    DrawSettings,
    cli,
    digits,
    final,
    load_pretrained,
    sample,
    straight_schedule,
    to_unit,
)
from diffusion_lessons.math.randomness import RowGenerator
from diffusion_lessons.measuring.drawing import draw, draw_walk
from diffusion_lessons.measuring.evaluation import evaluate
from diffusion_lessons.networks import cards, checkpoints
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.export import export
from diffusion_lessons.networks.latent import LatentDiffusion
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.vae import VAE
from diffusion_lessons.training.loop import TrainOptions
from diffusion_lessons.training.recipes import digits_latent

FLOAT32 = Compute(torch.device("cpu"))
SETTINGS = DrawSettings(4, 0.0)


def latent_model(**config: int) -> DiffusionModel:
    torch.manual_seed(0)
    network = MLP(**{"dim": 16, "width": 16, "layers": 1, "classes": 10} | config)
    return DiffusionModel(network, straight_schedule(), VELOCITY)


@pytest.fixture
def model() -> LatentDiffusion:
    return LatentDiffusion(latent_model(), scale=2.0).eval()


@pytest.fixture
def vae() -> VAE:
    loaded = load_pretrained("digits-vae")
    assert isinstance(loaded, VAE)
    return loaded


def some_digits(count: int) -> tuple[Tensor, Tensor]:
    images, labels = (part[:count] for part in digits(train=False))
    return to_unit(images), labels


def test_latents_are_the_vaes_own_times_the_scale(model: LatentDiffusion, vae: VAE):
    x, label = some_digits(20)
    z = model.encode(x, label, torch.Generator().manual_seed(3))
    mean, std = vae.encode(x, label)
    noise = torch.randn(20, 16, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(z, 2 * (mean + std * noise))
    torch.testing.assert_close(model.decode(z, label), vae.decode(z / 2, label))


def test_a_picture_is_where_the_walk_in_the_latent_ends(model: LatentDiffusion, vae: VAE):
    """And the first one to be seen, of pure noise, is the VAE's own."""
    labels = torch.tensor([3, 1, 4])
    x_T = RowGenerator(5, torch.arange(3)).normal((3, 16)).float()
    inner = model.model
    walk = list(sample(inner.denoiser(labels), x_T, inner.schedule, 4, sampler=SAMPLERS["ddim"]))
    seen = draw_walk(model, labels, SETTINGS, seed=5, compute=FLOAT32)
    assert [step.t for step in seen] == [step.t for step in walk]
    for step, wanted in zip(seen, walk, strict=True):
        torch.testing.assert_close(step.x, vae.decode(wanted.x / 2, labels))
        torch.testing.assert_close(step.x0_hat, vae.decode(wanted.x0_hat / 2, labels))
    torch.testing.assert_close(seen[0].x, vae.decode(x_T / 2, labels))
    drawn = draw(model, labels, SETTINGS, seed=5, compute=FLOAT32)
    torch.testing.assert_close(drawn, final(seen).x)
    assert drawn.shape == (3, 1, 28, 28)


def test_it_decodes_once_and_calls_the_network_at_each_step(model: LatentDiffusion):
    generator = RowGenerator(0, torch.arange(2))
    settings, labels = model.settled(SETTINGS), torch.tensor([0, 9])
    with mock.patch.object(VAE, "decode", autospec=True, side_effect=VAE.decode) as decode:
        drawn = model.draw(2, labels, generator, settings, FLOAT32)
    assert (decode.call_count, drawn.calls) == (1, 4)


def test_numbers_stay_in_float32_where_pictures_would_not(model: LatentDiffusion):
    half, labels = Compute(torch.device("cpu"), torch.bfloat16), torch.arange(4)
    torch.testing.assert_close(
        draw(model, labels, SETTINGS, compute=half), draw(model, labels, SETTINGS, compute=FLOAT32)
    )


def test_the_vae_is_no_part_of_what_is_trained_or_saved(model: LatentDiffusion, tmp_path: Path):
    names = {id(weight) for weight in model.model.parameters()}
    assert {id(weight) for weight in model.parameters()} == names
    assert not any(weight.requires_grad for weight in model.autoencoder.parameters())
    path = tmp_path / "latent.safetensors"
    checkpoints.save(path, model)
    assert path.stat().st_size < 20_000
    again = checkpoints.load(path)
    assert isinstance(again, LatentDiffusion)
    assert again.about == model.about
    labels = torch.arange(3)
    torch.testing.assert_close(
        draw(again, labels, SETTINGS, compute=FLOAT32),
        draw(model, labels, SETTINGS, compute=FLOAT32),
        atol=0.02,  # files hold half precision
        rtol=0,
    )


def test_the_latent_of_another_vae_is_refused(model: LatentDiffusion, tmp_path: Path):
    path = tmp_path / "latent.safetensors"
    checkpoints.save(path, model)
    card = cards.read_card(path)
    shipped = cards.read_card(cards.pretrained_path("digits-vae"))["sha256"]
    assert card["config"]["autoencoder"] == {"name": "digits-vae", "sha256": shipped}
    card["config"]["autoencoder"]["sha256"] = "0" * 64
    cards.write_card(path, card)
    with pytest.raises(ValueError, match=r"in the latent of another digits-vae: .* 00000000\.\.\."):
        checkpoints.load(path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"dim": 2}, r"the latent of digits-vae has shape \(16,\) in 10 classes"),
        ({"classes": 0}, r"and the model draws \(16,\) in 0"),
    ],
)
def test_a_model_of_another_latent_is_refused(config: dict[str, int], message: str):
    with pytest.raises(ValueError, match=message):
        LatentDiffusion(latent_model(**config))


def test_what_is_no_vae_and_what_is_no_scale_are_refused():
    with pytest.raises(ValueError, match="of which the latent is, must be one of VAE"):
        LatentDiffusion(latent_model(), "digits-ddpm")
    with pytest.raises(ValueError, match="no pretrained network 'digits-vea'"):
        LatentDiffusion(latent_model(), "digits-vea")
    with pytest.raises(ValueError, match="scale must be above 0"):
        LatentDiffusion(latent_model(), scale=0.0)


def test_a_classifier_of_pictures_cannot_push_a_latent(model: LatentDiffusion):
    for guidance in ("classifier", "label+classifier"):
        settings = DrawSettings(4, guidance=guidance, scale=2.0)
        with pytest.raises(ValueError, match="a classifier of noisy pictures, and a latent is"):
            draw(model, torch.arange(3), settings)
    free = DrawSettings(4, guidance="classifier-free", scale=2.0)
    pictures = [draw(model, torch.arange(3), each, compute=FLOAT32) for each in (SETTINGS, free)]
    assert (pictures[0] - pictures[1]).abs().mean() > 1e-3


def test_it_is_not_exported_as_one_graph(model: LatentDiffusion, tmp_path: Path):
    pytest.importorskip("onnxscript")
    with pytest.raises(TypeError, match=r"is two networks, .* export its VAE, digits-vae"):
        export(model, tmp_path / "latent.onnx")
    assert not list(tmp_path.iterdir())


def model_after(steps: int) -> LatentDiffusion:
    options = TrainOptions(steps=steps, compute=FLOAT32)
    model = final(digits_latent(options, batch_size=64)).model
    assert isinstance(model, LatentDiffusion)
    return model


@pytest.mark.slow
def test_the_recipe_learns_in_the_latent_alone(vae: VAE):
    z, label = LatentDiffusion(latent_model()).encode(*some_digits(1000)), some_digits(1000)[1]

    def loss(steps: int) -> float:
        g = torch.Generator().manual_seed(1)
        return float(model_after(steps).model.loss(z, g, label))

    assert loss(300) < 0.9 * loss(1)
    model = model_after(1)
    for before, after in zip(vae.parameters(), model.autoencoder.parameters(), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=0)


@pytest.mark.slow
def test_an_open_run_goes_on_and_can_be_averaged(tmp_path: Path):
    for steps in ("2", "4"):
        assert cli.main(["train", "digits-latent", "--steps", steps, "--out", str(tmp_path)]) == 0
    path = tmp_path / "digits-latent.safetensors"
    assert [part["from"] for part in cards.read_card(path)["history"]] == [0, 2]
    words = [
        str(path),
        str(path.with_suffix(".training")),
        "--out",
        str(tmp_path / "m.safetensors"),
    ]
    assert cli.main(["average", *words]) == 0
    assert isinstance(checkpoints.load(tmp_path / "m.safetensors"), LatentDiffusion)


# ------------------------------------------------------------------ the network that ships


def test_the_shipped_scale_makes_the_latents_of_digits_unit_normal_in_variance():
    model = load_pretrained("digits-latent")
    assert isinstance(model, LatentDiffusion)
    z = model.encode(*some_digits(5000), torch.Generator().manual_seed(0))
    assert float(z.var(0).mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.slow
def test_the_shipped_one_draws_better_than_the_vae_in_whose_latent_it_walks(vae: VAE):
    """And not better than the VAE can show: real digits that went through it."""
    model = load_pretrained("digits-latent")
    assert isinstance(model, LatentDiffusion)
    found = evaluate(model, count=1000, progress=False, compute=FLOAT32)
    alone = evaluate(vae, count=1000, progress=False, compute=FLOAT32)
    assert found["frechet_distance"] < 0.6 * alone["frechet_distance"]
    assert found["precision"] > alone["precision"]
    assert found["frechet_distance"] > found["floor"]["frechet_distance"]
