"""A picture that is there already, changed by a model of noise: restored, and filled in.

Neither needs another network: a walk may begin in the middle, from a noised picture, and at each
step the known part may be put in again.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from .. import checks
from .gaussian import Gaussian, forward
from .sampling import Denoiser, Sampler, Step, StepRule, sample
from .schedule import NoiseSchedule


def restore(
    denoiser: Denoiser,
    x_0: Tensor,
    t: int,
    schedule: NoiseSchedule,
    steps: int | None = None,
    generator: torch.Generator | None = None,
    sampler: Sampler | None = None,
) -> Iterator[Step]:
    """Noise pictures x_0 [B, ...] up to t and walk back from there: SDEdit (arXiv 2108.01073).

    What is coarser than the noise at t stays, what is finer is drawn anew: a small t keeps the
    picture, a large one only its outline. ``steps`` are spread evenly over t..0 (default: all of
    them), the sampler is DDPM's unless another is given. Yields as `sample` does, from t on.
    Raises ValueError for a t outside 1..T and steps outside 1..t.
    """
    checks.batch(x_0=x_0)
    t = checks.whole("t", t, 1, schedule.T)
    times = schedule.times(steps, start=t)
    x_t = forward(x_0, 0, t, schedule).sample(generator)
    yield from sample(denoiser, x_t, schedule, generator=generator, times=times, sampler=sampler)


def keeping(known: Tensor, mask: Tensor, rule: StepRule) -> StepRule:
    """The step rule that keeps the known part of a picture, and draws the rest as ``rule`` does.

    ``mask`` [B, ...] is 1 (or True) where the picture ``known`` [B, ...] is to be kept. There x_s
    is the known picture noised to s, elsewhere what the rule draws (RePaint, arXiv 2201.09865,
    eq. 8, without its walks back and forth, so that a few pictures do not hang together):
    ``sample(denoiser, x_T, schedule, step=keeping(known, mask, ddpm_step))`` fills in what is
    missing. Raises ValueError unless the two are of one shape, and of that of the walk, and the
    mask holds nothing but 0 and 1.
    """
    checks.floats(known=known)
    checks.alike(known=known, mask=mask)
    kept = checks.mask("mask", mask)

    def step(x_t: Tensor, x0_hat: Tensor, t: int, s: int, schedule: NoiseSchedule) -> Gaussian:
        drawn = rule(x_t, x0_hat, t, s, schedule)
        checks.alike(x_t=x_t, known=known)
        alpha, sigma = (level.to(x_t.dtype) for level in schedule.at(s, x_t))
        mean = torch.where(kept, alpha * known.to(x_t.dtype), drawn.mean)
        return Gaussian(mean, torch.where(kept, sigma, drawn.std))

    return step
