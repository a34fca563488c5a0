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
    if int(t) == 258:
        raise Hint(
            "one off: alpha_bar[0] = 1 is clean data, and the entry at place t belongs to time t."
        )
    if int(t) == 368:
        raise Hint("here the *root* of alpha_bar is 1/2. Strengths are compared as variances.")
    if int(t) in (327, 328):
        raise Hint("here the ratio of signal to noise is 1/2. What is it if both are equal?")
    if int(t) != 259:
        word = "early: the signal is still stronger" if share > 0.5 else "late: the noise has won"
        raise Hint(
            f"at t = {int(t)} alpha_bar is {share:.3f}. Too {word}. `schedule.alpha_bar` has it "
            "for every t: which entry is nearest to a half?"
        )
    return "about a quarter of the way, and half of the variance is noise already."


@exercise("01.2")
def betas_for_100_steps(answer: Any) -> str:
    beta_T = number(answer)
    if not 0 < beta_T < 1:
        raise Hint("beta is the variance added by one step: it lies between 0 and 1.")
    left = float(linear_schedule(100, beta_T=beta_T).alpha_bar[-1].sqrt())
    if 0.095 <= left <= 0.105:
        raise Hint(f"this leaves {left:.3f}, and its square is 0.01: the root is wanted.")
    if not 0.0085 <= left <= 0.0115:  # 1 %, rounded
        word = "larger" if left > 0.01 else "smaller"
        raise Hint(f"this leaves {left:.4f} of the picture, and 0.01 is wanted: try a {word} one.")
    return "with a tenth of the steps the largest beta must be about nine times as large."


@exercise("01.3")
def jump_between(answer: Any) -> str:
    factor, std = pair(answer)
    a_s, a_t = (float(linear_schedule().alpha_bar[t]) for t in (100, 300))
    step = forward(torch.ones(1).double(), 100, 300, linear_schedule())
    right = float(step.mean), float(step.std)
    if close(factor, right[1]) and close(std, right[0]):
        raise Hint("the two are exchanged: the factor of x_s comes first.")
    if close(factor, right[0] ** 2):
        raise Hint("this factor is the ratio of the alpha_bars. It multiplies x, not its variance.")
    if close(factor, 1 / right[0]):
        raise Hint("the factor is upside down: less must be left at t than at s.")
    if close(factor, a_t**0.5):
        raise Hint("this is the factor of the jump from x_0, but x_s has shrunk already.")
    if not close(factor, right[0]):
        raise Hint("the factor times sqrt(alpha_bar_s) must be sqrt(alpha_bar_t).")
    if close(std, right[1] ** 2):
        raise Hint("the factor is right; the second number is the variance. Take its root.")
    if any(close(std, (a_s - a_t) ** power) for power in (0.5, 1)):
        raise Hint(
            "the factor is right. For the noise: that of x_s shrinks on the way, too, so it is "
            "less than 1 - alpha_bar_s that is there already."
        )
    if not close(std, right[1]):
        raise Hint(
            "the factor is right. For the noise: factor^2 (1 - alpha_bar_s), which x_s has "
            "already, plus what is added must be 1 - alpha_bar_t."
        )
    return "forward(x, 100, 300, schedule) has just this mean and standard deviation."


def close(a: float, b: float) -> bool:
    """Equal, or rounded to two decimals, even of three."""
    return near(a, b, 0.006)


@exercise("01.4")
def mended_noising(answer: Any) -> str:
    x_0, noise = normal(2, 1000)
    for value in (0.4, 0.9):
        a = torch.tensor(value, dtype=torch.float64)
        result = called(answer, x_0, noise, a, like=x_0)
        if not near(called(answer, x_0, noise, a, like=x_0), result):
            raise Hint("called twice it gives two results: take the noise that is handed in.")
        if near(result, a * x_0 + (1 - a) * noise):
            raise Hint("this is the faulty line itself: its squares do not sum to 1.")
        if near(result, a * x_0 + (1 - a).sqrt() * noise):
            raise Hint("the noise is right, the picture is not: the squares must sum to 1.")
        if near(result, a.sqrt() * x_0 + (1 - a) * noise):
            raise Hint("the picture is right. What is the variance of the noise here?")
        if near(result, a.sqrt() * x_0 + (1 - a.sqrt()) * noise):
            raise Hint("the picture is right. 1 minus a root is not the root of 1 minus.")
        if near(result, a.sqrt() * x_0):
            raise Hint("the picture is right, but where is the noise?")
        if near(result, a.sqrt() * x_0 + noise):
            raise Hint("the picture is right, but the noise has no factor: the squares exceed 1.")
        if near(result, a * x_0 + (1 - a**2).sqrt() * noise):
            raise Hint("these squares sum to 1, but alpha_bar is a share of the *variance*.")
        if near(result, a**2 * x_0 + (1 - a) ** 2 * noise):
            raise Hint("these are squared, and it is their squares that must sum to 1.")
        if near(result, (1 - a).sqrt() * x_0 + a.sqrt() * noise):
            raise Hint("the two coefficients are exchanged: at alpha_bar = 1 there is no noise.")
        if not near(result, a.sqrt() * x_0 + (1 - a).sqrt() * noise):
            raise Hint("compare with equation 4 of the paper, root by root.")
    return "the squares of the coefficients sum to 1, so the variance stays 1."
