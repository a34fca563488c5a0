"""Every exercise takes its solution, and answers typical mistakes with the hint that fits."""

import math
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import jupytext
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusion_lessons import forward, linear_schedule, posterior, quadratic
from diffusion_lessons.course import exercises
from diffusion_lessons.course.exercises import CHECKS, Hint, Verdict, attempts, check, reading
from diffusion_lessons.measuring.metrics import precision_recall

ROOT = Path(__file__).parents[1]
A = linear_schedule().alpha_bar
WALK = list(range(500, -1, -10))
SHOWN = [7, 2, 1, 0, 4, 1]  # the first six test digits


def noise_in(x: torch.Tensor, x_0: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return (x - a.sqrt() * x_0) / (1 - a).sqrt()


def walked(
    step: Callable[..., torch.Tensor],
    denoiser: Callable[..., torch.Tensor],
    x: torch.Tensor,
    times: list[int],
    alpha_bar: torch.Tensor,
) -> torch.Tensor:
    """A sampler for exercise 03.5: `step` is what its loop does with x, guess, a_t and a_s."""
    for t, s in pairwise(times):
        x = step(x, denoiser(x, t), alpha_bar[t], alpha_bar[s])
    return x


SOLUTIONS: dict[str, list[Any]] = {
    "00.1": ["b", "(b)", " B "],
    "00.2": [
        *(WALK, torch.tensor(WALK), range(500, -1, -1), tuple(WALK), range(500, -1, -50)),
        *(np.array(WALK), linear_schedule().times(10, quadratic, start=500)),
    ],
    "00.3": [(torch.tensor(SHOWN) + 1) % 10, [0] * 3 + [5] * 3, np.array([9] * 6)],
    "01.1": [259, torch.tensor(259), (A - 0.5).abs().argmin(), 259.0],
    "01.2": [0.173, torch.tensor(0.173), 0.17, 0.175],
    "01.3": [
        ((A[300] / A[100]).sqrt(), (1 - A[300] / A[100]).sqrt()),
        [float((A[300] / A[100]).sqrt()), float((1 - A[300] / A[100]).sqrt())],
        *((0.66, 0.75), (0.67, 0.75), (0.665, 0.747), torch.tensor([0.6648, 0.747])),
    ],
    "01.4": [lambda x_0, noise, a: a.sqrt() * x_0 + (1 - a).sqrt() * noise],
    "02.1": ["c"],
    "02.2": ["b"],
    "02.3": [(1, 0), torch.tensor([1.0, 0.0]), (1.0003, 0.0)],  # 1e-4 / (1 - 0.9999) in float32
    "02.4": [
        lambda B: torch.randint(1, 1001, (B,)),
        lambda B: np.random.randint(1, 1001, B),
        lambda B: 1 + torch.randint(1000, (B,)),
        lambda B: (1 + torch.rand(B) * 1000).long().clamp(max=1000),
    ],
    "03.1": ["c"],
    "03.2": [[1000, 250, 0], torch.tensor([1000, 250, 0])],
    "03.3": [
        lambda x, e, a, b: b.sqrt() * (x - (1 - a).sqrt() * e) / a.sqrt() + (1 - b).sqrt() * e
    ],
    "03.4": [lambda a, sigma: (1 - a - sigma**2).sqrt()],
    "03.5": [
        partial(walked, lambda x, x0, a, b: b.sqrt() * x0 + (1 - b).sqrt() * noise_in(x, x0, a))
    ],
    "04.1": [900, "900"],
    "04.2": ["c"],
    "04.3": [
        *[(4, "wider"), [4.0, "Wider."], (torch.tensor(4), " wider ")],
        *[(4, "they get wider"), (4, ["wider"]), (4, "The looks widen"), (4, "wide, I think")],
    ],
    "04.4": [lambda norm, h, y_s, y_b: y_s * norm(h) + y_b],
    "05.1": ["c"],
    "05.2": ["b"],
    "05.3": [
        torch.logaddexp,
        lambda a, b: torch.stack([a, b]).logsumexp(0),
        lambda a, b: a.maximum(b) + (-(a - b).abs()).exp().log1p(),
    ],
    "05.4": [
        lambda mu, std, g, s: mu + s * std**2 * g,
        lambda mu, std, g, s: mu + std * std * s * g,
    ],
    "06.1": ["c"],
    "06.2": [(80.5 / 0.21) / (1000 / 4), 1.53, 1.5, "1.5x", "1.5 times", "about 1.5"],
    "06.3": [(0.5, 0.4), torch.tensor([0.5, 0.4])],
    "06.4": [
        lambda x_t, x_0, t, s, schedule: posterior(x_t, x_0, t, s, schedule).sample(),
        lambda x_t, x_0, t, s, schedule: posterior(x_t, x_0, t, s, schedule).sample(
            torch.Generator().manual_seed(5)
        ),
    ],
    "07.1": ["a"],
    "07.2": [40 * 25 / 10, 100],
    "07.3": [
        lambda a, b: (b >= a).all() and (b > a).any(),
        lambda a, b: all(b >= a) and any(b > a),
    ],
    "07.4": [precision_recall, lambda real, fake: tuple(precision_recall(real, fake))],
    "09.1": ["a", "A."],
    "09.2": [
        lambda x_u, noise, u: (noise - x_u) / (1 - u),
        lambda x_u, noise, u: noise - (x_u - u * noise) / (1 - u),
        lambda x_u, noise, u: ((noise - x_u) / (1 - u)).float(),
    ],
    "09.3": [
        lambda x, velocity, u, w: x + (w - u) * velocity,
        lambda x, velocity, u, w: x - (u - w) * velocity,
    ],
    "09.4": [
        lambda drawn, known, mask, noise, a, s: torch.where(mask, a * known + s * noise, drawn),
        lambda drawn, known, mask, noise, a, s: (
            mask * (a * known + s * noise) + ~mask * drawn  # without torch.where
        ),
    ],
    "own.1": [5 / 6, "83.3 %", 0.833, torch.tensor(500 / 600)],
    "own.2": [1200 * 64 / 5400, 14.2, "14"],
    "own.3": [
        lambda first, second: (first < second / 3).float().mean(),
        lambda first, second: float(sum(3 * first < second)) / len(first),
    ],
}

LETTERS = [("d", "one of the letters"), (3, "one of the letters"), ("because", "one of the")]
FUNCTIONS = [
    ("text", "a function is wanted"),
    (lambda *arguments: None, "does it end in `return`"),
    (lambda: 1, "stopped with TypeError"),
    (lambda *arguments: torch.tensor(1j), "is complex"),
]

# (answer, words of the hint that fits)
WRONG: dict[str, list[tuple[Any, str]]] = {
    "00.1": [("a", "sees only x_t"), ("c", "told the label"), *LETTERS],
    "00.2": [
        (list(range(1000, -1, -10)), "starts at 1000"),
        (WALK[:-1], "ends at 10"),
        (WALK[::-1], "must fall"),
        ([500, 400, 450, *WALK[20:]], "smaller than the one before"),
        ([500, 250, 0], "at least ten"),
        ([500, *range(499, 489, -1), 0], "one goes from 490 to 0"),
        ([500, *range(10, -1, -1)], "one goes from 500 to 10"),
        (range(500, 0, -10), "leaves its end out"),
        (torch.linspace(500, 0, 51), "without a decimal point"),
        (np.linspace(500, 0, 51), "without a decimal point"),
        ([500.0, *WALK[1:]], "without a decimal point"),
        (range(499, -1, -10), "starts at 499"),
        (range(500, -1, -30), "ends at 20"),
        (range(0, 500, 10), "must fall"),
        ([500] * 12, "ends at 500"),
        ([500, 500, *WALK[1:]], "smaller than the one before"),
        ([500, 0.5, 0], "whole numbers"),
        (500, "a list of whole numbers"),
    ],
    "00.3": [
        (SHOWN, "these are the right classes"),
        ((torch.tensor(SHOWN) + 1.0) % 10, "without a decimal point"),
        (torch.tensor(SHOWN) + 5, "lie in 0..9"),
        ([7, 3, 2, 1, 5, 2], "the digit's own class"),
        ([1, 2], "six labels"),
        ([*range(1, 10), 0], "the ten digits in order"),
        ("eight", "a list of whole numbers"),
    ],
    "01.1": [
        *((100, "Too early"), (500, "Too late"), (258.5, "whole number"), (-3, "0..1000")),
        ((A[1:] - 0.5).abs().argmin(), "belongs to time t"),
        ((A.sqrt() - 0.5).abs().argmin(), "compared as variances"),
        ((linear_schedule().snr - 0.5).abs().argmin(), "ratio of signal to noise is 1/2"),
        (260, "nearest to a half"),
        (0.5, "whole number"),
    ],
    "01.2": [
        *((0.02, "larger one"), (0.5, "smaller one"), (1.5, "between 0 and 1"), ("big", "str")),
        (0.2, "smaller one"),  # ten times as large, for a tenth of the steps
        (0.0892, "its square is 0.01"),
        (0, "between 0 and 1"),
    ],
    "01.3": [
        ((A[300] / A[100], 0.5), "the ratio of the alpha_bars"),
        (((A[100] / A[300]).sqrt(), 0.5), "upside down"),
        ((0.5, 0.5), "must be sqrt(alpha_bar_t)"),
        ((0.75, 0.66), "exchanged"),
        ((0.44, 0.75), "the ratio of the alpha_bars"),
        ((A[300].sqrt(), (1 - A[300]).sqrt()), "the jump from x_0"),
        (((A[300] / A[100]).sqrt(), (A[100] - A[300]).sqrt()), "shrinks on the way"),
        ((0.66, 0.56), "is the variance"),
        (((A[300] / A[100]).sqrt(), 1 - A[300] / A[100]), "is the variance"),
        (((A[300] / A[100]).sqrt(), (1 - A[300]).sqrt()), "which x_s has already"),
        (0.7, "two numbers"),
        ((float("nan"), 1), "the answer is nan"),
    ],
    "01.4": [
        (lambda x_0, noise, a: a * x_0 + (1 - a) * noise, "the faulty line itself"),
        (lambda x_0, noise, a: a.sqrt() * x_0 + (1 - a) * noise, "variance of the noise"),
        (lambda x_0, noise, a: a * x_0 + (1 - a).sqrt() * noise, "the picture is not"),
        (lambda x_0, noise, a: (1 - a).sqrt() * x_0 + a.sqrt() * noise, "exchanged"),
        (lambda x_0, noise, a: a.sqrt() * x_0 + (1 - a.sqrt()) * noise, "1 minus a root"),
        (
            lambda x_0, noise, a: a.sqrt() * x_0 + (1 - a).sqrt() * torch.randn_like(x_0),
            "called twice",
        ),
        (lambda x_0, noise, a: a.sqrt() * x_0, "where is the noise"),
        (lambda x_0, noise, a: a.sqrt() * x_0 + noise, "the noise has no factor"),
        (lambda x_0, noise, a: a * x_0 + (1 - a**2).sqrt() * noise, "a share of the *variance*"),
        (lambda x_0, noise, a: a**2 * x_0 + (1 - a) ** 2 * noise, "these are squared"),
        (lambda x_0, noise, a: (a * x_0 + (1 - a) * noise).sqrt(), "not finite"),
        (lambda x_0, noise, a: x_0 + noise, "root by root"),
        (lambda x_0, noise, a: x_0[:1], "should have shape"),
        *FUNCTIONS,
    ],
    "02.1": [("a", "the mean of all"), ("b", "on average"), *LETTERS],
    "02.2": [("a", "steps[-1]"), ("c", "steps[0]"), *LETTERS],
    "02.3": [
        ((0, 1), "exchanged"),
        ((0.5, 0.5), "shares of one whole"),
        ((0.9999, 0.0001), "shares of one whole"),
        ((1, 0.0001), "shares of one whole"),
        ((1, 1), "factor 1 - alpha_bar_{t-1}"),
        ((0.5, 0), "beta_1 over"),
        ((1e-4, 0), "divided by 1 - alpha_bar_1"),
        ("1, 0", "two numbers"),
    ],
    "02.4": [
        (lambda B: torch.randint(0, 1000, (B,)), "no noise to be named"),
        (lambda B: torch.randint(1, 1000, (B,)), "leaves its upper bound out"),
        (lambda B: torch.randint(1, 1002, (B,)), "beyond the schedule"),
        (lambda B: torch.randint(2, 1001, (B,)), "never trained"),
        (lambda B: torch.rand(B) * 999 + 1, "whole numbers"),
        (lambda B: 1 + (torch.rand(B) ** 2 * 1000).long(), "evenly"),
        (lambda B: 1 + torch.arange(B) % 1000, "the same times at every call"),
        (lambda B: torch.randint(1, 1001, (1,)).expand(B), "one time for the whole batch"),
        (lambda B: torch.randint(1, 1001, (1,)), "a time of its own"),
        (lambda B: torch.randint(1, 1001, ()), "a time of its own"),
        (lambda B: torch.randint(1, 1001, B), "as a tuple"),
        *FUNCTIONS,
    ],
    "03.1": [("a", "white digits on black"), ("b", "how it is written"), *LETTERS],
    "03.2": [
        ([1000, 900, 0], "decided at 900"),
        ([1000, 500, 0], "better than 900"),
        ([1000, 50, 0], "among 900, 500 and 250"),
        ([0, 250, 1000], "the whole list"),
        ([[1000, 900, 0], [1000, 250, 0]], "a list of whole numbers"),
        (250, "a list of whole numbers"),
        ([250, 0], "the whole list"),
    ],
    "03.3": [
        (lambda x, e, a, b: b.sqrt() * x + (1 - b).sqrt() * e, "in place of x_0"),
        (lambda x, e, a, b: (x - (1 - a).sqrt() * e) / a.sqrt(), "this is x_0"),
        (lambda x, e, a, b: (b / a).sqrt() * x + (1 - b / a).sqrt() * e, "the forward process"),
        (
            lambda x, e, a, b: a.sqrt() * (x - (1 - b).sqrt() * e) / b.sqrt() + (1 - a).sqrt() * e,
            "have changed places",
        ),
        (
            lambda x, e, a, b: b.sqrt() * (x - (1 - a).sqrt() * e) + (1 - b).sqrt() * e,
            "not yet x_0",
        ),
        (lambda x, e, a, b: b * (x - (1 - a) * e) / a + (1 - b) * e, "is a root"),
        (
            lambda x, e, a, b: b.sqrt() * (x - (1 - a).sqrt() * e) / a.sqrt() + (1 - a).sqrt() * e,
            "still that of s",
        ),
        (lambda x, e, a, b: b.sqrt() * (x - (1 - a).sqrt() * e) / a.sqrt(), "noise as well"),
        (
            lambda x, e, a, b: b.sqrt() * (x + (1 - a).sqrt() * e) / a.sqrt() + (1 - b).sqrt() * e,
            "added or taken away",
        ),
        (lambda x, e, a, b: x + e, "which x_0 belongs to"),
        *FUNCTIONS,
    ],
    "03.4": [
        (lambda a, sigma: (1 - a).sqrt(), "the faulty factor"),
        (lambda a, sigma: (1 - a).sqrt() - sigma, "variances that add up"),
        (lambda a, sigma: 1 - a - sigma**2, "the factor is its root"),
        (lambda a, sigma: (1 - a - sigma).sqrt(), "variances that add up"),
        (lambda a, sigma: (1 - a + sigma**2).sqrt(), "less, not more"),
        (lambda a, sigma: sigma, "must have the variance"),
        (lambda a, sigma: (a - 1 - sigma**2).sqrt(), "not finite"),
        *FUNCTIONS,
    ],
    "03.5": [
        (partial(walked, lambda x, x0, a, b: x), "came back as it went in"),
        (
            partial(
                walked, lambda x, x0, a, b: a.sqrt() * x0 + (1 - a).sqrt() * noise_in(x, x0, a)
            ),
            "came back as it went in",
        ),
        (
            lambda denoiser, x, times, alpha_bar: walked(
                lambda x, x0, a, b: b.sqrt() * x0 + (1 - b).sqrt() * noise_in(x, x0, a),
                denoiser,
                x,
                times[:2],
                alpha_bar,
            ),
            "inside the loop",
        ),
        (partial(walked, lambda x, x0, a, b: x0), "only the guess is kept"),
        (partial(walked, lambda x, x0, a, b: b.sqrt() * x0), "only the guess is kept"),
        (partial(walked, lambda x, x0, a, b: b * x0 + (1 - b) * noise_in(x, x0, a)), "is a root"),
        (
            partial(
                walked, lambda x, x0, a, b: b.sqrt() * x0 + (1 - a).sqrt() * noise_in(x, x0, a)
            ),
            "At s there is less",
        ),
        (
            partial(
                walked,
                lambda x, x0, a, b: b.sqrt() * x0 + (1 - b).sqrt() * (x - a.sqrt() * x0),
            ),
            "Bring it to size 1",
        ),
        (
            partial(walked, lambda x, x0, a, b: x0 + (1 - b).sqrt() * noise_in(x, x0, a)),
            "at full size",
        ),
        (
            partial(
                walked,
                lambda x, x0, a, b: b.sqrt() * x0 + (1 - b).sqrt() * x.new_empty(x.shape).normal_(),
            ),
            "two runs",
        ),
        (
            partial(
                walked, lambda x, x0, a, b: b.sqrt() * x0 + (1 - b).sqrt() * noise_in(x, x0, b)
            ),
            "not finite",
        ),
        (partial(walked, lambda x, x0, a, b: x0 + 0.1 * x), "goes elsewhere"),
        *FUNCTIONS,
    ],
    "04.1": [(1, "how much of the picture"), (300, "for the picture"), (500, "one of the three")],
    "04.2": [("a", "count them"), ("b", "count them"), *LETTERS],
    "04.3": [
        ((2, "wider"), "so are the keys"),
        ((0.5, "wider"), "of each query"),
        ((0.25, "wider"), "have become"),
        ((16, "wider"), "over the channels"),
        ((1, "narrower"), "sum of products"),
        ((4, "narrower"), "more even"),
        ((4, ["they get narrower"]), "more even"),
        ((4, "wider or narrower"), '"wider" or "narrower"'),
        ((4, "not wider"), '"wider" or "narrower"'),
        ((4, "they don't get narrower"), '"wider" or "narrower"'),
        ((4, ["wider", "narrower"]), '"wider" or "narrower"'),
        ((4, "b"), '"wider" or "narrower"'),
        ((4, 4), '"wider" or "narrower"'),
        (("wider", 4), "one number is wanted"),
        (4, "two things are asked"),
        ("wider", "two things are asked"),
    ],
    "04.4": [
        (lambda norm, h, y_s, y_b: norm(y_s * h + y_b), "faulty line"),
        (lambda norm, h, y_s, y_b: norm(h + y_b), "DDPM's addition"),
        (lambda norm, h, y_s, y_b: y_s * h + y_b, "what became of the norm"),
        (lambda norm, h, y_s, y_b: y_s * (norm(h) + y_b), "not to be scaled"),
        (lambda norm, h, y_s, y_b: (1 + y_s) * norm(h) + y_b, "in y_s already"),
        (lambda norm, h, y_s, y_b: y_s * norm(h), "What became of y_b"),
        (lambda norm, h, y_s, y_b: norm(h) + y_b, "What became of y_s"),
        (lambda norm, h, y_s, y_b: y_b * norm(h) + y_s, "exchanged"),
        (lambda norm, h, y_s, y_b: norm(h), "not told at all"),
        (lambda norm, h, y_s, y_b: norm(y_s * h) + y_b, "scale still stands"),
        (lambda norm, h, y_s, y_b: y_s * norm(h + y_b), "shift still stands"),
        (lambda norm, h, y_s, y_b: norm(norm(h) + y_b), "what is done first"),
        *FUNCTIONS,
    ],
    "05.1": [("a", "Who sees to it"), ("b", "down the gradient"), *LETTERS],
    "05.2": [("a", "before there is any outline"), ("c", "a digit that stands"), *LETTERS],
    "05.3": [
        (lambda a, b: a + b, "and* a 9"),
        (lambda a, b: (a + b) / 2, "log of a product"),
        (torch.maximum, "only the likelier"),
        (torch.minimum, "less likely"),
        (lambda a, b: a.exp() + b.exp(), "its logarithm is wanted"),
        (lambda a, b: ((a.exp() + b.exp()) / 2).log(), "of the mean"),
        (lambda a, b: (a.exp() + b.exp() - (a + b).exp()).log(), "counted twice"),
        (lambda a, b: (a.exp() + b.exp()).log2(), "another base"),
        (lambda a, b: (a.exp() + b.exp()).log10(), "another base"),
        (lambda a, b: -(a.exp() + b.exp()).log(), "the sign"),
        (lambda a, b: (a.exp() + b.exp()).log(), "logarithm of their sum infinite"),
        (lambda a, b: (a.exp() + b.exp() + 1e-12).log(), "nobody is pushed"),
        (lambda a, b: (a.exp() + b.exp()).clamp(min=1e-12).log(), "nobody is pushed"),
        (lambda a, b: a.clamp(-50).exp().add(b.clamp(-50).exp()).log(), "nobody is pushed"),
        (lambda a, b: a - b, "by hand"),
        *FUNCTIONS,
    ],
    "05.4": [
        (lambda mu, std, g, s: mu + s * std * g, "the faulty line"),
        (lambda mu, std, g, s: mu + s * std.sqrt() * g, "one more root"),
        (lambda mu, std, g, s: mu - s * std**2 * g, "the sign"),
        (lambda mu, std, g, s: mu - s * std * g, "look at the power"),
        (lambda mu, std, g, s: mu + std**2 * g, "Where is the scale"),
        (lambda mu, std, g, s: mu + s**2 * std**2 * g, "only std is squared"),
        (lambda mu, std, g, s: mu + s * g, "where is Sigma"),
        (lambda mu, std, g, s: mu + s * g / std**2, "does not divide"),
        (lambda mu, std, g, s: s * std**2 * g, "the push alone"),
        (lambda mu, std, g, s: mu, "without a push"),
        (lambda mu, std, g, s: mu + s * std**3 * g, "three factors"),
        *FUNCTIONS,
    ],
    "06.1": [("a", "could make two points differ"), ("b", "Does a step to s = 0"), *LETTERS],
    "06.2": [
        (80.5 / 0.21, "how many times faster"),
        (250, "how many calls fewer"),
        (0.652, "upside down"),
        (80.5 / 0.21 * 250, "divide by them"),
        (0.383, "makes some, too"),
        (2, "what one call costs"),
    ],
    "06.3": [
        ((0.4, 0.5), "exchanged"),
        ((0.25, 0.4), "a ratio of variances"),
        ((1, 0.4), "x_s has variance 1"),
        ((0.5, 0.16), "by what is x_0 itself multiplied"),
        ((0.5, 0.5), "only x_0 is in common"),
    ],
    "06.4": [
        (lambda x_t, x_0, t, s, q: posterior(x_0, x_t, t, s, q).sample(), "the faulty line"),
        (lambda x_t, x_0, t, s, q: posterior(x_0, x_t, t, s, q).mean, "the faulty line"),
        (lambda x_t, x_0, t, s, q: posterior(x_t, x_0, t, s, q).mean, "but its middle"),
        (lambda x_t, x_0, t, s, q: x_0, "noise the guess back"),
        (lambda x_t, x_0, t, s, q: forward(x_0, 0, s, q).sample(), "the pair falls apart"),
        (lambda x_t, x_0, t, s, q: forward(x_0, 0, s, q).mean, "the pair falls apart"),
        (lambda x_t, x_0, t, s, q: x_t, "the posterior of lesson 02"),
        (lambda x_t, x_0, t, s, q: posterior(x_t, x_0, 2, 1, q).sample(), "passed on"),
        *FUNCTIONS,
    ],
    "07.1": [("b", "asks the samples"), ("c", "ask each alone"), *LETTERS],
    "07.2": [
        (16, "not slower"),
        (40, "with 25 calls"),
        (1000, "it makes"),
        (25, "divide by"),
        (400, "Begin with"),
    ],
    "07.3": [
        (lambda a, b: (a >= b).all() and (a > b).any(), "exchanged"),
        (lambda a, b: (b > a).any(), "in *all* three"),
        (lambda a, b: (b > a).any() and (b >= a)[:2].all(), "in *all* three"),
        (lambda a, b: (b > a).any() and (b >= a)[1:].all(), "in *all* three"),
        (lambda a, b: (b >= a).all() and b[1] > a[1], "whichever that is"),
        (lambda a, b: (b > a).all(), "may be equal in some"),
        (lambda a, b: (b >= a).all(), "two equal methods"),
        (lambda a, b: b > a, "should have shape []"),
        *FUNCTIONS,
    ],
    "07.4": [
        (lambda real, fake: precision_recall(fake, real), "the faulty line"),
        (lambda real, fake: (1.0, 1.0), "both the same"),
        (lambda real, fake: (0.5, 0.4), "the real features first"),
        *FUNCTIONS,
    ],
    "09.1": [("b", "at u = 1"), ("c", "or divided"), *LETTERS],
    "09.2": [
        (lambda x_u, noise, u: noise, "the noise alone"),
        (lambda x_u, noise, u: (x_u - u * noise) / (1 - u), "the first half"),
        (lambda x_u, noise, u: (x_u - noise) / (1 - u), "the other way round"),
        (lambda x_u, noise, u: noise - x_u, "it holds noise, too"),
        (lambda x_u, noise, u: x_u - noise, "and the velocity is"),
        (lambda x_u, noise, u: noise - x_u + u * noise, "to the size of x_0"),
        (lambda x_u, noise, u: noise - (x_u - (1 - u) * noise) / u, "have changed places"),
        (lambda x_u, noise, u: noise - (x_u - noise) / (1 - u), "u of the noise, not all"),
        (lambda x_u, noise, u: 2 * noise, "which x_0 hides"),
        *FUNCTIONS,
    ],
    "09.3": [
        (lambda x, velocity, u, w: x + (u - w) * velocity, "the faulty line"),
        (lambda x, velocity, u, w: x - velocity, "How much of u"),
        (lambda x, velocity, u, w: x + velocity, "towards the noise"),
        (lambda x, velocity, u, w: x - w * velocity, "not from w to 0"),
        (lambda x, velocity, u, w: x - u * velocity, "The step ends at w"),
        (lambda x, velocity, u, w: x + w * velocity, "points to the noise"),
        (lambda x, velocity, u, w: x, "the change of u"),
        *FUNCTIONS,
    ],
    "09.4": [
        (lambda drawn, known, mask, noise, a, s: drawn, "nothing of the known"),
        (lambda drawn, known, mask, noise, a, s: a * known + s * noise, "all of it is known"),
        (lambda drawn, known, mask, noise, a, s: torch.where(mask, known, drawn), "clean pixels"),
        (
            lambda drawn, known, mask, noise, a, s: torch.where(mask, drawn, a * known + s * noise),
            "exchanged: the mask",
        ),
        (lambda drawn, known, mask, noise, a, s: torch.where(mask, drawn, known), "is not noised"),
        (
            lambda drawn, known, mask, noise, a, s: torch.where(mask, known + s * noise, drawn),
            "only alpha",
        ),
        (
            lambda drawn, known, mask, noise, a, s: torch.where(mask, known + noise, drawn),
            "alpha of the picture and sigma",
        ),
        (
            lambda drawn, known, mask, noise, a, s: torch.where(mask, a * known, drawn),
            "there is noise as well",
        ),
        (
            lambda drawn, known, mask, noise, a, s: torch.where(mask, a * known + noise, drawn),
            "sigma of the noise, not all",
        ),
        (
            lambda drawn, known, mask, noise, a, s: mask * (a * known + s * noise),
            "is lost",
        ),
        (lambda drawn, known, mask, noise, a, s: 2 * drawn, "two parts"),
        *FUNCTIONS,
    ],
    "own.1": [
        (1 / 6, "of those held out"),
        (0.2, "over the other"),
        (5, "over the other"),
        (0.9, "one in six"),
        (0.5, "as in the curve"),
        (0.7, "may be the nearest"),
    ],
    "own.2": [
        (12.8, "never seen"),
        (84.4, "make one pass"),
        (1200, "It sees 64"),
        (76_800, "Divide by"),
        (4.5, "of 5,400 that"),
    ],
    "own.3": [
        (lambda first, second: (first < second / 3).sum(), "how many there are"),
        (lambda first, second: (first > second / 3).double().mean(), "*no* copies"),
        (lambda first, second: (second < first / 3).double().mean(), "exchanged"),
        (lambda first, second: (first < 1 / 3).double().mean(), "a third of what"),
        (lambda first, second: (first < second).double().mean(), "always nearer"),
        (lambda first, second: (first < second / 2).double().mean(), "take the mean"),
        (lambda first, second: first < second / 3, "should have shape []"),
        *FUNCTIONS,
    ],
}


def test_every_exercise_has_solutions_and_at_least_three_wrong_answers() -> None:
    assert set(SOLUTIONS) == set(WRONG) == set(CHECKS)
    assert all(len(answers) >= 3 for answers in WRONG.values())


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_solutions_pass(name: str) -> None:
    for answer in SOLUTIONS[name]:
        verdict = check(name, answer)
        assert verdict.right is True, verdict
        assert len(verdict.words) > 20  # a reason, too


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [(name, answer, hint) for name, wrong in WRONG.items() for answer, hint in wrong],
)
def test_wrong_answers_get_the_hint_that_fits(name: str, answer: Any, hint: str) -> None:
    verdict = check(name, answer)
    assert verdict.right is False, verdict
    assert hint in verdict.words


