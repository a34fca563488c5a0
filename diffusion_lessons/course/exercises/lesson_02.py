"""02, DDPM: the checks of its exercises."""

from typing import Any

import torch

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
    if near(weight_0, right[1], 1e-6) and near(weight_t, right[0], 1e-6):
        raise Hint("exchanged: first the weight of x_0, then that of x_t.")
    if not near(weight_t, right[1], 1e-6):
        raise Hint("the weight of x_t has the factor 1 - alpha_bar_{t-1}. What is alpha_bar_0?")
    if not near(weight_0, right[0], 1e-6):
        raise Hint("for x_0: alpha_bar_0 = 1, and beta_1 over 1 - alpha_bar_1 is ...?")
    return "whatever x_1 is, the last step ends on the guess itself."


@exercise("02.4")
def times_to_train(answer: Any) -> str:
    B = 200_000
    t = called(answer, B, like=torch.zeros(B))
    if (t != t.round()).any():
        raise Hint("times are whole numbers.")
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
