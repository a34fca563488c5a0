"""The final test: its items, made with the package's own code.

Every answer is computed, every plot is drawn by what it asks about: the faulty lines of the
find-the-bug items are the lines that ran. Each kind of item has a file here.
`diffusion_lessons.page.widgets.FinalTest` shows the items and grades them in the page.
"""

from . import bugs, matching, numbers, plots
from .item import Item

__all__ = ["Item", "final_test"]


def final_test(seed: int = 0, variants: int = 12) -> list[Item]:
    """All items, in the order of the test; runs the shipped networks for some seconds.

    ``variants`` is how many sets of numbers each numeric item has; the page draws one of them.
    """
    return [
        *matching.items(),
        *numbers.items(seed, variants),
        *bugs.items(seed),
        *plots.items(seed),
    ]
