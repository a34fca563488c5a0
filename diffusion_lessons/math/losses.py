"""Losses: what a network is trained to make small, one function a loss."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import checks
from .gaussian import Gaussian, forward, kl_divergence
from .prediction import NOISE, Prediction
from .randomness import rand, randn_like, spread
from .schedule import NoiseSchedule

Weight = Callable[[Tensor], Tensor]
"""Signal-to-noise ratio (alpha / sigma)^2 -> how much a squared error at that ratio counts."""


def noise_prediction_loss(
    model: Any,
    x_0: Tensor,
    schedule: NoiseSchedule,
    generator: torch.Generator | None = None,
    label: Tensor | None = None,
    drop_label: float = 0.1,
) -> Tensor:
    """L_simple (DDPM eq. 14): mean squared error of the predicted noise at random times 1..T.

    With labels [B] the model is called ``model(x_t, t, label)``, and a share ``drop_label`` of them
    is replaced by the null label ``model.classes``, so that the network also learns "any class".
    """
    return prediction_loss(model, x_0, schedule, NOISE, generator, label, drop_label)


def prediction_loss(
    model: Any,
    x_0: Tensor,
    schedule: NoiseSchedule,
    prediction: Prediction,
    generator: torch.Generator | None = None,
    label: Tensor | None = None,
    drop_label: float = 0.1,
    weight: Weight | None = None,
) -> Tensor:
    """The same for a network that predicts something else: mean squared error of the prediction.

    In x_0 the error at each time then weighs `Prediction.loss_weight`: the signal-to-noise ratio
    for noise, 1 for x_0, and for v one more than the ratio (arXiv 2202.00512, section 4). With a
    ``weight`` it counts as many times more: ``lambda snr: snr.clamp(max=5)`` for x_0 is Min-SNR-5
    (arXiv 2303.09556, section 3.4).
    """
    checks.examples(x_0=x_0)
    drop_label = checks.share("drop_label", drop_label)
    t = random_times(len(x_0), schedule.T, generator).to(x_0.device)
    q = forward(x_0, 0, t, schedule)
    noise = randn_like(x_0, generator)
    x_t = q.mean + q.std * noise
    target = prediction.target(x_0, noise, t, schedule)
    if label is None:
        answer = model(x_t, t)
    else:
        label = checks.rows("label", label, x_0)
        drop = rand((len(x_0),), generator, x_0.device) < drop_label
        answer = model(x_t, t, label.masked_fill(drop, int(model.classes)))
    error = (answer - target).square()
    if weight is not None:
        alpha, sigma = schedule.at(t, x_0)
        error = error * weight((alpha / sigma) ** 2).to(error.dtype)
    return error.mean()


def vae_loss(
    model: Any,
    x: Tensor,
    generator: torch.Generator | None = None,
    label: Tensor | None = None,
) -> Tensor:
    """The negative ELBO of a VAE in nats a picture (Kingma & Welling, arXiv 1312.6114, eq. 7).

    Two terms: how badly the decoder explains the pictures x [B, ...] in -1..1, and how far the
    encoder's q(z | x) is from the standard normal. The pixels' greys are taken for probabilities of
    ink, an old custom for MNIST: with greys it is no true likelihood, but it trains well. Raises
    ValueError for pictures of another range.
    """
    checks.examples(2, x=x)
    checks.in_unit("x", x)
    shape = (len(x), int(model.latent))
    noise = randn_like(x.new_empty(shape), generator)
    mean, std, logits = model(x, noise, label)
    ink = (x + 1) / 2
    explained = F.binary_cross_entropy_with_logits(logits.float(), ink, reduction="none")
    mean, std = mean.float(), std.float()
    normal = Gaussian(torch.zeros_like(mean), torch.ones_like(std))
    far = kl_divergence(Gaussian(mean, std), normal)  # [B]
    return (explained.flatten(1).sum(1) + far).mean()


def random_times(n: int, T: int, generator: torch.Generator | None = None) -> Tensor:
    """n times in 1..T, each uniform, int64 [n]: one random offset, then evenly spaced.

    Every batch then meets all noise levels, and its loss varies less than with n independent draws
    (Kingma et al., arXiv 2107.00630, appendix I.1).
    """
    (n,) = checks.amount("n", n)
    T = checks.whole("T", T, 1)
    device = generator.device if generator is not None else torch.device("cpu")
    return 1 + (spread(n, generator, device) * T).long().clamp(max=T - 1)