def raises(kind: type[BaseException]) -> Callable[..., Any]:
    def function(*arguments: Any) -> Any:
        raise kind("boom")

    return function


class Odd:
    """Nothing about it works."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    def __float__(self) -> float:
        raise OSError("no number")

    def __iter__(self) -> Any:
        raise KeyError("no parts")

    def __len__(self) -> int:
        raise MemoryError


ODD = [
    *(
        float("nan"),
        float("inf"),
        -1,
        0,
        1e300,
        True,
        1j,
        "",
        "nan",
        b"x",
        [],
        (),
        {},
        set(),
        [[1]],
    ),
    *(
        torch.zeros(0),
        torch.full((3, 3), float("nan")),
        torch.tensor(float("nan")),
        np.zeros((2, 0)),
    ),
    *(torch.tensor([True]), torch.zeros(2, 2, dtype=torch.complex64), object, object(), Odd()),
    *(raises(ValueError), raises(SystemExit), raises(RecursionError), lambda *arguments: "text"),
    *(
        lambda *arguments: float("nan"),
        lambda *arguments: arguments,
        lambda *arguments: Odd(),
        lambda *arguments: [],
    ),
    *(lambda *arguments: torch.zeros(0), torch.nn.Linear(2, 2), iter(int, 1), range(10**9)),
]


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_a_check_never_fails_whatever_it_is_given(name: str) -> None:
    for answer in ODD:
        verdict = check(name, answer)
        assert isinstance(verdict, Verdict)
        assert verdict.right is not True or (name, answer) == ("02.3", True)
        assert verdict.words
        assert verdict._repr_markdown_()


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner),
        max_leaves=6,
    )
)
def test_nor_on_random_answers(answer: Any) -> None:
    for name in CHECKS:
        assert check(name, answer).right in (None, False, True)


def endless(*arguments: Any) -> Any:
    while True:
        pass


def sleeps(*arguments: Any) -> Any:
    time.sleep(600)


def takes_everything(*arguments: Any) -> Any:
    while True:
        with suppress(Exception):
            sum(range(100))


def computes(*arguments: Any) -> Any:
    x = torch.ones(50, 50)
    while True:
        x = (x @ x).tanh()


@pytest.mark.parametrize("attempt", [endless, sleeps, takes_everything, computes])
@pytest.mark.parametrize("where", ["here", "beside", "in another thread"])
def test_an_attempt_that_never_ends_gets_a_hint(
    attempt: Any, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the alarm of the main thread; where there is none, as on Windows, beside it."""
    monkeypatch.setattr(attempts, "GRACE", 0.3)
    if where == "beside":
        monkeypatch.delattr(signal, "setitimer")
    verdicts: list[Verdict] = []

    def run() -> None:
        verdicts.append(check("07.3", attempt, seconds=0.2))

    if where == "in another thread":
        other = threading.Thread(target=run)
        other.start()
        other.join()
    else:
        run()
    (verdict,) = verdicts
    assert verdict.right is False
    assert verdict.words.startswith("it had not come to an end after 0.2 seconds: is there a loop")
    assert "`check('07.3', ..., seconds=1.2)`" in verdict.words
    assert check("07.3", SOLUTIONS["07.3"][0]).right  # and the next one is as before


