"""Noise schedules: how much of the picture, and how much noise, is in x_t at each time.

``x_t = alpha[t] x_0 + sigma[t] noise``. Time runs 0..T and the index is the papers' t: t = 0 is
clean data, t = T is (almost) pure noise. The schedules of lessons 01 to 06 preserve the variance:
there ``alpha_bar`` alone says everything, ``alpha = sqrt(alpha_bar)``, ``sigma = sqrt(1 -
alpha_bar)``. The straight path of flow matching does not, and has no alpha_bar.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import checks

Spacing = Callable[[float], float]
"""How the times of a walk are spread: a share 0..1 of its steps -> the share of its time."""

LEAST_LOG_SNR = -10.2
"""Below it, as at T of DDPM's linear schedule (-10.1), x_t is taken for pure noise where times are
`even_in_log_snr`. (DPM-Solver++'s code cuts log(alpha / sigma) off at -5.1, its half; the cosine
schedule ends at -19.8, the straight one at minus infinity.)"""

Time = int | Tensor
"""A time: one int for the whole batch, or a tensor of integers [B], one for each example."""


class Level(NamedTuple):
    """What x_t is made of at one time: ``alpha x_0 + sigma noise``, both float64."""

    alpha: Tensor
    sigma: Tensor


class NoiseSchedule:
    """How much of the picture and how much noise is in x_t, at each of the times 0..T.

    ``NoiseSchedule(alpha_bar)`` preserves the variance: alpha_bar is a row [T+1] from 1 (clean)
    strictly down to a number that is not below 0 (DDPM, arXiv 2006.11239, eq. 4); 0 at T is a zero
    terminal signal-to-noise ratio. ``NoiseSchedule(alpha=..., sigma=...)`` is any other path: alpha
    starts at 1, sigma at 0, neither is ever below 0, and alpha / sigma falls strictly. Raises
    ValueError for other rows. ``config`` is what `schedule_from` makes it of, for a card.
    """

    alpha: Tensor
    """How much of x_0 is in x_t, float64 [T+1]."""
    sigma: Tensor
    """How much noise is in x_t, float64 [T+1]."""

    def __init__(
        self,
        alpha_bar: Tensor | Sequence[float] | None = None,
        *,
        alpha: Tensor | Sequence[float] | None = None,
        sigma: Tensor | Sequence[float] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        checks.one_way(alpha_bar, alpha, sigma)
        if alpha is None and sigma is None:
            self._alpha_bar: Tensor | None = checks.falling("alpha_bar", alpha_bar)
            self.alpha, self.sigma = self._alpha_bar.sqrt(), (1 - self._alpha_bar).sqrt()
            rows = {"alpha_bar": self._alpha_bar}
        else:
            self._alpha_bar = None
            self.alpha, self.sigma = checks.path(alpha, sigma)
            rows = {"alpha": self.alpha, "sigma": self.sigma}
        self.config = dict(config or {name: row.tolist() for name, row in rows.items()})
        self._tables: dict[torch.device, Tensor] = {}

    def __repr__(self) -> str:
        config = self.config if "kind" in self.config else {"kind": "given", "T": self.T}
        return f"NoiseSchedule({', '.join(f'{k}={v}' for k, v in config.items())})"

    @property
    def alpha_bar(self) -> Tensor:
        """``alpha^2`` where the variance is preserved, float64 [T+1]; elsewhere ValueError."""
        if self._alpha_bar is None:
            raise ValueError(f"{self} does not preserve the variance: it has alpha and sigma only")
        return self._alpha_bar

    @property
    def T(self) -> int:
        """The last time, which is also the number of single steps."""
        return len(self.alpha) - 1

    @property
    def beta(self) -> Tensor:
        """Variance added by each single step, float64 [T+1]; ``beta[0] = 0``."""
        previous = torch.cat([self.alpha_bar[:1], self.alpha_bar[:-1]])
        return 1 - self.alpha_bar / previous

    @property
    def snr(self) -> Tensor:
        """Signal-to-noise ratio ``alpha^2 / sigma^2``, float64 [T+1]; infinite at 0."""
        return (self.alpha / self.sigma) ** 2

    @property
    def start_std(self) -> float:
        """The deviation of x_T for data of variance 1: what a walk's first noise must have."""
        return float((self.alpha[-1] ** 2 + self.sigma[-1] ** 2).sqrt())

    def at(self, t: Time, like: Tensor) -> Level:
        """alpha and sigma at time t in float64, shaped to multiply ``like`` ([B, ...]).

        An int gives 0-dim CPU tensors, which torch passes to any device as numbers; a tensor
        [B] gives [B, 1, ...] on t's own device, so no GPU waits. The callers finish their
        coefficients in float64 and round once: in float32 ``1 - alpha_bar`` is off by 3e-4 of
        itself at small t. Raises TypeError for a t that is not an integer and ValueError for one
        outside 0..T or of another batch size.
        """
        t = checks.time_steps(t, like, self.T)
        if isinstance(t, Tensor):
            levels = self._table(t.device)[:, t]
            return Level(*levels.reshape(2, -1, *[1] * (like.ndim - 1)))
        return Level(self.alpha[t], self.sigma[t])

    def _table(self, device: torch.device) -> Tensor:
        if device not in self._tables:
            levels = torch.stack([self.alpha, self.sigma])
            self._tables[device] = levels.to(device, widest_float(device))
        return self._tables[device]

    def times(
        self,
        steps: int | None = None,
        spacing: Spacing | None = None,
        start: int | None = None,
    ) -> list[int]:
        """The times a sampler visits: ``steps + 1`` ints, falling strictly from start to 0.

        A walk from pure noise has ``start`` T, its default, one from a noised picture another.
        ``spacing`` maps 0..1 onto 0..1 and defaults to `uniform`; `quadratic` spends more steps
        near the data (DDIM, arXiv 2010.02502, appendix D.2), and `even_in_log_snr` makes one of a
        schedule. ``steps=None`` visits every time. Raises ValueError if start is not in 1..T or
        steps not in 1..start.
        """
        start = self.T if start is None else checks.whole("start", start, 1, self.T)
        steps = start if steps is None else checks.whole("steps", steps, 1, start)
        spacing = spacing or uniform
        rising = [0]
        for i in range(1, steps + 1):
            share = checks.within(f"spacing({i / steps})", spacing(i / steps), 0, 1)
            t = round(start * share)
            # Rounding may make two times meet near 0; keep them apart, and leave room above.
            rising.append(min(max(t, rising[-1] + 1), start - (steps - i)))
        return rising[::-1]

    def same_as(self, other: "NoiseSchedule") -> bool:
        """Whether both make the same x_t at every time."""
        return torch.equal(self.alpha, other.alpha) and torch.equal(self.sigma, other.sigma)


