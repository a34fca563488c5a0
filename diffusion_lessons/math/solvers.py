"""Samplers that are no rule for one step: solvers of the probability-flow differential equation.

Without fresh noise a walk follows one equation (Song et al., arXiv 2011.13456, eq. 13). DDIM with
eta = 0 is Euler's method for it, of first order: half the steps, twice the error. `heun` and
`dpm_solver_2m` are of second order: half the steps, four times the error.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .gaussian import Gaussian, x0_to_noise
from .sampling import Denoiser, Sampler, Step, consistency_step, ddim_step, ddpm_step, stepwise
from .schedule import NoiseSchedule

FAR = 200
"""sigma / alpha from which `heun` does not correct its step: there the correction is a small
difference of slopes times a number without bound. (EDM's walks start at 80, DDPM's at 157; the
cosine schedule ends at 20,000, the straight one at infinity.)"""


@torch.no_grad()
def heun(
    denoiser: Denoiser,
    x_T: Tensor,
    schedule: NoiseSchedule,
    times: Sequence[int],
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Heun's method (Karras et al., arXiv 2206.00364, Algorithm 1 without churn): two calls a step.

    In ``x / alpha`` against ``sigma / alpha`` the slope of the equation is the noise. Each step is
    Euler's, then done again with the mean of the slopes at its two ends; the last step, to 0, is
    Euler's alone, and so is one from where hardly anything of the picture is left (`FAR`). Nothing
    is random: ``generator`` is not used.

    In guesses of x_0 it is DDIM's step with x0_hat moved on from the first guess q/2 of the way to
    the second, where sigma / alpha is q times as large at t as at s: half of the way in a short
    step, all of it where q is 2, and far beyond the second guess in a long one.
    """
    x, calls = x_T, 0
    for t, s in pairwise(times):
        x0_hat, calls = denoiser(x, t), calls + 1
        yield Step(t, x, x0_hat, calls)
        euler = ddim_step(x, x0_hat, t, s, schedule).mean
        alpha_t, sigma_t = schedule.at(t, x)
        if s == 0 or sigma_t > FAR * alpha_t:
            x = euler
            continue
        noise_t = x0_to_noise(x, x0_hat, t, schedule)
        noise_s, calls = x0_to_noise(euler, denoiser(euler, s), s, schedule), calls + 1
        alpha_s, sigma_s = schedule.at(s, x)
        stretch, stride = alpha_s / alpha_t, sigma_s - alpha_s * sigma_t / alpha_t
        x = stretch.to(x.dtype) * x + stride.to(x.dtype) * (noise_t + noise_s) / 2
    yield Step(0, x, x, calls)


@torch.no_grad()
def dpm_solver_2m(
    denoiser: Denoiser,
    x_T: Tensor,
    schedule: NoiseSchedule,
    times: Sequence[int],
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """DPM-Solver++ 2M (Lu et al., arXiv 2211.01095, Algorithm 2): one call a step, second order.

    A step of DDIM in which x0_hat is drawn out, along the line through this guess and the one
    before, to the middle of the step in ``log(alpha / sigma)``. There is no guess before the first
    step, and no middle of the step to 0: those two are DDIM's. Nothing is random: ``generator`` is
    not used.
    """
    log_ratio = (schedule.alpha / schedule.sigma).log()  # from infinity down, [T+1]
    x, calls, last_x0_hat, last_stride = x_T, 0, x_T, math.inf
    for t, s in pairwise(times):
        x0_hat, calls = denoiser(x, t), calls + 1
        yield Step(t, x, x0_hat, calls)
        stride = float(log_ratio[s] - log_ratio[t])
        alone = s == 0 or math.isinf(last_stride)
        ahead = 0.0 if alone else stride / (2 * last_stride)
        x = ddim_step(x, x0_hat + ahead * (x0_hat - last_x0_hat), t, s, schedule).mean
        last_x0_hat, last_stride = x0_hat, stride
    yield Step(0, x, x, calls)


def euler_step(x_t: Tensor, x0_hat: Tensor, t: int, s: int, schedule: NoiseSchedule) -> Gaussian:
    """Euler's method on the flow: straight on along the velocity, ``noise - x_0``.

    On the straight path (arXiv 2210.02747, 2209.03003) it is ``x_t + (s - t) / T velocity``. Every
    other path is one, too, in ``x / (alpha + sigma)`` against ``sigma / (alpha + sigma)``. It is
    `ddim_step` with eta = 0 in other words.
    """
    velocity = x0_to_noise(x_t, x0_hat, t, schedule) - x0_hat
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t, x_t), schedule.at(s, x_t)
    stretch = (alpha_s + sigma_s) / (alpha_t + sigma_t)
    stride = sigma_s - sigma_t * stretch
    dtype = x_t.dtype
    mean = stretch.to(dtype) * x_t + stride.to(dtype) * velocity
    return Gaussian(mean, torch.zeros((), dtype=dtype))


SAMPLERS: dict[str, Sampler] = {
    "ddpm": stepwise(ddpm_step),
    "ddim": stepwise(ddim_step),
    "heun": heun,
    "dpm++": dpm_solver_2m,
    "euler": stepwise(euler_step),
    "consistency": stepwise(consistency_step),
}
"""The samplers that a command can name."""
