"""From noise to data: the reverse steps, and the one loop that runs them all.

A denoiser is any callable ``(x_t, t) -> x0_hat``, its best guess of the clean picture. A network
that predicts noise, a guided one, a clipped one and a GAN's generator all become denoisers, so one
`sample` serves them all.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .gaussian import (
    Gaussian,
    check_order,
    discretized_log_likelihood,
    forward,
    kl_divergence,
    noise_to_x0,
    posterior,
    posterior_variance,
)
from .schedule import NoiseSchedule

Denoiser = Callable[[Tensor, int], Tensor]
"""(x_t [B, ...], t) -> x0_hat [B, ...]"""

NoiseModel = Callable[[Tensor, Tensor], Tensor]
"""(x_t [B, ...], t [B]) -> noise [B, ...]"""

Variance = Callable[[Tensor, Tensor], Tensor]
"""(alpha_bar at t, alpha_bar at s) -> variance of the step from t to s"""


class Step(NamedTuple):
    """Where a sampler is: ``x`` at time ``t``, and the clean picture it expects from there."""

    t: int
    x: Tensor
    x0_hat: Tensor


def thin(steps: Sequence[Step], count: int) -> list[Step]:
    """At most ``count`` of the steps, evenly spread, the first and the last among them.

    Raises ValueError if count is below 2.
    """
    if count < 2:
        raise ValueError(f"count must be at least 2, got {count}")
    if len(steps) <= count:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count)]


StepRule = Callable[[Tensor, Tensor, int, int, NoiseSchedule], Gaussian]
"""(x_t, x0_hat, t, s, schedule) -> distribution of x_s"""


def from_noise_model(
    model: NoiseModel, schedule: NoiseSchedule, clip: float | None = None
) -> Denoiser:
    """A noise-predicting network as a denoiser (DDPM eq. 4 solved for x_0).

    ``clip`` limits x0_hat to -clip..clip. DDPM's released code does so with 1 for pictures, its
    paper does not say it; at high noise a small error in the noise is a huge one in x0_hat.
    Raises ValueError if clip is not above 0.
    """
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be above 0, got {clip}")

    def denoiser(x_t: Tensor, t: int) -> Tensor:
        time = torch.full((len(x_t),), t, device=x_t.device)
        x0_hat = noise_to_x0(x_t, model(x_t, time), t, schedule)
        return x0_hat if clip is None else x0_hat.clamp(-clip, clip)

    return denoiser


def ddpm_step(
    x_t: Tensor,
    x0_hat: Tensor,
    t: int,
    s: int,
    schedule: NoiseSchedule,
    variance: Variance = posterior_variance,
) -> Gaussian:
    """p(x_s | x_t): the posterior of DDPM eq. 7 with the guess x0_hat in the place of x_0.

    ``variance`` is `posterior_variance` (the paper's beta_tilde) or `forward_variance` (its beta).
    """
    a_s, a_t = schedule.at(s, x_t), schedule.at(t, x_t)
    std = variance(a_t, a_s).sqrt().to(x_t.dtype)
    return Gaussian(posterior(x_t, x0_hat, t, s, schedule).mean, std)


def ddim_step(
    x_t: Tensor, x0_hat: Tensor, t: int, s: int, schedule: NoiseSchedule, eta: float = 0.0
) -> Gaussian:
    """DDIM (arXiv 2010.02502) eq. 12: predicted x_0, direction pointing to x_t, random noise.

    ``eta`` = 0 draws no noise, 1 is `ddpm_step`, for any stride. Raises ValueError for an eta
    outside 0..1.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie in 0..1, got {eta}")
    a_s, a_t = schedule.at(s, x_t), schedule.at(t, x_t)
    check_order(a_s, a_t)
    sigma = eta * posterior_variance(a_t, a_s).sqrt()
    # The noise seen in x_t is (x_t - sqrt(a_t) x0_hat) / sqrt(1 - a_t); `direction` of it stays.
    direction = ((1 - a_s - sigma**2).clamp(min=0) / (1 - a_t)).sqrt()
    weight_0 = a_s.sqrt() - direction * a_t.sqrt()
    dtype = x_t.dtype
    mean = weight_0.to(dtype) * x0_hat + direction.to(dtype) * x_t
    return Gaussian(mean, sigma.to(dtype))


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    x_T: Tensor,
    schedule: NoiseSchedule,
    steps: int | None = None,
    step: StepRule = ddpm_step,
    generator: torch.Generator | None = None,
    times: list[int] | None = None,
) -> Iterator[Step]:
    """Walk from x_T [B, ...] to a picture, one denoiser call a step.

    Yields ``Step(t, x_t, x0_hat)`` at each time visited, T first, at last ``Step(0, x_0, x_0)``:
    ``*_, last = sample(...)`` keeps the picture, ``last.x``. ``steps`` are spread evenly over
    T..0 (default: all T); ``times`` gives the times themselves instead, falling, ending at 0.
    Options of a step rule go in with functools.partial: ``step=partial(ddim_step, eta=0.5)``.
    Raises ValueError for impossible steps or times, before the first step.
    """
    if times is None:
        times = schedule.times(steps)
    elif steps is not None:
        raise ValueError("give steps or times, not both")
    elif (
        len(times) < 2
        or times[0] > schedule.T
        or times[-1] != 0
        or any(t <= s for t, s in pairwise(times))
    ):
        raise ValueError(f"times must fall strictly from at most {schedule.T} to 0, got {times}")
    x = x_T
    for t, s in pairwise(times):
        x0_hat = denoiser(x, t)
        yield Step(t, x, x0_hat)
        x = step(x, x0_hat, t, s, schedule).sample(generator)
    yield Step(0, x, x)


@torch.no_grad()
def elbo_terms(
    denoiser: Denoiser,
    x_0: Tensor,
    schedule: NoiseSchedule,
    generator: torch.Generator | None = None,
    levels: int = 256,
) -> Tensor:
    """L_0 .. L_T of the variational bound (DDPM eq. 5) for 8-bit pictures, nats [T+1, B].

    Their sum bounds -log p(x_0) from above. ``x_0`` [B, ...] holds ``levels`` values in -1..1. The
    step's variance is the posterior's; the last step, L_0, is the discretised Gaussian of eq. 13
    with variance beta_1. One noised copy of each picture at each time: T denoiser calls.
    """
    x_0 = x_0.double()

    def guess(t: int) -> tuple[Tensor, Tensor]:
        x_t = forward(x_0, 0, t, schedule).sample(generator)
        return x_t, denoiser(x_t.float(), t).double()

    _, x0_hat = guess(1)
    decoder = Gaussian(x0_hat, forward(x_0, 0, 1, schedule).std)
    terms = [-discretized_log_likelihood(x_0, decoder, levels)]
    for t in range(2, schedule.T + 1):
        x_t, x0_hat = guess(t)
        true = posterior(x_t, x_0, t, t - 1, schedule)
        terms.append(kl_divergence(true, ddpm_step(x_t, x0_hat, t, t - 1, schedule)))
    prior = Gaussian(torch.zeros_like(x_0), torch.ones((), dtype=x_0.dtype))
    terms.append(kl_divergence(forward(x_0, 0, schedule.T, schedule), prior))
    return torch.stack(terms)
