"""The judges: the course's own classifiers, in whose features sets of pictures are compared.

Of digits one, and one of CIFAR-10, whose cats and dogs it tells as well. What belongs to which
pictures is a `Subject`; where none is named it is the digits.
"""

import copy
from collections.abc import Callable
from functools import lru_cache
from statistics import stdev
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import checks
from ..data import CATS, DOGS, Images, cats_and_dogs, cifar10, digits, to_unit
from ..networks.checkpoints import load_pretrained
from ..networks.compute import Compute, best_device, chosen
from .metrics import class_accuracy, density_coverage, frechet_distance, precision_recall


class Subject(NamedTuple):
    """What a network may draw, and how that is judged.

    ``seen`` are the judge's labels of the network's classes; ``most`` is how many test pictures
    there are.
    """

    shape: tuple[int, ...]
    seen: tuple[int, ...]
    judge: str
    data: Callable[[bool], Images]
    most: int

    @property
    def classes(self) -> int:
        """That the network knows."""
        return len(self.seen)


MOST_SAMPLES = 10_000
"""That can be compared with as many test pictures; of cats and dogs 2,000."""

DIGITS = Subject((1, 28, 28), tuple(range(10)), "digits-classifier", digits, MOST_SAMPLES)
CIFAR = Subject((3, 32, 32), tuple(range(10)), "cifar10-classifier", cifar10, MOST_SAMPLES)
CATS_DOGS = Subject((3, 32, 32), (CATS, DOGS), "cifar10-classifier", cats_and_dogs, 2000)
SUBJECTS = (DIGITS, CIFAR, CATS_DOGS)


def subject_of(shape: tuple[int, ...], classes: int) -> Subject | None:
    """What a network of this shape draws; one without classes anything of that shape."""
    fitting = (s for s in SUBJECTS if s.shape == tuple(shape) and classes in (0, s.classes))
    return next(fitting, None)


def judge(compute: Compute | None = None, subject: Subject = DIGITS) -> Any:
    """The shipped `Classifier`, your own copy, on the fastest device, in its layout."""
    with torch.inference_mode(False):  # it may be trained
        return copy.deepcopy(_judge(chosen(compute), subject.judge))


@lru_cache
def _judge(compute: Compute, name: str) -> Any:
    with torch.inference_mode(False):  # it is kept
        return compute.place(load_pretrained(name))


FAR = 10  # outside of -1..1: what a network draws before it has learnt is nearer
FEW = 100  # pictures for a classifier at a time: 1,000 took half as long again to twice as long


@torch.no_grad()
def features(
    x: Tensor,
    batch_size: int = FEW,
    compute: Compute | None = None,
    subject: Subject = DIGITS,
) -> Tensor:
    """Pictures [N, C, H, W] in -1..1 -> the judge's features [N, 64], in float32, on the CPU.

    Of ``compute`` device, layout and threads count; the judge looks in float32 always. Raises
    ValueError for other sizes and for pictures far outside of -1..1.
    """
    checks.shaped(x, subject.shape, x=x)
    checks.in_unit("x", x, FAR)
    compute = chosen(compute)
    model = _judge(compute, subject.judge)
    with compute.own_threads():
        parts = [model.features(compute.move(part.float())).cpu() for part in x.split(batch_size)]
    return torch.cat(parts)


@torch.no_grad()
def accuracy(
    seen: Tensor,
    labels: Tensor,
    compute: Compute | None = None,
    subject: Subject = DIGITS,
) -> float:
    """Share of features [N, 64] in which the judge sees the label [N] that was asked for.

    Whatever the subject, it may see any of its ten classes.
    """
    checks.floats(features=seen)
    compute = chosen(compute)
    logits = _judge(compute, subject.judge).head(compute.move(seen)).cpu()
    if subject.classes < logits.shape[1]:
        labels = checks.rows("labels", labels, logits, subject.classes)
        labels = torch.tensor(subject.seen)[labels]
    return class_accuracy(logits, labels)


def judged(
    x: Tensor,
    real: "Reference",
    asked_for_classes: bool,
    compute: Compute | None = None,
    with_spread: bool = False,
) -> dict[str, Any]:
    """All that the judge says of pictures [N, C, H, W] beside as many real ones.

    `scores` and, for pictures that were asked for the classes of the real ones, `accuracy`; on
    request the `spread` of the scores, too.
    """
    subject = real.subject
    fake = features(x, compute=compute, subject=subject)
    found: dict[str, Any] = {} if subject == DIGITS else {"features": f"64 of {subject.judge}"}
    if asked_for_classes:
        found["class_accuracy"] = round(accuracy(fake, real.labels, compute, subject), 4)
    found |= scores(fake, real.features, compute)
    return found | ({"spread": spread(fake, real.features, compute)} if with_spread else {})


class Reference(NamedTuple):
    """Real pictures to compare samples with."""

    features: Tensor  # of test pictures, [N, 64]
    labels: Tensor  # their classes, [N]
    floor: dict[str, float]  # `scores` of as many training pictures of the very same classes
    subject: Subject = DIGITS


def reference(
    count: int, seed: int = 0, compute: Compute | None = None, subject: Subject = DIGITS
) -> Reference:
    """``count`` real test pictures, and the floor: what samples as good as real ones would score.

    Of other pictures than digits, which the judge does not always know, the floor tells in what
    share of the test pictures it sees their class. Raises ValueError unless count is in 2..10,000
    (of cats and dogs 2..2,000), and what reading them raises.
    """
    count = checks.whole("count", count, 2, subject.most)
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    features, labels, floor, _ = _reference(count, seed, chosen(compute), subject)
    return Reference(features.clone(), labels.clone(), dict(floor), subject)


@lru_cache
def _reference(count: int, seed: int, compute: Compute, subject: Subject) -> Reference:
    test, train = subject.data(False), subject.data(True)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(test.labels), generator=generator)[:count]
    real = features(to_unit(test.images[rows]), compute=compute, subject=subject)
    labels = test.labels[rows]
    like = []  # rows of training pictures, class by class as many as were drawn above
    for label, number in zip(*labels.unique(return_counts=True), strict=True):
        candidates = (train.labels == label).nonzero()[:, 0]
        like.append(candidates[torch.randperm(len(candidates), generator=generator)[:number]])
    others = to_unit(train.images[torch.cat(like)])
    floor = scores(features(others, compute=compute, subject=subject), real, compute)
    if subject != DIGITS:
        floor = {"class_accuracy": round(accuracy(real, labels, compute, subject), 4)} | floor
    return Reference(real, labels, floor, subject)


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
