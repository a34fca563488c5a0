"""Losses: what a network is trained to make small, one function a loss."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checks
from ..math.gaussian import Gaussian, forward, kl_divergence, own_rows, randn_like
from ..math.schedule import NoiseSchedule, widest_float

Loss = Callable[[nn.Module, Any, torch.Generator], Tensor]
"""(model, batch, generator) -> the number to make small"""


def noise_prediction_loss(
    model: nn.Module,
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
    checks.batch(x_0=x_0)
    checks.share("drop_label", drop_label)
    device = generator.device if generator is not None else x_0.device
    t = random_times(len(x_0), schedule.T, generator).to(x_0.device)
    q = forward(x_0, 0, t, schedule)
    noise = randn_like(x_0, generator)
    x_t = q.mean + q.std * noise
    if label is None:
        return (model(x_t, t) - noise).square().mean()
    checks.rows("label", label, len(x_0))
    draw = partial(torch.rand, generator=generator, device=device)
    drop = own_rows(draw, (len(x_0),), generator).to(x_0.device) < drop_label
    label = label.masked_fill(drop, int(model.classes))  # type: ignore[arg-type]
    return (model(x_t, t, label) - noise).square().mean()


def vae_loss(
    model: nn.Module,
    x: Tensor,
    generator: torch.Generator | None = None,
    label: Tensor | None = None,
) -> Tensor:
    """The negative ELBO of a VAE in nats a picture (Kingma & Welling, arXiv 1312.6114, eq. 7).

    Two terms: how badly the decoder explains the pictures x [B, ...] in -1..1, and how far the
    encoder's q(z | x) is from the standard normal. The pixels' greys are taken for probabilities of
    ink, an old custom for MNIST: with greys it is no true likelihood, but it trains well.
    """
    checks.batch(2, x=x)
    shape = (len(x), int(model.latent))  # type: ignore[arg-type]
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
    checks.amount("n", n)
    checks.whole("T", T, 1)
    device = generator.device if generator is not None else torch.device("cpu")
    dtype = widest_float(device)

    def evenly(shape: Sequence[int]) -> Tensor:
        offset = torch.rand((), generator=generator, device=device, dtype=dtype)
        return (offset + torch.arange(*shape, device=device, dtype=dtype) / shape[0]) % 1

    u = own_rows(evenly, (n,), generator)
    return 1 + (u * T).long().clamp(max=T - 1)
