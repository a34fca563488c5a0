"""The network for points in the plane."""

import torch
from torch import Tensor, nn

from .. import checks
from .embedding import TimeEmbedding


class MLP(nn.Module):
    """Answers to points x_t [B, dim] at times [B]; residual layers of ``width`` units.

    What it predicts, and under which schedule, a `DiffusionModel` knows.
    """

    kind = "MLP"

    def __init__(self, dim: int = 2, width: int = 128, layers: int = 3) -> None:
        super().__init__()
        dim, width = checks.sizes(dim=dim, width=width).values()
        layers = checks.some("layers", layers)
        self.config = {"dim": dim, "width": width, "layers": layers}
        self.shape = (dim,)
        self.time = TimeEmbedding(width)
        self.input = nn.Linear(dim, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU())
            for _ in range(layers)
        )
        self.output = nn.Linear(width, dim)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        (x,) = checks.shaped(self.output.weight, self.shape, x_t=x_t)
        time = self.time(checks.times(t, x_t))  # [B] -> [B, width]
        h = self.input(x)  # [B, dim] -> [B, width]
        for layer in self.layers:
            h = h + layer(h + time)
        return self.output(torch.nn.functional.silu(h)).to(x_t.dtype)
