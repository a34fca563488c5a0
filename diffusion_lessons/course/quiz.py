"""The final test: its items, made with the package's own code.

Every answer is computed, every plot is drawn by what it asks about: the faulty lines of the
find-the-bug items are the lines that ran. `FinalTest` shows the items and grades them in the page.
"""

import base64
import io
import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..math.exact import GaussianMixture
from ..math.gaussian import forward, noise_to_x0, posterior, posterior_variance, x0_to_noise
from ..math.guidance import class_log_prob, classifier_guidance, clipped, log_prob_gradient
from ..math.sampling import ddim_step, from_noise_model, sample
from ..math.schedule import NoiseSchedule, linear_schedule
from ..measuring.tables import shipped_table
from ..networks.checkpoints import load_pretrained, pretrained_path, read_card
from ..networks.compute import fast
from ..networks.drawing import noisy_classifier
from ..page.palette import NOISE, RESULT, SIGNAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Item = dict[str, Any]

LESSONS = {
    "01": "01_forward",
    "02": "02_ddpm",
    "03": "03_ddim",
    "04": "04_unet",
    "05": "05_guidance",
    "06": "06_ddgan",
    "07": "07_trilemma",
}
"""Where an answer sends its reader back to."""


def final_test(seed: int = 0, variants: int = 12) -> list[Item]:
    """All items, in the order of the test; runs the shipped networks for some seconds.

    ``variants`` is how many sets of numbers each numeric item has; the page draws one of them.
    """
    return [*matching(), *numbers(seed, variants), *bugs(seed), *plots(seed)]


# ------------------------------------------------------------------ seven formulas


def matching() -> list[Item]:
    """The seven formulas and what they say."""
    pairs = [
        (
            "q(x_t | x_{t−1}) = N( √(1 − β_t) x_{t−1},  β_t I )",
            "one step forward: the picture a little fainter, a little noise added",
            "the squares of the two coefficients, 1 − β and β, sum to 1.",
            "01",
        ),
        (
            "x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε",
            "all steps forward at once, from the clean picture to any time",
            "ᾱ is the product of all 1 − β so far: a thousand steps are one draw.",
            "01",
        ),
        (
            "p_θ(x_{t−1} | x_t) = N( μ_θ(x_t, t),  σ_t² I )",
            "one step back, as a network draws it: a Gaussian around a learnt mean",
            "for a small step the true distribution is nearly a Gaussian; its mean is learnt.",
            "02",
        ),
        (
            "μ_θ = ( x_t − β_t ∕ √(1 − ᾱ_t) · ε_θ(x_t, t) ) ∕ √α_t",
            "where the step back aims, written with the predicted noise",
            "it is the posterior's mean with the guess x̂_0 in the place of x_0.",
            "02",
        ),
        (
            "L = E ‖ ε − ε_θ( √ᾱ_t x_0 + √(1 − ᾱ_t) ε,  t ) ‖²",
            "what is trained: the noise is the only thing to predict",
            "given x_t, the noise, x_0 and the mean are the same knowledge.",
            "02",
        ),
        (
            "x_s = √ᾱ_s x̂_0 + √(1 − ᾱ_s − σ²) ε_θ + σ ε",
            "a step back of any length, with as much fresh noise as one likes",
            "predicted x_0, direction pointing to x_t, random noise: DDIM's equation 12.",
            "03",
        ),
        (
            "ε̂ = ε_θ − s √(1 − ᾱ_t) ∇ log p(y | x_t)",
            "the predicted noise, pushed so that a class becomes likelier",
            "the gradient of a classifier of noisy pictures, s times, in the noise's units.",
            "05",
        ),
    ]
    names = ("formula", "meaning", "reason", "lesson")
    found = [dict(zip(names, (*row[:3], LESSONS[row[3]]), strict=True)) for row in pairs]
    question = "Which formula says what?"
    return [{"id": "match", "kind": "match", "question": question, "pairs": found}]


# ------------------------------------------------------------------ numbers


