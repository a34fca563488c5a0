"""The Gaussians of a diffusion process, each in closed form.

Every function goes from a time s to a later time t or back, for any s < t, so a stride of one and
a stride of a hundred are the same formula. Coefficients are worked out in float64 and rounded
once, where they meet the picture.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import checks
from .randomness import randn_like
from .schedule import Level, NoiseSchedule, Time, wide


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian with independent components: ``mean`` [B, ...] and a ``std`` that broadcasts."""

    mean: Tensor
    std: Tensor

    def __post_init__(self) -> None:
        checks.stretched(mean=self.mean, std=self.std)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw, the shape of ``mean``; if nothing is random, no random number is used up."""
        if self.std.device.type == "cpu" and not self.std.any():  # elsewhere it would have to wait
            return self.mean
        return self.mean + self.std * randn_like(self.mean, generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of each example in nats, [B, ...] -> [B]; ValueError for a std of 0."""
        checks.batch(2, x=x)
        checks.stretched(x=x, mean=self.mean)
        checks.dense("this Gaussian", self.std)
        std = wide(self.std)
        z = (wide(x) - self.mean) / std
        log_density = -0.5 * (z**2 + math.log(2 * math.pi)) - torch.log(std)
        return log_density.flatten(1).sum(1)


def forward(x_s: Tensor, s: Time, t: Time, schedule: NoiseSchedule) -> Gaussian:
    """q(x_t | x_s) for any s < t: the picture shrinks a little, the noise fills it up.

    DDPM (arXiv 2006.11239) eq. 2 at s = t - 1 and eq. 4 at s = 0. ``x_s`` is [B, ...].
    """
    checks.floats(x_s=x_s)
    at_s, at_t = schedule.at(s, x_s), schedule.at(t, x_s)
    checks.order(s, t)
    alpha_ts, sigma_ts = between(at_s, at_t)
    dtype = x_s.dtype
    return Gaussian(alpha_ts.to(dtype) * x_s, sigma_ts.to(dtype))


def posterior(x_t: Tensor, x_0: Tensor, t: Time, s: Time, schedule: NoiseSchedule) -> Gaussian:
    """q(x_s | x_t, x_0) for any s < t: where x_t came from, if the clean picture is known.

    DDPM eq. 6-7, for any stride and any path. At s = 0 it is x_0 itself, with standard deviation
    0. ``x_t`` and ``x_0`` are [B, ...].
    """
    checks.floats(x_t=x_t, x_0=x_0)
    at_s, at_t = schedule.at(s, x_t), schedule.at(t, x_t)
    checks.order(s, t)
    alpha_ts, sigma_ts = between(at_s, at_t)
    weight_0 = at_s.alpha * sigma_ts**2 / at_t.sigma**2
    weight_t = alpha_ts * at_s.sigma**2 / at_t.sigma**2
    std = posterior_std(at_s, at_t)
    dtype = x_t.dtype
    return Gaussian(weight_0.to(dtype) * x_0 + weight_t.to(dtype) * x_t, std.to(dtype))


def between(at_s: Level, at_t: Level) -> Level:
    """How much signal the way from s to t keeps, and the noise it adds: x_t of x_s, s < t."""
    alpha_ts = at_t.alpha / at_s.alpha
    variance_ts = at_t.sigma**2 - alpha_ts**2 * at_s.sigma**2
    return Level(alpha_ts, variance_ts.clamp(min=0).sqrt())


def posterior_std(at_s: Level, at_t: Level) -> Tensor:
    """The standard deviation of q(x_s | x_t, x_0), in float64."""
    return at_s.sigma / at_t.sigma * between(at_s, at_t).sigma


def posterior_variance(a_t: Tensor, a_s: Tensor) -> Tensor:
    """beta_tilde of DDPM eq. 7 for any stride, from alpha_bar at t and at s."""
    return (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)


def forward_variance(a_t: Tensor, a_s: Tensor) -> Tensor:
    """beta of DDPM for any stride, but 0 for the step to s = 0, as in its Algorithm 2."""
    return (1 - a_t / a_s) * (a_s < 1)


def noise_to_x0(x_t: Tensor, noise: Tensor, t: Time, schedule: NoiseSchedule) -> Tensor:
    """The clean picture that this noise would have turned into x_t (DDPM eq. 4 solved for x_0).

    Where nothing of the picture is left, at the T of some schedules, there is none: ValueError.
    """
    checks.floats(x_t=x_t, noise=noise)
    alpha_t, sigma_t = schedule.at(t, x_t)
    checks.above_zero("alpha", alpha_t, "no picture can be read off pure noise; predict x_0 or v")
    x, noise = wide(x_t), wide(noise)  # alpha is small: 16 bits would overflow on the way
    return ((x - sigma_t.to(x.dtype) * noise) / alpha_t.to(x.dtype)).to(x_t.dtype)


def x0_to_noise(x_t: Tensor, x_0: Tensor, t: Time, schedule: NoiseSchedule) -> Tensor:
    """The noise that turns x_0 into x_t (DDPM eq. 4 solved for the noise).

    At t = 0 there is no noise to find: ValueError.
    """
    checks.floats(x_t=x_t, x_0=x_0)
    alpha_t, sigma_t = schedule.at(t, x_t)
    checks.above_zero("sigma", sigma_t, "x_t at t = 0 is x_0 itself, and holds no noise")
    x, x_0 = wide(x_t), wide(x_0)
    return ((x - alpha_t.to(x.dtype) * x_0) / sigma_t.to(x.dtype)).to(x_t.dtype)


def kl_divergence(p: Gaussian, q: Gaussian) -> Tensor:
    """KL(p || q) of each example in nats, [B]; ValueError for a standard deviation of 0."""
    checks.batch(2, p=p.mean)
    checks.stretched(p=p.mean, q=q.mean)
    checks.dense("p", p.std)
    checks.dense("q", q.std)
    ratio = (wide(p.std) / wide(q.std)) ** 2
    kl = 0.5 * (ratio - 1 - torch.log(ratio) + ((wide(p.mean) - wide(q.mean)) / q.std) ** 2)
    return kl.flatten(1).sum(1)


def discretized_log_likelihood(x_0: Tensor, decoder: Gaussian, levels: int = 256) -> Tensor:
    """log p(x_0 | x_1) of 8-bit pictures, in nats per example [B] (DDPM eq. 13).

    ``x_0`` holds ``levels`` evenly spaced values in [-1, 1]; each pixel's probability is the
    decoder's mass in the bin around its value, the outermost bins reaching to infinity.
    """
    checks.batch(2, x_0=x_0)
    checks.stretched(x_0=x_0, decoder=decoder.mean)
    levels = checks.whole("levels", levels, 2)
    checks.in_unit("x_0", x_0)
    x_0, mean, std = wide(x_0), wide(decoder.mean), wide(decoder.std)
    half = 1 / (levels - 1)
    upper = torch.where(x_0 > 1 - half, math.inf, x_0 + half)
    lower = torch.where(x_0 < -1 + half, -math.inf, x_0 - half)
    # Measured from the mean outwards, where the tails are small numbers: a difference of two
    # numbers near 1 would be lost in float32.
    side = torch.where(x_0 < mean, -1.0, 1.0)

    def tail(edge: Tensor) -> Tensor:
        return torch.erfc(side * (edge - mean) / (std * math.sqrt(2))) / 2

    mass = side * (tail(lower) - tail(upper))
    return mass.clamp(min=1e-12).log().flatten(1).sum(1)
