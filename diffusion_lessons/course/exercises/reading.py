"""Readers of answers: each takes what a learner wrote, and raises `Hint` if it cannot be used.

An answer is read in every form in which people give it, as long as it can mean one thing only.
"""

import math
import re
from collections.abc import Iterable, Mapping, Set
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .attempts import changing, printing
from .registry import Hint

MOST = 10_000
"""How many of a list's values are read; it may have no end."""

LETTER = re.compile(
    r"""["'\s]* (?:(?:my\s+)?(?:answer|option|choice)(?:\s+is)?\s*[:=]?\s*)?  # "answer: b"
    (?: \(([a-z])\) (?P<words>.*)  # (b), perhaps with words
      | ([a-z]) (?:\s*(?:[.):,;=]|[-\u2013](?=\s))\W*(?P<more>.*))?  # b, or b and a mark and words
    ) ["'\s]*""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
SECOND = re.compile(r"\W*(?:or|and|,|/)?\W*[a-z]\W*", re.IGNORECASE)
"""What follows a letter where somebody cannot decide: "b or c"."""
APPROXIMATE = re.compile(
    r"(?:[~\u2248=\s]|(?:about|approximately|approx\.?|around|roughly)(?=[\W\d]))+", re.IGNORECASE
)
TIMES = re.compile(r"(?<=[\d.])\s*(?:x|\u00d7|times)$", re.IGNORECASE)
"""What may stand before a number and after it: "about 1.5x"."""


def choice(answer: Any, hints: dict[str, str], right: str) -> None:
    """One letter: b, "B.", "(b)", "b) the words beside it", "answer b".

    ``hints`` say what speaks against each of the others.
    """
    letters = sorted([*hints, right])
    letter = _letter(alone(answer))
    if letter not in letters:
        raise Hint(f"answer with one of the letters {', '.join(letters)}, as text.")
    if letter != right:
        raise Hint(hints[letter])


def _letter(answer: Any) -> str | None:
    found = LETTER.fullmatch(answer) if isinstance(answer, str) else None
    if not found or SECOND.fullmatch(found["words"] or found["more"] or ""):
        return None
    return (found[1] or found[3]).lower()


def number(answer: Any) -> float:
    """One finite number: 0.5, "0,5", "50 %", "1/2", "about 0.5", "0.5x", [0.5], tensor(0.5)."""
    answer = alone(answer)
    if isinstance(answer, Tensor):
        answer = answer.detach()
    try:
        value = _written(answer) if isinstance(answer, str) else float(answer)
    except Hint:
        raise
    except Exception:
        kind = "a function: call it" if callable(answer) else f"a {type(answer).__name__}"
        raise Hint(f"one number is wanted here, and this is {kind}.") from None
    if not math.isfinite(value):
        raise Hint(f"the answer is {value}: somewhere it divides by 0, or takes a root below 0.")
    return value


def _written(text: str) -> float:
    """A number in text. Raises ValueError for other text."""
    text = text.strip()
    begun = APPROXIMATE.match(text)
    text = TIMES.sub("", text[begun.end() if begun else 0 :]).replace("\u2212", "-")
    text = re.sub(r"(?<=\d)\s(?=\d{3}\b)", "", text)  # 10 000
    text = re.sub(r"\s*/\s*", "/", text)  # 1 / 2, which older Fractions refuse
    bare = re.sub(r"\s*(%|percent|per cent)$", "", text)
    if re.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}", bare):
        whole, decimal = bare.replace(",", ""), bare.replace(",", ".")
        raise Hint(f"{bare} may mean {whole} or {decimal}: write it without the comma.")
    groups = re.fullmatch(r"[-+]?\d{1,3}(,\d{3}){2,}(\.\d+)?", bare)
    plain = bare.replace(",", "" if groups else ".")
    value = float(Fraction(plain)) if "/" in plain else float(plain)
    return value if bare == text else value / 100


def integers(answer: Any) -> list[int]:
    """A row of whole numbers, in a list, a tuple, a range, a tensor, an array or a generator."""
    wanted = "a list of whole numbers is wanted"
    row = _row(answer, wanted)
    if len(row) == 1 and _is_row(row[0]):
        row = _row(row[0], wanted)
    if any(_is_row(value) and _is_row(alone(value)) for value in row):
        raise Hint(f"{wanted}, and this is {brief(answer)}.")
    try:
        values = [number(value) for value in row]
    except Hint as hint:
        if "the answer is" in str(hint):
            raise Hint("all of them must be whole numbers.") from None
        raise Hint(f"{wanted}, and this is {brief(answer)}.") from None
    if any(value != int(value) for value in values):
        raise Hint("all of them must be whole numbers.")
    return [int(value) for value in values]


def has_points(answer: Any) -> bool:
    """Whether numbers, whole ones too, come with a decimal point: 500.0, which `sample` refuses."""
    if isinstance(answer, Tensor):
        return answer.is_floating_point()
    if isinstance(answer, np.ndarray):
        return answer.dtype.kind == "f"
    if isinstance(answer, list | tuple):
        return any(isinstance(value, float | np.floating) or has_points(value) for value in answer)
    return False


def pair(answer: Any) -> tuple[float, float]:
    """Two numbers, in a list, a tuple, a tensor, an array or a generator."""
    wanted = "two numbers are wanted, in this order: (first, second)"
    row = _row(answer, wanted)
    if len(row) == 1 and _is_row(row[0]):
        row = _row(row[0], wanted)
    if len(row) != 2:
        raise Hint(f"{wanted}.")
    return number(row[0]), number(row[1])


def _is_row(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return False
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim > 0
    return isinstance(value, Iterable)


def _row(answer: Any, wanted: str) -> list[Any]:
    """What stands in a list or its like, in its order."""
    if isinstance(answer, Set | Mapping):
        kind = type(answer).__name__
        raise Hint(f"{wanted}, and a {kind} keeps no order: write a list, [first, second, ...].")
    if not _is_row(answer):
        raise Hint(f"{wanted}, and this is {brief(answer)}.")
    try:
        return list(islice(answer, MOST))
    except Exception:
        raise Hint(f"{wanted}, and this is {brief(answer)}.") from None


def alone(answer: Any) -> Any:
    """What stands alone in a list, a tensor or an array, however deep; else the answer itself."""
    for _ in range(10):
        if isinstance(answer, np.ndarray) and answer.size == 1:
            return answer.item()
        if not isinstance(answer, list | tuple | Tensor) or not _is_row(answer) or len(answer) != 1:
            break
        answer = answer[0]
    return answer


def called(answer: Any, *arguments: Any, like: Tensor) -> Tensor:
    """Call the learner's function, with copies: a finite result of the shape of ``like``.

    It is float64, unless the function itself gives fewer digits than float32 has: then its type
    stays, and `near` is as patient.
    """
    if not callable(answer):
        raise Hint(f"a function is wanted, and this is {brief(answer)}. Give its name, uncalled.")
    copies = [p.clone() if isinstance(p, Tensor) else p for p in arguments]
    try:
        with printing(answer), changing(arguments, copies):
            result = answer(*copies)
    except (Exception, SystemExit) as error:
        raise Hint(f"your function stopped with {type(error).__name__}: {error}") from None
    if result is None:
        raise Hint("your function gives None: does it end in `return`?")
    try:
        result = _as_tensor(result).detach().cpu()
    except Exception:
        raise Hint(f"your function should give a tensor, and gives {brief(result)}.") from None
    if result.is_complex():
        raise Hint("the result is complex, and should be real.")
    if result.dtype not in (torch.float16, torch.bfloat16):
        result = result.double()
    if result.shape != like.shape and result.numel() == like.numel() == 1:
        result = result.reshape(like.shape)
    if result.shape != like.shape:
        raise Hint(f"the result should have shape {list(like.shape)}, not {list(result.shape)}.")
    if not result.isfinite().all():
        raise Hint("the result is not finite: is there a division by 0, or a root of less than 0?")
    return result


def _as_tensor(result: Any) -> Tensor:
    """Of a number, an array, a tensor, or a list of any of them."""
    if isinstance(result, list | tuple) and any(isinstance(part, Tensor) for part in result):
        return torch.stack([_as_tensor(part) for part in result])
    if isinstance(result, Fraction):
        return torch.tensor(float(result))
    return torch.as_tensor(result)


def brief(value: Any) -> str:
    """A value in few words, whatever it is."""
    try:
        text = repr(value)
    except Exception:
        text = type(value).__name__
    return text if len(text) <= 40 else f"a {type(value).__name__}"


def near(a: float | Tensor, b: float | Tensor, tolerance: float = 1e-4) -> bool:
    """Equal up to the tolerance, everywhere, or to the digits that a number of 16 bits has."""
    coarse = 0.0
    for x in (a, b):
        if isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16):
            coarse = max(coarse, 4 * torch.finfo(x.dtype).eps)
    a, b = (torch.as_tensor(x, dtype=torch.float64) for x in (a, b))
    return bool(((a - b).abs() <= tolerance + coarse * b.abs()).all())


def normal(*shape: int) -> Tensor:
    """The same normal numbers every time, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
