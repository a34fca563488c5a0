"""04, The U-Net: the checks of its exercises."""

from typing import Any

from torch import nn

from .reading import called, choice, near, normal, number
from .registry import Hint, exercise


@exercise("04.1")
def where_the_label_matters(answer: Any) -> str:
    t = number(answer)
    if t not in (1, 300, 900):
        raise Hint("one of the three times: 1, 300 or 900.")
    if t == 1:
        raise Hint("at t = 1 the digit is there to be seen. What could the label add?")
    if t == 300:
        raise Hint(
            "in the predicted noise, yes. But multiply by sqrt((1 - alpha_bar) / alpha_bar), which "
            "is what it means for the picture x0_hat."
        )
    return (
        "the label tells the network something where the picture does not. In the noise the change "
        "is small at 900, but there it is enlarged 20 times on its way to the picture."
    )


@exercise("04.2")
def weights_of_heads(answer: Any) -> str:
    hints = {
        "a": "count them: sum(p.numel() for p in model.parameters()), for both.",
        "b": "count them: sum(p.numel() for p in model.parameters()), for both.",
    }
    choice(answer, hints, "c")
    return "heads share out the same channels; queries, keys and values are as long as before."


@exercise("04.3")
def factor_of_the_logits(answer: Any) -> str:
    factor = number(answer)
    if near(factor, 2):
        raise Hint("the queries are halved, and so are the keys.")
    if near(factor, 0.25):
        raise Hint("that is what they have become. By what must they be multiplied?")
    if near(factor, 16):
        raise Hint("the sum over the channels does not change the factor: each term has it once.")
    if not near(factor, 4):
        raise Hint("q k is bilinear: (q / 2) (k / 2) is ...?")
    return "without it the weights spread: softmax of smaller differences is more even."


@exercise("04.4")
def mended_adagn(answer: Any) -> str:
    norm = nn.GroupNorm(2, 4, affine=False).double()
    h, y_s, y_b = normal(3, 2, 4, 5, 5)
    y_s, y_b = 1 + y_s[..., :1, :1], y_b[..., :1, :1]
    result = called(answer, norm, h, y_s, y_b, like=h)
    if near(result, norm(y_s * h + y_b)):
        raise Hint("this is the faulty line: the norm comes last and undoes scale and shift.")
    if near(result, norm(h + y_b)):
        raise Hint("this is DDPM's addition. AdaGN scales, and after the norm.")
    if near(result, y_s * h + y_b):
        raise Hint("scale and shift are right, but what became of the norm?")
    if near(result, y_s * (norm(h) + y_b)):
        raise Hint("nearly: the shift is not to be scaled.")
    if not near(result, y_s * norm(h) + y_b):
        raise Hint("AdaGN(h, y) = y_s GroupNorm(h) + y_b, in this order.")
    return "first normalise, then scale and shift: what the time says is the last word."