def numbers(seed: int = 0, variants: int = 12) -> list[Item]:
    """Fifteen questions with numbers, each drawn ``variants`` times and answered by the package."""
    generator = torch.Generator().manual_seed(seed)
    schedule = linear_schedule()

    def uniform(low: float, high: float, places: int = 2) -> float:
        share = torch.rand((), generator=generator).item()
        return round(low + (high - low) * share, places) + 0.0  # no -0.0

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    def tensor(value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float64)

    def noise_left() -> tuple[str, float]:
        t = 10 * whole(2, 40)
        a = float(schedule.alpha_bar[t])
        asked = f"At t = {t} the linear schedule has ᾱ = {a:.3f}. What is the standard deviation of"
        return f"{asked} the noise in x_t?", float(forward(tensor(1), 0, t, schedule).std)

    def signal_left() -> tuple[str, float]:
        T = [50, 100, 200, 500][whole(0, 3)]
        a = linear_schedule(T).alpha_bar[-1]
        asked = (
            f"A schedule ends with ᾱ_T = {float(a):.4f}. By what is the clean picture multiplied"
        )
        return f"{asked} in x_T?", float(a.sqrt())

    def one_step() -> tuple[str, float]:
        beta, V = uniform(0.1, 0.5), uniform(0.2, 3, 1)
        asked = f"Data of variance {V} take one forward step with β = {beta}. Their variance"
        return f"{asked} afterwards?", (1 - beta) * V + beta

    def three_steps() -> tuple[str, float]:
        betas = [uniform(0.05, 0.5) for _ in range(3)]
        product = math.prod(1 - beta for beta in betas)
        words = ", ".join(str(beta) for beta in betas)
        return f"Three steps have β = {words}. What is ᾱ after them?", product

    def noised() -> tuple[str, float]:
        a, x, e = uniform(0.1, 0.9), uniform(-1, 1, 1), uniform(-2, 2, 1)
        asked = f"ᾱ_t = {a}, a pixel is x_0 = {x}, its noise is ε = {e}. What is x_t?"
        return asked, a**0.5 * x + (1 - a) ** 0.5 * e

    def back_to_x_0() -> tuple[str, float]:
        a, x_t, e = uniform(0.2, 0.9), uniform(-1.5, 1.5, 1), uniform(-1.5, 1.5, 1)
        asked = f"ᾱ_t = {a}, x_t = {x_t}, and the network predicts the noise {e}. What is x̂_0?"
        return asked, (x_t - (1 - a) ** 0.5 * e) / a**0.5

    def posterior_width() -> tuple[str, float]:
        a_s = uniform(0.5, 0.9)
        a_t = round(a_s * uniform(0.6, 0.95), 3)
        asked = f"ᾱ falls from {a_s} to {a_t} in one step. What is the variance β̃ of"
        width = posterior_variance(tensor(a_t), tensor(a_s))
        return f"{asked} q(x_{{t−1}} | x_t, x_0)?", float(width)

    def enlarged() -> tuple[str, float]:
        a, error = uniform(0.01, 0.3), uniform(0.01, 0.1)
        asked = f"ᾱ_t = {a}. An error of {error} in the predicted noise is an error of what size in"
        return f"{asked} x̂_0?", error * ((1 - a) / a) ** 0.5

    def ddim() -> tuple[str, float]:
        a_t, a_s = uniform(0.1, 0.4), uniform(0.5, 0.95)
        x0_hat, e = uniform(-1, 1, 1), uniform(-1.5, 1.5, 1)
        asked = f"DDIM, η = 0: x̂_0 = {x0_hat}, the predicted noise is {e}, ᾱ_t = {a_t} and ᾱ_s ="
        return f"{asked} {a_s}. What is x_s?", a_s**0.5 * x0_hat + (1 - a_s) ** 0.5 * e

    def calls() -> tuple[str, float]:
        steps, count, scale = 10 * whole(1, 10), whole(2, 20), whole(2, 8)
        asked = (
            f"{count} digits, {steps} DDIM steps each, classifier-free guidance at scale {scale}."
        )
        return f"{asked} How many pictures go through the network in all?", 2 * steps * count

    def guided() -> tuple[str, float]:
        a, e = uniform(0.1, 0.9), uniform(-1, 1, 1)
        s, g = whole(1, 6), uniform(-0.5, 0.5, 2)
        asked = f"ᾱ_t = {a}, the predicted noise is {e}, ∇ log p(y | x_t) is {g}, the scale {s}."
        return f"{asked} What is the guided noise ε̂?", e - s * (1 - a) ** 0.5 * g

    def free() -> tuple[str, float]:
        told, untold, w = uniform(-1, 1, 1), uniform(-1, 1, 1), uniform(0.5, 4, 1)
        asked = f"With the label the network predicts {told}, without it {untold}. Classifier-free"
        return f"{asked} guidance with the paper's w = {w} gives?", (1 + w) * told - w * untold

    def adaptive() -> tuple[str, float]:
        h, scale, shift = uniform(-1.5, 1.5, 1), uniform(0.2, 1.8, 1), uniform(-1, 1, 1)
        asked = f"AdaGN: normalised, a feature is {h}; time and class say scale {scale} and shift"
        return f"{asked} {shift}. What goes on?", scale * h + shift

    def attended() -> tuple[str, float]:
        side, heads = whole(4, 16), whole(1, 8)
        asked = f"Attention at {side} × {side} positions with {heads} heads. How many numbers"
        return f"{asked} do the attention matrices hold for one picture?", heads * side**4

    def drawn_back() -> tuple[str, float]:
        x_t, x_0 = uniform(-1.5, 1.5, 1), uniform(-1, 1, 1)
        a_s = uniform(0.4, 0.9)
        a_t = round(a_s * uniform(0.2, 0.6), 3)
        two_steps = NoiseSchedule(torch.tensor([1.0, a_s, a_t], dtype=torch.float64))
        asked = f"DDGAN: ᾱ_t = {a_t}, ᾱ_s = {a_s}, x_t = {x_t}, and the generator draws {x_0}. What"
        mean = posterior(tensor(x_t), tensor(x_0), 2, 1, two_steps).mean
        return f"{asked} is the mean of the x_s that it is noised back to?", float(mean)

    made: list[tuple[Callable[[], tuple[str, float]], str, str]] = [
        (noise_left, "√(1 − ᾱ_t): ᾱ is a share of variance, and a deviation is its root.", "01"),
        (signal_left, "√ᾱ_T. Only when it is close to 0 is x_T pure noise.", "01"),
        (one_step, "(1 − β) V + β: variance moves towards 1 and stays there.", "01"),
        (three_steps, "the product of the three 1 − β.", "01"),
        (noised, "√ᾱ_t x_0 + √(1 − ᾱ_t) ε.", "01"),
        (back_to_x_0, "x̂_0 = (x_t − √(1 − ᾱ_t) ε_θ) / √ᾱ_t.", "02"),
        (posterior_width, "β̃ = (1 − ᾱ_{t−1}) / (1 − ᾱ_t) · β with β = 1 − ᾱ_t / ᾱ_{t−1}.", "02"),
        (enlarged, "it is multiplied by √((1 − ᾱ_t) / ᾱ_t): hence the clipping.", "02"),
        (ddim, "√ᾱ_s x̂_0 + √(1 − ᾱ_s) ε_θ: x_t is only needed for the two guesses.", "03"),
        (adaptive, "scale times the normalised feature, plus shift.", "04"),
        (attended, "each position looks at each: (side²)² a head.", "04"),
        (calls, "each step asks twice, with the label and without.", "05"),
        (guided, "ε_θ − s √(1 − ᾱ_t) ∇ log p.", "05"),
        (free, "(1 + w) times the one, minus w times the other.", "05"),
        (
            drawn_back,
            "the posterior's: √ᾱ_s β / (1 − ᾱ_t) x_0′ + √(ᾱ_t / ᾱ_s) (1 − ᾱ_s) / (1 − ᾱ_t) x_t"
            " with β = 1 − ᾱ_t / ᾱ_s. No network is asked.",
            "06",
        ),
    ]
    found = []
    for i, (draw, reason, lesson) in enumerate(made):
        drawn = [draw() for _ in range(variants)]
        listed = [  # a minus before a digit as it is printed
            {"text": re.sub(r"-(?=\d)", "−", text), "answer": round(answer, 6)}
            for text, answer in drawn
        ]
        item = {"id": f"number-{i + 1}", "kind": "number", "variants": listed}
        found.append(item | {"reason": reason, "lesson": LESSONS[lesson]})
    return found