@pytest.mark.unix
def test_an_alarm_of_somebody_else_goes_on() -> None:
    rang: list[int] = []
    handler = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 1000, 5)
        assert check("07.3", endless, seconds=0.1).right is False
        left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 900 < left < 1000
        assert interval == 5
        assert signal.getsignal(signal.SIGALRM) is not handler
        signal.raise_signal(signal.SIGALRM)
        assert rang == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


@pytest.mark.parametrize("beside", [False, True])
def test_what_an_attempt_prints_is_seen_once(
    beside: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if beside:
        monkeypatch.delattr(signal, "setitimer")

    def talks(a: Any, b: Any) -> Any:
        print("compared")
        return SOLUTIONS["07.3"][0](a, b)

    for _ in range(2):  # a cell that is run again prints again
        assert check("07.3", talks).right
        assert capsys.readouterr().out == "compared\n"


def test_an_attempt_that_prints_without_end_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    def floods(a: Any, b: Any) -> Any:
        while True:
            print("x" * 100)

    assert check("07.3", floods, seconds=0.3).right is False
    out = capsys.readouterr().out
    assert out.endswith("... and so on\n")
    assert len(out) < 11_000


@pytest.mark.parametrize("differentiated", [True, False])
def test_beside_the_main_thread_an_attempt_computes_as_in_it(
    differentiated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(signal, "setitimer")
    with torch.set_grad_enabled(differentiated):
        assert attempts.within(5, torch.is_grad_enabled) == differentiated
    with pytest.raises(ZeroDivisionError):
        attempts.within(5, lambda: 1 / 0)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), "5", None])
