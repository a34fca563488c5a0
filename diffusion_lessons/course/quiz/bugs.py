"""Find the bug: pieces of code with one faulty line each, and what they draw, right and wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...math.gaussian import noise_to_x0, posterior_variance, x0_to_noise
from ...math.guidance import class_log_prob, classifier_guidance, clipped, log_prob_gradient
from ...math.sampling import ddim_step, from_noise_model, sample
from ...math.schedule import linear_schedule
from ...networks.checkpoints import load_pretrained
from ...networks.classifier import NoisyClassifier
from ...networks.compute import fast
from ...networks.drawing import noisy_classifier
from ...page.palette import INK, RESULT
from .item import LESSONS, Item, picture, show_digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# ------------------------------------------------------------------ running a piece of code


class Bench:
    """Where the pieces of code run: the names they use, and the noise they start from."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.schedule = linear_schedule()
        self.x_T = torch.randn(6, 1, 28, 28, generator=generator)
        label = torch.tensor([2, 0, 4, 7, 9, 5])
        # The layers alone: the model itself would refuse the wrong time of one of the bugs.
        whole: Any = load_pretrained("digits-ddpm")
        model = fast(whole.network)
        self.labelled = from_noise_model(partial(model, label=label), self.schedule, clip=1)
        self.any_digit = from_noise_model(model, self.schedule)
        functions: list[Any] = [
            pairwise,
            ddim_step,
            posterior_variance,
            x0_to_noise,
            noise_to_x0,
            sample,
        ]
        functions += [clipped, class_log_prob, classifier_guidance, log_prob_gradient]
        self.names: dict[str, Any] = {f.__name__: f for f in functions} | {
            "schedule": self.schedule,
            "label": label,
            "x_T": self.x_T,
            "fresh": fresh,
            "scale": 4.0,
            "log_prob": class_log_prob(noisy_classifier(), label),
            "classifier": classifier,
        }

    def run(self, code: str, **more: Any) -> dict[str, Any]:
        """What the code has defined when it has run; ``more`` are names for it alone."""
        names = self.names | more
        exec(code, names)
        return names


def classifier(name: str) -> Callable[[Tensor, Any], Tensor]:
    """A shipped classifier, to be called with x_t and t, whether it is told the time or not."""
    model: Any = load_pretrained(name)
    return model if isinstance(model, NoisyClassifier) else lambda x_t, t: model(x_t)


def fresh(x: Tensor) -> Tensor:
    """Noise of the shape of x, the same for the same x."""
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(int(1e6 * x.std())))


def deviations(bench: Bench, code: str) -> Tensor:
    """Standard deviation of x_t against t, for data of variance 1."""
    x_0, noise = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(1))
    noised = bench.run(code)["noised"]
    return torch.stack([noised(x_0, noise, t).std() for t in range(0, 1001, 20)])


def ten_steps(bench: Bench, code: str) -> Tensor:
    """The digits at which the code's ``walk`` arrives."""
    with torch.no_grad():
        walk = bench.run(code, denoiser=bench.labelled)["walk"]
        x_0: Tensor = walk(bench.x_T, bench.schedule.times(10))
    return x_0


def stepped(bench: Bench, code: str, name: str, steps: int, noise: bool, until: int = 0) -> Tensor:
    """What the code's function has drawn at time ``until`` of a walk of so many ``steps``, with
    ``noise`` after each.
    """
    rule, x = bench.run(code)[name], bench.x_T
    alpha_bar = bench.schedule.alpha_bar
    for t, s in pairwise(bench.schedule.times(steps)):
        if s < until:
            break
        with torch.no_grad():
            x0_hat = bench.labelled(x, t)
        std = posterior_variance(alpha_bar[t], alpha_bar[s]).sqrt().float()
        x = rule(x, x0_hat, t, s).float()
        x = x + std * fresh(x) if noise else x
    return x


def guided_digits(bench: Bench, code: str) -> Tensor:
    """The digits that the code's denoiser ``guided`` draws."""
    guided = bench.run(code, denoiser=bench.any_digit)["guided"]
    *_, last = sample(guided, bench.x_T, bench.schedule, 50, ddim_step)
    return last.x


def last_step(bench: Bench, code: str) -> Tensor:
    """The digits of the code's own walk, in its ``last``."""
    x_0: Tensor = bench.run(code, denoiser=bench.any_digit)["last"].x
    return x_0


# ------------------------------------------------------------------ from a bug to its item


@dataclass(frozen=True)
class Bug:
    """A piece of code with one fault; the fix replaces the first of two strings by the second.

    ``run`` returns what the code computes: digits [6, 1, 28, 28], or a curve over t.
    """

    question: str
    code: str
    fix: tuple[str, str]
    run: Callable[[Bench, str], Tensor]
    alt: str
    reason: str
    lesson: str

    @property
    def line(self) -> int:
        """Where the faulty line stands, from 0."""
        return self.code[: self.code.index(self.fix[0])].count("\n")

    def picture(self, bench: Bench) -> str:
        """What the code draws, beside what it should draw."""
        right = self.run(bench, self.code.replace(*self.fix))
        wrong = self.run(bench, self.code)
        if right.ndim == 4:
            return picture(partial(two_rows, right, wrong), (4.4, 1.5))
        return picture(partial(two_curves, right, wrong), (4.4, 2.1))


