"""The judge: the course's own digit classifier, in whose features sets of pictures are compared."""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import checks
from ..data import digits, to_unit
from ..networks.checkpoints import load_pretrained
from ..networks.compute import best_device, fastest
from .metrics import class_accuracy, density_coverage, frechet_distance, precision_recall

SHAPE, CLASSES = (1, 28, 28), 10
"""Of the pictures that it can judge."""

MOST_SAMPLES = 10_000
"""That can be compared with as many test digits."""


@lru_cache
def judge() -> Any:
    """The shipped digit `Classifier`, on the fastest device, in its layout."""
    model = load_pretrained("digits-classifier")
    fastest().place(model)
    return model


FEW = 100  # pictures for a classifier at a time: 1,000 took half as long again to twice as long


@torch.no_grad()
def features(x: Tensor, batch_size: int = FEW) -> Tensor:
    """Pictures [N, 1, 28, 28] in -1..1 -> the judge's features [N, 64], in float32, on the CPU."""
    model, compute = judge(), fastest()
    return torch.cat([model.features(compute.move(part)).cpu() for part in x.split(batch_size)])


@torch.no_grad()
def accuracy(seen: Tensor, labels: Tensor) -> float:
    """Share of features [N, 64] in which the judge sees the label [N] that was asked for."""
    model = judge()
    logits = model.output(seen.to(next(model.parameters()).device)).cpu()
    return class_accuracy(logits, labels)


def judged(x: Tensor, real: "Reference", asked_for_classes: bool) -> dict[str, float]:
    """All that the judge says of pictures [N, 1, 28, 28] beside as many real digits.

    `scores` and, for pictures that were asked for the classes of the real ones, `accuracy`.
    """
    fake = features(x)
    right = {"class_accuracy": round(accuracy(fake, real.labels), 4)} if asked_for_classes else {}
    return right | scores(fake, real.features)


class Reference(NamedTuple):
    """Real digits to compare samples with."""

    features: Tensor  # of test digits, [N, 64]
    labels: Tensor  # their classes, [N]
    floor: dict[str, float]  # `scores` of as many training digits of the very same classes


@lru_cache
def reference(count: int, seed: int = 0) -> Reference:
    """``count`` real test digits, and the floor: what samples as good as real ones would score.

    Raises ValueError unless count is in 2..10,000.
    """
    checks.whole("count", count, 2, MOST_SAMPLES)
    checks.whole("seed", seed, 0, 2**63 - 1)
    test, train = digits(train=False), digits()
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(test.labels), generator=generator)[:count]
    real, labels = features(to_unit(test.images[rows])), test.labels[rows]
    like = []  # rows of training digits, class by class as many as were drawn above
    for label, number in zip(*labels.unique(return_counts=True), strict=True):
        candidates = (train.labels == label).nonzero()[:, 0]
        like.append(candidates[torch.randperm(len(candidates), generator=generator)[:number]])
    floor = scores(features(to_unit(train.images[torch.cat(like)])), real)
    return Reference(real, labels, floor)


def scores(fake: Tensor, real: Tensor) -> dict[str, float]:
    """All distances between two sets of features [N, 64]; no precision or recall below 10 rows."""
    fake, real = fake.to(best_device()), real.to(best_device())
    distances = {"frechet_distance": frechet_distance(fake, real)}
    if min(len(fake), len(real)) >= 10:
        distances |= precision_recall(real, fake)._asdict()
        distances |= density_coverage(real, fake)._asdict()
    return {name: round(value, 4) for name, value in distances.items()}