# ------------------------------------------------------------------ find the bug

NOISED = """\
def noised(x_0, noise, t):
    a_t = schedule.alpha_bar[t]
    signal = a_t.sqrt() * x_0
    return signal + (1 - a_t) * noise"""

WRONG_TIME = """\
def walk(x, times):
    for t, s in pairwise(times):
        x0_hat = denoiser(x, s)
        x = ddim_step(x, x0_hat, t, s, schedule).mean
    return x"""

SWAPPED = """\
def mean_of_step(x_t, x0_hat, t, s):
    a_t, a_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    beta = 1 - a_t / a_s
    weight_0 = a_s.sqrt() * beta / (1 - a_t)
    weight_t = (a_t / a_s).sqrt() * (1 - a_s) / (1 - a_t)
    return weight_t * x0_hat + weight_0 * x_t"""

SIGN = """\
def guided(x_t, t):
    noise = x0_to_noise(x_t, denoiser(x_t, t), t, schedule)
    gradient = log_prob_gradient(log_prob, x_t, t)
    push = scale * (1 - schedule.alpha_bar[t]).sqrt() * gradient
    return noise_to_x0(x_t, noise + push, t, schedule).clamp(-1, 1)"""

CLEAN = """\
guide = load_pretrained("digits-classifier")
ask = lambda x_t, t: guide(x_t)
log_prob = class_log_prob(ask, label)
push = classifier_guidance(denoiser, log_prob, schedule, scale)
*_, last = sample(clipped(push), x_T, schedule, 50, ddim_step)"""

