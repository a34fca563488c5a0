"""Numbers: questions whose figures are drawn anew each time.

Figures that would let a likely slip pass for the answer are not asked: a factor of 1, a guess of 0.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...math.gaussian import forward, forward_variance, posterior, posterior_variance
from ...math.schedule import NoiseSchedule, linear_schedule, vp_schedule
from ...measuring.metrics import precision_recall
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


Asked = tuple[str, float, tuple[float, ...]]
"""The text, the answer, and what the likeliest slips would give"""


def told_apart(answer: float, slip: float) -> bool:
    """Whether the page, which takes two decimals or one percent for right, refuses the slip, and
    would after some rounding more.
    """
    return abs(answer - slip) > 3 * max(0.0055, 0.01 * abs(answer))


@dataclass(frozen=True)
class Question:
    """``ask`` draws the figures, and returns the text, the answer, and the answers of slips.

    Of a ``share``, which is at most 1, the page asks whether a larger number was meant in percent.
    """

    ask: Callable[[Draw], Asked]
    reason: str
    lesson: str
    share: bool = False

    def variants(self, draw: Draw, count: int) -> list[Item]:
        """Sets of figures, all different, which tell the answer from its slips."""
        found: dict[str, float] = {}
        while len(found) < count:
            text, answer, slips = self.ask(draw)
            if all(told_apart(answer, slip) for slip in slips):
                text = re.sub(r"-(?=\d)", "−", text)  # a minus before a digit as it is printed
                found[text] = round(answer, 6)
        return [{"text": text, "answer": answer} for text, answer in found.items()]


def items(seed: int = 0, variants: int = 12) -> list[Item]:
    """One item a question, each with ``variants`` sets of figures."""
    draw = Draw(seed)
    return [
        {
            "id": f"number-{i}",
            "kind": "number",
            "variants": question.variants(draw, variants),
            "share": question.share,
            "reason": question.reason,
            "lesson": LESSONS[question.lesson],
        }
        for i, question in enumerate(QUESTIONS, 1)
    ]


def scalar(value: float) -> Tensor:
    """A number as the package takes it."""
    return torch.tensor(value, dtype=torch.float64)


def row(values: list[float]) -> str:
    return ", ".join(str(value) for value in values)


# ------------------------------------------------------------------ 00 start here


def bound_of_a_vae(draw: Draw) -> Asked:
    explained, far = -draw.uniform(60, 120, 1), draw.uniform(5, 30, 1)
    text = (
        f"A VAE's decoder gives a picture the log likelihood {explained} nats, on average over the"
    )
    text = f"{text} latents that its encoder draws; their distribution is {far} nats (KL) from the"
    slips = (explained + far, -explained + far, explained, -far)
    return f"{text} standard normal. What is the ELBO?", explained - far, slips


# ------------------------------------------------------------------ 01 forward noising


def noise_left(draw: Draw) -> Asked:
    schedule = linear_schedule()
    t = 10 * draw.whole(5, 40)
    a = float(schedule.alpha_bar[t])
    text = f"At t = {t} the linear schedule has ᾱ = {a:.3f}. What is the standard deviation of"
    answer = float(forward(scalar(1), 0, t, schedule).std)
    return f"{text} the noise in x_t?", answer, (1 - a, a, a**0.5)


def signal_left(draw: Draw) -> Asked:
    T = 10 * draw.whole(4, 60)
    a = float(linear_schedule(T).alpha_bar[-1])
    text = f"A schedule ends with ᾱ_T = {a:.4f}. By what is the clean picture multiplied"
    return f"{text} in x_T?", a**0.5, (a, 1 - a, (1 - a) ** 0.5)


def variance_after_a_step(draw: Draw) -> Asked:
    beta, V = draw.uniform(0.1, 0.5), draw.uniform(0.2, 3, 1)
    text = f"Data of variance {V} take one forward step with β = {beta}. Their variance"
    slips = (V, (1 - beta) * V, V + beta, beta * V + 1 - beta, (1 - beta) ** 0.5 * V + beta**0.5)
    return f"{text} afterwards?", (1 - beta) * V + beta, slips


def three_steps(draw: Draw) -> Asked:
    betas = [draw.uniform(0.05, 0.5) for _ in range(3)]
    product = math.prod(1 - beta for beta in betas)
    slips = (1 - sum(betas), 1 - product, math.prod(betas), product**0.5)
    return f"Three steps have β = {row(betas)}. What is ᾱ after them?", product, slips


def noised_pixel(draw: Draw) -> Asked:
    a, x, e = draw.uniform(0.1, 0.9), draw.uniform(-1, 1, 1), draw.uniform(-2, 2, 1)
    text = f"ᾱ_t = {a}, a pixel is x_0 = {x}, its noise is ε = {e}. What is x_t?"
    signal, noise = a**0.5 * x, (1 - a) ** 0.5 * e
    slips = (a * x + (1 - a) * e, signal + (1 - a) * e, (1 - a) ** 0.5 * x + a**0.5 * e)
    return text, signal + noise, (*slips, signal - noise, signal, noise, x + noise)


# ------------------------------------------------------------------ 02 DDPM


def noise_to_x_0(draw: Draw) -> Asked:
    a, x_0, e = draw.uniform(0.2, 0.9), draw.uniform(-0.9, 0.9), draw.uniform(-1.5, 1.5, 1)
    x_t = round(a**0.5 * x_0 + (1 - a) ** 0.5 * e, 1) + 0.0
    text = f"ᾱ_t = {a}, x_t = {x_t}, and the network predicts the noise {e}. What is x̂_0, before"
    left = x_t - (1 - a) ** 0.5 * e
    slips = (left, left / a, (x_t - (1 - a) * e) / a**0.5, (x_t - e) / a**0.5, x_t - e)
    plus = (x_t + (1 - a) ** 0.5 * e) / a**0.5
    return f"{text} any clipping?", left / a**0.5, (*slips, plus, x_t / a**0.5)


def variance_of_the_posterior(draw: Draw) -> Asked:
    a_s = draw.uniform(0.5, 0.9)
    a_t = round(a_s * draw.uniform(0.4, 0.9), 3)
    text = f"ᾱ falls from {a_s} to {a_t} in one step. What is the variance β̃ of"
    variance = float(posterior_variance(scalar(a_t), scalar(a_s)))
    beta = 1 - a_t / a_s
    slips = (beta, variance**0.5, (1 - a_s) / (1 - a_t), (1 - a_t) / (1 - a_s) * beta, a_s - a_t)
    return f"{text} q(x_{{t−1}} | x_t, x_0)?", variance, slips


def enlarged_error(draw: Draw) -> Asked:
    a, error = draw.uniform(0.02, 0.4), draw.uniform(0.05, 0.5)
    text = f"ᾱ_t = {a}. An error of {error} in the predicted noise is an error of what size in"
    slips = (error, error / a**0.5, error / a, error * (1 - a) / a, error * (1 - a) ** 0.5)
    return f"{text} x̂_0, before any clipping?", error * ((1 - a) / a) ** 0.5, slips


def running_average(draw: Draw) -> Asked:
    decay, n = [0.9, 0.95, 0.98, 0.99, 0.995][draw.whole(0, 4)], 5 * draw.whole(1, 60)
    text = f"An EMA of a network's weights has the decay {decay}, and has run for long. What share"
    slips = (decay**n, n * (1 - decay), 1 - decay, decay, 0.0, 1.0)
    return f"{text} of it comes from the last {n} updates?", 1 - decay**n, slips


def bits_of_a_pixel(draw: Draw) -> Asked:
    side, bound = 4 * draw.whole(4, 10), 10 * draw.whole(50, 400)
    text = (
        f"For a grey picture of {side} × {side} pixels a model's bound of −log p is {bound} nats."
    )
    nats = bound / side**2
    slips = (nats, nats * math.log(2), bound / math.log(2), bound / side / math.log(2))
    return f"{text} How many bits per pixel is that?", nats / math.log(2), slips


# ------------------------------------------------------------------ 03 DDIM


def step_of_ddim(draw: Draw) -> Asked:
    a_t, a_s = draw.uniform(0.1, 0.4), draw.uniform(0.5, 0.95)
    x_0, e = draw.uniform(-1, 1, 1), draw.uniform(-1.5, 1.5, 1)
    text = f"DDIM, η = 0: x̂_0 = {x_0}, the predicted noise is {e}, ᾱ_t = {a_t} and ᾱ_s ="
    signal, noise = a_s**0.5 * x_0, (1 - a_s) ** 0.5 * e
    slips = (a_t**0.5 * x_0 + (1 - a_t) ** 0.5 * e, a_s * x_0 + (1 - a_s) * e, signal - noise)
    return f"{text} {a_s}. What is x_s?", signal + noise, (*slips, signal, noise, x_0)


# ------------------------------------------------------------------ 04 the U-Net


def adaptive_norm(draw: Draw) -> Asked:
    h = draw.uniform(-1.5, 1.5, 1)
    scale, shift = draw.uniform(0.2, 1.8, 1), draw.uniform(-1, 1, 1)
    text = f"AdaGN: normalised, a feature is {h}; time and class say scale {scale} and shift"
    slips = (scale * (h + shift), h + shift, scale * h, shift * h + scale, h, scale * h - shift)
    return f"{text} {shift}. What is passed on?", scale * h + shift, slips


def size_of_attention(draw: Draw) -> Asked:
    side, heads = draw.whole(4, 16), draw.whole(2, 8)
    text = f"Attention at {side} × {side} positions with {heads} heads. How many numbers"
    slips = (side**4, heads * side**2, heads * side**3, heads**2 * side**2)
    return f"{text} do the attention matrices hold for one picture?", heads * side**4, slips


# ------------------------------------------------------------------ 05 guidance


def calls_of_guidance(draw: Draw) -> Asked:
    steps, count, scale = 10 * draw.whole(1, 10), draw.whole(2, 20), draw.whole(2, 8)
    text = f"{count} digits, {steps} DDIM steps each, classifier-free guidance at scale {scale}."
    slips = (steps * count, scale * steps * count, (1 + scale) * steps * count, 2 * steps, steps)
    return f"{text} How many pictures go through the network in all?", 2 * steps * count, slips


def classifier_guided(draw: Draw) -> Asked:
    a, e = draw.uniform(0.1, 0.9), draw.uniform(-1, 1, 1)
    s, g = draw.whole(2, 6), draw.uniform(-0.5, 0.5, 2)
    text = f"ᾱ_t = {a}, the predicted noise is {e}, ∇ log p(y | x_t) is {g}, the scale {s}."
    push = (1 - a) ** 0.5 * g
    slips = (e + s * push, e - push, e - s * g, e - s * (1 - a) * g, e - s * a**0.5 * g, -s * push)
    return f"{text} What is the guided noise ε̂?", e - s * push, slips


def classifier_free(draw: Draw) -> Asked:
    labelled, unlabelled = draw.uniform(-1, 1, 1), draw.uniform(-1, 1, 1)
    w = draw.uniform(0.5, 4, 1)
    text = f"With the label the network predicts {labelled}, without it {unlabelled}."
    text = f"{text} Classifier-free guidance with the paper's w = {w} gives?"
    push = labelled - unlabelled
    slips = (unlabelled + w * push, labelled - w * push, unlabelled - w * push, labelled, w * push)
    return text, (1 + w) * labelled - w * unlabelled, slips


# ------------------------------------------------------------------ 06 denoising diffusion GANs


def step_of_ddgan(draw: Draw) -> Asked:
    x_t, x_0 = draw.uniform(-1.5, 1.5, 1), draw.uniform(-1, 1, 1)
    a_s = draw.uniform(0.4, 0.9)
    a_t = round(a_s * draw.uniform(0.2, 0.6), 3)
    two_steps = NoiseSchedule(torch.tensor([1.0, a_s, a_t], dtype=torch.float64))
    text = f"DDGAN: ᾱ_t = {a_t}, ᾱ_s = {a_s}, x_t = {x_t}, and the generator draws {x_0}. What"
    mean, swapped = (
        float(posterior(scalar(noisy), scalar(clean), 2, 1, two_steps).mean)
        for noisy, clean in ((x_t, x_0), (x_0, x_t))
    )
    slips = (swapped, a_s**0.5 * x_0, x_0, x_t)
    return f"{text} is the mean of the x_s that it is noised back to?", mean, slips


def step_of_its_schedule(draw: Draw) -> Asked:
    T = draw.whole(3, 12)
    a = [round(float(each), 4) for each in vp_schedule(T).alpha_bar]
    t = draw.whole(2, max(t for t in range(T + 1) if a[t] > 0.01))
    text = f"DDGAN with T = {T}: ᾱ is {a[t - 1]:.4f} at t = {t - 1} and {a[t]:.4f} at t = {t}. What"
    beta = float(forward_variance(scalar(a[t]), scalar(a[t - 1])))
    slips = (1 - beta, a[t - 1] - a[t], 1 - a[t], 1 - (1 - beta) ** 0.5, beta**0.5)
    return f"{text} is β of the step between them?", beta, slips


# ------------------------------------------------------------------ 07 the trilemma


def near_a_neighbour(draw: Draw) -> Asked:
    while True:
        real, fake = (sorted(draw.uniform(0, 20, 1) for _ in range(5)) for _ in range(2))
        a, b = (torch.tensor(each, dtype=torch.float64)[:, None] for each in (real, fake))
        if not on_an_edge(a, b):
            break
    both = precision_recall(a, b, k=1)
    which = draw.whole(0, 1)
    text = f"Five real digits are points on a line, at {row(real)}; five samples, at {row(fake)}."
    text = f"{text} A ball around each reaches to its nearest neighbour of the same kind."
    slips = (both[1 - which], 0.0, 1.0)
    return f"{text} What is the {both._fields[which]}?", both[which], slips


def on_an_edge(a: Tensor, b: Tensor) -> bool:
    """Whether a point [N, 1] of one kind lies on a ball of the other kind, where rounding rules."""
    for mine, others in ((a, b), (b, a)):
        reach = (mine - mine.T).abs().fill_diagonal_(math.inf).min(1).values
        if (((mine - others.T).abs() - reach[:, None]).abs() < 0.05).any():
            return True
    return False


# ------------------------------------------------------------------ in the order of the test

QUESTIONS = [
    Question(
        bound_of_a_vae,
        "how well the decoder explains the picture, minus the encoder's distance from the standard"
        " normal: both can only lower the bound.",
        "00",
    ),
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
        running_average,
        "each update keeps the decay's share of what was there: after n of them, its n-th power."
        " The rest, 1 − decayⁿ, is from these last n.",
        "02",
        share=True,
    ),
    Question(
        bits_of_a_pixel,
        "a bit is ln 2 = 0.693 nats, and the bound is for all pixels together.",
        "02",
    ),
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
    Question(
        step_of_its_schedule,
        "1 − ᾱ_t / ᾱ_s. With so few steps each takes much of what is left, and so the step back is"
        " no single Gaussian.",
        "06",
    ),
    Question(
        near_a_neighbour,
        "precision is the share of samples in a ball around a real digit, recall the share of real"
        " digits in a ball around a sample.",
        "07",
        share=True,
    ),
]
