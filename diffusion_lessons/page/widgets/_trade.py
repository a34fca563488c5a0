"""Fidelity against diversity: samples at every scale of a knob, and the curves that were measured.

What GuidanceExplorer and TruncationExplorer share; `trade.js` is its page.
"""

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from .. import kit
from ..palette import INK, RESULT, SIGNAL, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = Sequence[tuple[float, float, float]]
"""Measured points (scale, recall, precision)"""


class TradeExplorer(kit.Computed):
    """Samples of one class by one of several methods, at one of several scales of its knob.

    A part is a method, a class and a scale. A subclass checks its own arguments, sets
    what it draws with, calls ``__init__``, and says how the samples are drawn (`_drawn`).
    """

    method = traitlets.Unicode().tag(sync=True)
    label = traitlets.Int(0).tag(sync=True)
    scale = traitlets.Float(0.0).tag(sync=True)

    _methods = traitlets.List(traitlets.Unicode()).tag(sync=True)
    _classes = traitlets.List(traitlets.Int()).tag(sync=True)
    _names = traitlets.List(traitlets.Unicode()).tag(sync=True)  # of labels 0, 1, ..., if known
    _scales = traitlets.List(traitlets.Float()).tag(sync=True)
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # [N, H, W] or [N, 3, H, W]
    _curves = traitlets.Dict().tag(sync=True)  # by method, [[scale, recall, precision], ...]

    _scale_name = "scale"

    def __init__(
        self,
        methods: Sequence[str],
        classes: Sequence[int],
        scales: Sequence[float],
        shape: Sequence[int],
        curves: Mapping[str, Curve] | None,
        seed: int,
        **traits: Any,
    ) -> None:
        kit.check_seed(seed)
        super().__init__(
            seed=seed,
            _first_seed=seed,
            **traits,
            _methods=list(methods),
            _classes=list(classes),
            _scales=list(scales),
            _shape=list(shape),
            _curves={name: check_curve(name, curve) for name, curve in (curves or {}).items()},
        )
        self.method, self.label = self._methods[0], self._classes[0]
        self.scale = min(self._scales, key=lambda scale: abs(scale - 1))
        count = len(methods) * len(classes) * len(scales)
        self._begin(count, self._known(self.method, self.label, self.scale))

    @traitlets.validate("method", "label", "scale")
    def _check_chosen(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        every: dict[str, list[Any]] = {
            "method": self._methods,
            "label": self._classes,
            "scale": self._scales,
        }
        allowed = every[name]
        between = name == "scale" and self._network and allowed[0] <= value <= allowed[-1]
        if allowed and value not in allowed and not between:
            given = ", ".join(map(str, allowed))
            raise traitlets.TraitError(f"{name} must be one of {given}, got {value}")
        return value

    def _in_page(self, method: str) -> bool:
        """Whether the page computes this method itself."""
        return bool(self._network)

    def _known(self, method: str, label: int, scale: float) -> int:
        """The part of a choice that was given."""
        row = self._methods.index(method) * len(self._classes) + self._classes.index(label)
        return row * len(self._scales) + self._scales.index(scale)

    def _ahead(self) -> Iterator[int]:
        """The chosen class at all scales, for methods that the page cannot compute."""
        for method in self._methods:
            if not self._in_page(method):
                for scale in self._scales:
                    yield self._known(method, self._classes[0], scale)

    def _drawn(self, method: str, label: int, scale: float) -> Generator[None, None, Tensor]:
        """Yields after each call of the network, returns pictures [N, C, H, W]."""
        raise NotImplementedError

    def _compute(self, part: int) -> kit.Part:
        rest, at = divmod(part, len(self._scales))
        row, column = divmod(rest, len(self._classes))
        drawn = yield from self._drawn(self._methods[row], self._classes[column], self._scales[at])
        return {"pictures": kit.pack_greys(drawn)}

    def pictures(
        self, method: str | None = None, label: int | None = None, scale: float | None = None
    ) -> Tensor:
        """Samples, float32 [N, C, H, W]: those shown unless others are named.

        Computed now if nobody has. ValueError for a choice that was not given.
        """
        method = self.method if method is None else method
        label = self.label if label is None else label
        scale = self.scale if scale is None else scale
        count, *picture = self._shape
        if method in self._methods and label in self._classes:
            if scale in self._scales:
                part = self._part(self._known(method, label, scale))
                return kit.unpack_greys(part["pictures"], [count, *kit.with_channel(picture)])
            if scale == self.scale:  # which the page computed
                return finished(self._drawn(method, label, scale)).clamp(-1, 1)
        raise ValueError(
            f"there are the methods {self._methods}, classes {self._classes} and scales "
            f"{self._scales}; got {method!r}, {label} and {scale}"
        )

    def figure(self) -> "Figure":
        """Samples of the chosen class and method, a row for each scale at which they are there.

        Beside them the measured curves, the chosen method's with a dot at the chosen scale.
        """
        count, rows = min(self._shape[0], 8), self._shape[-2]
        known = [s for s in self._scales if self._has(self._known(self.method, self.label, s))]
        shown = known or [self.scale]
        height = len(shown)
        samples = [kit.as_kept(self.pictures(scale=scale))[:count] for scale in shown]
        beside = 3.4 if self._curves else 0.0  # inches for the curves
        tall = max(0.5 + 0.6 * height, 2.4 if beside else 0)
        figure = kit.new_figure(1.1 + 0.6 * count + beside, tall)
        if beside:
            axes, plot = figure.subplots(1, 2, width_ratios=[1.1 + 0.6 * count, beside])
            self._draw_curves(plot)
        else:
            axes = figure.subplots()
        kit.show_picture(axes, kit.tiled(torch.cat(samples), count))
        middles = [(i + 0.5) * rows - 0.5 for i in range(height)]
        axes.set_yticks(middles, [f"{scale:g}" for scale in shown])
        axes.set_xticks([])
        axes.tick_params(length=0, labelsize=9, colors=INK)
        axes.spines[:].set_visible(False)
        axes.set_ylabel(self._scale_name, color=INK, fontsize=9)
        axes.set_title(f"{self._asked_for()}, {self.method}", fontsize=10, color=RESULT)
        return figure

    def _draw_curves(self, axes: "Axes") -> None:
        styles = cycle(["-", "--", ":", "-."])
        for (name, points), style in zip(self._curves.items(), styles, strict=False):
            chosen = name == self.method
            scales, recall, precision = zip(*points, strict=True)
            colour = SIGNAL if chosen else SOFT
            axes.plot(recall, precision, style, color=colour, lw=1.5, label=name)
            if chosen and self.scale in scales:
                at = scales.index(self.scale)
                axes.plot(recall[at], precision[at], "o", color=RESULT)
        kit.draw_axes(axes, "recall (diversity)", "measured")
        axes.set_ylabel("precision (fidelity)", color=INK, fontsize=9)
        axes.legend(fontsize=8, frameon=False)

    def _asked_for(self) -> str:
        """The class in words, as the page says it."""
        known = self.label < len(self._names)
        return self._names[self.label] if known else f"class {self.label}"


def finished(drawn: Generator[None, None, Tensor]) -> Tensor:
    """What such a generator returns at last."""
    while True:
        try:
            next(drawn)
        except StopIteration as end:
            pictures: Tensor = end.value
            return pictures


def check_rising(name: str, values: Sequence[float]) -> list[float]:
    """Finite numbers that rise, at least one."""
    numbers = [float(checks.real(f"each of {name}", value)) for value in values]
    if not numbers or numbers != sorted(set(numbers)) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{name} must hold finite values that rise, got {list(values)}")
    return numbers


def check_classes(classes: Sequence[int]) -> list[int]:
    """Different labels from 0 on, at least one."""
    labels: list[int] = checks.integers("classes", classes).flatten().tolist()
    if not labels or len(set(labels)) < len(labels) or min(labels) < 0:
        raise ValueError(f"classes must be different labels from 0 on, got {list(classes)}")
    return labels


def check_curve(name: str, curve: Curve) -> list[list[float]]:
    """Points (scale, recall, precision), by scale."""
    points = [[float(value) for value in point] for point in curve]
    for point in points:
        good = len(point) == 3 and all(map(math.isfinite, point))
        if not good or not all(0 <= share <= 1 for share in point[1:]):
            raise ValueError(
                f"the curve of {name!r} must hold points (scale, recall, precision), the last two "
                f"in 0..1, got {point}"
            )
    return sorted(points)
