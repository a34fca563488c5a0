"""Batches of data, endless and in an order that the seed alone decides."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import checks
from ..math.gaussian import Share
from ..networks.processes import Processes


def shuffled(*tensors: Tensor, batch_size: int = 64, seed: int = 0) -> Callable[[int], Any]:
    """Endless batches of rows: a function from the step's number to a tuple of tensors.

    Each pass over the data has an order of its own, which depends on the seed and the pass alone,
    so that a run which resumes at step n sees the batches it would have seen. Raises ValueError if
    the tensors differ in length or are shorter than one batch.
    """
    if not tensors:
        raise ValueError("give at least one tensor")
    for tensor in tensors:
        checks.tensor("each of tensors", tensor)
        if not tensor.ndim:
            raise ValueError("each of tensors must have rows, got a single number")
    n = len(tensors[0])
    if any(len(tensor) != n for tensor in tensors):
        raise ValueError(f"tensors of different lengths: {[len(tensor) for tensor in tensors]}")
    checks.whole("batch_size", batch_size, 1, n)
    checks.whole("seed", seed, 0, 2**63 - 1)
    per_pass = n // batch_size
    order: dict[int, Tensor] = {}

    def batch(step: int) -> tuple[Tensor, ...]:
        number, i = divmod(step, per_pass)
        if number not in order:
            order.clear()
            g = step_generator(seed, number)
            order[number] = torch.randperm(n, generator=g).to(tensors[0].device)
        rows = order[number][i * batch_size : (i + 1) * batch_size]
        return tuple(tensor[rows] for tensor in tensors)

    return batch


def step_generator(
    seed: int, step: int, device: torch.device | str = "cpu", shared: Processes | None = None
) -> torch.Generator:
    """Random numbers that belong to one step of one run, whatever happened before it.

    For processes that share the step they are a `Share`.
    """
    generator = torch.Generator(device)
    if shared is not None and shared.size > 1:
        generator = share = Share(device)
        share.rank, share.size = shared.rank, shared.size
    return generator.manual_seed((seed * 1_000_003 + step) % 2**63)