NO_ROOM = """\
def step(x_t, x0_hat, t, s, eta=1.0):
    a_t, a_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    sigma = eta * posterior_variance(a_t, a_s).sqrt()
    noise_hat = (x_t - a_t.sqrt() * x0_hat) / (1 - a_t).sqrt()
    kept = (1 - a_s).sqrt() * noise_hat
    return a_s.sqrt() * x0_hat + kept + sigma * fresh(x_t)"""


def bugs(seed: int = 0) -> list[Item]:
    """Six pieces of code with one faulty line each, and what they draw, right and wrong."""
    schedule, generator = linear_schedule(), torch.Generator().manual_seed(seed)
    model = fast(load_pretrained("digits-ddpm"))
    label = torch.tensor([2, 0, 4, 7, 9, 5])
    x_T = torch.randn(6, 1, 28, 28, generator=generator)
    told = from_noise_model(partial(model, label=label), schedule, clip=1)
    any_digit = from_noise_model(model, schedule)

    def fresh(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=torch.Generator().manual_seed(int(1e6 * x.std())))

    names = {
        "schedule": schedule,
        "label": label,
        "x_T": x_T,
        "fresh": fresh,
        "scale": 4.0,
        "log_prob": class_log_prob(noisy_classifier(), label),
    } | {
        f.__name__: f
        for f in (pairwise, ddim_step, posterior_variance, x0_to_noise, noise_to_x0, sample)
    }
    names |= {
        f.__name__: f
        for f in (clipped, class_log_prob, classifier_guidance, log_prob_gradient, load_pretrained)
    }

    def ran(code: str, **more: Any) -> dict[str, Any]:
        space = names | more
        exec(code, space)
        return space

    def deviations(code: str) -> Tensor:
        """Standard deviation of x_t against t, for data of variance 1."""
        x_0, noise = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(1))
        make = ran(code)["noised"]
        return torch.stack([make(x_0, noise, t).std() for t in range(0, 1001, 20)])

    def walked(code: str) -> Tensor:
        with torch.no_grad():
            made: Tensor = ran(code, denoiser=told)["walk"](x_T, schedule.times(10))
        return made

    def stepped(code: str, name: str, steps: int, noise: bool) -> Tensor:
        rule, x = ran(code)[name], x_T
        for t, s in pairwise(schedule.times(steps)):
            with torch.no_grad():
                x0_hat = told(x, t)
            std = posterior_variance(schedule.alpha_bar[t], schedule.alpha_bar[s]).sqrt().float()
            x = rule(x, x0_hat, t, s).float()
            x = x + std * fresh(x) if noise else x
        return x

    def pushed(code: str) -> Tensor:
        guided = ran(code, denoiser=any_digit)["guided"]
        *_, last = sample(guided, x_T, schedule, 50, ddim_step)
        return last.x

    def by_clean_guide(code: str) -> Tensor:
        made: Tensor = ran(code, denoiser=any_digit)["last"].x
        return made

    told_t = 'load_pretrained("digits-noisy-classifier")\nask = guide'
    right_clean = CLEAN.replace(
        'load_pretrained("digits-classifier")\nask = lambda x_t, t: guide(x_t)', told_t
    )
    row = "the digits 2, 0, 4, 7, 9, 5 as they should be; below, what this code draws"
    made: list[tuple[str, str, str, Callable[[str], Tensor], str, str, str, str]] = [
        (
            "One jump into the noise. The plot shows the standard deviation of x_t, for data of"
            " variance 1.",
            NOISED,
            NOISED.replace("(1 - a_t) *", "(1 - a_t).sqrt() *"),
            deviations,
            "the standard deviation should be 1 at every t; here it falls to 0.87 and comes back",
            "the root of 1 − ᾱ_t is missing: the squares of the coefficients must sum to 1.",
            "01",
            "return",
        ),
        (
            "A walk of ten DDIM steps.",
            WRONG_TIME,
            WRONG_TIME.replace("denoiser(x, s)", "denoiser(x, t)"),
            walked,
            row,
            "x is at time t and the network is told s: it takes too little noise away. Off by one"
            " step in t is the commonest bug of this field; with a thousand steps it hides.",
            "02",
            "x0_hat =",
        ),
        (
            "The mean of DDPM's step, walked 250 times (the posterior's noise is added elsewhere).",
            SWAPPED,
            SWAPPED.replace(
                "weight_t * x0_hat + weight_0 * x_t", "weight_0 * x0_hat + weight_t * x_t"
            ),
            lambda code: stepped(code, "mean_of_step", 250, noise=True),
            row,
            "the weights are swapped. For a small step nearly all of the mean is x_t; here it is"
            " the guess, so the walk settles at once: blunt, bold digits.",
            "02",
            "return",
        ),
        (
            "A denoiser, guided towards the class `label` by a classifier of noisy digits.",
            SIGN,
            SIGN.replace("noise + push", "noise - push"),
            pushed,
            row,
            "the sign: noise points away from the data, so the push is subtracted from it. Here"
            " each digit is driven away from its class.",
            "05",
            "return",
        ),
        (
            "Digits of the classes `label`, by classifier guidance.",
            CLEAN,
            right_clean,
            by_clean_guide,
            row,
            "this classifier has only seen clean digits. Its gradient in noise is scratches, not"
            " shapes: guidance needs a classifier trained on noisy pictures and told the time.",
            "05",
            "guide =",
        ),
        (
            "DDIM's step with η = 1, walked 50 times.",
            NO_ROOM,
            NO_ROOM.replace(
                "(1 - a_s).sqrt() * noise_hat", "(1 - a_s - sigma**2).sqrt() * noise_hat"
            ),
            lambda code: stepped(code, "step", 50, noise=False),
            row,
            "the old noise makes no room for the fresh one: √(1 − ᾱ_s − σ²) must stand there. At"
            " η = 0 the fault cannot be seen.",
            "03",
            "kept =",
        ),
    ]
    found = []
    for i, (question, wrong, right, run, alt, reason, lesson, begins) in enumerate(made):
        lines = wrong.splitlines()
        (faulty,) = [k for k, line in enumerate(lines) if line.strip().startswith(begins)]
        both = run(right), run(wrong)
        rows = both[0].ndim == 4
        draw = partial(_two_rows if rows else _two_lines, *both)
        found.append(
            {
                "id": f"bug-{i + 1}",
                "kind": "bug",
                "question": question + " Which line is wrong?",
                "lines": lines,
                "right": faulty,
                "picture": picture(draw, (4.4, 1.5 if rows else 2.1)),
                "alt": alt,
                "reason": reason,
                "lesson": LESSONS[lesson],
            }
        )
    return found