def test_a_limit_that_is_none_is_refused(seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="seconds must be"):
        check("07.3", endless, seconds=seconds)


def test_no_answer_is_no_mistake() -> None:
    for answer in (None, (None, None), (1, None)):
        verdict = check("01.3", answer)
        assert verdict.right is None
        assert str(verdict).startswith("Not answered yet: put your answer")
    assert str(check("04.1", 900)).startswith("Right: ")
    assert check("04.1", 300)._repr_markdown_().startswith("✗ **Not yet.** ")
    with pytest.raises(ValueError, match=r"no exercise '9\.9'"):
        check("9.9", 1)


def test_a_check_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    for name in ("02.4", "04.4"):
        check(name, SOLUTIONS[name][0])
    assert torch.equal(torch.rand(2), wanted)


def test_each_lesson_has_a_file_of_checks_and_is_imported_because_it_is_there() -> None:
    here = Path(exercises.__file__).parent
    files = {path.stem for kind in ("lesson", "page") for path in here.glob(f"{kind}_*.py")}
    homes = {name: function.__module__.rpartition(".")[2] for name, function in CHECKS.items()}
    owners = {name: name.partition(".")[0] for name in CHECKS}
    kinds = {owner: "lesson" if owner.isdigit() else "page" for owner in owners.values()}
    assert homes == {name: f"{kinds[owner]}_{owner}" for name, owner in owners.items()}
    assert files == set(homes.values())


