"""Noise schedules: how much of the picture is left at each time.

Time runs 0..T and the index is the papers' t: ``alpha_bar[0] = 1`` is clean data and
``alpha_bar[T]`` is (almost) pure noise. Only ``alpha_bar`` is stored; every other coefficient
is derived from it where it is used.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .. import checks

Time = int | Tensor
"""A time: one int for the whole batch, or a tensor of integers [B], one for each example."""


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The noise schedule of a diffusion process, given by its ``alpha_bar``.

    ``alpha_bar`` is float64 [T+1], from 1 (clean) strictly down to a positive number:
    ``x_t = sqrt(alpha_bar[t]) x_0 + sqrt(1 - alpha_bar[t]) noise`` (DDPM, arXiv 2006.11239, eq. 4).
    Raises ValueError if it is not such a sequence.
    """

    alpha_bar: Tensor
    _tables: dict[torch.device, Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        try:
            if torch.as_tensor(self.alpha_bar).is_complex():  # its imaginary part would be dropped
                raise TypeError("they are complex")
            alpha_bar = torch.as_tensor(self.alpha_bar, dtype=torch.float64).detach().cpu().clone()
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"alpha_bar must be a row of real numbers: {error}") from error
        if alpha_bar.ndim != 1 or len(alpha_bar) < 2:
            raise ValueError(
                f"alpha_bar must be one row of at least 2 numbers, got {list(alpha_bar.shape)}"
            )
        if alpha_bar[0] != 1:
            raise ValueError(f"alpha_bar[0] is clean data and must be 1, got {alpha_bar[0].item()}")
        if not (alpha_bar[1:] < alpha_bar[:-1]).all():  # written so that NaN is refused too
            raise ValueError("alpha_bar must fall strictly: every step adds noise")
        if not alpha_bar[-1] > 0:
            raise ValueError(f"alpha_bar must stay above 0, but ends at {alpha_bar[-1].item()}")
        object.__setattr__(self, "alpha_bar", alpha_bar)

    @property
    def T(self) -> int:
        """The last time, which is also the number of single steps."""
        return len(self.alpha_bar) - 1

    @property
    def beta(self) -> Tensor:
        """Variance added by each single step, float64 [T+1]; ``beta[0] = 0``."""
        previous = torch.cat([self.alpha_bar[:1], self.alpha_bar[:-1]])
        return 1 - self.alpha_bar / previous

    @property
    def snr(self) -> Tensor:
        """Signal-to-noise ratio ``alpha_bar / (1 - alpha_bar)``, float64 [T+1]; infinite at 0."""
        return self.alpha_bar / (1 - self.alpha_bar)

    def at(self, t: Time, like: Tensor) -> Tensor:
        """``alpha_bar`` at time t in float64, shaped to multiply ``like`` ([B, ...]).

        An int gives a 0-dim CPU tensor, which torch passes to any device as a number; a tensor
        [B] gives [B, 1, ...] on t's own device, so no GPU waits. The callers finish their
        coefficients in float64 and round once: in float32 ``1 - alpha_bar`` is off by 3e-4 of
        itself at small t. Raises TypeError for a t that is not an integer and ValueError for one
        outside 0..T or of another batch size.
        """
        checks.tensor("like", like)
        if isinstance(t, Tensor):
            if t.is_floating_point() or t.is_complex() or t.dtype == torch.bool:
                raise TypeError(f"t must hold integers, got dtype {t.dtype}")
            batch = len(like) if like.ndim else 1
            if t.ndim > 1 or (t.ndim == 1 and len(t) not in (1, batch)):
                raise ValueError(
                    f"t must have shape [] or [{batch}] for this batch, got {list(t.shape)}"
                )
            if t.ndim and t.device != like.device:
                raise ValueError(f"t must be where the batch is, {like.device}, not {t.device}")
            if t.device.type == "cpu" and t.numel() and not (t.min() >= 0 and t.max() <= self.T):
                raise ValueError(f"t must lie in 0..{self.T}, got {t.min()} to {t.max()}")
            return self._table(t.device)[t.long()].reshape(-1, *[1] * (like.ndim - 1))
        if isinstance(t, bool) or not hasattr(t, "__index__"):
            raise TypeError(f"t must be an int or a tensor of integers, got {type(t).__name__}")
        if not 0 <= t <= self.T:
            raise ValueError(f"t must lie in 0..{self.T}, got {t}")
        return self.alpha_bar[t]

    def _table(self, device: torch.device) -> Tensor:
        if device not in self._tables:
            self._tables[device] = self.alpha_bar.to(device, widest_float(device))
        return self._tables[device]

    def times(
        self, steps: int | None = None, spacing: Callable[[float], float] | None = None
    ) -> list[int]:
        """The times a sampler visits: ``steps + 1`` ints, falling strictly from T to 0.

        ``spacing`` maps 0..1 onto 0..1 and defaults to `uniform`; `quadratic` spends more steps
        near the data (DDIM, arXiv 2010.02502, appendix D.2). ``steps=None`` visits every time.
        Raises ValueError if steps is not in 1..T.
        """
        steps = self.T if steps is None else steps
        checks.whole("steps", steps, 1, self.T)
        spacing = spacing or uniform
        rising = [0]
        for i in range(1, steps + 1):
            share = spacing(i / steps)
            if not 0 <= share <= 1:
                raise ValueError(f"spacing must map 0..1 onto 0..1, got {share} at {i / steps}")
            t = round(self.T * share)
            # Rounding may make two times meet near 0; keep them apart, and leave room above.
            rising.append(min(max(t, rising[-1] + 1), self.T - (steps - i)))
        return rising[::-1]


