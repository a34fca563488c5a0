"""A world in which the right answer is known: mixtures of round Gaussians.

Noise a mixture and it stays a mixture, so its denoiser, score and class posterior are formulas.
They are the oracle of the tests and the exact pictures of the lessons.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import checks
from .randomness import randn_like
from .sampling import Denoiser
from .schedule import NoiseSchedule, Time, wide


@dataclass(frozen=True)
class GaussianMixture:
    """A mixture with component means [K, D], standard deviations [K] and weights [K].

    Raises ValueError if the shapes disagree, a standard deviation is not above 0, or the weights
    are not positive with sum 1.
    """

    means: Tensor
    stds: Tensor
    weights: Tensor

    def __post_init__(self) -> None:
        checks.mixture(self.means, self.stds, self.weights)

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """n points [n, D] and the component each came from [n]."""
        n, _ = checks.amount("n", n, self.means.shape[1])
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        x = self.means[k]
        return x + self.stds[k, None] * randn_like(x, generator), k

    def log_joint(self, x_t: Tensor, t: Time, schedule: NoiseSchedule) -> Tensor:
        """log p(component k, x_t), [B, D] -> [B, K]."""
        _, variance, gap = self._noised(x_t, t, schedule)
        return self._log_joint(variance, gap)

    def log_prob(self, x_t: Tensor, t: Time, schedule: NoiseSchedule) -> Tensor:
        """log p(x_t) in nats, [B, D] -> [B]; t = 0 gives the data's own density."""
        return self.log_joint(x_t, t, schedule).logsumexp(1)

    def class_posterior(self, x_t: Tensor, t: Time, schedule: NoiseSchedule) -> Tensor:
        """p(component | x_t), [B, D] -> [B, K]: the perfect noisy classifier."""
        return self.log_joint(x_t, t, schedule).softmax(1)

    def denoise(self, x_t: Tensor, t: Time, schedule: NoiseSchedule) -> Tensor:
        """E[x_0 | x_t], [B, D] -> [B, D]: the perfect denoiser in squared error."""
        alpha_t, variance, gap = self._noised(x_t, t, schedule)
        pull = alpha_t * self.stds**2 / variance  # how far x_t moves a component's own guess
        guess = self.means + pull[..., None] * gap  # E[x_0 | x_t, component], [B, K, D]
        return (self._shares(variance, gap)[..., None] * guess).sum(1).to(x_t.dtype)

    def sample_x0(
        self,
        x_t: Tensor,
        t: Time,
        schedule: NoiseSchedule,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """A draw from q(x_0 | x_t) for each row of x_t [B, D], by Bayes' rule: [B, D].

        First the component that x_t came from, then a clean point of it.
        """
        alpha_t, variance, gap = self._noised(x_t, t, schedule)
        k = torch.multinomial(self._shares(variance, gap), 1, generator=generator)
        stds = self.stds.to(gap.dtype)
        pull = (alpha_t * stds**2 / variance).expand(len(x_t), -1).gather(1, k)  # as in `denoise`
        left = (stds**2 * (1 - alpha_t**2 * stds**2 / variance)).expand(len(x_t), -1).gather(1, k)
        rows = torch.arange(len(x_t), device=x_t.device)
        mean = self.means[k[:, 0]] + pull * gap[rows, k[:, 0]]
        return (mean + left.sqrt() * randn_like(mean, generator)).to(x_t.dtype)

    def denoiser(self, schedule: NoiseSchedule) -> Denoiser:
        """`denoise` as a denoiser for `sample`."""
        return lambda x_t, t: self.denoise(x_t, t, schedule)

    def score(self, x_t: Tensor, t: Time, schedule: NoiseSchedule) -> Tensor:
        """grad log p(x_t), [B, D] -> [B, D]: the direction towards more likely points."""
        _, variance, gap = self._noised(x_t, t, schedule)
        weight = self._shares(variance, gap) / variance
        return -(weight[..., None] * gap).sum(1).to(x_t.dtype)

    def _noised(
        self, x_t: Tensor, t: Time, schedule: NoiseSchedule
    ) -> tuple[Tensor, Tensor, Tensor]:
        """alpha [] or [B, 1], the components' variances [K] or [B, K], x_t - mean [B, K, D]."""
        checks.points(x_t, self.means.shape[1])
        x_t = wide(x_t)
        alpha_t, sigma_t = (level.to(x_t.dtype) for level in schedule.at(t, x_t))
        variance = alpha_t**2 * self.stds**2 + sigma_t**2
        return alpha_t, variance, x_t[:, None] - alpha_t[..., None] * self.means

    def _log_joint(self, variance: Tensor, gap: Tensor) -> Tensor:
        """`log_joint` of what `_noised` found."""
        squared, D = (gap**2).sum(-1), gap.shape[-1]
        return self.weights.log() - 0.5 * (squared / variance + D * (2 * math.pi * variance).log())

    def _shares(self, variance: Tensor, gap: Tensor) -> Tensor:
        """`class_posterior` of what `_noised` found."""
        return self._log_joint(variance, gap).softmax(1)


def grid_mixture(side: int = 5, std: float = 0.05, spacing: float = 0.5) -> GaussianMixture:
    """side x side equal round Gaussians on a square grid around 0, in two dimensions."""
    side = checks.whole("side", side, 1, 100)
    spacing = checks.number("spacing", spacing)
    ticks = (torch.arange(side) - (side - 1) / 2) * spacing
    means = torch.cartesian_prod(ticks, ticks)
    return _equal(means, std)


def ring_mixture(count: int = 8, std: float = 0.1, radius: float = 1.0) -> GaussianMixture:
    """``count`` equal round Gaussians on a circle around 0, in two dimensions."""
    count = checks.whole("count", count, 1, 10_000)
    radius = checks.number("radius", radius)
    angle = 2 * math.pi * torch.arange(count) / count
    return _equal(radius * torch.stack([angle.cos(), angle.sin()], 1), std)


def _equal(means: Tensor, std: float) -> GaussianMixture:
    std = checks.positive("std", std)
    K = len(means)
    return GaussianMixture(means, torch.full((K,), std), torch.full((K,), 1 / K))