def test_each_exercise_of_the_lessons_is_checked_there() -> None:
    for source in sorted((ROOT / "notebooks").glob("[0-9]*.md")):
        lesson = source.stem[:2]
        cells = jupytext.read(source).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        numbers = re.findall(r"^\*\*(\d)\. \w", text, re.MULTILINE)
        checked = re.findall(r'check\("(\d\d\.\d)"', code)
        assert checked == [f"{lesson}.{number}" for number in numbers], source.name
        assert {name for name in CHECKS if name.startswith(lesson)} == set(checked)


def test_each_exercise_of_a_page_is_checked_there() -> None:
    text = (ROOT / "book" / "your-own-pictures.md").read_text("utf-8")
    checked = re.findall(r'check\("(own\.\d)"', text)
    assert checked == sorted(name for name in CHECKS if name.startswith("own."))


# ------------------------------------------------------------------ the forms of an answer

HINTS = {"a": "not a", "c": "not c"}
LETTER_FORMS = [
    *("{}", "{}.", "({})", "{})", "{}:", " {} ", "'{}'", '"{}"', "({}).", "\n{}\n"),
    *("{}) average", "{}. the mean of all digits", "{}: a digit", "{}, since a is no mean"),
    *(
        "({}) it knows what digits look like",
        "{} - the mean",
        "{} = the mean",
        "{} \u2013 the mean",
    ),
    *("answer {}", "Answer: {}", "option {}", "my answer is {}", "answer {}) average"),
]


