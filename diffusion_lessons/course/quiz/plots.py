"""Predict the plot: questions answered by one of three plots, of which one was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from ...math.exact import GaussianMixture
from ...math.gaussian import forward
from ...math.sampling import ddim_step, from_noise_model, sample
from ...math.schedule import linear_schedule
from ...measuring.judge import reference
from ...measuring.tables import shipped_table
from ...networks.cards import pretrained_path, read_card
from ...networks.checkpoints import load_pretrained
from ...networks.compute import fast
from ...page.palette import CLASS, RESULT, SIGNAL
from .item import LESSONS, Drawing, Item, picture, show_digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Plot:
    """A question; ``draws`` makes its three plots, the right one first, as ``alts`` says them.

    ``draws`` takes a generator, whether it needs one or not.
    """

    question: str
    draws: Callable[[Generator], list[Drawing]]
    alts: tuple[str, str, str]
    reason: str
    lesson: str

    def item(self, number: int, draws: Sequence[Drawing], order: list[int]) -> Item:
        """The item with the plots in this order."""
        return {
            "id": f"plot-{number}",
            "kind": "plot",
            "question": self.question,
            "pictures": [picture(draws[k], (2.6, 1.9)) for k in order],
            "alts": [self.alts[k] for k in order],
            "right": order.index(0),
            "reason": self.reason,
            "lesson": LESSONS[self.lesson],
        }


def items(seed: int = 0) -> list[Item]:
    """One item a question; runs a shipped network."""
    generator = torch.Generator().manual_seed(seed)
    draws = [plot.draws(generator) for plot in PLOTS]
    orders = [torch.randperm(3, generator=generator).tolist() for _ in PLOTS]
    return [
        plot.item(i, three, order)
        for i, (plot, three, order) in enumerate(zip(PLOTS, draws, orders, strict=True), 1)
    ]


# ------------------------------------------------------------------ ways to draw


def lines(*curves: tuple[Any, Any, str], x: str = "", y: str = "", **limits: Any) -> Drawing:
    """Curves (xs, ys, colour) over named axes; of two, the second is dashed."""

    def draw(axes: "Axes") -> None:
        for (xs, ys, colour), style in zip(curves, ("-", "--"), strict=False):
            axes.plot(xs, ys, f"{'o' if len(xs) < 20 else ''}{style}", ms=3, color=colour)
        axes.set(xlabel=x, ylabel=y, **limits)

    return draw


def four_digits(x: Tensor) -> Drawing:
    """Digits [4, 1, H, W], two by two."""

    def draw(axes: "Axes") -> None:
        show_digits(axes, x, 2)
        axes.set_axis_off()

    return draw


def methods(names: Sequence[str], speeds: Sequence[float], recalls: Sequence[float]) -> Drawing:
    """A point with its name for each method."""

    def draw(axes: "Axes") -> None:
        axes.scatter(speeds, recalls, s=14, color=RESULT)
        for name, place in zip(names, zip(speeds, recalls, strict=True), strict=True):
            off = (0, -10) if name == "GAN" else (0, 4)  # not on DDGAN's
            axes.annotate(name, place, off, textcoords="offset points", ha="center", size=7)
        limits: dict[str, Any] = {"xlim": (0.3, 3e6), "ylim": (-0.15, 1.1)}
        axes.set(xscale="log", xlabel="pictures a second", ylabel="recall", **limits)

    return draw


# ------------------------------------------------------------------ the three plots of a question


def signal_with_200_steps(generator: Generator) -> list[Drawing]:
    t = torch.arange(201)
    left = linear_schedule(200).alpha_bar.sqrt()
    scale: dict[str, Any] = {"x": "t", "y": r"$\sqrt{\bar\alpha_t}$", "ylim": (-0.03, 1.05)}
    shapes = [left, (left - left[-1]) / (1 - left[-1]), 1 - t / 200]
    return [lines((t, ys, SIGNAL), **scale) for ys in shapes]


def one_jump_from_noise(generator: Generator) -> list[Drawing]:
    schedule = linear_schedule()
    model, threes = fast(load_pretrained("digits-ddpm")), torch.full((4,), 3)
    x_T = torch.randn(4, 1, 28, 28, generator=generator)
    denoiser = from_noise_model(partial(model, label=threes), schedule, clip=1)
    *_, jump = sample(denoiser, x_T, schedule, 1, ddim_step)
    *_, walk = sample(denoiser, x_T, schedule, 50, ddim_step)
    noisy = forward(walk.x, 0, 400, schedule).sample(generator)
    return [four_digits(x) for x in (jump.x, walk.x, noisy)]


def width_against_steps(generator: Generator) -> list[Drawing]:
    counts = [2, 4, 10, 20, 50, 100, 1000]
    width = torch.tensor([exact_width(n) for n in counts])
    axes: dict[str, Any] = {"x": "steps", "y": "width", "xscale": "log", "ylim": (0.1, 0.95)}
    half = torch.full((len(counts),), 0.5)
    return [lines((counts, ys, RESULT), **axes) for ys in (width, 1 - width, half)]


def quality_against_scale(generator: Generator) -> list[Drawing]:
    rows = [r for r in shipped_table("guidance")["rows"] if r["guidance"] == "classifier"]
    rows = [r for r in rows if r["scale"] >= 1]
    scale, precision, recall = (
        torch.tensor([r[key] for r in rows]) for key in ("scale", "precision", "recall")
    )
    axes: dict[str, Any] = {"x": "scale", "y": "share", "ylim": (0.55, 1)}
    trades = [(precision, recall), (precision, 1.55 - recall), (1.4 - precision, 1.75 - recall)]
    return [lines((scale, p, RESULT), (scale, r, RESULT), **axes) for p, r in trades]


def accuracy_against_noise(generator: Generator) -> list[Drawing]:
    measured = read_card(pretrained_path("digits-noisy-classifier"))["measured"][0]
    t = torch.tensor([float(time) for time in measured["accuracy_at"]])
    accuracy = torch.tensor(list(measured["accuracy_at"].values()))
    axes: dict[str, Any] = {"x": "t", "y": "right answers", "ylim": (0, 1.05)}
    return [lines((t, ys, CLASS), **axes) for ys in (accuracy, accuracy.flip(0), 1 - t / 1100)]


def large_step_back(generator: Generator) -> list[Drawing]:
    bumps = GaussianMixture(
        torch.tensor([[-1.0], [0.0], [1.0]]), torch.full((3,), 0.1), torch.full((3,), 1 / 3)
    )
    x_s = torch.linspace(-2.2, 2.2, 400, dtype=torch.float64)[:, None]
    small, large = (step_back(bumps, x_s, 600, s) for s in (580, 10))
    at = x_s[:, 0]
    mean = (large * at).sum() / large.sum()
    spread = ((large * (at - mean) ** 2).sum() / large.sum()).sqrt()
    bell = torch.exp(-0.5 * ((at - mean) / spread) ** 2)  # of the same mean and width
    axes: dict[str, Any] = {"x": "$x_s$", "yticks": [], "ylim": (0, 1.1)}
    return [lines((at, ys / ys.max(), RESULT), **axes) for ys in (large, bell, small)]


def distance_of_real_digits(generator: Generator) -> list[Drawing]:
    counts = [100, 200, 500, 1000]
    floor = torch.tensor([reference(n).floor["frechet_distance"] for n in counts])
    axes: dict[str, Any] = {"x": "digits in each set", "y": "Fréchet distance", "ylim": (-0.3, 5)}
    shapes = (floor, floor.mean().expand(len(counts)), torch.zeros(len(counts)))
    return [lines((counts, ys, RESULT), **axes) for ys in shapes]


def recall_against_speed(generator: Generator) -> list[Drawing]:
    rows = {row["method"]: row for row in shipped_table("trilemma")["rows"]}
    shown = ["VAE", "GAN", "DDGAN, 4 steps", "DDPM, 50 steps"]
    names = [name.split(",")[0] for name in shown]
    speed = [rows[name]["images_per_second"] for name in shown]
    recall = [rows[name]["recall"] for name in shown]
    return [
        methods(names, speed, recall),
        methods(names, speed[::-1], recall),
        methods(names, speed, [recall[i] for i in (1, 3, 2, 0)]),
    ]


# ------------------------------------------------------------------ what two of them compute


def exact_width(steps: int, width: float = 0.5) -> float:
    """How wide the samples of DDPM's step (variance β̃) are for Gaussian data and the exact
    denoiser: a recursion.
    """
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


# ------------------------------------------------------------------ in the order of the test

PLOTS = [
    Plot(
        question=(
            "The linear schedule, 1e-4 to 0.02, but with T = 200 steps instead of 1,000. What is"
            " left of the picture?"
        ),
        draws=signal_with_200_steps,
        alts=("falls to 0.36 and stops there", "falls to 0", "falls in a straight line to 0"),
        reason="√ᾱ_T is 0.36: the picture is still there at the end. With fewer steps β must grow.",
        lesson="01",
    ),
    Plot(
        question=(
            "A network is asked for four 3s, from four noises, in a single step from t = 1000 to 0."
            " What does it draw?"
        ),
        draws=one_jump_from_noise,
        alts=("four times nearly the same blur", "four crisp threes", "four noisy threes"),
        reason=(
            "one jump gives the mean of all 3s that could hide behind this noise, and behind pure"
            " noise any of them could."
        ),
        lesson="03",
    ),
    Plot(
        question=(
            "Data: a Gaussian of width 0.5. The denoiser is exact. How wide are the samples of"
            " DDPM's step (η = 1, variance β̃), against the number of steps?"
        ),
        draws=width_against_steps,
        alts=("too narrow with few steps", "too wide with few steps", "0.5 with any number"),
        reason=(
            "each step puts a mean, x̂_0, where any of many x_0 may stand, and loses their spread."
            " Large steps lose much of it, though nothing is wrong with the denoiser."
        ),
        lesson="03",
    ),
    Plot(
        question=(
            "Classifier guidance from scale 1 to 15. What happens to precision (solid) and recall"
            " (dashed)?"
        ),
        draws=quality_against_scale,
        alts=("precision rises, recall falls", "both rise", "precision falls, recall rises"),
        reason=(
            "fidelity is bought with diversity. Past a scale of 6 or so recall goes on falling, and"
            " buys nothing more."
        ),
        lesson="05",
    ),
    Plot(
        question=(
            "A classifier is trained on noised digits and told the time. How often is it right,"
            " against t?"
        ),
        draws=accuracy_against_noise,
        alts=(
            "right nearly always up to 300, then it falls to a guess",
            "a guess at first, then rising",
            "falls in a straight line",
        ),
        reason=(
            "up to t = 300 the noise hides hardly a digit from it; beyond 800 it does little better"
            " than to guess one of ten."
        ),
        lesson="05",
    ),
    Plot(
        question=(
            "Data: three narrow bumps at −1, 0 and 1. One x_t at t = 600 is given. How is x_s"
            " distributed at s = 10, that is q(x_s | x_t) for a large step?"
        ),
        draws=large_step_back,
        alts=("three separate bumps", "one wide bell", "one narrow bell"),
        reason=(
            "one bump for each x_0 that x_t may have come from. DDPM's step would be one bell,"
            " around the mean of all three: with variance β̃ narrower than any of these bumps, with"
            " β wider than all of them together. A single bell is right for a small step: one of 20"
            " gives the narrow one."
        ),
        lesson="06",
    ),
    Plot(
        question=(
            "Two sets of real digits, of the same size and drawn at random. What is their Fréchet"
            " distance, against that size?"
        ),
        draws=distance_of_real_digits,
        alts=("falls, and is not yet 0 at the end", "the same with any size", "0 with any size"),
        reason=(
            "mean and covariance of a few digits are off by chance. This is the floor: a distance"
            " says something only beside the floor for as many samples."
        ),
        lesson="07",
    ),
    Plot(
        question=(
            "A VAE, a plain GAN, DDGAN with 4 steps and DDPM with 50 draw digits on one machine."
            " Where do they stand?"
        ),
        draws=recall_against_speed,
        alts=(
            "the VAE is fastest, DDPM slowest, and the GAN alone has hardly any diversity",
            "the VAE is slowest, DDPM is fastest",
            "the GAN is the most diverse",
        ),
        reason=(
            "one call or 50: that is the speed. The GAN's digits of a class are much alike; DDGAN"
            " is nearly as diverse as DDPM, and over fifteen times as fast."
        ),
        lesson="07",
    ),
]
