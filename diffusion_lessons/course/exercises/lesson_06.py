"""06, Denoising diffusion GANs: the checks of its exercises."""

from typing import Any

import torch

from ...math.gaussian import Gaussian, forward, posterior
from ...math.schedule import vp_schedule
from .reading import called, choice, near, normal, number, pair
from .registry import Hint, exercise


@exercise("06.1")
def nothing_left_to_chance(answer: Any) -> str:
    hints = {
        "a": "without z and from one start: what could make two points differ?",
        "b": "for that some noise must be added on the way. Does a step to s = 0 add any?",
    }
    choice(answer, hints, "c")
    return (
        "no z, one start, and the posterior adds no noise at s = 0: each point is drawn alike. "
        "With T = 4 the other three steps add some."
    )


@exercise("06.2")
def cost_of_a_call(answer: Any) -> str:
    ratio = number(answer)
    if near(ratio, 383, 1):
        raise Hint("this is how many times faster it is. Now divide by how many calls fewer.")
    if near(ratio, 250, 1):
        raise Hint("this is how many calls fewer. Divide the speed-up by it.")
    if near(ratio, 250 / 383.3, 0.02):
        raise Hint("upside down: the speed-up divided by the ratio of the calls.")
    if near(ratio, 383.3 * 250, 500):
        raise Hint("multiplied. Fewer calls are a part of the speed-up: divide by them.")
    if near(ratio, 0.383, 0.002):
        raise Hint("DDPM makes 1000 calls, but DDGAN makes some, too: how many times fewer?")
    if not near(ratio, 1.533, 0.05):
        raise Hint("80.5 s for 1000 calls, 0.21 s for 4: compare what one call costs.")
    return "nearly all of the gain comes from the 250 times fewer calls."


@exercise("06.3")
def covariances(answer: Any) -> str:
    true, fresh = pair(answer)
    if near(true, 0.4, 0.005) and near(fresh, 0.5, 0.005):
        raise Hint("exchanged: first the true pairs, then those with fresh noise.")
    if near(true, 0.25, 0.005):
        raise Hint("a_t / a_s is a ratio of variances. Which factor multiplies x_s itself?")
    if not near(true, 0.5, 0.005):
        raise Hint("true pairs: x_t = sqrt(a_t / a_s) x_s + fresh noise, and x_s has variance 1.")
    if near(fresh, 0.16, 0.005):
        raise Hint("the first is right. Alpha_bar is a variance: by what is x_0 itself multiplied?")
    if not near(fresh, 0.4, 0.005):
        raise Hint("the first is right. With fresh noise only x_0 is in common: which factors?")
    return "a discriminator that sees pairs can tell them apart; x_s alone would look the same."


@exercise("06.4")
def mended_fake(answer: Any) -> str:
    schedule = vp_schedule(4)
    _, _, x_t, x_0 = normal(4, 2000, 2)  # not the first: a learner's seed may be the same
    drawn = called(answer, x_t, x_0, 2, 1, schedule, like=x_t)

    def is_from(p: Gaussian) -> bool:
        noise = (drawn - p.mean) / p.std  # if so: of width 1, and of nothing else in here
        of_inputs = torch.stack([(noise * x).mean() for x in (x_t, x_0)])
        return near(noise.square().mean(), 1, 0.15) and near(of_inputs, 0, 0.1)

    right, exchanged = posterior(x_t, x_0, 2, 1, schedule), posterior(x_0, x_t, 2, 1, schedule)
    if is_from(exchanged) or near(drawn, exchanged.mean):
        raise Hint("this is the faulty line. In which order does `posterior` take its tensors?")
    if near(drawn, right.mean):
        raise Hint(
            "the right Gaussian, but its middle. What are the real pairs that D sees made by?"
        )
    if near(drawn, x_0):
        raise Hint("the discriminator sees noisy pairs: noise the guess back to s.")
    afresh = forward(x_0, 0, 1, schedule)
    if is_from(afresh) or near(drawn, afresh.mean):
        raise Hint("this noises the guess afresh and forgets x_t: the pair falls apart.")
    if not is_from(right):
        raise Hint("q(x_s | x_t, x_0 = what was drawn): a draw from the posterior of lesson 02.")
    clean = called(answer, x_t, x_0, 1, 0, schedule, like=x_t)
    if not near(clean, x_0):
        raise Hint("at s = 0 the step should end on the guess. Are t and s passed on?")
    return "noisy first, then clean; at s = 0 the step ends on the guess itself."