def widest_float(device: torch.device) -> torch.dtype:
    """float64 where the device has it; Apple's MPS does not."""
    return torch.float32 if device.type == "mps" else torch.float64


def uniform(u: float) -> float:
    """Evenly spaced times."""
    return u


def quadratic(u: float) -> float:
    """Times that crowd near the data, where the fine detail is made."""
    return u**2


def _from_beta(beta: Tensor) -> NoiseSchedule:
    one = torch.ones(1, dtype=torch.float64)
    return NoiseSchedule(torch.cat([one, torch.cumprod(1 - beta, 0)]))


MOST_T = 10**6


def _check(T: int, **rates: float) -> None:
    checks.whole("T", T, 1, MOST_T)
    for name, rate in rates.items():
        checks.real(name, rate)


def linear_schedule(T: int = 1000, beta_1: float = 1e-4, beta_T: float = 0.02) -> NoiseSchedule:
    """beta rises in a straight line from beta_1 to beta_T (DDPM, section 4).

    Raises ValueError unless T >= 1 and both betas lie strictly between 0 and 1.
    """
    _check(T, beta_1=beta_1, beta_T=beta_T)
    for name, beta in [("beta_1", beta_1), ("beta_T", beta_T)]:
        if not 0 < beta < 1:
            raise ValueError(f"{name} is a variance and must lie between 0 and 1, got {beta}")
    return _from_beta(torch.linspace(beta_1, beta_T, T, dtype=torch.float64))


def cosine_schedule(T: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> NoiseSchedule:
    """alpha_bar falls like a squared cosine (Nichol & Dhariwal, arXiv 2102.09672, eq. 17).

    ``offset`` keeps the first steps from being too small; ``max_beta`` caps the last ones.
    Raises ValueError unless T >= 1, offset >= 0 and max_beta lies strictly between 0 and 1.
    """
    _check(T, offset=offset, max_beta=max_beta)
    if not 0 <= offset < math.inf:
        raise ValueError(f"offset must be at least 0, got {offset}")
    if not 0 < max_beta < 1:
        raise ValueError(f"max_beta must lie between 0 and 1, got {max_beta}")
    u = torch.arange(T + 1, dtype=torch.float64) / T
    f = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
    return _from_beta((1 - f[1:] / f[:-1]).clamp(max=max_beta))


def vp_schedule(T: int = 4, beta_min: float = 0.1, beta_max: float = 20.0) -> NoiseSchedule:
    """The variance-preserving SDE cut into T steps, as DDGAN uses it.

    ``alpha_bar(u) = exp(-beta_min u - (beta_max - beta_min) u^2 / 2)`` with u = t / T
    (Song et al., arXiv 2011.13456, eq. 33; Xiao et al., arXiv 2112.07804, appendix C).
    Raises ValueError unless T >= 1 and 0 < beta_min <= beta_max.
    """
    _check(T, beta_min=beta_min, beta_max=beta_max)
    if not 0 < beta_min <= beta_max < math.inf:
        raise ValueError(f"need 0 < beta_min <= beta_max, got {beta_min} and {beta_max}")
    u = torch.arange(T + 1, dtype=torch.float64) / T
    return NoiseSchedule(torch.exp(-beta_min * u - (beta_max - beta_min) * u**2 / 2))
