"""04, The U-Net: the checks of its exercises."""

import re
from typing import Any

from torch import nn

from .reading import alone, called, choice, near, normal, number
from .registry import Hint, exercise


@exercise("04.1")
def where_the_label_matters(answer: Any) -> str:
    t = number(answer)
    if t not in (1, 300, 900):
        raise Hint("one of the three times: 1, 300 or 900.")
    if t == 1:
        raise Hint(
            "the predicted noise does change there. But how much of x_t is noise at t = 1, and so "
            "how much of the picture can change?"
        )
    if t == 300:
        raise Hint(
            "the predicted noise changes there. But multiply by sqrt((1 - alpha_bar) / alpha_bar), "
            "which is what it means for the picture x0_hat, at each of the three times."
        )
    return (
        "at t = 900 the picture says little about its class, and the label is believed. In the "
        "noise the change is small there, but it is enlarged 60 times on its way to the picture."
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
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Hint('two things are asked: (factor, looks), a number and "wider" or "narrower".')
    factor, looks = number(answer[0]), alone(answer[1])
    if near(factor, 2):
        raise Hint("the queries are halved, and so are the keys.")
    if near(factor, 0.5):
        raise Hint("that is what became of each query. What became of a product of query and key?")
    if near(factor, 0.25):
        raise Hint("that is what they have become. By what must they be multiplied?")
    if near(factor, 16):
        raise Hint("the sum over the channels does not change the factor: each term has it once.")
    if not near(factor, 4):
        raise Hint("each logit is a sum of products of a query and a key: (q / 2) (k / 2) is ...?")
    words = looks.lower() if isinstance(looks, str) else ""
    wider, narrower = "wide" in words, "narrow" in words
    unclear = wider == narrower or re.search(r"\b(?:no|not|less|or)\b|n't\b", words)
    if narrower and not unclear:
        raise Hint("the factor is right. The logits now differ less: is their softmax more even?")
    if unclear:
        raise Hint('the factor is right. And the looks, do they get "wider" or "narrower"?')
    return "the softmax of smaller differences is more even, so a look goes to more places."


@exercise("04.4")
def mended_adagn(answer: Any) -> str:
    norm = nn.GroupNorm(2, 4, affine=False).double()
    h, y_s, y_b = normal(3, 2, 4, 5, 5)
    y_s, y_b = 1 + y_s[..., :1, :1], y_b[..., :1, :1]
    result = called(answer, norm, h, y_s, y_b, like=h)
    slips = [
        (norm(y_s * h + y_b), "this is the faulty line: what does a norm do to scale and shift?"),
        (norm(h + y_b), "this is DDPM's addition. AdaGN scales, and not before the norm."),
        (y_s * h + y_b, "scale and shift are right, but what became of the norm?"),
        (y_s * (norm(h) + y_b), "nearly: the shift is not to be scaled."),
        ((1 + y_s) * norm(h) + y_b, "nearly: the 1 is in y_s already, which is 1 + gain."),
        (y_s * norm(h), "the norm and the scale are right. What became of y_b?"),
        (norm(h) + y_b, "the norm and the shift are right. What became of y_s?"),
        (y_b * norm(h) + y_s, "scale and shift are exchanged."),
        (norm(h), "the norm comes first, that is right. But now the time is not told at all."),
        (norm(y_s * h) + y_b, "the shift is mended. The scale still stands inside the norm."),
        (y_s * norm(h + y_b), "the scale is mended. The shift still stands inside the norm."),
    ]
    for slip, hint in slips:
        if near(result, slip):
            raise Hint(hint)
    if not near(result, y_s * norm(h) + y_b):
        raise Hint("compare it with the formula of AdaGN in Part 2: what is done first, what last?")
    return "first normalise, then scale and shift: what the time says is the last word."
