"""How good are samples? Distances between sets of feature vectors.

Features come from the course's digit classifier, not from Inception: figures here are Frechet
distances, never "FID", and mean something only beside the floor, the distance between two sets of
real pictures of the same size.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .. import checks


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Frechet distance between Gaussians fitted to features a [N, D] and b [M, D].

    ``|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))`` (Dowson & Landau 1982; used for
    pictures by Heusel et al., arXiv 1706.08500). Computed in float64; needs at least 2 rows each.
    Raises ValueError for other shapes or numbers that are not finite.
    """
    _check_features(a=a, b=b)
    a, b = a.double().cpu(), b.double().cpu()
    gap = a.mean(0) - b.mean(0)
    cov_a, cov_b = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(b.shape[1], -1)
    # tr (C_a C_b)^(1/2) is the sum of the square roots of the eigenvalues of R C_b R, which is
    # symmetric, where R is the root of C_a.
    root = _symmetric_root(cov_a)
    eigenvalues = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0)
    spread = cov_a.trace() + cov_b.trace() - 2 * eigenvalues.sqrt().sum()
    return (gap.square().sum() + spread).clamp(min=0).item()


def _symmetric_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


class PrecisionRecall(NamedTuple):
    """Fidelity and diversity, each 0..1."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Fidelity, which may exceed 1, and diversity, 0..1."""

    density: float
    coverage: float


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> PrecisionRecall:
    """Do samples look real, and are all kinds of real ones among them?

    Around each real row of [N, D] lies a ball that reaches to its k-th nearest real neighbour.
    Precision is the share of fake rows [M, D] in at least one of the balls; recall is the same
    with real and fake exchanged (Kynkaanniemi et al. 2019, arXiv 1904.06991). A ball's surface
    belongs to it, as there; the package prdc leaves it out, which matters only where rows repeat.
    Blockwise, in float64, on the features' own device. Raises ValueError for other shapes, numbers
    that are not finite, or a k that is not in 1..min(N, M) - 1.
    """
    real, fake, k = _centred(real, fake, k)
    reach_real, reach_fake = _reach(real, k), _reach(fake, k)
    precise, recalled = 0, torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for rows, squared in _squared_distances(fake, real):
        precise += int((squared <= reach_real).any(1).sum())
        recalled |= (squared <= reach_fake[rows, None]).any(0)
    return PrecisionRecall(precise / len(fake), recalled.double().mean().item())


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> DensityCoverage:
    """The same two questions, answered so that a few odd real rows do not decide them.

    Density is the mean number of the real rows' balls (see `precision_recall`) in which a fake row
    lies, over k; coverage the share of balls that hold a fake row (Naeem et al. 2020, arXiv
    2002.09797, eq. 3 and 4). For fakes as good as real ones their expected values are 1 and
    ``1 - 1/2^k`` (large N = M). Shapes and errors as there.
    """
    real, fake, k = _centred(real, fake, k)
    reach = _reach(real, k)
    inside, covered = 0, torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for _, squared in _squared_distances(fake, real):
        within = squared <= reach
        inside += int(within.sum())
        covered |= within.any(0)
    return DensityCoverage(inside / (k * len(fake)), covered.double().mean().item())


def _reach(x: Tensor, k: int) -> Tensor:
    """Squared distance of each row [N, D] to its k-th nearest other row, [N]."""
    reaches = []
    for rows, squared in _squared_distances(x, x):
        own = torch.arange(rows.start, rows.stop, device=x.device)
        squared[own - rows.start, own] = 0  # a row is its own nearest, whatever rounding says
        reaches.append(squared.topk(k + 1, dim=1, largest=False).values[:, k])
    return torch.cat(reaches)


BLOCK = 1000  # rows, whose distances are taken at a time


def _squared_distances(a: Tensor, b: Tensor, block: int = BLOCK) -> Iterator[tuple[slice, Tensor]]:
    """|a_i - b_j|^2 for blocks of rows of a: the rows, and their distances [block, M]."""
    square_b = b.square().sum(1)
    for start in range(0, len(a), block):
        rows = slice(start, min(start + block, len(a)))
        part = a[rows]
        squared = torch.addmm(square_b, part, b.T, alpha=-2).add_(part.square().sum(1)[:, None])
        yield rows, squared.clamp_(min=0)


def _centred(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor, int]:
    """Checked and in float64, around the real mean, so that squares lose nothing to rounding."""
    _check_features(real=real, fake=fake)
    k = checks.whole("k", k, 1, min(len(real), len(fake)) - 1)
    real = _in_float64(real)
    fake, middle = _in_float64(fake).to(real.device), real.mean(0)
    return real - middle, fake - middle, k


def _check_features(**sets: Tensor) -> None:
    """Two sets of finite features [N, D] of one width, with at least 2 rows each."""
    for name, x in sets.items():
        checks.floats(**{name: x})
        if x.ndim != 2 or len(x) < 2 or not x.shape[1]:
            raise ValueError(f"{name} must be features [N, D] with N >= 2, got {list(x.shape)}")
        checks.measurable(name, _in_float64(x))
    a, b = sets.values()
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features of different width: {a.shape[1]} and {b.shape[1]}")


def class_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of rows of logits [N, K] whose largest entry is the label [N], integers of any kind.

    Raises ValueError for a row without a largest number: NaN is no answer, nor is infinity. (A
    class that is ruled out may have minus infinity.)
    """
    checks.floats(logits=logits)
    if logits.ndim != 2 or not logits.numel():
        raise ValueError(f"logits must be [N, K] with N >= 1, got {list(logits.shape)}")
    labels = checks.rows("labels", labels, logits, logits.shape[1])
    largest, classes = logits.max(1)
    checks.finite("the largest of logits", largest)
    return (classes == labels).double().mean().item()


def mode_counts(points: Tensor, means: Tensor) -> Tensor:
    """How many points [N, D] lie nearest to each mean [K, D], int64 [K].

    Raises ValueError for other shapes and numbers that are not finite.
    """
    checks.floats(points=points)
    checks.floats(means=means)
    if points.ndim != 2 or means.ndim != 2 or points.shape[1] != means.shape[1] or not len(means):
        shapes = f"{list(points.shape)} and {list(means.shape)}"
        raise ValueError(f"points must be [N, D] and means [K, D] with K >= 1, got {shapes}")
    points, means = _in_float64(points), _in_float64(means)
    checks.measurable("points", points)
    checks.measurable("means", means)
    nearest = [distances(part, means).argmin(1) for part in points.split(BLOCK)]
    return torch.bincount(torch.cat(nearest), minlength=len(means))


def distances(a: Tensor, b: Tensor) -> Tensor:
    """The distance of each row of a [N, D] from each of b [M, D], [N, M]; exact wherever they lie.

    (Torch's usual way, by ``|a|^2 + |b|^2 - 2 a b``, loses what is small beside the squares.)
    """
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _in_float64(x: Tensor) -> Tensor:
    """On its device, or on the CPU where that has no float64."""
    return (x.cpu() if x.device.type == "mps" else x).double()
