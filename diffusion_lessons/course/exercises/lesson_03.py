"""03, DDIM: the checks of its exercises."""

from typing import Any

import torch

from .reading import called, choice, integers, near, normal
from .registry import Hint, exercise


@exercise("03.1")
def minus_the_noise(answer: Any) -> str:
    hints = {
        "a": "the network has only ever seen white digits on black. Would it know a negative?",
        "b": "with eta = 0 the noise decides everything, and this is another noise.",
    }
    choice(answer, hints, "c")
    return (
        "white digits on black, as ever, but other ones. A code has a meaning only through the "
        "network."
    )


@exercise("03.2")
def middle_time(answer: Any) -> str:
    times = integers(answer)
    if len(times) != 3 or times[0] != 1000 or times[2] != 0:
        raise Hint("the whole list is wanted: 1000, a time between, 0.")
    if times[1] not in (900, 500, 250):
        raise Hint("choose the middle time among 900, 500 and 250.")
    if times[1] == 900:
        raise Hint("the second call draws the finished picture. What is decided at 900?")
    if times[1] == 500:
        raise Hint(
            "better than 900, but look again: which leaves the least open for the last call?"
        )
    return "the second call answers with a mean, and at 250 little is left open."


@exercise("03.3")
def step_up(answer: Any) -> str:
    x_s, noise = normal(2, 6)
    a_s, a_t = torch.tensor(0.8).double(), torch.tensor(0.3).double()
    result = called(answer, x_s, noise, a_s, a_t, like=x_s)
    x_0 = (x_s - (1 - a_s).sqrt() * noise) / a_s.sqrt()
    if near(result, a_t.sqrt() * x_s + (1 - a_t).sqrt() * noise):
        raise Hint("x_s was put in the place of x_0. Find x_0 from x_s and the noise first.")
    if near(result, x_0):
        raise Hint("this is x_0. Now noise it up to t, with the same noise.")
    if near(result, (a_t / a_s).sqrt() * x_s + (1 - a_t / a_s).sqrt() * noise):
        raise Hint("this is the forward process, which adds fresh noise. Here it stays the same.")
    if not near(result, a_t.sqrt() * x_0 + (1 - a_t).sqrt() * noise):
        raise Hint(
            "equation 12 with s and t exchanged, sigma = 0: sqrt(a_t) x_0 + sqrt(1 - a_t) noise."
        )
    return "the same formula, s and t exchanged; with the same noise it undoes the step down."


@exercise("03.4")
def direction(answer: Any) -> str:
    for a, s in [(0.9, 0.2), (0.5, 0.6)]:
        a_s, sigma = torch.tensor(a).double(), torch.tensor(s).double()
        result = called(answer, a_s, sigma, like=a_s)
        if near(result, (1 - a_s).sqrt()):
            raise Hint("this is the faulty factor: it makes no room for the fresh noise.")
        if near(result, (1 - a_s).sqrt() - sigma):
            raise Hint("it is variances that add up, not standard deviations.")
        if near(result, 1 - a_s - sigma**2):
            raise Hint("the variance is right; the factor is its root.")
        if not near(result, (1 - a_s - sigma**2).sqrt()):
            raise Hint("old and new noise together must have the variance 1 - alpha_bar_s.")
    return "old noise (1 - a_s - sigma^2) and new (sigma^2) together have just 1 - a_s."
