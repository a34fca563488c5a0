"""The network for points in the plane, and for the numbers of a latent."""

import torch
from torch import Tensor, nn

from .. import checks
from .embedding import TimeEmbedding


class MLP(nn.Module):
    """Answers to points x_t [B, dim] at times [B]; residual layers of ``width`` units.

    ``classes`` labels can be asked for; ``label=None`` or a label equal to ``classes`` is the null
    label, "any class". What it predicts, and under which schedule, a `DiffusionModel` knows.
    """

    kind = "MLP"

    def __init__(self, dim: int = 2, width: int = 128, layers: int = 3, classes: int = 0) -> None:
        super().__init__()
        dim, width = checks.sizes(dim=dim, width=width).values()
        layers, classes = checks.some("layers", layers), checks.some("classes", classes)
        self.config = {"dim": dim, "width": width, "layers": layers}
        if classes:  # a card or a training state of version 0.2 does not name them
            self.config["classes"] = classes
        self.shape, self.classes = (dim,), classes
        self.time = TimeEmbedding(width)
        self.input = nn.Linear(dim, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU())
            for _ in range(layers)
        )
        self.output = nn.Linear(width, dim)
        self.label = nn.Embedding(classes + 1, width) if classes else None

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        (x,) = checks.shaped(self.output.weight, self.shape, x_t=x_t)
        features = self.time(checks.times(t, x_t))  # [B] -> [B, width]
        if self.label is not None:
            asked = checks.rows(
                "label", self.classes if label is None else label, x_t, self.classes + 1
            )
            features = features + self.label(asked)
        elif label is not None:
            raise ValueError("this MLP knows no classes, and was given a label")
        h = self.input(x)  # [B, dim] -> [B, width]
        for layer in self.layers:
            h = h + layer(h + features)
        return self.output(torch.nn.functional.silu(h)).to(x_t.dtype)
