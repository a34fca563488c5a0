"""03, DDIM: the checks of its exercises."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ...math.exact import GaussianMixture
from ...math.sampling import ddim_step, final, sample
from ...math.schedule import linear_schedule
from .reading import called, choice, integers, near, normal
from .registry import Hint, exercise


@exercise("03.1")
def minus_the_noise(answer: Any) -> str:
    hints = {
        "a": "the network has only ever seen white digits on black. Would it draw a negative?",
        "b": "the label says which digit it is. What says how it is written?",
    }
    choice(answer, hints, "c")
    return (
        "the label says which digit, the noise says in which hand. A code has a meaning only "
        "through the network."
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
        raise Hint("better than 900. What does `distance` say of the third list?")
    return "the second call answers with a mean, and at 250 little is left open."


@exercise("03.3")
def step_up(answer: Any) -> str:
    x_s, noise = normal(2, 6)
    a_s, a_t = torch.tensor(0.8).double(), torch.tensor(0.3).double()
    result = called(answer, x_s, noise, a_s, a_t, like=x_s)
    x_0 = (x_s - (1 - a_s).sqrt() * noise) / a_s.sqrt()
    swapped = (x_s - (1 - a_t).sqrt() * noise) / a_t.sqrt()
    slips = [
        (
            a_t.sqrt() * x_s + (1 - a_t).sqrt() * noise,
            "x_s was put in place of x_0. Find x_0 from x_s and the noise first.",
        ),
        (x_0, "this is x_0. Now noise it up to t, with the same noise."),
        (
            (a_t / a_s).sqrt() * x_s + (1 - a_t / a_s).sqrt() * noise,
            "this is the forward process, which adds fresh noise. Here it stays the same.",
        ),
        (
            a_s.sqrt() * swapped + (1 - a_s).sqrt() * noise,
            "a_s and a_t have changed places: x_s is a picture at s, and goes up to t.",
        ),
        (
            a_t.sqrt() * a_s.sqrt() * x_0 + (1 - a_t).sqrt() * noise,
            "x_s without its noise is sqrt(a_s) x_0, and not yet x_0.",
        ),
        (
            a_t * (x_s - (1 - a_s) * noise) / a_s + (1 - a_t) * noise,
            "the a are shares of the variance; what multiplies a picture or noise is a root.",
        ),
        (
            a_t.sqrt() * x_0 + (1 - a_s).sqrt() * noise,
            "the picture is that of time t, the noise still that of s.",
        ),
        (
            a_t.sqrt() * x_0,
            "this is x_0 at the size that it has at t. At t there is noise as well.",
        ),
        (
            a_t.sqrt() * (x_s + (1 - a_s).sqrt() * noise) / a_s.sqrt() + (1 - a_t).sqrt() * noise,
            "x_s holds its noise already: to find x_0, is it added or taken away?",
        ),
    ]
    for slip, hint in slips:
        if near(result, slip):
            raise Hint(hint)
    if not near(result, a_t.sqrt() * x_0 + (1 - a_t).sqrt() * noise):
        raise Hint(
            "two steps: which x_0 belongs to x_s and this noise? And what is x_t for that x_0?"
        )
    return "the same formula, s and t exchanged; with the same noise it undoes the step down."


@exercise("03.4")
def direction(answer: Any) -> str:
    for a, s in [(0.5, 0.3), (0.9, 0.2)]:
        a_s, sigma = torch.tensor(a).double(), torch.tensor(s).double()
        result = called(answer, a_s, sigma, like=a_s)
        if near(result, (1 - a_s).sqrt()):
            raise Hint("this is the faulty factor: it makes no room for the fresh noise.")
        if near(result, (1 - a_s).sqrt() - sigma) or near(result, (1 - a_s - sigma).sqrt()):
            raise Hint("it is variances that add up, not standard deviations; sigma is one.")
        if near(result, 1 - a_s - sigma**2):
            raise Hint("the variance is right; the factor is its root.")
        if near(result, (1 - a_s + sigma**2).sqrt()):
            raise Hint("fresh noise is added, so of the old there must be less, not more.")
        if not near(result, (1 - a_s - sigma**2).sqrt()):
            raise Hint("old and new noise together must have the variance 1 - alpha_bar_s.")
    return "old noise (1 - a_s - sigma^2) and new (sigma^2) together have just 1 - a_s."


@exercise("03.5")
def my_sampler(answer: Any) -> str:
    schedule = linear_schedule()
    mixture = GaussianMixture(
        torch.tensor([[-1.0], [1.0]]), torch.full((2,), 0.3), torch.full((2,), 0.5)
    )
    x_T, times, a = normal(6, 1), schedule.times(8), schedule.alpha_bar
    denoiser = mixture.denoiser(schedule)

    def walk(step: Callable[..., Tensor]) -> Tensor:
        x = x_T
        for t, s in pairwise(times):
            x = step(x, denoiser(x, t), a[t], a[s])
        return x

    def noise(x: Tensor, x0_hat: Tensor, a_t: Tensor) -> Tensor:
        return (x - a_t.sqrt() * x0_hat) / (1 - a_t).sqrt()

    right = list(sample(denoiser, x_T, schedule, step=ddim_step, times=times))
    result = called(answer, denoiser, x_T, times, a, like=x_T)
    slips = [
        (x_T, "x came back as it went in. Does each step put its result, at time s, into x?"),
        (right[1].x, "this is x after one step. Does `return` stand inside the loop?"),
        (
            walk(lambda x, x0_hat, a_t, a_s: x0_hat),
            "only the guess is kept. What must be put back to make it a picture at s?",
        ),
        (
            walk(lambda x, x0_hat, a_t, a_s: a_s * x0_hat + (1 - a_s) * noise(x, x0_hat, a_t)),
            "alpha_bar is a share of the variance; what multiplies a picture or noise is a root.",
        ),
        (
            walk(
                lambda x, x0_hat, a_t, a_s: (
                    a_s.sqrt() * x0_hat + (1 - a_t).sqrt() * noise(x, x0_hat, a_t)
                )
            ),
            "as much noise was put back as there was at t. At s there is less.",
        ),
        (
            walk(
                lambda x, x0_hat, a_t, a_s: (
                    a_s.sqrt() * x0_hat + (1 - a_s).sqrt() * (x - a_t.sqrt() * x0_hat)
                )
            ),
            "x without its guess is the noise at the size that it has at t. Bring it to size 1.",
        ),
        (
            walk(lambda x, x0_hat, a_t, a_s: x0_hat + (1 - a_s).sqrt() * noise(x, x0_hat, a_t)),
            "the guess went in at full size. How much of a picture is left at time s?",
        ),
    ]
    for slip, hint in slips:
        if near(result, slip):
            raise Hint(hint)
    if not near(result, called(answer, denoiser, x_T, times, a, like=x_T)):
        raise Hint("two runs from the same noise differ. With eta = 0 nothing random is drawn.")
    if not near(result, final(right).x):
        raise Hint(
            "it runs, but goes elsewhere. Each step: the noise that x holds at t, then a picture "
            "at s of the guess and that noise."
        )
    return "three lines, and any network that was trained on noise can draw."