def two_rows(right: Tensor, wrong: Tensor, axes: "Axes") -> None:
    show_digits(axes, torch.cat([right, wrong]), 6)
    axes.set_yticks([14, 42], ["right", "this code"])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def two_curves(right: Tensor, wrong: Tensor, axes: "Axes") -> None:
    t = range(0, 1001, 20)
    axes.plot(t, right, "--", color=RESULT, label="right")
    axes.plot(t, wrong, color=INK, label="this code")
    axes.set(xlabel="t", ylabel="deviation of $x_t$", ylim=(0.6, 1.15))
    axes.legend(fontsize=8)


def items(seed: int = 0) -> list[Item]:
    """One item a bug; runs the shipped networks."""
    bench = Bench(seed)
    return [
        {
            "id": f"bug-{i}",
            "kind": "bug",
            "question": f"{bug.question} Which line is wrong?",
            "lines": bug.code.splitlines(),
            "right": bug.line,
            "picture": bug.picture(bench),
            "alt": bug.alt,
            "reason": bug.reason,
            "lesson": LESSONS[bug.lesson],
        }
        for i, bug in enumerate(BUGS, 1)
    ]


# ------------------------------------------------------------------ the bugs

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
    noise = noise + scale * (1 - schedule.alpha_bar[t]).sqrt() * gradient
    return noise_to_x0(x_t, noise, t, schedule).clamp(-1, 1)"""

CLEAN = """\
guide = classifier("digits-classifier")
log_prob = class_log_prob(guide, label)
push = classifier_guidance(denoiser, log_prob, schedule, scale)
*_, last = sample(clipped(push), x_T, schedule, 50, ddim_step)"""

NO_ROOM = """\
def step(x_t, x0_hat, t, s, eta=1.0):
    a_t, a_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    sigma = eta * posterior_variance(a_t, a_s).sqrt()
    noise_hat = (x_t - a_t.sqrt() * x0_hat) / (1 - a_t).sqrt()
    kept = (1 - a_s).sqrt() * noise_hat
    return a_s.sqrt() * x0_hat + kept + sigma * fresh(x_t)"""

ROWS = "the digits 2, 0, 4, 7, 9, 5 as they should be; below, what this code draws"

BUGS = [
    Bug(
        question=(
            "One jump into the noise. The plot shows the standard deviation of x_t, for data of"
            " variance 1."
        ),
        code=NOISED,
        fix=("(1 - a_t) *", "(1 - a_t).sqrt() *"),
        run=deviations,
        alt="the standard deviation should be 1 at every t; here it falls to 0.87 and comes back",
        reason="the root of 1 − ᾱ_t is missing: the squares of the coefficients must sum to 1.",
        lesson="01",
    ),
    Bug(
        question="A walk of ten DDIM steps.",
        code=WRONG_TIME,
        fix=("denoiser(x, s)", "denoiser(x, t)"),
        run=ten_steps,
        alt=ROWS,
        reason=(
            "x is at time t and the network is told s: it takes too little noise away. With a"
            " thousand steps the two times are neighbours, and the bug hides."
        ),
        lesson="02",
    ),
    Bug(
        question=(
            "The mean of DDPM's step, in a walk of 250 (the posterior's noise is added elsewhere)."
            " The picture shows x_t half way, at t = 500."
        ),
        code=SWAPPED,
        fix=("weight_t * x0_hat + weight_0 * x_t", "weight_0 * x0_hat + weight_t * x_t"),
        run=partial(stepped, name="mean_of_step", steps=250, noise=True, until=500),
        alt="six digits in noise, as they should be half way; below, this code has lost the noise",
        reason=(
            "the weights are swapped. For a small step nearly all of the mean is x_t; here it is"
            " the guess, and the noise that should still be there is gone."
        ),
        lesson="02",
    ),
    Bug(
        question="A denoiser, guided towards the class `label` by a classifier of noisy digits.",
        code=SIGN,
        fix=("noise + scale", "noise - scale"),
        run=guided_digits,
        alt=ROWS,
        reason=(
            "the sign: noise points away from the data, so the push is subtracted from it. Here"
            " each digit is driven away from its class."
        ),
        lesson="05",
    ),
    Bug(
        question=(
            "Digits of the classes `label`, by classifier guidance. `classifier(name)` loads one of"
            " the course's classifiers, to be called with x_t and t."
        ),
        code=CLEAN,
        fix=('"digits-classifier"', '"digits-noisy-classifier"'),
        run=last_step,
        alt=ROWS,
        reason=(
            "this classifier has only seen clean digits. Its gradient in noise is scratches, not"
            " shapes: guidance needs a classifier that was trained on noisy pictures."
        ),
        lesson="05",
    ),
    Bug(
        question="DDIM's step with η = 1, walked 50 times.",
        code=NO_ROOM,
        fix=("(1 - a_s).sqrt() * noise_hat", "(1 - a_s - sigma**2).sqrt() * noise_hat"),
        run=partial(stepped, name="step", steps=50, noise=False),
        alt=ROWS,
        reason=(
            "the old noise makes no room for the fresh one: √(1 − ᾱ_s − σ²) must stand there. At"
            " η = 0 the fault cannot be seen."
        ),
        lesson="03",
    ),
]