def _two_rows(right: Tensor, wrong: Tensor, axes: "Axes") -> None:
    from ..page.viz import tile

    axes.imshow(tile(torch.cat([right, wrong]), 6), cmap="gray", vmin=0, vmax=255)
    axes.set_yticks([14, 42], ["right", "this code"])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _two_lines(right: Tensor, wrong: Tensor, axes: "Axes") -> None:
    t = range(0, 1001, 20)
    axes.plot(t, right, "--", color=RESULT, label="right")
    axes.plot(t, wrong, color=NOISE, label="this code")
    axes.set(xlabel="t", ylabel="deviation of $x_t$", ylim=(0.6, 1.15))
    axes.legend(fontsize=8)


# ------------------------------------------------------------------ predict the plot


def plots(seed: int = 0) -> list[Item]:
    """Seven questions answered by one of three plots; one of them was measured."""
    schedule, generator = linear_schedule(), torch.Generator().manual_seed(seed)

    def lines(*curves: tuple[Any, Any, str], x: str = "", y: str = "", **limits: Any) -> Any:
        def draw(axes: "Axes") -> None:
            for xs, ys, colour in curves:
                axes.plot(xs, ys, "o-" if len(xs) < 20 else "-", ms=3, color=colour)
            axes.set(xlabel=x, ylabel=y, **limits)

        return draw

    def digits_drawn(x: Tensor) -> Any:
        from ..page.viz import tile

        def draw(axes: "Axes") -> None:
            axes.imshow(tile(x, 2), cmap="gray", vmin=0, vmax=255)
            axes.set_axis_off()

        return draw

    # 1: what is left of the picture with 200 steps
    t = torch.arange(201)
    left = linear_schedule(200).alpha_bar.sqrt()
    scale: dict[str, Any] = {"x": "t", "y": r"$\sqrt{\bar\alpha_t}$", "ylim": (-0.03, 1.05)}
    shapes = [left, (left - left[-1]) / (1 - left[-1]), 1 - t / 200]
    signal = [lines((t, ys, SIGNAL), **scale) for ys in shapes]

    # 2: one jump from pure noise
    model, three = fast(load_pretrained("digits-ddpm")), torch.full((4,), 3)
    x_T = torch.randn(4, 1, 28, 28, generator=generator)
    denoiser = from_noise_model(partial(model, label=three), schedule, clip=1)
    *_, jump = sample(denoiser, x_T, schedule, 1, ddim_step)
    *_, walk = sample(denoiser, x_T, schedule, 50, ddim_step)
    real = forward(walk.x, 0, 400, schedule).sample(generator)
    jumps = [digits_drawn(x) for x in (jump.x, walk.x, real)]

    # 3: width of the samples of an exact Gaussian
    counts = [2, 4, 10, 20, 50, 100, 1000]
    width = torch.tensor([exact_width(n) for n in counts])
    axes: dict[str, Any] = {"x": "steps", "y": "width", "xscale": "log", "ylim": (0.1, 0.95)}
    half = torch.full((len(counts),), 0.5)
    widths = [lines((counts, w, RESULT), **axes) for w in (width, 1 - width, half)]

    # 4: precision and recall against the scale
    rows = [r for r in shipped_table("guidance")["rows"] if r["guidance"] == "classifier"]
    rows = [r for r in rows if r["scale"] >= 1]
    s, precision, recall = (
        torch.tensor([r[key] for r in rows]) for key in ("scale", "precision", "recall")
    )
    up: dict[str, Any] = {"x": "scale", "y": "share", "ylim": (0.55, 1)}
    trades = [
        lines((s, precision, SIGNAL), (s, recall, RESULT), **up),
        lines((s, precision, SIGNAL), (s, 1.55 - recall, RESULT), **up),
        lines((s, 1.4 - precision, SIGNAL), (s, 1.75 - recall, RESULT), **up),
    ]

    # 5: what a classifier of noisy digits sees
    measured = read_card(pretrained_path("digits-noisy-classifier"))["measured"][0]
    at = torch.tensor([float(time) for time in measured["accuracy_at"]])
    seen = torch.tensor(list(measured["accuracy_at"].values()))
    share: dict[str, Any] = {"x": "t", "y": "right answers", "ylim": (0, 1.05)}
    accuracies = [lines((at, ys, NOISE), **share) for ys in (seen, seen.flip(0), 1 - at / 1100)]

    # 6: a small step back, and a large one, where the data are three narrow bumps
    bumps = GaussianMixture(
        torch.tensor([[-1.0], [0.0], [1.0]]), torch.full((3,), 0.1), torch.full((3,), 1 / 3)
    )
    x_s = torch.linspace(-2.2, 2.2, 400, dtype=torch.float64)[:, None]
    steps_back = [step_back(bumps, x_s, 600, s) for s in (580, 10)]
    bell = steps_back[1]  # the Gaussian of the same mean and width
    mean = (bell * x_s[:, 0]).sum() / bell.sum()
    spread = ((bell * (x_s[:, 0] - mean) ** 2).sum() / bell.sum()).sqrt()
    bell = torch.exp(-0.5 * ((x_s[:, 0] - mean) / spread) ** 2)
    at_x: dict[str, Any] = {"x": "$x_s$", "yticks": [], "ylim": (0, 1.1)}
    shapes_back = [
        lines((x_s[:, 0], ys / ys.max(), colour), **at_x)
        for ys, colour in [(steps_back[1], RESULT), (bell, RESULT), (steps_back[0], RESULT)]
    ]

    # 7: recall against speed
    found_of = {row["method"]: row for row in shipped_table("trilemma")["rows"]}
    kept = [
        (name.split(",")[0], found_of[name])
        for name in ("VAE", "GAN", "DDGAN, 4 steps", "DDPM, 250 steps")
    ]
    speed = [row["images_per_second"] for _, row in kept]
    various = [row["recall"] for _, row in kept]

    def named(speeds: Sequence[float], recalls: Sequence[float]) -> Any:
        def draw(axes: "Axes") -> None:
            axes.scatter(speeds, recalls, s=14, color=RESULT)
            for (short, _), place in zip(kept, zip(speeds, recalls, strict=True), strict=True):
                axes.annotate(short, place, (0, 4), textcoords="offset points", ha="center", size=7)
            limits: dict[str, Any] = {"xlim": (0.3, 3e6), "ylim": (-0.05, 1.1)}
            axes.set(xscale="log", xlabel="pictures a second", ylabel="recall", **limits)

        return draw

    places = [
        named(speed, various),
        named(speed[::-1], various),
        named(speed, [various[i] for i in (1, 3, 2, 0)]),
    ]

    made = [
        (
            "The linear schedule, 1e-4 to 0.02, but with T = 200 steps instead of 1,000. What is"
            " left of the picture?",
            signal,
            ["falls to 0.36 and stops there", "falls to 0", "falls in a straight line to 0"],
            "√ᾱ_T is 0.36: the picture is still there at the end. With fewer steps β must grow.",
            "01",
        ),
        (
            "A network is asked for four 3s, from four noises, in a single step from t = 1000 to 0."
            " What does it draw?",
            jumps,
            ["four times nearly the same blur", "four crisp threes", "four noisy threes"],
            "one jump gives the mean of all 3s that could hide behind this noise: all of them.",
            "03",
        ),
        (
            "Data: a Gaussian of width 0.5. The denoiser is exact. How wide are DDPM's samples,"
            " against the number of steps?",
            widths,
            ["too narrow with few steps", "too wide with few steps", "0.5 with any number"],
            "each step takes a mean where it should draw; few steps cost diversity, though nothing"
            " is wrong with the network.",
            "03",
        ),
        (
            "Classifier guidance from scale 1 to 15. What happens to precision (blue) and recall"
            " (green)?",
            trades,
            ["precision rises, recall falls", "both rise", "precision falls, recall rises"],
            "fidelity is bought with diversity: ever more typical digits, ever fewer kinds.",
            "05",
        ),
        (
            "A classifier is trained on noised digits and told the time. How often is it right,"
            " against t?",
            accuracies,
            [
                "right nearly always up to 300, then it falls to a guess",
                "a guess at first, then rising",
                "falls in a straight line",
            ],
            "up to t = 300 the digits are hidden from nobody who has learnt to look; beyond 800"
            " they are hidden from everybody.",
            "05",
        ),
        (
            "Data: three narrow bumps at −1, 0 and 1. One x_t at t = 600 is given. How is x_s"
            " distributed at s = 10, that is q(x_s | x_t) for a large step?",
            shapes_back,
            ["three separate bumps", "one wide bell", "one narrow bell"],
            "one bump for each x_0 that x_t may have come from. A bell of the right mean and width"
            " sits between them, which is what a Gaussian step draws; a narrow bell is a step of"
            " 20.",
            "06",
        ),
        (
            "A VAE, a plain GAN, DDGAN with 4 steps and DDPM with 250 draw digits on one machine."
            " Where do they stand?",
            places,
            [
                "the VAE is fastest, DDPM is slowest and most various, the GAN has no variety",
                "the VAE is slowest, DDPM is fastest",
                "the GAN is the most various",
            ],
            "one call or 250: that is the speed. The GAN knows hardly more than one handwriting of"
            " each digit; DDGAN trades some of DDPM's variety for a hundred times its speed.",
            "07",
        ),
    ]
    found = []
    for i, (question, draws, alts, reason, lesson) in enumerate(made):
        order = torch.randperm(3, generator=generator).tolist()
        found.append(
            {
                "id": f"plot-{i + 1}",
                "kind": "plot",
                "question": question,
                "pictures": [picture(draws[k], (2.6, 1.9)) for k in order],
                "alts": [alts[k] for k in order],
                "right": order.index(0),
                "reason": reason,
                "lesson": LESSONS[lesson],
            }
        )
    return found


