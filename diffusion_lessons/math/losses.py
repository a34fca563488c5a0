"""Losses: what a network is trained to make small, one function a loss."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import checks
from .gaussian import Gaussian, forward, kl_divergence
from .prediction import NOISE, Prediction
from .randomness import rand, randn_like, spread
from .sampling import ddim_step
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
    noise: Tensor | None = None,
) -> Tensor:
    """The same for a network that predicts something else: mean squared error of the prediction.

    In x_0 the error at each time then weighs `Prediction.loss_weight`: the signal-to-noise ratio
    for noise, 1 for x_0, and for v one more than the ratio (arXiv 2202.00512, section 4). With a
    ``weight`` it counts as many times more: ``lambda snr: snr.clamp(max=5)`` for x_0 is Min-SNR-5
    (arXiv 2303.09556, section 3.4). ``noise`` [B, ...] is that of each picture, if it is given;
    otherwise each gets new noise.
    """
    checks.examples(x_0=x_0)
    t = random_times(len(x_0), schedule.T, generator).to(x_0.device)
    q = forward(x_0, 0, t, schedule)
    noise = randn_like(x_0, generator) if noise is None else noise
    checks.alike(x_0=x_0, noise=noise)
    x_t = q.mean + q.std * noise
    target = prediction.target(x_0, noise, t, schedule)
    given = _given(model, label, x_0, generator, drop_label)
    error = (model(x_t, t, *given) - target).square()
    if weight is not None:
        alpha, sigma = schedule.at(t, x_0)
        error = error * weight((alpha / sigma) ** 2).to(error.dtype)
    return error.mean()


def consistency_loss(
    model: Any,
    teacher: Any,
    x_0: Tensor,
    times: Sequence[int],
    generator: torch.Generator | None = None,
    label: Tensor | None = None,
    drop_label: float = 0.1,
) -> Tensor:
    """Consistency distillation (Song et al., arXiv 2303.01469, Algorithm 2): one walk, one picture.

    ``times`` fall to 0. A picture x_0 [B, ...] is noised to one of them, t, and the teacher, a
    `DiffusionModel`, makes DDIM's step from there to the next, s. What the model, another one under
    the same schedule, guesses at t shall be what it guesses at s, where it is not taught; at s = 0
    that is the point itself. So its guess at any time becomes the end of the teacher's walk. The
    model's own guess stands for the paper's average of it (as in arXiv 2310.14189, section 3.2).
    The error is the squared one of what the model predicts: for v that of x_0 over sigma^2, so that
    what is handed up is right first where the walk ends.
    """
    checks.examples(x_0=x_0)
    schedule = model.schedule
    grid = torch.tensor(checks.walk(None, list(times), schedule.T)[::-1])
    grid = grid.to(x_0.device, non_blocking=x_0.is_cuda)  # so nobody waits until the GPU has it
    n = random_times(len(x_0), len(grid) - 1, generator).to(x_0.device)
    t, s = grid[n], grid[n - 1]
    x_t = forward(x_0, 0, t, schedule).sample(generator)
    given = _given(model, label, x_0, generator, drop_label)

    def guess(network: Any, x: Tensor, t: Tensor) -> Tensor:
        x0_hat = network.prediction.x0_hat(network(x, t, *given), x, t, schedule)
        return x0_hat if network.limit is None else x0_hat.clamp(-network.limit, network.limit)

    with torch.no_grad():
        x_s = ddim_step(x_t, guess(teacher, x_t, t), t, s, schedule).mean
        at_end = (s == 0).view(-1, *[1] * (x_0.ndim - 1))
        end = torch.where(at_end, x_s, guess(model, x_s, s.clamp(min=1)))
        target = model.prediction.from_x0(end, x_t, t, schedule)
    return (model(x_t, t, *given) - target).square().mean()


def _given(
    model: Any,
    label: Tensor | None,
    x_0: Tensor,
    generator: torch.Generator | None,
    drop_label: float,
) -> tuple[Tensor, ...]:
    """What a network is given beside x_t and t: labels, some of them the null label, or nothing.

    ValueError for a share ``drop_label`` outside of 0..1, and labels that are not [B].
    """
    drop_label = checks.share("drop_label", drop_label)
    if label is None:
        return ()
    label = checks.rows("label", label, x_0)
    drop = rand((len(x_0),), generator, x_0.device) < drop_label
    return (label.masked_fill(drop, int(model.classes)),)


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
