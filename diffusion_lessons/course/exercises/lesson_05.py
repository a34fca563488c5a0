"""05, Guidance: the checks of its exercises."""

from typing import Any

import torch

from .reading import called, choice, near, normal
from .registry import Hint, exercise


@exercise("05.1")
def negative_scale(answer: Any) -> str:
    hints = {
        "a": "the classifier says which digit not. Who sees to it that it is a digit?",
        "b": "at a negative scale the push goes down the gradient of log p(y | x_t).",
    }
    choice(answer, hints, "c")
    return "good digits, each pushed away from the class that was asked for."


@exercise("05.2")
def which_half(answer: Any) -> str:
    hints = {"b": "compare the two accuracies. Which half, alone, gives more right classes?"}
    choice(answer, hints | {"c": "run both: are the two accuracies really equal?"}, "a")
    return (
        "the outline is decided while there is much noise, and with it most classes; later a push "
        "can still turn a 9 into a 4, but hardly a 0 into a 1."
    )


@exercise("05.3")
def either_class(answer: Any) -> str:
    four, nine = torch.tensor([[-0.1, -3.0, -1.0], [-2.0, -0.2, -1.5]]).double()
    result = called(answer, four, nine, like=four)
    if near(result, four + nine):
        raise Hint("this is log(p4 p9), a 4 *and* a 9. Probabilities of either are added.")
    if near(result, (four + nine) / 2):
        raise Hint("the mean of the logarithms is the log of a product again.")
    if near(result, torch.maximum(four, nine)):
        raise Hint("only the likelier one counts here; whoever is half way should keep both.")
    if near(result, four.exp() + nine.exp()):
        raise Hint("this is p4 + p9; its logarithm is wanted.")
    if not near(result, torch.logaddexp(four, nine)):
        raise Hint("log(exp(log p4) + exp(log p9)).")
    tiny = torch.full((2,), -2000.0).double()  # no exponential is above 0 there
    try:
        called(answer, tiny, tiny, like=tiny)
    except Hint:
        raise Hint(
            "right, but far from both classes the exponentials are 0 and their logarithm is "
            "infinite: torch.logaddexp(a, b) takes care of that."
        ) from None
    return "its gradient is the mean of the two pushes, weighted by how likely each is already."


@exercise("05.4")
def mended_push(answer: Any) -> str:
    mu, gradient = normal(2, 6)
    std, scale = torch.tensor(0.1).double(), 3.0
    result = called(answer, mu, std, gradient, scale, like=mu)
    if near(result, mu + scale * std * gradient):
        raise Hint("this is the faulty line: Sigma is a variance.")
    if near(result, mu - scale * std**2 * gradient):
        raise Hint("the sign: the gradient of log p points to where the class is likelier.")
    if near(result, mu + std**2 * gradient):
        raise Hint("right for s = 1. Where is the scale?")
    if near(result, mu + scale**2 * std**2 * gradient):
        raise Hint("the scale multiplies the gradient once; only std is squared.")
    if not near(result, mu + scale * std**2 * gradient):
        raise Hint("mu + s Sigma grad log p(y | x), with Sigma = std^2.")
    return "Sigma is the variance; with its root the push grows as the steps shrink."
