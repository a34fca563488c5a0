"""Numbers: questions whose figures are drawn anew each time, and answered by the package."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...math.gaussian import forward, posterior, posterior_variance
from ...math.schedule import NoiseSchedule, linear_schedule
from .item import LESSONS, Item


class Draw:
    """Round numbers, one after the other, from a generator with this seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, places: int = 2) -> float:
        share = torch.rand((), generator=self.generator).item()
        return round(low + (high - low) * share, places) + 0.0  # no -0.0

    def whole(self, low: int, high: int) -> int:
        """``high`` included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))


@dataclass(frozen=True)
class Question:
    """``ask`` draws the figures, and returns the question's text and the answer."""

    ask: Callable[[Draw], tuple[str, float]]
    reason: str
    lesson: str

    def variant(self, draw: Draw) -> Item:
        """One set of figures."""
        text, answer = self.ask(draw)
        text = re.sub(r"-(?=\d)", "−", text)  # a minus before a digit as it is printed
        return {"text": text, "answer": round(answer, 6)}


def items(seed: int = 0, variants: int = 12) -> list[Item]:
    """One item a question, each with ``variants`` sets of figures."""
    draw = Draw(seed)
    return [
        {
            "id": f"number-{i}",
            "kind": "number",
            "variants": [question.variant(draw) for _ in range(variants)],
            "reason": question.reason,
            "lesson": LESSONS[question.lesson],
        }
        for i, question in enumerate(QUESTIONS, 1)
    ]


def scalar(value: float) -> Tensor:
    """A number as the package takes it."""
    return torch.tensor(value, dtype=torch.float64)


# ------------------------------------------------------------------ 01 forward noising


def noise_left(draw: Draw) -> tuple[str, float]:
    schedule = linear_schedule()
    t = 10 * draw.whole(2, 40)
    a = float(schedule.alpha_bar[t])
    text = f"At t = {t} the linear schedule has ᾱ = {a:.3f}. What is the standard deviation of"
    return f"{text} the noise in x_t?", float(forward(scalar(1), 0, t, schedule).std)


def signal_left(draw: Draw) -> tuple[str, float]:
    T = [50, 100, 200, 500][draw.whole(0, 3)]
    a = linear_schedule(T).alpha_bar[-1]
    text = f"A schedule ends with ᾱ_T = {float(a):.4f}. By what is the clean picture multiplied"
    return f"{text} in x_T?", float(a.sqrt())


def variance_after_a_step(draw: Draw) -> tuple[str, float]:
    beta, V = draw.uniform(0.1, 0.5), draw.uniform(0.2, 3, 1)
    text = f"Data of variance {V} take one forward step with β = {beta}. Their variance"
    return f"{text} afterwards?", (1 - beta) * V + beta


def three_steps(draw: Draw) -> tuple[str, float]:
    betas = [draw.uniform(0.05, 0.5) for _ in range(3)]
    product = math.prod(1 - beta for beta in betas)
    words = ", ".join(str(beta) for beta in betas)
    return f"Three steps have β = {words}. What is ᾱ after them?", product


def noised_pixel(draw: Draw) -> tuple[str, float]:
    a, x, e = draw.uniform(0.1, 0.9), draw.uniform(-1, 1, 1), draw.uniform(-2, 2, 1)
    text = f"ᾱ_t = {a}, a pixel is x_0 = {x}, its noise is ε = {e}. What is x_t?"
    return text, a**0.5 * x + (1 - a) ** 0.5 * e


# ------------------------------------------------------------------ 02 DDPM


def noise_to_x_0(draw: Draw) -> tuple[str, float]:
    a, x_t, e = draw.uniform(0.2, 0.9), draw.uniform(-1.5, 1.5, 1), draw.uniform(-1.5, 1.5, 1)
    text = f"ᾱ_t = {a}, x_t = {x_t}, and the network predicts the noise {e}. What is x̂_0?"
    return text, (x_t - (1 - a) ** 0.5 * e) / a**0.5


def variance_of_the_posterior(draw: Draw) -> tuple[str, float]:
    a_s = draw.uniform(0.5, 0.9)
    a_t = round(a_s * draw.uniform(0.6, 0.95), 3)
    text = f"ᾱ falls from {a_s} to {a_t} in one step. What is the variance β̃ of"
    variance = posterior_variance(scalar(a_t), scalar(a_s))
    return f"{text} q(x_{{t−1}} | x_t, x_0)?", float(variance)


def enlarged_error(draw: Draw) -> tuple[str, float]:
    a, error = draw.uniform(0.01, 0.3), draw.uniform(0.01, 0.1)
    text = f"ᾱ_t = {a}. An error of {error} in the predicted noise is an error of what size in"
    return f"{text} x̂_0?", error * ((1 - a) / a) ** 0.5


# ------------------------------------------------------------------ 03 DDIM


def step_of_ddim(draw: Draw) -> tuple[str, float]:
    a_t, a_s = draw.uniform(0.1, 0.4), draw.uniform(0.5, 0.95)
    x0_hat, e = draw.uniform(-1, 1, 1), draw.uniform(-1.5, 1.5, 1)
    text = f"DDIM, η = 0: x̂_0 = {x0_hat}, the predicted noise is {e}, ᾱ_t = {a_t} and ᾱ_s ="
    return f"{text} {a_s}. What is x_s?", a_s**0.5 * x0_hat + (1 - a_s) ** 0.5 * e