def exact_width(steps: int, width: float = 0.5) -> float:
    """How wide DDPM's samples are for Gaussian data and the exact denoiser: a recursion."""
    schedule = linear_schedule()
    bell = GaussianMixture(torch.zeros(1, 1), torch.tensor([width]), torch.ones(1))
    unit, variance = torch.ones(1, 1, dtype=torch.float64), 1.0
    for t, s in pairwise(schedule.times(steps)):
        p = ddim_step(unit, bell.denoise(unit, t, schedule), t, s, schedule, eta=1)
        variance = p.mean.item() ** 2 * variance + p.std.item() ** 2  # mean: what a 1 becomes
    return variance**0.5


def step_back(mixture: GaussianMixture, x_s: Tensor, t: int, s: int) -> Tensor:
    """q(x_s | x_t) for the exact mixture at x_t = 0.25, at points x_s [N, 1] -> [N], unscaled."""
    schedule = linear_schedule()
    x_t = torch.full_like(x_s, 0.25)
    return (
        mixture.log_prob(x_s, s, schedule) + forward(x_s, s, t, schedule).log_prob(x_t)
    ).softmax(0)


def picture(draw: Callable[["Axes"], None], size: Sequence[float]) -> str:
    """A small figure as PNG in base64, on white: a page in the dark shows it on a white card."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0], size[1]), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    draw(axes)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=110)
    return base64.b64encode(written.getvalue()).decode()
