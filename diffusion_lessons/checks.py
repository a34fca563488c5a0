"""What is refused at the door: wrong numbers and wrong tensors, by the argument's name."""

import math
from typing import Any

import torch
from torch import Tensor

LARGEST = 10_000
"""Of a network's widths, sizes and depths"""

MOST = 10**9
"""Numbers in one tensor that may be asked for: 4 GB. More is taken for a slip of the keyboard."""


def whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    """TypeError unless an int (no bool), ValueError unless in low..high."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value < low or (high is not None and value > high):
        allowed = f"be at least {low}" if high is None else f"lie in {low}..{high}"
        raise ValueError(f"{name} must {allowed}, got {value}")


def real(name: str, value: Any) -> None:
    """TypeError unless a real number; infinity and NaN are left to the caller."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")


def number(name: str, value: Any) -> None:
    """As `real`, and ValueError if it is not finite."""
    real(name, value)
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")


def within(name: str, value: Any, low: float, high: float) -> None:
    """As `real`, and ValueError unless in low..high."""
    real(name, value)
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in {low}..{high}, got {value}")


def share(name: str, value: Any) -> None:
    """As `within`, in 0..1."""
    within(name, value, 0, 1)


def positive(name: str, value: Any) -> None:
    """As `real`, and ValueError unless above 0 and finite."""
    real(name, value)
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be above 0, got {value}")


def amount(name: str, *counts: Any) -> None:
    """As `whole`, from 0 on, for counts whose product is a number of tensor elements."""
    for count in counts:
        whole(name, count, 0)
    if math.prod(counts) > MOST:
        raise ValueError(f"{name} asks for {math.prod(counts):.1e} numbers, more than {MOST:.0e}")


def sizes(**counts: Any) -> None:
    """As `whole`, for the widths, sizes and depths of a network."""
    for name, count in counts.items():
        whole(name, count, 1, LARGEST)


def tensor(name: str, value: Any) -> None:
    """TypeError unless a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")


def floats(**tensors: Any) -> None:
    """TypeError unless tensors of floats, ValueError unless of one shape and on one device.

    Bytes would round every coefficient to 0 or 1, and shapes that differ would be stretched.
    """
    (first, one), *_ = tensors.items()
    for name, x in tensors.items():
        _floating(name, x)
        if x.shape != one.shape:
            raise ValueError(
                f"{name} must have the shape of {first}, {list(one.shape)}, got {list(x.shape)}"
            )
        if x.device != one.device:
            raise ValueError(f"{name} must be where {first} is, on {one.device}, not on {x.device}")


def _floating(name: str, x: Any) -> None:
    tensor(name, x)
    if not x.is_floating_point():
        hint = " (to_unit makes floats of bytes)" if x.dtype == torch.uint8 else ""
        raise TypeError(f"{name} must hold floats, got {x.dtype}{hint}")


def stretched(**tensors: Any) -> None:
    """As `floats`, but the shapes need only fit together by broadcasting."""
    for name, x in tensors.items():
        _floating(name, x)
    try:
        torch.broadcast_shapes(*(x.shape for x in tensors.values()))
    except RuntimeError as error:
        shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in tensors.items())
        raise ValueError(f"these shapes do not fit together: {shapes}") from error


def batch(least: int = 1, **tensors: Any) -> None:
    """As `floats`, and ValueError for fewer than ``least`` dimensions."""
    floats(**tensors)
    for name, x in tensors.items():
        if x.ndim < least:
            raise ValueError(f"{name} must be a batch [B, ...], got shape {list(x.shape)}")


def times(t: Any, batch: int) -> None:
    """Refuse what does not tell each row of a batch its time: t must be numbers [B] or [1]."""
    tensor("t", t)
    if t.is_complex() or t.dtype == torch.bool:
        raise TypeError(f"t must hold numbers, got {t.dtype}")
    if t.ndim != 1 or len(t) not in (1, batch):
        raise ValueError(f"t must have shape [{batch}], got {list(t.shape)}")


def rows(name: str, value: Any, batch: int, classes: int | None = None) -> None:
    """TypeError unless a tensor of integers, ValueError unless [B], and each below ``classes``.

    On a GPU the numbers are not looked at: it would have to wait.
    """
    tensor(name, value)
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got {value.dtype}")
    if value.ndim != 1 or len(value) not in (1, batch):
        raise ValueError(f"{name} must have shape [{batch}], got {list(value.shape)}")
    if classes is None or value.device.type != "cpu" or not len(value):
        return
    if value.min() < 0 or value.max() >= classes:
        raise ValueError(f"{name} must lie in 0..{classes - 1}, got {value.min()}..{value.max()}")
