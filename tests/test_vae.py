"""The VAE against torch.distributions, and its truncated latent."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from diffusion_lessons import DrawSettings, digits, to_unit
from diffusion_lessons.math.losses import vae_loss
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.measuring.evaluation import evaluate
from diffusion_lessons.networks.vae import VAE


@pytest.fixture
def model() -> VAE:
    torch.manual_seed(0)
    return VAE(size=8, latent=3, width=16, classes=4)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    x = 2 * torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1)) - 1
    return x, torch.arange(5) % 4


def test_the_loss_is_the_negative_elbo(model: VAE, batch):
    x, label = batch
    generator = torch.Generator().manual_seed(2)
    loss = vae_loss(model, x, generator, label)
    mean, std = model.encode(x, label)
    noise = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    p = model.logits(mean + std * noise, label).sigmoid().double()
    ink = (x.double() + 1) / 2
    explained = (ink * p.log() + (1 - ink) * (1 - p).log()).flatten(1).sum(1)
    q = Independent(Normal(mean, std), 1)
    prior = Independent(Normal(torch.zeros(5, 3), torch.ones(5, 3)), 1)
    wanted = -(explained - kl_divergence(q, prior)).mean()
    torch.testing.assert_close(loss.double(), wanted.double(), rtol=1e-5, atol=1e-5)


def test_the_bound_holds_for_a_world_of_one_number():
    """With a latent that the decoder ignores, the best bound is the exact likelihood."""
    model = VAE(size=1, latent=1, width=4, classes=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()  # q is the prior, every pixel an even chance
    x = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    assert vae_loss(model, x).item() == pytest.approx(math.log(2))
    with torch.no_grad():
        model.encoder[-1].bias[0] = 2.0  # mean 2: the KL is 2 nats more than needed
    assert vae_loss(model, x).item() == pytest.approx(math.log(2) + 2)


def test_shapes_ranges_and_labels(model: VAE, batch):
    x, label = batch
    mean, std = model.encode(x, label)
    assert mean.shape == std.shape == (5, 3)
    assert (std > 0).all()
    picture = model.decode(mean, label)
    assert picture.shape == x.shape
    assert picture.abs().max() < 1
    other = model.decode(mean, (label + 1) % 4)
    assert not torch.allclose(picture, other)  # the class is heard
    torch.testing.assert_close(picture[:2], model.decode(mean[:2], label[:2]))


def test_gradients_reach_every_weight(model: VAE, batch):
    vae_loss(model, *batch[:1], None, batch[1]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_what_does_not_fit_is_refused(model: VAE, batch):
    x, label = batch
    with pytest.raises(ValueError, match=r"x must be \[B, 1, 8, 8\]"):
        model.encode(x[:, :, :4], label)
    with pytest.raises(ValueError, match=r"z must be \[B, 3\], got \[5, 2\]"):
        model.decode(torch.randn(5, 2), label)
    with pytest.raises(ValueError, match=r"give a label"):
        model.decode(torch.randn(5, 3))


def test_a_short_training_explains_digits_better():
    images, labels = digits()
    x, label = to_unit(images[:512]), labels[:512]
    torch.manual_seed(0)
    model = VAE(width=64, latent=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(60):
        loss = vae_loss(model, x, generator, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert losses[-1] > 50  # nats: greys cannot be explained for nothing


def test_truncation_narrows_what_is_drawn(model: VAE):
    labels = torch.arange(60) % 4
    truncated = DrawSettings(guidance="truncation", scale=0.1)
    wide, narrow = draw(model, labels), draw(model, labels, truncated)
    assert wide.shape == (60, 1, 8, 8)
    spread = [x.view(15, 4, -1).std(0).mean() for x in (wide, narrow)]
    assert spread[1] < 0.3 * spread[0]
    torch.testing.assert_close(draw(model, labels), wide)  # the seed decides
    assert not torch.allclose(draw(model, labels, seed=1), wide)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 2}, "draws in 1 step with eta 0, got 2 steps"),
        ({"eta": 1.0}, "draws in 1 step with eta 0, got 1 steps and eta 1"),
        ({"spacing": "quadratic"}, "a VAE has no choice of spacing"),
        ({"sampler": "heun"}, "sampler of a VAE, which has no walk, must be one of ddim"),
        ({"guidance": "classifier"}, "guidance of a VAE must be one of none, truncation"),
        (
            {"guidance": "truncation", "scale": 0.0},
            "the threshold of truncation, must be above 0",
        ),
    ],
)
def test_a_vae_is_measured_as_what_it_is(change, message: str):
    with pytest.raises(ValueError, match=message):
        evaluate(VAE(), DrawSettings(**change), 20, progress=False)