@pytest.mark.parametrize("form", LETTER_FORMS)
def test_a_letter_is_read_in_every_form(form: str) -> None:
    for letter in ("b", "B"):
        written = form.format(letter)
        for answer in (written, [written], (written,), np.array(written), np.array([written])):
            reading.choice(answer, HINTS, "b")
    with pytest.raises(Hint, match="not c"):
        reading.choice(form.format("c"), HINTS, "b")


@pytest.mark.parametrize(
    "answer",
    [
        *(
            "b or c",
            "b, c",
            "b/c",
            "b) or c)",
            "(b), (c)",
            "bc",
            "b b",
            "",
            " ",
            "?",
            "2",
            "d",
            "d.",
        ),
        *("a mean of all digits", "because", "the mean", 1, 0.5, b"b", ["b", "c"], {"b"}, {"b": 1}),
        *(torch.tensor(1), str, None),
    ],
)
def test_what_is_no_letter_is_refused_with_words(answer: Any) -> None:
    with pytest.raises(Hint, match="one of the letters a, b, c"):
        reading.choice(answer, HINTS, "b")


def number_forms(value: float) -> list[Any]:
    """All ways to give it that keep its six digits."""
    text = f"{value:.6f}"
    forms: list[Any] = [
        value,
        text,
        f" {text} ",
        f"~{text}",
        f"= {text}",
        f"about {text}",
        f"Roughly ~{text}",
        f"{text}x",
        f"{text} times",
        f"about {text} \u00d7",
        text.replace("-", "\u2212"),
    ]
    forms += [f"{100 * value:.6f} %", f"{100 * value:.6f}%", f"{100 * value:.6f} percent"]
    forms += [f"{value:e}", Fraction(text), f"{Fraction(text)}", Decimal(text)]
    forms += [f"{Fraction(text)}".replace("/", " / ")]
    forms += [text.replace(".", ",")]  # six digits after it cannot be thousands
    forms += [torch.tensor(value), torch.tensor(value, requires_grad=True), np.float64(value)]
    forms += [np.array(value), torch.nn.Parameter(torch.tensor([value]))]
    return forms + [kind for x in (value, text) for kind in ([x], (x,), [[x]], np.array([[x]]))]


