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
    return "digits, each pushed away from the class that was asked for, as by a negative prompt."


@exercise("05.2")
def which_part(answer: Any) -> str:
    hints = {
        "a": "compare the three accuracies. How much can a push do before there is any outline?",
        "c": "compare the three accuracies. What would have to happen to a digit that stands?",
    }
    choice(answer, hints, "b")
    return (
        "in the middle the outline is decided, and a push decides the class with it; before, the "
        "guess has hardly any weight in x_t, and afterwards the digit stands."
    )


@exercise("05.3")
def either_class(answer: Any) -> str:
    four, nine = torch.tensor([[-0.1, -3.0, -1.0], [-2.0, -0.2, -1.5]]).double()
    result = called(answer, four, nine, like=four)
    p4, p9 = four.exp(), nine.exp()
    slips = [
        (four + nine, "this is log(p4 p9), a 4 *and* a 9. Probabilities of either are added."),
        ((four + nine) / 2, "the mean of the logarithms is the log of a product again."),
        (four.maximum(nine), "only the likelier one counts here; half way, both should count."),
        (four.minimum(nine), "this is the less likely of the two, and either will do."),
        (p4 + p9, "this is p4 + p9; its logarithm is wanted."),
        (((p4 + p9) / 2).log(), "of the mean: the gradient is right, but p4 + p9 was asked for."),
        (
            (p4 + p9 - p4 * p9).log(),
            "a picture has one class, so nothing is counted twice: take nothing off.",
        ),
        ((p4 + p9).log2(), "a logarithm to another base: log p is in nats."),
        ((p4 + p9).log10(), "a logarithm to another base: log p is in nats."),
        (-(p4 + p9).log(), "the sign: this is the loss, and the logarithm itself is wanted."),
    ]
    for slip, hint in slips:
        if near(result, slip):
            raise Hint(hint)
    if not near(result, torch.logaddexp(four, nine)):
        raise Hint(
            "try a pair that you can do by hand: with p4 = 0.3 and p9 = 0.2 the answer is log 0.5."
        )
    tiny = torch.tensor([[-2000.0, -2000.0, -1999.0], [-2000.0, -2003.0, -1990.0]]).double()
    try:
        far = called(answer, *tiny, like=tiny[0])
    except Hint:
        raise Hint(
            "right, but far from both classes, at log p = -2000, each exponential is 0 and the "
            "logarithm of their sum infinite. Take the larger one out of the sum first."
        ) from None
    if not near(far, torch.logaddexp(*tiny)):
        raise Hint(
            "finite now, but far from both classes, at log p = -2000, the answer is a constant: "
            "its gradient is 0, and nobody is pushed. Take the larger one out of the sum first."
        )
    return "its gradient is the mean of the two pushes, weighted by how likely each is already."


@exercise("05.4")
def mended_push(answer: Any) -> str:
    mu, gradient = normal(2, 6)
    std, scale = torch.tensor(0.1).double(), 3.0
    result = called(answer, mu, std, gradient, scale, like=mu)
    variance = std**2
    slips = [
        (mu + scale * std * gradient, "this is the faulty line: Sigma is a variance."),
        (mu + scale * std.sqrt() * gradient, "one more root: Sigma is not the root of std."),
        (mu - scale * variance * gradient, "the sign: the gradient points to likelier pictures."),
        (mu - scale * std * gradient, "the sign was right; look at the power of std."),
        (mu + variance * gradient, "right for s = 1. Where is the scale?"),
        (
            mu + scale**2 * variance * gradient,
            "the scale multiplies the gradient once; only std is squared.",
        ),
        (mu + scale * gradient, "now nothing says how wide the step is: where is Sigma?"),
        (mu + scale * gradient / variance, "Sigma multiplies the gradient, it does not divide it."),
        (scale * variance * gradient, "this is the push alone. The mean is what it moves."),
        (mu, "this is the mean without a push."),
    ]
    for slip, hint in slips:
        if near(result, slip):
            raise Hint(hint)
    if not near(result, mu + scale * variance * gradient):
        raise Hint("a mean, moved by three factors: the scale, Sigma, the gradient.")
    return "variances add up along a walk, so the scale means the same with any number of steps."
