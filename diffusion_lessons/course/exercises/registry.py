"""The register of the exercises, and `check`, which looks an exercise up in it.

It stands apart from the package's ``__init__``, which imports the lessons' files: they import this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ... import checks
from ...math.randomness import own_numbers
from .attempts import OutOfTime, one_attempt, within


class Hint(Exception):
    """Why an answer is not right yet, and what to think of next."""


@dataclass(frozen=True)
class Verdict:
    """What `check` answers. ``right`` is None while there is no answer."""

    name: str
    right: bool | None
    words: str

    def __str__(self) -> str:
        mark = {None: "Not answered yet", False: "Not yet", True: "Right"}[self.right]
        return f"{mark}: {self.words}"

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        mark, _, words = str(self).partition(": ")
        sign = {None: "○", False: "✗", True: "✓"}[self.right]
        return f"{sign} **{mark}.** {words}"


CHANGES = (
    " (Your function also changes what it is given, here a copy: elsewhere the caller's tensor "
    "would be changed. `x = x + 1` makes a new one, `x += 1` does not.)"
)

Check = Callable[[Any], str]
CHECKS: dict[str, Check] = {}


def check(name: str, answer: Any = None, *, seconds: float = 10) -> Verdict:
    """Is this the answer to exercise ``name``, such as "03.2"? Raises ValueError for no exercise.

    None, or a tuple that holds None, is no answer yet. A function must come to an end within so
    many ``seconds``, all its calls together.
    """
    if name not in CHECKS:
        raise ValueError(f"no exercise {name!r}; there are {', '.join(sorted(CHECKS))}")
    checks.positive("seconds", seconds)
    if answer is None or (isinstance(answer, tuple) and any(part is None for part in answer)):
        return Verdict(name, None, "put your answer in place of None, and run the cell again.")
    changed: list[bool] = []
    try:
        # A check draws numbers of its own, the same each time.
        with own_numbers(0), one_attempt() as changed:
            words = within(seconds, lambda: CHECKS[name](answer))
        return Verdict(name, True, words + (CHANGES if changed else ""))
    except Hint as hint:
        return Verdict(name, False, str(hint) + (CHANGES if changed else ""))
    except OutOfTime:
        words = f"it had not come to an end after {seconds:g} seconds: is there a loop that never "
        words += f"ends? If it is only slow: `check({name!r}, ..., seconds={6 * seconds:g})`."
        return Verdict(name, False, words)
    except Exception as error:  # nothing that a learner returns may stop the notebook
        kind = type(error).__name__
        return Verdict(name, False, f"this answer could not be used ({kind}: {error}).")


def exercise(name: str) -> Callable[[Check], Check]:
    """Register the check of an exercise."""

    def register(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return register
