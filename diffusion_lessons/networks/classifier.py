"""Which digit is it? A judge for clean pictures, and a guide for noisy ones."""

from collections.abc import Mapping
from typing import Any, Self

import torch.nn.functional as F
from torch import Tensor, nn

from .. import checks
from ..math.schedule import NoiseSchedule, linear_schedule, schedule_from
from .embedding import TimeEmbedding
from .unet import ResBlock, group_norm


class Classifier(nn.Module):
    """The judge of samples: clean pictures [B, in_channels, 28, 28] to class logits [B, classes].

    Pictures are in -1..1. `features` gives the layer before the last, in which distributions are
    compared.
    """

    kind = "Classifier"
    dropped = 0.3  # share of the features, in training

    def __init__(
        self, in_channels: int = 1, channels: int = 32, features: int = 64, classes: int = 10
    ) -> None:
        super().__init__()
        self.config = checks.sizes(
            in_channels=in_channels, channels=channels, features=features, classes=classes
        )

        self.body = self._body(in_channels, channels, features)
        self.dropout = nn.Dropout(self.dropped)
        self.output = nn.Linear(features, classes)

    @staticmethod
    def _body(in_channels: int, c: int, features: int) -> nn.Sequential:
        """Pictures -> the features."""
        return nn.Sequential(
            layer(in_channels, c),
            layer(c, c),
            layer(c, 2 * c, stride=2),  # 28 -> 14
            layer(2 * c, 2 * c),
            layer(2 * c, 4 * c, stride=2),  # 14 -> 7
            layer(4 * c, 4 * c),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * c, features),
        )

    @property
    def about(self) -> dict[str, Any]:
        """What a card says of it."""
        return {"network": self.kind, "config": self.config}

    def features(self, x: Tensor) -> Tensor:
        """Pictures [B, in_channels, H, W] -> features [B, features]."""
        (pictures,) = checks.shaped(self.output.weight, (self.config["in_channels"], -1, -1), x=x)
        return self.body(pictures).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    def head(self, features: Tensor) -> Tensor:
        """Features [B, features] -> logits [B, classes]."""
        (seen,) = checks.shaped(self.output.weight, (self.config["features"],), features=features)
        return self.output(self.dropout(seen)).to(features.dtype)


class ResidualClassifier(Classifier):
    """The judge of CIFAR-10: a `Classifier` of coloured pictures that adds what it finds.

    Pairs of convolutions are added to their input, at 16 x 16 and at 8 x 8 positions.
    """

    kind = "ResidualClassifier"
    dropped = 0.0

    def __init__(
        self, in_channels: int = 3, channels: int = 32, features: int = 64, classes: int = 10
    ) -> None:
        super().__init__(in_channels, channels, features, classes)

    @staticmethod
    def _body(in_channels: int, c: int, features: int) -> nn.Sequential:
        return nn.Sequential(
            layer(in_channels, c),
            layer(c, 2 * c, stride=2),  # 32 -> 16
            Added(layer(2 * c, 2 * c), layer(2 * c, 2 * c)),
            layer(2 * c, 4 * c, stride=2),  # 16 -> 8
            Added(layer(4 * c, 4 * c), layer(4 * c, 4 * c)),
            layer(4 * c, 4 * c, stride=2),  # 8 -> 4
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * c, features),
        )


class Added(nn.Sequential):
    """Layers whose output is added to their input."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def layer(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    """A convolution of 3 x 3, normalised over the batch, through a ReLU."""
    conv = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU())


class NoisyClassifier(nn.Module):
    """The guide of a sampler: noisy pictures and their times to class logits [B, classes].

    x_t is [B, in_channels, size, size], t integers [B]. The way down of a U-Net, told the time in
    every block, then an average over all positions (ADM, arXiv 2105.05233, section 4, lets
    attention do the averaging). ``schedule`` is the one under which the pictures were noised: the
    linear one unless another is given.
    """

    kind = "NoisyClassifier"

    def __init__(
        self,
        size: int = 28,
        in_channels: int = 1,
        channels: int = 32,
        classes: int = 10,
        schedule: NoiseSchedule | None = None,
    ) -> None:
        super().__init__()
        self.schedule = linear_schedule() if schedule is None else schedule
        self.config = checks.sizes(
            size=size, in_channels=in_channels, channels=channels, classes=classes
        )
        self.shape, self.classes = (in_channels, size, size), classes
        c, features = channels, 4 * channels
        self.time = TimeEmbedding(features)
        self.input = nn.Conv2d(4 * in_channels, c, 3, padding=1)
        self.blocks = nn.ModuleList(
            [
                ResBlock(c, c, features),
                ResBlock(c, 2 * c, features, scale=0.5),
                ResBlock(2 * c, 2 * c, features),
                ResBlock(2 * c, 4 * c, features, scale=0.5),
                ResBlock(4 * c, 4 * c, features),
            ]
        )
        self.norm = group_norm(4 * c)
        self.output = nn.Linear(4 * c, classes)

    @property
    def about(self) -> dict[str, Any]:
        """What a card says of it."""
        return {"network": self.kind, "config": self.config, "schedule": self.schedule.config}

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Self:
        """The classifier that a card describes; of version 0.1, under the linear schedule."""
        schedule = schedule_from(card["schedule"]) if "schedule" in card else None
        return cls(**card["config"], schedule=schedule)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        (x,) = checks.shaped(self.output.weight, self.shape, x_t=x_t)
        features = F.silu(self.time(checks.times(t, x_t, self.schedule.T)))
        h = self.input(F.pixel_unshuffle(x, 2))
        for block in self.blocks:
            h = block(h, features)
        return self.output(F.silu(self.norm(h)).mean((2, 3))).to(x_t.dtype)