# ------------------------------------------------------------------ 04 the U-Net


def adaptive_norm(draw: Draw) -> tuple[str, float]:
    h = draw.uniform(-1.5, 1.5, 1)
    scale, shift = draw.uniform(0.2, 1.8, 1), draw.uniform(-1, 1, 1)
    text = f"AdaGN: normalised, a feature is {h}; time and class say scale {scale} and shift"
    return f"{text} {shift}. What goes on?", scale * h + shift


def size_of_attention(draw: Draw) -> tuple[str, float]:
    side, heads = draw.whole(4, 16), draw.whole(1, 8)
    text = f"Attention at {side} × {side} positions with {heads} heads. How many numbers"
    return f"{text} do the attention matrices hold for one picture?", heads * side**4


# ------------------------------------------------------------------ 05 guidance


def calls_of_guidance(draw: Draw) -> tuple[str, float]:
    steps, count, scale = 10 * draw.whole(1, 10), draw.whole(2, 20), draw.whole(2, 8)
    text = f"{count} digits, {steps} DDIM steps each, classifier-free guidance at scale {scale}."
    return f"{text} How many pictures go through the network in all?", 2 * steps * count


def classifier_guided(draw: Draw) -> tuple[str, float]:
    a, e = draw.uniform(0.1, 0.9), draw.uniform(-1, 1, 1)
    s, g = draw.whole(1, 6), draw.uniform(-0.5, 0.5, 2)
    text = f"ᾱ_t = {a}, the predicted noise is {e}, ∇ log p(y | x_t) is {g}, the scale {s}."
    return f"{text} What is the guided noise ε̂?", e - s * (1 - a) ** 0.5 * g


def classifier_free(draw: Draw) -> tuple[str, float]:
    labelled, unlabelled = draw.uniform(-1, 1, 1), draw.uniform(-1, 1, 1)
    w = draw.uniform(0.5, 4, 1)
    text = f"With the label the network predicts {labelled}, without it {unlabelled}."
    text = f"{text} Classifier-free guidance with the paper's w = {w} gives?"
    return text, (1 + w) * labelled - w * unlabelled


# ------------------------------------------------------------------ 06 denoising diffusion GANs


def step_of_ddgan(draw: Draw) -> tuple[str, float]:
    x_t, x_0 = draw.uniform(-1.5, 1.5, 1), draw.uniform(-1, 1, 1)
    a_s = draw.uniform(0.4, 0.9)
    a_t = round(a_s * draw.uniform(0.2, 0.6), 3)
    two_steps = NoiseSchedule(torch.tensor([1.0, a_s, a_t], dtype=torch.float64))
    text = f"DDGAN: ᾱ_t = {a_t}, ᾱ_s = {a_s}, x_t = {x_t}, and the generator draws {x_0}. What"
    mean = posterior(scalar(x_t), scalar(x_0), 2, 1, two_steps).mean
    return f"{text} is the mean of the x_s that it is noised back to?", float(mean)


# ------------------------------------------------------------------ in the order of the test

QUESTIONS = [
    Question(
        noise_left, "√(1 − ᾱ_t): ᾱ is a share of variance, and a deviation is its root.", "01"
    ),
    Question(signal_left, "√ᾱ_T. Only when it is close to 0 is x_T pure noise.", "01"),
    Question(
        variance_after_a_step, "(1 − β) V + β: variance moves towards 1 and stays there.", "01"
    ),
    Question(three_steps, "the product of the three 1 − β.", "01"),
    Question(noised_pixel, "√ᾱ_t x_0 + √(1 − ᾱ_t) ε.", "01"),
    Question(noise_to_x_0, "x̂_0 = (x_t − √(1 − ᾱ_t) ε_θ) / √ᾱ_t.", "02"),
    Question(
        variance_of_the_posterior,
        "β̃ = (1 − ᾱ_{t−1}) / (1 − ᾱ_t) · β with β = 1 − ᾱ_t / ᾱ_{t−1}.",
        "02",
    ),
    Question(enlarged_error, "it is multiplied by √((1 − ᾱ_t) / ᾱ_t): hence the clipping.", "02"),
    Question(
        step_of_ddim, "√ᾱ_s x̂_0 + √(1 − ᾱ_s) ε_θ: x_t is only needed for the two guesses.", "03"
    ),
    Question(adaptive_norm, "scale times the normalised feature, plus shift.", "04"),
    Question(size_of_attention, "each position looks at each: (side²)² a head.", "04"),
    Question(calls_of_guidance, "each step asks twice, with the label and without.", "05"),
    Question(classifier_guided, "ε_θ − s √(1 − ᾱ_t) ∇ log p.", "05"),
    Question(classifier_free, "(1 + w) times the one, minus w times the other.", "05"),
    Question(
        step_of_ddgan,
        "the posterior's: √ᾱ_s β / (1 − ᾱ_t) x_0′ + √(ᾱ_t / ᾱ_s) (1 − ᾱ_s) / (1 − ᾱ_t) x_t"
        " with β = 1 − ᾱ_t / ᾱ_s. No network is asked.",
        "06",
    ),
]
