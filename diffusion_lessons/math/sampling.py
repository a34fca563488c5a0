"""From noise to data: the reverse steps, and the one loop that runs them all.

A denoiser is any callable ``(x_t, t) -> x0_hat``, its best guess of the clean picture. A network
that predicts noise, a guided one, a clipped one and a GAN's generator all become denoisers, so one
`sample` serves them all.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from .. import checks
from .gaussian import (
    Gaussian,
    discretized_log_likelihood,
    forward,
    kl_divergence,
    noise_to_x0,
    posterior,
    posterior_std,
    x0_to_noise,
)
from .schedule import NoiseSchedule, Time, wide

Kind = TypeVar("Kind")

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
    calls: int = 0  # of the denoiser, in this walk so far


def thin(steps: Sequence[Kind], count: int) -> list[Kind]:
    """At most ``count`` of the steps, evenly spread, the first and the last among them.

    Raises ValueError if count is below 2.
    """
    count = checks.whole("count", count, 2)
    if len(steps) <= count:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count)]


def final(steps: Iterable[Kind]) -> Kind:
    """The last step of a walk or a training; the others are forgotten as they come.

    (``*_, last = steps`` would keep them all until the last one is there.) Raises ValueError if
    there is none.
    """
    last = deque(steps, maxlen=1)
    if not last:
        raise ValueError("there is no last step: this walk or training has come to its end before")
    return last[0]


StepRule = Callable[[Tensor, Tensor, int, int, NoiseSchedule], Gaussian]
"""(x_t, x0_hat, t, s, schedule) -> distribution of x_s"""

Sampler = Callable[
    [Denoiser, Tensor, NoiseSchedule, Sequence[int], torch.Generator | None], Iterator[Step]
]
"""(denoiser, x_T, schedule, times, generator) -> the walk: a `Step` at each of the times"""


def from_noise_model(
    model: NoiseModel, schedule: NoiseSchedule, clip: float | None = None
) -> Denoiser:
    """A noise-predicting network as a denoiser (DDPM eq. 4 solved for x_0).

    ``clip`` limits x0_hat to -clip..clip. DDPM's released code does so with 1 for pictures, its
    paper does not say it; at high noise a small error in the noise is a huge one in x0_hat.
    Raises ValueError if clip is not above 0.
    """
    if clip is not None:
        clip = checks.positive("clip", clip)

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
    variance: Variance | None = None,
) -> Gaussian:
    """p(x_s | x_t): the posterior of DDPM eq. 7 with the guess x0_hat in place of x_0.

    ``variance`` is the posterior's own (`posterior_variance`, the paper's beta_tilde) unless
    `forward_variance` (its beta) is given.
    """
    checks.floats(x_t=x_t, x0_hat=x0_hat)
    q = posterior(x_t, x0_hat, t, s, schedule)
    if variance is None:
        return q
    std = variance(schedule.alpha_bar[t], schedule.alpha_bar[s]).sqrt()
    return Gaussian(q.mean, std.to(x_t.dtype))


def ddim_step(
    x_t: Tensor, x0_hat: Tensor, t: Time, s: Time, schedule: NoiseSchedule, eta: float = 0.0
) -> Gaussian:
    """DDIM (arXiv 2010.02502) eq. 12: predicted x_0, direction pointing to x_t, random noise.

    ``eta`` = 0 draws no noise, 1 is `ddpm_step`, for any stride. Raises ValueError for an eta
    outside 0..1.
    """
    checks.floats(x_t=x_t, x0_hat=x0_hat)
    eta = checks.share("eta", eta)
    at_s, at_t = schedule.at(s, x_t), schedule.at(t, x_t)
    checks.order(s, t)
    drawn = eta * posterior_std(at_s, at_t)
    # The noise seen in x_t is (x_t - alpha_t x0_hat) / sigma_t; `direction` of it stays.
    direction = (at_s.sigma**2 - drawn**2).clamp(min=0).sqrt() / at_t.sigma
    weight_0 = at_s.alpha - direction * at_t.alpha
    dtype = x_t.dtype
    mean = weight_0.to(dtype) * x0_hat + direction.to(dtype) * x_t
    return Gaussian(mean, drawn.to(dtype))


def consistency_step(
    x_t: Tensor, x0_hat: Tensor, t: Time, s: Time, schedule: NoiseSchedule
) -> Gaussian:
    """The guess of x_0, noised anew to s (Song et al., arXiv 2303.01469, Algorithm 1).

    For a network whose guess at any time is a finished picture, as `consistency_loss` teaches; of
    x_t itself nothing is kept. At s = 0 it is the guess.
    """
    checks.floats(x_t=x_t, x0_hat=x0_hat)
    at_s, _ = schedule.at(s, x_t), schedule.at(t, x_t)
    checks.order(s, t)
    dtype = x_t.dtype
    return Gaussian(at_s.alpha.to(dtype) * x0_hat, at_s.sigma.to(dtype))


def stepwise(rule: StepRule) -> Sampler:
    """The sampler that asks the denoiser once a step and then draws from what the rule says.

    Options of a rule go in with functools.partial: ``stepwise(partial(ddim_step, eta=0.5))``.
    """

    @torch.no_grad()
    def walk(
        denoiser: Denoiser,
        x_T: Tensor,
        schedule: NoiseSchedule,
        times: Sequence[int],
        generator: torch.Generator | None = None,
    ) -> Iterator[Step]:
        x, calls = x_T, 0
        for t, s in pairwise(times):
            x0_hat, calls = denoiser(x, t), calls + 1
            yield Step(t, x, x0_hat, calls)
            x = rule(x, x0_hat, t, s, schedule).sample(generator)
        yield Step(0, x, x, calls)

    return walk


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    x_T: Tensor,
    schedule: NoiseSchedule,
    steps: int | None = None,
    step: StepRule = ddpm_step,
    generator: torch.Generator | None = None,
    times: list[int] | None = None,
    sampler: Sampler | None = None,
) -> Iterator[Step]:
    """Walk from x_T [B, ...] to a picture, one denoiser call a step.

    Yields ``Step(t, x_t, x0_hat)`` at each time visited, T first, at last ``Step(0, x_0, x_0)``:
    ``final(sample(...)).x`` keeps the picture alone. ``steps`` are spread evenly over
    T..0 (default: all T); ``times`` gives the times themselves instead, falling, ending at 0.
    Options of a step rule go in with functools.partial: ``step=partial(ddim_step, eta=0.5)``.
    ``sampler`` is for those that are no rule for one step, such as `heun`; it is then the sampler
    that decides how often the denoiser is called. Raises ValueError for impossible steps or times,
    before the first step.
    """
    checks.batch(x_T=x_T)
    visited = _visited(schedule, steps, times)
    checks.one_rule(step, sampler, ddpm_step)
    checks.ends_in_noise(schedule, 3)
    walk = sampler or stepwise(step)
    yield from walk(denoiser, x_T, schedule, visited, generator)


@torch.no_grad()
def ddim_invert(
    denoiser: Denoiser,
    x_0: Tensor,
    schedule: NoiseSchedule,
    steps: int | None = None,
    generator: torch.Generator | None = None,
    times: list[int] | None = None,
) -> Iterator[Step]:
    """Walk pictures x_0 [B, ...] up to the noise from which DDIM with eta = 0 makes them.

    Yields ``Step(t, x_t, x0_hat)`` at the times 0, 1 and then those of `sample` in reverse:
    ``final(ddim_invert(...)).x`` keeps the code alone. ``steps``, ``times`` (falling) and
    errors are those of `sample`. The denoiser is called once at each time but 0 and the last,
    whose x0_hat is the one of the time before.

    From 0 to 1 the step is `forward`'s own draw, noise of standard deviation sqrt(beta_1), far too
    little to see: the walk down makes flat paper out of any noise, so none can be read off a
    perfectly flat x_0, and the code would be too quiet. From 1 on nothing is random: a step from
    s up to t is DDIM's eq. 12 with the two exchanged (its appendix D.1 encodes so). It uses the
    noise that the denoiser sees at s, where the way down uses the one at t; this is Euler's method
    for one differential equation, walked in either direction, and its error falls with the steps.
    """
    checks.batch(x_0=x_0)
    upward = [1, *(t for t in reversed(_visited(schedule, steps, times)) if t > 1)]
    yield Step(0, x_0, x_0)
    calls = 0
    x, x0_hat = forward(x_0, 0, 1, schedule).sample(generator), x_0
    for s, t in pairwise(upward):
        x0_hat, calls = denoiser(x, s), calls + 1
        yield Step(s, x, x0_hat, calls)
        noise = x0_to_noise(x, x0_hat, s, schedule)
        alpha_t, sigma_t = schedule.at(t, x)
        x = alpha_t.to(x.dtype) * x0_hat + sigma_t.to(x.dtype) * noise
    yield Step(upward[-1], x, x0_hat, calls)


def slerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Spherical interpolation between noises a and b [B, ...]: a at share 0, b at share 1.

    Each example is one vector; the way between two goes along the great circle, so that its length
    stays that of noise (DDIM appendix D.5; Shoemake 1985). ``share`` is a number or a tensor that
    broadcasts, 0..1. Vectors that point the same way are mixed in a straight line. Raises
    ValueError for shapes that differ, and for vectors that point opposite ways: no great circle is
    shorter than the others there.
    """
    checks.batch(2, a=a, b=b)
    dtype, a, b = a.dtype, wide(a), wide(b)
    share = checks.shares("share", share, a)
    lengths = a.flatten(1).norm(dim=1) * b.flatten(1).norm(dim=1)
    cosine = (a * b).flatten(1).sum(1) / lengths
    checks.directions(lengths, cosine)
    angle = cosine.clamp(max=1).acos().view(-1, *[1] * (a.ndim - 1))
    near = angle < 1e-4
    safe = torch.where(near, torch.ones_like(angle), angle)
    weight_a = torch.where(near, 1 - share, ((1 - share) * safe).sin() / safe.sin())
    weight_b = torch.where(near, share, (share * safe).sin() / safe.sin())
    return (weight_a * a + weight_b * b).to(dtype)


def _visited(schedule: NoiseSchedule, steps: int | None, times: list[int] | None) -> list[int]:
    """The times of a walk from noise to data, checked."""
    if times is None:
        return schedule.times(steps)
    return checks.walk(steps, times, schedule.T)


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
    checks.batch(2, x_0=x_0)
    checks.in_unit("x_0", x_0)
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
    prior = Gaussian(torch.zeros_like(x_0), torch.tensor(schedule.start_std, dtype=x_0.dtype))
    terms.append(kl_divergence(forward(x_0, 0, schedule.T, schedule), prior))
    return torch.stack(terms)
