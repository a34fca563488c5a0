"""How a network is told the time."""

import math

import torch
from torch import Tensor, nn

from .. import checks


class TimeEmbedding(nn.Module):
    """Integer times [B] -> features [B, width]: sines and cosines, then a small MLP.

    The waves' lengths run geometrically from 2 pi to 2 pi ``longest`` time steps (Vaswani et al.,
    arXiv 1706.03762, section 3.5; used for diffusion by DDPM, appendix B).
    """

    frequency: Tensor

    def __init__(self, width: int, waves: int = 32, longest: float = 10_000.0) -> None:
        super().__init__()
        checks.sizes(width=width, waves=waves)
        frequency = torch.exp(-math.log(longest) * torch.arange(waves) / waves)
        self.register_buffer("frequency", frequency, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(2 * waves, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        checks.times(t, len(t) if t.ndim else 1)
        angle = t.float()[:, None] * self.frequency  # [B] -> [B, waves]
        return self.mlp(torch.cat([angle.sin(), angle.cos()], dim=1))
