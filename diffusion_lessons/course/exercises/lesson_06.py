"""06, Denoising diffusion GANs: the checks of its exercises."""

from typing import Any

from ...math.gaussian import forward, posterior
from ...math.schedule import vp_schedule
from .reading import called, choice, near, normal, number, pair
from .registry import Hint, exercise


@exercise("06.1")
def one_z_for_all(answer: Any) -> str:
    hints = {
        "a": "with one z every point that stands at x_t makes the same choice. Are all still made?",
        "c": "is z the only thing that is random? Look at x_T, and at the posterior.",
    }
    choice(answer, hints, "b")
    return (
        "x_T and the posterior's noise still differ from point to point, but each step chooses in "
        "the same way, and whole Gaussians are passed over."
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
    if not near(ratio, 1.533, 0.02):
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
        raise Hint("the first is right. In the second x_0 has the factors' roots in both.")
    if not near(fresh, 0.4, 0.005):
        raise Hint("the first is right. With fresh noise only x_0 is in common: which factors?")
    return "a discriminator that sees pairs can tell them apart; x_s alone would look the same."


@exercise("06.4")
def mended_fake(answer: Any) -> str:
    schedule = vp_schedule(4)
    x_t, x_0 = normal(2, 5, 2)
    result = called(answer, x_t, x_0, 3, 2, schedule, like=x_t)
    if near(result, posterior(x_0, x_t, 3, 2, schedule).mean):
        raise Hint("this is the faulty line. In which order does `posterior` take its tensors?")
    if near(result, x_0):
        raise Hint("the discriminator sees noisy pairs: noise the guess back to s.")
    if near(result, forward(x_0, 0, 2, schedule).mean):
        raise Hint("this noises the guess afresh and forgets x_t: the pair falls apart.")
    if not near(result, posterior(x_t, x_0, 3, 2, schedule).mean):
        raise Hint("q(x_s | x_t, x_0 = what was drawn): the posterior of lesson 02, its mean.")
    return "noisy first, then clean; at s = 0 the step ends on the guess itself."
