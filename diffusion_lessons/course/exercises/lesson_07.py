"""07, The trilemma: the checks of its exercises."""

from collections.abc import Sequence
from typing import Any

import torch

from ...measuring.metrics import precision_recall
from .reading import called, choice, near, normal, number
from .registry import Hint, exercise


@exercise("07.1")
def one_perfect_seven(answer: Any) -> str:
    hints = {
        "b": "precision asks the samples: are you near real digits? Is a typical 7?",
        "c": "ask each alone. Are all samples near real digits? All real digits near a sample?",
    }
    choice(answer, hints, "a")
    return "each sample lies among real 7s, and hardly any real digit lies near a sample."


@exercise("07.2")
def fewer_calls(answer: Any) -> str:
    speed = number(answer)
    if near(speed, 16, 0.5):
        raise Hint("fewer calls make it faster, not slower.")
    if near(speed, 40, 0.5):
        raise Hint("this is the speed with 25 calls. The calls are nearly all of the work.")
    if near(speed, 400, 0.5):
        raise Hint("this is 40 times 10: as if each picture came with ten more. Begin with calls.")
    if near(speed, 1000, 0.5):
        raise Hint("this is how many calls it makes a second. How many pictures are they, at 10?")
    if not near(speed, 100, 1):
        raise Hint("40 pictures of 25 calls are so many calls a second; divide by the new number.")
    return "1,000 calls a second, whatever they are used for."


@exercise("07.3")
def dominated(answer: Any) -> str:
    def beaten(a: Sequence[float], b: Sequence[float]) -> bool:
        rows = (torch.tensor(x, dtype=torch.float64) for x in (a, b))
        return bool(called(answer, *rows, like=torch.tensor(0.0)))

    def one_of(row: list[float], other: list[float]) -> list[list[float]]:
        """A row with one side of another, each in turn."""
        return [[*row[:i], other[i], *row[i + 1 :]] for i in range(3)]

    worse, good, better = [0.85, 0.7, 20.0], [0.9, 0.8, 50.0], [0.95, 0.9, 60.0]
    if beaten(good, worse) and not beaten(worse, good):
        raise Hint("exchanged: is *b* the better one?")
    if any(beaten(good, b) for b in [*one_of(better, worse), *one_of(worse, better)]):
        raise Hint("b must be at least as good in *all* three, not in some.")
    if not all(beaten(good, b) for b in one_of(good, better)):
        raise Hint("b may be equal in some, if it is better in one, whichever that is.")
    if beaten(good, good):
        raise Hint("two equal methods: neither is better anywhere, so neither is beaten.")
    if not beaten(good, better):
        raise Hint("b is better in all three here, and so a is beaten.")
    return "who is beaten by nobody stands on the front; which of those to take is your choice."


@exercise("07.4")
def mended_order(answer: Any) -> str:
    wide = normal(60, 2)
    narrow = 0.3 * normal(120, 2)[60:]
    result = called(answer, wide, narrow, like=torch.zeros(2))
    precision, recall = precision_recall(wide, narrow)
    if near(result, torch.tensor([recall, precision])):
        raise Hint("this is the faulty line. What is real, and what are the samples?")
    if near(result[0], result[1]):
        raise Hint("both the same? One of them is of the samples, the other of the real ones.")
    if not near(result, torch.tensor([precision, recall])):
        raise Hint("`precision_recall` takes the real features first, then those of the samples.")
    return "narrow samples are precise and miss much; with the two exchanged they seem diverse."