def widest_float(device: torch.device) -> torch.dtype:
    """float64 where the device has it; Apple's MPS does not."""
    return torch.float32 if device.type == "mps" else torch.float64


def wide(x: Tensor) -> Tensor:
    """In float32 if narrower: for logarithms and sums, of which 16 bits keep too little."""
    return x.float() if x.element_size() < 4 else x


def uniform(u: float) -> float:
    """Evenly spaced times."""
    return u


def quadratic(u: float) -> float:
    """Times that crowd near the data, where the fine detail is made."""
    return u**2


def even_in_log_snr(schedule: NoiseSchedule, start: int | None = None) -> Spacing:
    """Times between which log(alpha^2 / sigma^2) grows by equal amounts, as DPM-Solver's do.

    Lu et al., arXiv 2206.00927: from ``start``, T unless given, to t = 1. There their
    walk ends; ours goes on to 0 with its last step, for at 0 itself the ratio is infinite. What
    lies below `LEAST_LOG_SNR` counts as that. Between whole times the logarithm is a straight line.
    """
    start = schedule.T if start is None else checks.whole("start", start, 1, schedule.T)
    noisiness = -schedule.snr[1 : start + 1].log().clamp(min=LEAST_LOG_SNR).numpy()  # rises

    def spacing(u: float) -> float:
        if u in (0, 1):
            return u
        wanted = noisiness[0] + u * (noisiness[-1] - noisiness[0])
        return float(np.interp(wanted, noisiness, np.arange(1, start + 1))) / start

    return spacing


def _from_beta(beta: Tensor, config: Mapping[str, Any]) -> NoiseSchedule:
    one = torch.ones(1, dtype=torch.float64)
    return NoiseSchedule(torch.cat([one, torch.cumprod(1 - beta, 0)]), config=config)


def linear_schedule(T: int = 1000, beta_1: float = 1e-4, beta_T: float = 0.02) -> NoiseSchedule:
    """beta rises in a straight line from beta_1 to beta_T (DDPM, section 4).

    The usual betas are made for a thousand steps: the same range in 50 leaves most of the picture,
    and a walk from pure noise is biased (`sample` warns of it). For few steps take larger betas,
    or `vp_schedule`, which ends in noise after any number. Raises ValueError unless T >= 1 and
    both betas lie strictly between 0 and 1, and where nothing of the picture is left before T.
    """
    T, beta_1 = checks.steps_of_schedule(T), checks.variance("beta_1", beta_1)
    beta_T = checks.variance("beta_T", beta_T)
    config = {"kind": "linear", "T": T, "beta_1": beta_1, "beta_T": beta_T}
    return _from_beta(torch.linspace(beta_1, beta_T, T, dtype=torch.float64), config)


