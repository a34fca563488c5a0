"""01, Forward noising: the checks of its exercises."""

from typing import Any

import torch

from ...math.gaussian import forward
from ...math.schedule import linear_schedule
from .reading import called, near, normal, number, pair
from .registry import Hint, exercise


@exercise("01.1")
def equally_strong(answer: Any) -> str:
    t, alpha_bar = number(answer), linear_schedule().alpha_bar
    if t != int(t) or not 0 <= t <= 1000:
        raise Hint("a time is a whole number in 0..1000.")
    share = float(alpha_bar[int(t)])
    if int(t) not in (258, 259):
        word = "early: the signal is still stronger" if share > 0.5 else "late: the noise has won"
        raise Hint(f"at t = {int(t)} alpha_bar is {share:.3f}. Too {word}.")
    return "a quarter of the way, and half of the variance is noise already."


@exercise("01.2")
def betas_for_100_steps(answer: Any) -> str:
    beta_T = number(answer)
    if not 0 < beta_T < 1:
        raise Hint("beta is the variance added by one step: it lies between 0 and 1.")
    left = float(linear_schedule(100, beta_T=beta_T).alpha_bar[-1].sqrt())
    if not 0.0095 <= left <= 0.0105:
        word = "larger" if left > 0.01 else "smaller"
        raise Hint(f"this leaves {left:.4f} of the picture, and 0.01 is wanted: try a {word} one.")
    return "when T shrinks ten times, the betas must grow about ten times."


@exercise("01.3")
def jump_between(answer: Any) -> str:
    factor, std = pair(answer)
    step = forward(torch.ones(1).double(), 100, 300, linear_schedule())
    right = float(step.mean), float(step.std)
    if near(factor, right[0] ** 2, 1e-3):
        raise Hint("this factor is the ratio of the alpha_bars. It multiplies x, not its variance.")
    if near(factor, 1 / right[0], 1e-2):
        raise Hint("the factor is upside down: less must be left at t than at s.")
    if not near(factor, right[0], 1e-3):
        raise Hint("the factor times sqrt(alpha_bar_s) must be sqrt(alpha_bar_t).")
    if near(std, right[1] ** 2, 1e-3):
        raise Hint("the factor is right; the second number is the variance. Take its root.")
    if not near(std, right[1], 1e-3):
        raise Hint(
            "the factor is right. For the noise: factor^2 (1 - alpha_bar_s), which x_s has "
            "already, plus what is added must be 1 - alpha_bar_t."
        )
    return "forward(x, 100, 300, schedule) has just this mean and standard deviation."


@exercise("01.4")
def mended_noising(answer: Any) -> str:
    x_0, noise = normal(2, 1000)
    for value in (0.4, 0.9):
        a = torch.tensor(value, dtype=torch.float64)
        result = called(answer, x_0, noise, a, like=x_0)
        if near(result, a * x_0 + (1 - a) * noise):
            raise Hint("this is the faulty line itself: its squares do not sum to 1.")
        if near(result, a * x_0 + (1 - a).sqrt() * noise):
            raise Hint("the noise is right, the picture is not: its squares must sum to 1 as well.")
        if near(result, a.sqrt() * x_0 + (1 - a) * noise):
            raise Hint("the picture is right. What is the variance of the noise here?")
        if near(result, (1 - a).sqrt() * x_0 + a.sqrt() * noise):
            raise Hint("the two coefficients are exchanged: at alpha_bar = 1 there is no noise.")
        if not near(result, a.sqrt() * x_0 + (1 - a).sqrt() * noise):
            raise Hint("compare with equation 4 of the paper, root by root.")
    return "the squares of the coefficients sum to 1, so the variance stays 1."