@given(st.floats(-99, 99, allow_nan=False).map(lambda x: round(x, 6)))
def test_a_number_is_read_in_every_form(value: float) -> None:
    for form in number_forms(value):
        assert reading.number(form) == pytest.approx(value, abs=2e-5), repr(form)
    assert reading.number(np.float16(value)) == pytest.approx(value, abs=1e-3 * abs(value) + 1e-6)


@given(st.integers(-(10**9), 10**9))
def test_whole_numbers_are_read_with_their_thousands(value: int) -> None:
    forms = [
        value,
        str(value),
        np.int64(value),
        torch.tensor(value),
        f"{value:,}".replace(",", " "),
    ]
    if abs(value) < 1000 or abs(value) >= 10**6:
        forms.append(f"{value:,}")
    for form in forms:
        assert reading.number(form) == value, repr(form)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ("1,533", "may mean 1533 or 1.533"),
        ("-1,000", "may mean -1000 or -1.000"),
        ("big", "this is a str"),
        ("0.5 or 0.6", "this is a str"),
        ("about", "this is a str"),
        ("x", "this is a str"),
        ("0.5 times 3", "this is a str"),
        ("1,533 times", "may mean 1533 or 1.533"),
        ("1.234,5", "this is a str"),
        ("1/0", "this is a str"),
        ("", "this is a str"),
        ("nan", "the answer is nan"),
        ("inf %", "the answer is inf"),
        ([0.5, 0.6], "this is a list"),
        ({0.5}, "this is a set"),
        ([], "this is a list"),
        (None, "this is a NoneType"),
        (1j, "this is a complex"),
        (math.sqrt, "this is a function: call it"),
        (torch.ones(2), "this is a Tensor"),
        (np.ones(2), "this is a ndarray"),
    ],
)
def test_what_is_no_number_is_refused_with_words(answer: Any, hint: str) -> None:
    with pytest.raises(Hint, match=re.escape(hint)):
        reading.number(answer)


