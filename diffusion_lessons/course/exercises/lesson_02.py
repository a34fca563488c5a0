"""02, DDPM: the checks of its exercises."""

from typing import Any

import torch
from torch import Tensor

from ...math.gaussian import posterior
from ...math.schedule import linear_schedule
from .reading import called, choice, near, pair
from .registry import Hint, exercise


@exercise("02.1")
def blind_guess(answer: Any) -> str:
    hints = {
        "a": "squared error is smallest for the mean. Is one certain digit the mean of all digits?",
        "b": "it has never seen this picture, but it knows what digits look like on average.",
    }
    choice(answer, hints, "c")
    return (
        "nothing is known yet, and the mean of all digits is the best answer in squared error. (At "
        "t = 1000 it is grainy: the network's own errors are enlarged 157 times.)"
    )


@exercise("02.2")
def where_clipping_helps(answer: Any) -> str:
    hints = {
        "a": "look at `steps[-1].x.abs().max()`: is it far above 1?",
        "c": "look at `steps[0].x0_hat.abs().max()`, the guess at the start of the walk.",
    }
    choice(answer, hints, "b")
    return (
        "the wild guesses stand at the start of the walk, and a well trained network repairs them "
        "in its later steps; clipping is insurance."
    )


@exercise("02.3")
def weights_at_1(answer: Any) -> str:
    weight_0, weight_t = pair(answer)
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    schedule = linear_schedule()
    right = (
        float(posterior(zero, one, 1, 0, schedule).mean),
        float(posterior(one, zero, 1, 0, schedule).mean),
    )
    rounding = 1e-3  # of 1 - alpha_bar_1 in float32
    exact = 1e-6  # 1 - alpha_bar_0 is 0 in every format
    if near(weight_0, right[1], rounding) and near(weight_t, right[0], rounding):
        raise Hint("exchanged: first the weight of x_0, then that of x_t.")
    if near(weight_0 + weight_t, 1, rounding) and not near(weight_t, 0, exact):
        raise Hint(
            "they need not be shares of one whole. Put t = 1 into equation 7: what is alpha_bar_0?"
        )
    if not near(weight_t, right[1], exact):
        raise Hint("the weight of x_t has the factor 1 - alpha_bar_{t-1}. What is alpha_bar_0?")
    if near(weight_0, float(schedule.beta[1]), 1e-6):
        raise Hint("that is beta_1 alone: it still has to be divided by 1 - alpha_bar_1.")
    if not near(weight_0, right[0], rounding):
        raise Hint("for x_0: alpha_bar_0 = 1, and beta_1 over 1 - alpha_bar_1 is ...?")
    return "whatever x_1 is, the last step ends on the guess itself."


@exercise("02.4")
def times_to_train(answer: Any) -> str:
    B = 200_000
    every = torch.zeros(B)
    t = times_of(answer, B, like=every)
    if (t != t.round()).any():
        raise Hint("times are whole numbers.")
    if (t == t[0]).all():
        raise Hint("it draws one time for the whole batch; each picture should get its own.")
    if torch.equal(t, times_of(answer, B, like=every)):
        raise Hint("it gives the same times at every call; they should be drawn anew by chance.")
    low, high = int(t.min()), int(t.max())
    if low < 1:
        raise Hint(f"it draws t = {low}, where there is no noise to be named.")
    if high > 1000:
        raise Hint(f"it draws t = {high}, beyond the schedule.")
    if high < 1000:
        raise Hint(
            f"its largest time in {B:,} draws is {high}, but every sample starts at 1000. "
            "`torch.randint` leaves its upper bound out."
        )
    if low > 1:
        raise Hint(f"its smallest time in {B:,} draws is {low}: the last step is never trained.")
    counts = torch.bincount(t.long(), minlength=1001)[1:]
    if counts.max() > 2 * counts.min().clamp(min=1):
        raise Hint("some times come far more often than others; the loss wants them evenly.")
    return "every time from 1 to T, both included, equally often."


def times_of(answer: Any, B: int, like: Tensor) -> Tensor:
    """The learner's times, with a hint at what torch and a lone number make of a batch."""
    try:
        return called(answer, B, like=like)
    except Hint as hint:
        if "randint() received an invalid combination" in str(hint):
            raise Hint("`torch.randint` wants the shape as a tuple: `(B,)`, not `B`.") from None
        if "should have shape" in str(hint):
            raise Hint(f"{hint} Each of the B pictures gets a time of its own.") from None
        raise
