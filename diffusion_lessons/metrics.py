"""How good are samples? Distances between sets of feature vectors.

Features come from the course's digit classifier, not from Inception: figures here are Frechet
distances, never "FID", and mean something only beside the floor, the distance between two sets of
real pictures of the same size.
"""

import torch
from torch import Tensor


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Frechet distance between Gaussians fitted to features a [N, D] and b [M, D].

    ``|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))`` (Dowson & Landau 1982; used for
    pictures by Heusel et al., arXiv 1706.08500). Computed in float64; needs at least 2 rows each.
    Raises ValueError for other shapes or numbers that are not finite.
    """
    for name, x in [("a", a), ("b", b)]:
        if x.ndim != 2 or len(x) < 2:
            raise ValueError(f"{name} must be features [N, D] with N >= 2, got {list(x.shape)}")
        if not x.isfinite().all():
            raise ValueError(f"{name} holds numbers that are not finite")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features of different width: {a.shape[1]} and {b.shape[1]}")
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


def class_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of rows of logits [N, K] whose largest entry is the label [N]."""
    return (logits.argmax(1) == labels).double().mean().item()


def mode_counts(points: Tensor, means: Tensor) -> Tensor:
    """How many points [N, D] lie nearest to each mean [K, D], int64 [K]."""
    return torch.bincount(torch.cdist(points, means).argmin(1), minlength=len(means))
