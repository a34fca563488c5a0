"""Are samples copies of what the network was trained on? Their nearest pictures, and two shares."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import checks
from ..data import to_unit

ROWS = 100  # whose distances are taken at a time: 60,000 pictures make 24 MB then


class Nearest(NamedTuple):
    """The nearest of many pictures to each sample, nearest first."""

    distances: Tensor  # [S, k], root of the mean squared difference of pixels in -1..1
    rows: Tensor  # [S, k], int64


def nearest(x: Tensor, images: Tensor, k: int = 1, mirrored: bool = False) -> Nearest:
    """The ``k`` nearest of pictures [N, C, H, W] (bytes) to each sample [S, C, H, W] in -1..1.

    Where ``mirrored`` pictures count as well, each is as near as the nearer of the two. Raises
    ValueError for shapes that differ and for a k that is not in 1..N.
    """
    checks.tensor("images", images)
    checks.shaped(x, tuple(images.shape[1:]), x=x)
    k = checks.whole("k", k, 1, len(images))
    pictures = to_unit(images).flatten(1)
    samples = x.float().clamp(-1, 1)
    squares = pictures.square().sum(1)
    found = []
    for part in samples.split(ROWS):
        squared = _squared(part, pictures, squares)
        if mirrored:
            squared = torch.minimum(squared, _squared(part.flip(3), pictures, squares))
        found.append(squared.topk(k, 1, largest=False))
    mean = torch.cat([part.values for part in found]) / pictures.shape[1]
    return Nearest(mean.sqrt(), torch.cat([part.indices for part in found]))


def _squared(part: Tensor, pictures: Tensor, squares: Tensor) -> Tensor:
    flat = part.flatten(1)
    squared = torch.addmm(squares, flat, pictures.T, alpha=-2) + flat.square().sum(1)[:, None]
    return squared.clamp_(min=0)


def beside(x: Tensor, images: Tensor, found: Nearest) -> Tensor:
    """Each sample [S, C, H, W] and after it the pictures that were found: [S * (1 + k), C, H, W].

    In a grid of 1 + k columns each has a row of its own.
    """
    near = to_unit(images[found.rows.flatten()]).unflatten(0, found.rows.shape)
    return torch.cat([x[:, None].clamp(-1, 1), near], 1).flatten(0, 1)


class Memorisation(NamedTuple):
    """How many samples are copies: two shares, and for each what a network that copies none gets.

    A sample is nearer to the training if the nearest of all pictures is one of those, not one held
    out. Nothing but training tells the two kinds apart, so chance is the share of pictures that
    were trained on, however good the samples are. A sample is a copy if its nearest training
    picture is less than a third as far as the second nearest (Yoon et al. 2023; Gu et al., arXiv
    2310.02664); beside it stands the share of held-out pictures of which that is true.
    """

    nearer: float
    nearer_by_chance: float
    copies: float
    copies_held_out: float

    def in_words(self) -> str:
        """One line."""
        return (
            f"{self.nearer:.1%} of the samples are nearest to a training picture "
            f"(by chance {self.nearer_by_chance:.1%}), {self.copies:.1%} are copies of one "
            f"(of the held-out pictures {self.copies_held_out:.1%})"
        )


def memorisation(
    x: Tensor, train: Tensor, held_out: Tensor, mirrored: bool = False
) -> Memorisation:
    """How many of samples [S, C, H, W] in -1..1 are copies of training pictures (bytes).

    Pictures that are there several times count once. Raises ValueError for fewer than two different
    training pictures, or none held out.
    """
    train, held_out = different(train), different(held_out)
    if len(train) < 2 or not len(held_out):
        raise ValueError(
            "memorisation is told by at least two different training pictures and one held out, "
            f"got {len(train)} and {len(held_out)}"
        )
    to_train = nearest(x, train, 2, mirrored).distances
    to_others = nearest(x, held_out, 1, mirrored).distances
    others_to_train = nearest(to_unit(held_out), train, 2, mirrored).distances
    return Memorisation(
        nearer=_share(to_train[:, 0] < to_others[:, 0]),
        nearer_by_chance=round(len(train) / (len(train) + len(held_out)), 4),
        copies=_share(to_train[:, 0] < to_train[:, 1] / 3),
        copies_held_out=_share(others_to_train[:, 0] < others_to_train[:, 1] / 3),
    )


def different(images: Tensor) -> Tensor:
    """Pictures [N, C, H, W] (bytes), each once, in their order."""
    first = {images[i].numpy().tobytes(): i for i in reversed(range(len(images)))}
    return images[sorted(first.values())]


def _share(which: Tensor) -> float:
    return round(which.double().mean().item(), 4)
