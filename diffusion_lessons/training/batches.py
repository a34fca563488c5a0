"""Batches of data, endless and in an order that the seed alone decides."""

import torch
from torch import Tensor

from .. import checks
from ..math.randomness import seeded


class Shuffled:
    """Endless batches of rows, made by `shuffled`: called with the step's number, a tuple."""

    def __init__(self, tensors: tuple[Tensor, ...], batch_size: int, seed: int) -> None:
        self.tensors, self.batch_size, self.seed = tensors, batch_size, seed
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    @property
    def about(self) -> dict[str, int]:
        """What a run that goes on must have in common with the one before."""
        return {"batch_size": self.batch_size, "rows": len(self.tensors[0])}

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        step = checks.whole("step", step, 0)
        n = len(self.tensors[0])
        number, i = divmod(step, n // self.batch_size)
        if number != self._order[0]:
            order = torch.randperm(n, generator=seeded(self.seed, number))
            self._order = number, order.to(self.tensors[0].device)
        rows = self._order[1][i * self.batch_size : (i + 1) * self.batch_size]
        return tuple(tensor[rows] for tensor in self.tensors)


def shuffled(*tensors: Tensor, batch_size: int = 64, seed: int = 0) -> Shuffled:
    """Endless batches of rows: a function from the step's number to a tuple of tensors.

    Each pass over the data has an order of its own, which depends on the seed and the pass alone,
    so that a run which resumes at step n sees the batches it would have seen. Raises ValueError if
    the tensors differ in length or are shorter than one batch.
    """
    checks.rows_alike(tensors)
    batch_size = checks.whole("batch_size", batch_size, 1, len(tensors[0]))
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    return Shuffled(tensors, batch_size, seed)
