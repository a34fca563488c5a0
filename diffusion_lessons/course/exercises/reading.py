"""Readers of answers: each takes what a learner wrote, and raises `Hint` if it cannot be used."""

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from .attempts import printing
from .registry import Hint


def choice(answer: Any, hints: dict[str, str], right: str) -> None:
    """One letter; ``hints`` say what speaks against each of the others."""
    letters = sorted([*hints, right])
    letter = answer.strip().strip("()").lower() if isinstance(answer, str) else answer
    if letter not in letters:
        raise Hint(f"answer with one of the letters {', '.join(letters)}, as text.")
    if letter != right:
        raise Hint(hints[letter])


def number(answer: Any) -> float:
    """One finite number, in whatever way it is written."""
    try:
        value = float(answer)
    except Exception:
        kind = type(answer).__name__
        raise Hint(f"one number is wanted here, and this is a {kind}.") from None
    if not math.isfinite(value):
        raise Hint(f"the answer is {value}: somewhere it divides by 0, or takes a root below 0.")
    return value


def integers(answer: Any) -> list[int]:
    """A row of whole numbers."""
    try:
        values = [float(value) for value in islice(answer, 10_000)]
    except Exception:
        raise Hint(f"a list of whole numbers is wanted, and this is {brief(answer)}.") from None
    if any(not math.isfinite(value) or value != int(value) for value in values):
        raise Hint("all of them must be whole numbers.")
    return [int(value) for value in values]


def pair(answer: Any) -> tuple[float, float]:
    """Two numbers."""
    if not isinstance(answer, Sequence | Tensor) or isinstance(answer, str) or len(answer) != 2:
        raise Hint("two numbers are wanted, in this order: (first, second).")
    return number(answer[0]), number(answer[1])


def called(answer: Any, *arguments: Any, like: Tensor) -> Tensor:
    """Call the learner's function: a finite float64 result of the shape of ``like``."""
    if not callable(answer):
        raise Hint(f"a function is wanted, and this is {brief(answer)}. Give its name, uncalled.")
    try:
        with printing(answer):
            result = answer(*(p.clone() if isinstance(p, Tensor) else p for p in arguments))
    except (Exception, SystemExit) as error:
        raise Hint(f"your function stopped with {type(error).__name__}: {error}") from None
    if result is None:
        raise Hint("your function gives None: does it end in `return`?")
    try:
        result = torch.as_tensor(result).detach().cpu()
    except Exception:
        raise Hint(f"your function should give a tensor, and gives {brief(result)}.") from None
    if result.is_complex():
        raise Hint("the result is complex, and should be real.")
    result = result.double()
    if result.shape != like.shape:
        raise Hint(f"the result should have shape {list(like.shape)}, not {list(result.shape)}.")
    if not result.isfinite().all():
        raise Hint("the result is not finite: is there a division by 0, or a root of less than 0?")
    return result


def brief(value: Any) -> str:
    """A value in few words, whatever it is."""
    try:
        text = repr(value)
    except Exception:
        text = type(value).__name__
    return text if len(text) <= 40 else f"a {type(value).__name__}"


def near(a: float | Tensor, b: float | Tensor, tolerance: float = 1e-4) -> bool:
    """Equal up to the tolerance, everywhere."""
    gap = torch.as_tensor(a, dtype=torch.float64) - torch.as_tensor(b, dtype=torch.float64)
    return bool((gap.abs() <= tolerance).all())


def normal(*shape: int) -> Tensor:
    """The same normal numbers every time, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
