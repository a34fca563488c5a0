"""One network by every name: what it may be asked for, and what an error in its answer does."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.prediction import NOISE, PREDICTIONS, SCORE, X0, Prediction, combination
from ...math.schedule import NoiseSchedule, linear_schedule, straight_schedule
from .. import kit
from ..palette import INK, SIGNAL, SOFT
from ..palette import NOISE as ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = {kind.name: kind for kind in (*PREDICTIONS.values(), SCORE)}
LOOKS = {  # of the curves, by what is predicted
    "noise": (ORANGE, "-"),
    "x0": (SIGNAL, "-"),
    "v": (INK, "-"),
    "velocity": (INK, "--"),
    "score": (ORANGE, "-"),
}
MOST_OFF = 20  # per cent


class PredictionExplorer(kit.Explorer):
    """The five things that a network may predict, each read off another, at any time t.

    Of one picture and one noise: x_t, and noise, x_0, v, velocity and score (`PREDICTIONS` and
    `SCORE`). A network answers with the one that is chosen, and is ``off`` by so many per cent of
    its root mean square; the other four are straight combinations of x_t and that answer
    (`convert`), and hold its error, enlarged or reduced. Two curves over t say how often it is in
    x_0 and in the noise, each error taken as a share of what it is an error of. Sizes are counted
    for a picture of mean square 1, like that of the noise.

    ``x_0`` is a grey picture, floats [1, H, W] in -1..1, ``noise`` floats of the same shape (drawn
    with ``seed`` if none is given), ``schedules`` are to be chosen from, by name, all of one T
    (`linear_schedule()` and `straight_schedule()` if none are given). Everything is computed in the
    page. Synced traits: ``t`` (1..T), ``schedule`` and ``predicted`` (names), ``off`` (0..20).
    Raises ValueError for pictures or schedules that do not fit, traitlets.TraitError for values
    outside their range.
    """

    _files = kit.files(__file__, "prediction.css", "prediction.js")

    t = traitlets.Int(1, min=1).tag(sync=True)
    schedule = traitlets.Unicode().tag(sync=True)
    predicted = traitlets.Enum(list(KINDS), "noise").tag(sync=True)
    off = traitlets.Int(1, min=0, max=MOST_OFF).tag(sync=True)

    _schedules = traitlets.Dict().tag(sync=True)  # name -> config
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)
    _x_0 = kit.as_bytes()
    _noise = kit.as_bytes()
    _error = kit.as_bytes()

    def __init__(
        self,
        x_0: Tensor,
        noise: Tensor | None = None,
        schedules: Mapping[str, NoiseSchedule] | None = None,
        seed: int = 0,
    ) -> None:
        picture = kit.check_pictures(x_0, "x_0", most=1)
        kit.check_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        drawn, error = torch.randn((2, *picture.shape), generator=generator)
        noise = drawn if noise is None else kit.as_float(noise, "noise")
        if noise.shape != picture.shape:
            raise ValueError(
                f"noise must have the shape of x_0, {list(picture.shape)}, got {list(noise.shape)}"
            )
        if schedules is None:
            schedules = {"linear": linear_schedule(), "straight": straight_schedule()}
        self.schedules = dict(schedules)
        for name, schedule in self.schedules.items():
            checks.instance("every name in schedules", name, str)
            checks.instance(f"schedules[{name!r}]", schedule, NoiseSchedule)
        lengths = {schedule.T for schedule in self.schedules.values()}
        if len(lengths) != 1:
            raise ValueError(f"schedules must be one or more, all of the same T, got {schedules!r}")
        (self.T,) = lengths
        super().__init__(
            t=max(1, self.T // 2),
            schedule=next(iter(self.schedules)),
            _schedules={name: schedule.config for name, schedule in self.schedules.items()},
            _shape=list(picture.shape[1:]),
            _x_0=kit.pack(picture, "<f4"),
            _noise=kit.pack(noise, "<f4"),
            _error=kit.pack(error, "<f4"),
        )

    @traitlets.validate("t", "schedule")
    def _check(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        if name == "t" and value > self.T:
            raise traitlets.TraitError(f"t must lie in 1..{self.T}, got {value}")
        if name == "schedule" and value not in self.schedules:
            allowed = ", ".join(self.schedules)
            raise traitlets.TraitError(f"schedule must be one of {allowed}, got {value!r}")
        return value

    def _stored(self, content: bytes) -> Tensor:
        return torch.tensor(kit.unpack(content, "<f4")).view(1, *self._shape).double()

    @property
    def x_t(self) -> Tensor:
        """The noisy picture shown, float64 [1, H, W]."""
        alpha, sigma = self._level()
        return alpha * self._stored(self._x_0) + sigma * self._stored(self._noise)

    @property
    def answer(self) -> Tensor:
        """What the network says, its error included, float64 [1, H, W]."""
        level = self._level()
        kind = KINDS[self.predicted]
        a, b = kind.mixture(*level)
        target = a * self._stored(self._x_0) + b * self._stored(self._noise)
        return target + self.off / 100 * size(*level, kind) * self._stored(self._error)

    def _level(self) -> tuple[Tensor, Tensor]:
        chosen = self.schedules[self.schedule]
        return chosen.alpha[self.t], chosen.sigma[self.t]

    def weights(self, name: str) -> tuple[float, float] | None:
        """How much of x_t and of the answer is in what is named; None where they do not tell."""
        try:
            weights = combination(*self._level(), KINDS[self.predicted], KINDS[name])
        except ValueError:
            return None
        return float(weights[0]), float(weights[1])

    def read_off(self, name: str) -> Tensor | None:
        """What is named, as the answer has it, float64 [1, H, W]; None where it cannot tell."""
        weights = self.weights(name)
        return None if weights is None else weights[0] * self.x_t + weights[1] * self.answer

    def enlarged(self, name: str) -> float:
        """How often the answer's error is in what is named, each counted by its own size."""
        return enlarged(*self._level(), KINDS[self.predicted], KINDS[name])

    def figure(self) -> "Figure":
        """x_t and the five, as read off the answer; how its error is enlarged over t."""
        figure = kit.new_figure(9.2, 4.4)
        rows = figure.add_gridspec(2, 1, height_ratios=[1, 1.1])
        pictures, curves = rows[0].subgridspec(1, 6), rows[1].subgridspec(1, 2)
        alpha, sigma = (float(level) for level in self._level())
        seen = figure.add_subplot(pictures[0])
        kit.draw_picture(seen, self.x_t[0], f"$x_t$ at t = {self.t}", INK)
        for i, name in enumerate(KINDS, 1):
            axes = figure.add_subplot(pictures[i])
            picture, scale = self.read_off(name), sigma if name == "score" else 1
            if picture is None:
                axes.set_axis_off()
                axes.set_title(f"{WORDS[name]}: not determined", fontsize=9)
                continue
            colour = LOOKS[name][0] if name in ("noise", "x0") else INK
            kit.draw_picture(axes, scale * picture[0], WORDS[name], colour)
        figure.suptitle(
            f"$x_t$ = {alpha:.3g} $x_0$ + {sigma:.3g} noise. Predicted: {WORDS[self.predicted]}, "
            f"off by {self.off} %. Score from {-1 / sigma:.3g} to {1 / sigma:.3g}",
            fontsize=10,
        )
        for i, kind in enumerate((X0, NOISE)):
            self._draw_curves(figure.add_subplot(curves[i]), kind)
        return figure

    def _draw_curves(self, axes: "Axes", target: Prediction) -> None:
        kit.draw_axes(
            axes, "time t", f"error of {WORDS[target.name]} ÷ error of the answer, both as shares"
        )
        chosen = self.schedules[self.schedule]
        times = range(1, self.T + 1)
        for name, kind in KINDS.items():
            levels = zip(chosen.alpha[1:], chosen.sigma[1:], strict=True)
            values = [enlarged(*level, kind, target) for level in levels]
            colour, dash = LOOKS[name]
            width = 3 if name == self.predicted else 1
            label = {"noise": "noise, score", "score": None}.get(name, WORDS[name])
            axes.plot(times, values, color=colour, linestyle=dash, linewidth=width, label=label)
        axes.axvline(self.t, color=SOFT, linestyle=":")
        axes.set(yscale="log", ylim=(0.01, 1000))
        axes.legend(frameon=False, fontsize=7, title="predicted", title_fontsize=7)


WORDS = {"noise": "noise", "x0": "$x_0$", "v": "v", "velocity": "velocity", "score": "score"}


def size(alpha: Tensor, sigma: Tensor, kind: Prediction) -> float:
    """The root mean square of what is predicted, if that of x_0 is 1, as that of noise is."""
    a, b = kind.mixture(alpha, sigma)
    return float(torch.hypot(a, b))


def enlarged(alpha: Tensor, sigma: Tensor, source: Prediction, target: Prediction) -> float:
    """How often an error of the source is in the target, each as a share of its own size.

    Infinite where the source does not determine the target.
    """
    try:
        _, of_source = combination(alpha, sigma, source, target)
    except ValueError:
        return math.inf
    return abs(float(of_source)) * size(alpha, sigma, source) / size(alpha, sigma, target)
