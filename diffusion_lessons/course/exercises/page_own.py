"""Your own pictures: the checks of that page's exercises."""

from typing import Any

import torch

from .reading import called, near, number
from .registry import Hint, exercise


@exercise("own.1")
def nearer_by_chance(answer: Any) -> str:
    share = number(answer)
    if near(share, 1 / 6, 0.004):
        raise Hint("this is the share of those held out. Which pictures are asked for?")
    if near(share, 1 / 5, 0.004) or near(share, 5, 0.05):
        raise Hint("this is the one number over the other. What is the share of 500 among *all*?")
    if near(share, 0.9, 0.004):
        raise Hint("so it is where one picture in ten is held out. Here it is one in six.")
    if near(share, 0.5, 0.004):
        raise Hint("so it is where as many are held out as are trained on, as in the curve above.")
    if not near(share, 5 / 6, 0.004):
        raise Hint("any of the 600 may be the nearest; how many of them were trained on?")
    return "to a network that copies nothing, the 600 are all alike."


@exercise("own.2")
def passes(answer: Any) -> str:
    count = number(answer)
    if near(count, 1200 * 64 / 6000, 0.1):
        raise Hint("of the 6,000 one in ten is held out, and never seen.")
    if near(count, 5400 / 64, 1) or near(count, 6000 / 64, 1):
        raise Hint("so many updates make one pass. How many passes are 1,200 updates?")
    if near(count, 1200, 1):
        raise Hint("so often it would be if each update saw all pictures. It sees 64.")
    if near(count, 76_800, 1):
        raise Hint("so many pictures are seen, each counted as often as it is. Divide by how many.")
    if not near(count, 1200 * 64 / 5400, 0.3):
        raise Hint("1,200 updates see 64 pictures each, of 5,400 that are trained on.")
    return "fourteen passes: too few to learn 5,400 pictures by heart."


@exercise("own.3")
def share_of_copies(answer: Any) -> str:
    first = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.9, 0.5, 0.2, 0.7, 0.3])
    second = torch.tensor([0.5, 0.3, 1.2, 0.6, 1.0, 1.4, 0.9, 0.8, 0.5])
    copies = first < second / 3  # three of nine
    share = called(answer, first, second, like=torch.tensor(0.0))
    if near(share, copies.sum()):
        raise Hint("this is how many there are. What is their share?")
    if near(share, (~copies).double().mean()):
        raise Hint("this is the share of those that are *no* copies: turn the comparison round.")
    if near(share, (second < first / 3).double().mean()):
        raise Hint("exchanged: `first` is the distance of the nearest picture, the smaller one.")
    if near(share, (first < 1 / 3).double().mean()):
        raise Hint("a third of what? Of the distance of the second nearest.")
    if near(share, (first < second).double().mean()):
        raise Hint("the nearest is always nearer than the second. Nearer than a third of it?")
    if not near(share, copies.double().mean()):
        raise Hint("compare each `first` with a third of its `second`, and take the mean.")
    return "a ratio needs no yardstick: it tells copies of any pictures from mere likeness."