def rows(values: list[Any]) -> list[Any]:
    """The kinds of things that hold some values in an order."""
    forms = [values, tuple(values), iter(values), (x for x in values), map(float, values)]
    forms += [torch.tensor(values), np.array(values), [torch.tensor(x) for x in values]]
    forms += [torch.tensor([values]), np.array([values]), [[x] for x in values], [values]]
    return [*forms, [str(x) for x in values], torch.tensor(values).double(), deque(values)]


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=12))
def test_a_list_is_read_in_every_form(values: list[int]) -> None:
    for form in rows(values):
        assert reading.integers(form) == values, repr(form)
    assert reading.integers(np.array(values, dtype=np.float16)) == values


def test_a_list_may_be_a_range_and_have_no_end() -> None:
    assert reading.integers(range(5, 0, -1)) == [5, 4, 3, 2, 1]
    assert reading.integers([7]) == [7]
    assert len(reading.integers(count())) == reading.MOST


@given(st.tuples(*[st.floats(-99, 99).map(lambda x: round(x, 6))] * 2))
def test_a_pair_is_read_in_every_form(values: tuple[float, float]) -> None:
    for form in rows(list(values)):
        assert reading.pair(form) == pytest.approx(values, abs=1e-5), repr(form)
    assert reading.pair((f"{100 * values[0]} %", Fraction(values[1]))) == pytest.approx(values)


@pytest.mark.parametrize("reader", [reading.integers, reading.pair])
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ({1, 0}, "a set keeps no order: write a list"),
        (frozenset([1]), "a frozenset keeps no order"),
        ({1: 2, 3: 4}, "a dict keeps no order"),
        ("1, 0", "and this is '1, 0'"),
        (b"ab", "and this is b'ab'"),
        (0.5, "and this is 0.5"),
        (torch.tensor(3), "and this is tensor(3)"),
        (None, "and this is None"),
    ],
)
def test_what_is_no_list_is_refused_with_words(reader: Any, answer: Any, hint: str) -> None:
    with pytest.raises(Hint, match=re.escape(hint)):
        reader(answer)


WAYS: dict[str, Callable[[torch.Tensor], Any]] = {
    "a tensor": lambda x: x,
    "float32": lambda x: x.float(),
    "float16": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
    "NumPy": lambda x: x.numpy(),
    "NumPy, float16": lambda x: x.numpy().astype(np.float16),
    "with a gradient": lambda x: x.requires_grad_(),
    "a list": lambda x: x.tolist(),
    "a tuple": lambda x: tuple(x.tolist()),
    "a list of tensors": lambda x: list(x),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_function_s_result_is_read_in_every_form(way: str) -> None:
    x = reading.normal(5, 3)
    result = reading.called(lambda x: WAYS[way](2 * x), x, like=x)
    assert result.shape == (5, 3)
    assert reading.near(result, 2 * x)
    assert not reading.near(result, 2.2 * x)


@pytest.mark.parametrize(
    "made", [0.5, [0.5], Fraction(1, 2), np.float32(0.5), torch.ones(1, 1) / 2]
)
def test_a_function_s_number_is_read_in_every_form(made: Any) -> None:
    result = reading.called(lambda: made, like=torch.tensor(0.0))
    assert (result.shape, result.item()) == ((), 0.5)


def test_a_function_may_change_what_it_is_given_and_is_told() -> None:
    def adds(x_0: torch.Tensor, noise: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        x_0 *= a.sqrt()
        x_0 += (1 - a).sqrt() * noise
        return x_0

    def forgets(x_0: torch.Tensor, noise: torch.Tensor, a: torch.Tensor) -> None:
        adds(x_0, noise, a)

    right = check("01.4", adds)
    assert right.right is True
    assert "changes what it is given" in right.words
    told = check("01.4", forgets)
    assert told.right is False
    assert "does it end in `return`" in told.words
    assert "changes what it is given" in told.words
    for answer in SOLUTIONS["01.4"]:
        assert "changes what it is given" not in check("01.4", answer).words
