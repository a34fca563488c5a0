"""How a network is told the time."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from .. import checks


class FixedWaves(nn.Module):
    """Holds fixed wave numbers, float32 whatever format the network is brought to.

    Rounded to 16 bits they would be wrong by whole waves at late times.
    """

    frequency: Tensor

    def __init__(self, make: Callable[[], Tensor]) -> None:
        super().__init__()
        self._make = make
        self.register_buffer("frequency", make(), persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        if self.frequency.element_size() < 4:
            self.frequency = self._make().to(self.frequency.device)
        return self


def geometric(waves: int, longest: float) -> Tensor:
    """Wave numbers [waves] from 1 down to about 1 / longest."""
    return torch.exp(-math.log(longest) * torch.arange(waves) / waves)


class TimeEmbedding(FixedWaves):
    """Integer times [B] -> features [B, width]: sines and cosines, then a small MLP.

    The waves' lengths run geometrically from 2 pi to 2 pi ``longest`` time steps (Vaswani et al.,
    arXiv 1706.03762, section 3.5; used for diffusion by DDPM, appendix B).
    """

    def __init__(self, width: int, waves: int = 32, longest: float = 10_000.0) -> None:
        width, waves = checks.sizes(width=width, waves=waves).values()
        super().__init__(partial(geometric, waves, checks.positive("longest", longest)))
        self.mlp = nn.Sequential(nn.Linear(2 * waves, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        checks.tensor("t", t)
        t = checks.times(t, t if t.ndim else t[None])
        angle = t.float()[:, None] * self.frequency  # [B] -> [B, waves]
        waves = torch.cat([angle.sin(), angle.cos()], dim=1)
        return self.mlp(waves.to(next(self.mlp.parameters()).dtype))
