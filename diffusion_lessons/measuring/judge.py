"""The judge: the course's own digit classifier, in whose features sets of pictures are compared."""

import copy
from functools import lru_cache
from statistics import stdev
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import checks
from ..data import digits, to_unit
from ..networks.checkpoints import load_pretrained
from ..networks.compute import Compute, best_device, chosen
from .metrics import class_accuracy, density_coverage, frechet_distance, precision_recall

SHAPE, CLASSES = (1, 28, 28), 10
"""Of the pictures that it can judge."""

MOST_SAMPLES = 10_000
"""That can be compared with as many test digits."""


def judge(compute: Compute | None = None) -> Any:
    """The shipped digit `Classifier`, your own copy, on the fastest device, in its layout."""
    with torch.inference_mode(False):  # it may be trained
        return copy.deepcopy(_judge(chosen(compute)))


@lru_cache
def _judge(compute: Compute) -> Any:
    with torch.inference_mode(False):  # it is kept
        return compute.place(load_pretrained("digits-classifier"))


FAR = 10  # outside of -1..1: what a network draws before it has learnt is nearer
FEW = 100  # pictures for a classifier at a time: 1,000 took half as long again to twice as long


@torch.no_grad()
def features(x: Tensor, batch_size: int = FEW, compute: Compute | None = None) -> Tensor:
    """Pictures [N, 1, 28, 28] in -1..1 -> the judge's features [N, 64], in float32, on the CPU.

    Of ``compute`` device, layout and threads count; the judge looks in float32 always. Raises
    ValueError for other sizes and for pictures far outside of -1..1.
    """
    checks.shaped(x, SHAPE, x=x)
    checks.in_unit("x", x, FAR)
    compute = chosen(compute)
    model = _judge(compute)
    with compute.own_threads():
        parts = [model.features(compute.move(part.float())).cpu() for part in x.split(batch_size)]
    return torch.cat(parts)


@torch.no_grad()
def accuracy(seen: Tensor, labels: Tensor, compute: Compute | None = None) -> float:
    """Share of features [N, 64] in which the judge sees the label [N] that was asked for."""
    checks.floats(features=seen)
    compute = chosen(compute)
    logits = _judge(compute).head(compute.move(seen)).cpu()
    return class_accuracy(logits, labels)


def judged(
    x: Tensor,
    real: "Reference",
    asked_for_classes: bool,
    compute: Compute | None = None,
    with_spread: bool = False,
) -> dict[str, Any]:
    """All that the judge says of pictures [N, 1, 28, 28] beside as many real digits.

    `scores` and, for pictures that were asked for the classes of the real ones, `accuracy`; on
    request the `spread` of the scores, too.
    """
    fake = features(x, compute=compute)
    right = {}
    if asked_for_classes:
        right = {"class_accuracy": round(accuracy(fake, real.labels, compute), 4)}
    found = right | scores(fake, real.features, compute)
    return found | ({"spread": spread(fake, real.features, compute)} if with_spread else {})


class Reference(NamedTuple):
    """Real digits to compare samples with."""

    features: Tensor  # of test digits, [N, 64]
    labels: Tensor  # their classes, [N]
    floor: dict[str, float]  # `scores` of as many training digits of the very same classes


def reference(count: int, seed: int = 0, compute: Compute | None = None) -> Reference:
    """``count`` real test digits, and the floor: what samples as good as real ones would score.

    Raises ValueError unless count is in 2..10,000.
    """
    count = checks.whole("count", count, 2, MOST_SAMPLES)
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    features, labels, floor = _reference(count, seed, chosen(compute))
    return Reference(features.clone(), labels.clone(), dict(floor))


@lru_cache
def _reference(count: int, seed: int, compute: Compute) -> Reference:
    test, train = digits(train=False), digits()
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(test.labels), generator=generator)[:count]
    real = features(to_unit(test.images[rows]), compute=compute)
    labels = test.labels[rows]
    like = []  # rows of training digits, class by class as many as were drawn above
    for label, number in zip(*labels.unique(return_counts=True), strict=True):
        candidates = (train.labels == label).nonzero()[:, 0]
        like.append(candidates[torch.randperm(len(candidates), generator=generator)[:number]])
    floor_like = features(to_unit(train.images[torch.cat(like)]), compute=compute)
    floor = scores(floor_like, real, compute)
    return Reference(real, labels, floor)


def scores(fake: Tensor, real: Tensor, compute: Compute | None = None) -> dict[str, float]:
    """All distances between two sets of features [N, 64]; no precision or recall below 10 rows."""
    device = best_device() if compute is None else compute.device
    fake, real = fake.to(device), real.to(device)
    distances = {"frechet_distance": frechet_distance(fake, real)}
    if min(len(fake), len(real)) >= 10:
        distances |= precision_recall(real, fake)._asdict()
        distances |= density_coverage(real, fake)._asdict()
    return {name: round(value, 4) for name, value in distances.items()}


def spread(
    fake: Tensor, real: Tensor, compute: Compute | None = None, halves: int = 20
) -> dict[str, float]:
    """By how much each of `scores` wavers from one set of samples [N, 64] to another: one standard
    deviation, from random halves of this one, each beside all the real rows.

    This is the jackknife that leaves out one half (Shao & Wu 1989, doi.org/10.1214/aos/1176347263),
    not a bootstrap, in which rows repeat: a ball around a row that occurs twice is too small. Needs
    20 samples for precision and recall.
    """
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(halves):
        half = torch.randperm(len(fake), generator=generator)[: len(fake) // 2]
        found.append(scores(fake[half], real, compute))
    return {name: round(stdev(each[name] for each in found), 4) for name in found[0]}
