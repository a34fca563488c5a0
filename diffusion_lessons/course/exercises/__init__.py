"""Exercises that answer: an attempt is checked, and one that is not right yet gets a hint.

``check("03.2", answer)`` stands at the end of an exercise's cell. A check never fails on what a
learner gives it: whatever is wrong with an answer is said in words. Each lesson has a file here,
``lesson_NN.py``, and so has a page of the book that has exercises, ``page_NAME.py``; they are
imported because they are there. In it each exercise has one function, registered by
``@exercise("NN.N")`` or ``@exercise("NAME.N")``; it raises `Hint` with what to think of next, or
returns the reason why the answer is right.
"""

from importlib import import_module
from pkgutil import iter_modules

from .registry import CHECKS, Check, Hint, Verdict, check, exercise

__all__ = ["CHECKS", "Check", "Hint", "Verdict", "check", "exercise"]

for _module in iter_modules(__path__, f"{__name__}."):
    if _module.name.rpartition(".")[2].startswith(("lesson_", "page_")):
        import_module(_module.name)