def cosine_schedule(T: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> NoiseSchedule:
    """alpha_bar falls like a squared cosine (Nichol & Dhariwal, arXiv 2102.09672, eq. 17).

    ``offset`` keeps the first steps from being too small; ``max_beta`` caps the last ones.
    Raises ValueError unless T >= 1, offset >= 0 and max_beta lies strictly between 0 and 1.
    """
    T, offset = checks.steps_of_schedule(T), checks.at_least("offset", offset, 0)
    max_beta = checks.variance("max_beta", max_beta)
    u = torch.arange(T + 1, dtype=torch.float64) / T
    f = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
    config = {"kind": "cosine", "T": T, "offset": offset, "max_beta": max_beta}
    return _from_beta((1 - f[1:] / f[:-1]).clamp(max=max_beta), config)


def vp_schedule(T: int = 4, beta_min: float = 0.1, beta_max: float = 20.0) -> NoiseSchedule:
    """The variance-preserving SDE cut into T steps, as DDGAN uses it.

    ``alpha_bar(u) = exp(-beta_min u - (beta_max - beta_min) u^2 / 2)`` with u = t / T
    (Song et al., arXiv 2011.13456, eq. 33; Xiao et al., arXiv 2112.07804, appendix C).
    Raises ValueError unless T >= 1 and 0 < beta_min <= beta_max.
    """
    T = checks.steps_of_schedule(T)
    beta_min, beta_max = checks.rates(beta_min, beta_max)
    u = torch.arange(T + 1, dtype=torch.float64) / T
    alpha_bar = torch.exp(-beta_min * u - (beta_max - beta_min) * u**2 / 2)
    config = {"kind": "vp", "T": T, "beta_min": beta_min, "beta_max": beta_max}
    return NoiseSchedule(alpha_bar, config=config)


def straight_schedule(T: int = 1000) -> NoiseSchedule:
    """The straight path from data to noise, ``x_t = (1 - t/T) x_0 + (t/T) noise``.

    Flow matching's optimal-transport path (Lipman et al., arXiv 2210.02747, section 4.1, with time
    running from data to noise) and rectified flow's (Liu et al., arXiv 2209.03003). Nothing of the
    picture is left at T, so no noise-predicting network can be sampled under it: x_0, v and
    velocity can be predicted. Raises ValueError unless T >= 1.
    """
    T = checks.steps_of_schedule(T)
    u = torch.arange(T + 1, dtype=torch.float64) / T
    return NoiseSchedule(alpha=1 - u, sigma=u, config={"kind": "straight", "T": T})


def zero_terminal(schedule: NoiseSchedule) -> NoiseSchedule:
    """The schedule with nothing of the picture left at T, and its first step as it was.

    sqrt(alpha_bar) is shifted and stretched (Lin et al., arXiv 2305.08891, Algorithm 1). A network
    that predicts noise cannot be sampled under it. Raises ValueError unless T > 1
    and the variance is preserved.
    """
    checks.whole("the schedule's T", schedule.T, 2)
    alpha = schedule.alpha_bar.sqrt()
    stretched = (alpha - alpha[-1]) * alpha[1] / (alpha[1] - alpha[-1])
    alpha_bar = torch.cat([alpha[:1], stretched[1:] ** 2])
    config = {"kind": "zero terminal", "of": schedule.config}
    return NoiseSchedule(alpha_bar, config=config)


SCHEDULES: dict[str, Callable[..., NoiseSchedule]] = {
    "linear": linear_schedule,
    "cosine": cosine_schedule,
    "vp": vp_schedule,
    "straight": straight_schedule,
}
"""The schedules that a command can name, each made with its ``T``."""


def schedule_from(config: Mapping[str, Any]) -> NoiseSchedule:
    """The schedule that a card describes; undoes ``schedule.config``.

    Raises ValueError for a description that makes no schedule.
    """
    match config:
        case {"kind": "zero terminal", "of": inner, **rest} if not rest:
            return zero_terminal(schedule_from(inner))
        case {"kind": str(kind), **rest} if kind in SCHEDULES:
            with checks.described(config):
                return SCHEDULES[kind](**rest)
        case {"alpha_bar": alpha_bar, **rest} if not rest:
            return NoiseSchedule(alpha_bar)
        case {"alpha": alpha, "sigma": sigma, **rest} if not rest:
            return NoiseSchedule(alpha=alpha, sigma=sigma)
    raise ValueError(f"no schedule is described by {config!r}")
