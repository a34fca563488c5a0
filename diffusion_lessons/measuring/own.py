"""Networks trained on your own pictures, measured: beside pictures of the folder they never saw.

The judge knows digits alone. Here pictures are compared in features that need no training and are
the same for every folder: those of convolutions with random weights (Naeem et al. 2020, arXiv
2002.09797, section 4, recommend them for data far from ImageNet). Principal components of the
pixels would be simpler, and are blind to what is fine. Of digits, beside 1,000 test digits, 1,000
others get a Frechet distance of 1.4, with noise of standard deviation 0.2 added 19.8, in 64
principal components 2.2 and 2.8. 1,000 samples of digits-ddgan and of digits-ddpm (10 steps) get
3.5, of digits-vae 9.7 and of digits-gan 21.5: the judge puts them in that order, too. But they see
strokes, edges and colours, not whether a car has wheels: look at the pictures as well.
"""

import time
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checks
from ..data import Images, to_unit
from ..folders import Pictures
from ..math.randomness import BY_ROW, own_numbers
from ..networks.compute import Compute, chosen
from ..networks.drawing import Drawer, DrawSettings
from .drawing import USUAL, draw_watched, settled
from .judge import FEW, MOST_SAMPLES, scores

FEATURES = "64 of convolutions with random weights, standardised on training pictures"

MOST_SEEN = 5000
"""Training pictures from which means, deviations and the classes are learnt, at most."""


class RandomFeatures(nn.Module):
    """Three convolutions with random weights: pictures [B, C, H, W] -> features [B, 64].

    The weights are orthogonal, and the same every time.
    """

    def __init__(self, in_channels: int, width: int = 32, features: int = 64) -> None:
        super().__init__()
        with own_numbers(0):
            self.layers = nn.ModuleList(
                nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
                for c_in, c_out, stride in (
                    (in_channels, width, 1),
                    (width, 2 * width, 2),
                    (2 * width, 4 * width, 2),
                )
            )
            self.project = nn.Linear(4 * 4 * width, features, bias=False)
            for layer in self.layers:
                assert isinstance(layer, nn.Conv2d)
                nn.init.orthogonal_(layer.weight, gain=2**0.5)
            nn.init.orthogonal_(self.project.weight)
        self.requires_grad_(False)

    def quarters(self, x: Tensor) -> Tensor:
        """What the last layer sees in each quarter of the pictures, [B, 512]."""
        for layer in self.layers:
            x = F.relu(layer(x))
        return F.adaptive_avg_pool2d(x, 2).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.project(self.quarters(x))
        return features


@lru_cache
def _network(in_channels: int) -> RandomFeatures:
    with torch.inference_mode(False):  # it is kept
        return RandomFeatures(in_channels)


class OwnJudge:
    """What compares a folder's pictures: made of those that are trained on, in float32 on the CPU.

    ``features`` are `FEATURES`. The class of a picture is told, if there are any, by a linear
    classifier of the 512 numbers from which those are made, found by least squares.
    """

    def __init__(self, data: Pictures) -> None:
        self.network = _network(data.shape[0])
        images, labels = (part[:MOST_SEEN] for part in data.train)
        seen = self._through(to_unit(images), self.network)
        self.mean = seen.mean(0)
        self.deviation = seen.std(0, correction=0).clamp(min=1e-6)
        self.answers: Tensor | None = None
        if data.classes:
            X = self._inputs(to_unit(images))
            Y = F.one_hot(labels, len(data.classes)).double()
            ridge = 1e-4 * X.square().sum() / X.shape[1] * torch.eye(X.shape[1])
            self.answers = torch.linalg.solve(X.T @ X + ridge, X.T @ Y)

    def features(self, x: Tensor) -> Tensor:
        """Pictures [N, C, H, W] in -1..1 -> features [N, 64]."""
        return (self._through(x, self.network) - self.mean) / self.deviation

    def accuracy(self, x: Tensor, labels: Tensor) -> float:
        """Share of pictures in which the label [N] is seen that was asked for."""
        assert self.answers is not None
        seen = (self._inputs(x) @ self.answers).argmax(1)
        return round((seen == labels).double().mean().item(), 4)

    def _inputs(self, x: Tensor) -> Tensor:
        """Of the linear classifier: float64 [N, 513], the last of them 1."""
        seen = self._through(x, self.network.quarters).double()
        return torch.cat([seen, seen.new_ones(len(seen), 1)], 1)

    @staticmethod
    @torch.no_grad()
    def _through(x: Tensor, function: Any) -> Tensor:
        return torch.cat([function(part.float()) for part in x.split(FEW)])


def evaluate_pictures(
    model: Drawer,
    data: Pictures,
    settings: DrawSettings = USUAL,
    count: int | None = None,
    seed: int = 0,
    progress: bool = True,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Draw as many pictures as half of the held-out ones are, and compare the two in `FEATURES`.

    ``count``, if given, are fewer. The other half makes the ``floor``: what real pictures of the
    folder, of no network, get beside the first half. The distances are of this folder and this
    number of pictures; they are not the FID of the papers, nor the judge's. Raises ValueError for a
    network that draws other pictures than these, or a folder with fewer than four held out.
    """
    check_fits(model, data)
    half = len(data.held_out.labels) // 2
    if half < 2:
        raise ValueError(
            f"of {data.folder} {len(data.held_out.labels)} of the pictures are held out, and four "
            "are the least to compare with: it takes 40 different pictures, better 2,000"
        )
    most = min(half, MOST_SAMPLES)
    count = most if count is None else checks.whole("count", count, 2, most)
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    settings, compute = settled(model, settings), chosen(compute)
    real, others = (
        Images(*(part[rows] for part in data.held_out)) for rows in _halves(half, count)
    )
    start = time.perf_counter()
    labels = real.labels if model.classes else count
    x, calls = draw_watched(model, labels, settings, seed, progress, compute)
    seconds = time.perf_counter() - start
    judge = OwnJudge(data)
    beside = judge.features(to_unit(real.images))
    result, floor = (scores(judge.features(y), beside) for y in (x, to_unit(others.images)))
    if model.classes:
        result = {"class_accuracy": judge.accuracy(x, real.labels)} | result
        floor = {"class_accuracy": judge.accuracy(to_unit(others.images), others.labels)} | floor
    return {
        "samples": count,
        **settings.as_row(),
        "network_calls": calls,
        "seed": seed,
        "random_numbers": BY_ROW,
        "features": FEATURES,
        **result,
        "floor": floor,
        "seconds": round(seconds, 1),
        "images_per_second": round(count / seconds, 2),
        "compute": compute.as_dict(),
    }


def _halves(half: int, count: int) -> tuple[Tensor, Tensor]:
    """Rows of two parts of the held-out pictures, which lie in an order that is random already."""
    rows = torch.arange(2 * half)
    return rows[0::2][:count], rows[1::2][:count]


def check_fits(model: Drawer, data: Pictures) -> None:
    """ValueError unless the network draws such pictures as the folder holds."""
    if not isinstance(model, Drawer) or tuple(model.shape) != data.shape:
        shape = tuple(getattr(model, "shape", ()))
        raise ValueError(f"the pictures are {data.shape}, and the network draws {shape or 'none'}")
    if model.classes not in (0, len(data.classes)):
        raise ValueError(
            f"the network knows {model.classes} classes, and {data.folder} has {len(data.classes)}"
        )
