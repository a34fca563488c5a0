"""One class asked for more and more insistently: what guidance gives, and what it takes."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ..palette import RESULT
from ..sampling import Denoiser, Step, ddim_step, sample
from ..schedule import NoiseSchedule
from ._base import INK, check_count, module_text, new_figure, pack_greys, unpack_greys
from ._computed import Computed, Part, check_batch, check_denoiser, check_seed, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Guided = Callable[[Tensor, float], Denoiser]
"""(labels [N], scale) -> the denoiser that draws those labels"""

Curve = Sequence[tuple[float, float, float]]
"""Measured points (scale, recall, precision)"""


class GuidanceExplorer(Computed):
    """Samples of one class under several guidances and scales, all from the same noise.

    ``methods`` are named functions ``(labels [N], scale) -> denoiser``, such as a wrapped
    `classifier_guidance`. For every method and every one of ``classes`` the pictures that `sample`
    makes from ``x_T`` with `ddim_step` (eta 0) in ``steps`` steps, at every one of ``scales``.
    ``curves`` are measured points (scale, recall, precision) by method: they are drawn beside the
    pictures, with the chosen scale on them.

    ``x_T`` is noise [N, 1, H, W], N at most 16. Everything is computed at once, with a progress
    bar; "New noise", where there is a kernel, begins with the chosen method and class.

    Synced traits: ``method``, ``label`` and ``scale`` (one of those given), ``seed`` (another one
    is another noise). ``pictures()`` are the samples shown. Raises ValueError for values outside
    these ranges, traitlets.TraitError for a choice that was not given.
    """

    _esm = module_text("guidance.js")

    method = traitlets.Unicode().tag(sync=True)
    label = traitlets.Int(0).tag(sync=True)
    scale = traitlets.Float(0.0).tag(sync=True)

    _methods = traitlets.List(traitlets.Unicode()).tag(sync=True)
    _classes = traitlets.List(traitlets.Int()).tag(sync=True)
    _scales = traitlets.List(traitlets.Float()).tag(sync=True)
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # [N, H, W]
    _curves = traitlets.Dict().tag(sync=True)  # by method, [[scale, recall, precision], ...]

    def __init__(
        self,
        methods: Mapping[str, Guided],
        x_T: Tensor,
        schedule: NoiseSchedule,
        scales: Sequence[float] = (0, 0.5, 1, 2, 4, 8),
        classes: Sequence[int] = tuple(range(10)),
        steps: int = 20,
        curves: Mapping[str, Curve] | None = None,
        seed: int = 0,
    ) -> None:
        noise = check_batch(x_T, "x_T", 16)
        listed = [float(scale) for scale in scales]
        if not listed or listed != sorted(set(listed)) or not all(map(math.isfinite, listed)):
            raise ValueError(f"scales must hold finite values that rise, got {list(scales)}")
        if not methods:
            raise ValueError("methods must name at least one guidance")
        wanted = [int(label) for label in classes]
        if not wanted or len(set(wanted)) < len(wanted) or min(wanted) < 0:
            raise ValueError(f"classes must be different labels from 0 on, got {list(classes)}")
        check_count("steps", steps, 1, schedule.T)
        check_seed(seed)
        measured = {name: _check_curve(name, curve) for name, curve in (curves or {}).items()}
        if unknown := measured.keys() - methods.keys():
            raise ValueError(f"curves are of {sorted(unknown)}, which are not among the methods")
        for guided in methods.values():
            label = self._labels(len(noise), wanted[0], noise)
            check_denoiser(guided(label, listed[-1]), noise, schedule.T)
        self.methods, self.schedule, self.steps = dict(methods), schedule, steps
        self._given = seed, noise
        super().__init__(
            seed=seed,
            _methods=list(methods),
            _classes=wanted,
            _scales=listed,
            _shape=[len(noise), *noise.shape[2:]],
            _curves=measured,
        )
        self.method, self.label = self._methods[0], wanted[0]
        self.scale = min(listed, key=lambda scale: abs(scale - 1))
        self._precompute(len(methods) * len(wanted), "methods and classes")

    @staticmethod
    def _labels(count: int, label: int, like: Tensor) -> Tensor:
        return torch.full((count,), label, device=like.device)

    @traitlets.validate("method", "label", "scale")
    def _check_chosen(self, proposal: Any) -> Any:
        name = proposal.trait.name
        every: dict[str, list[Any]] = {
            "method": self._methods,
            "label": self._classes,
            "scale": self._scales,
        }
        allowed = every[name]
        if allowed and proposal.value not in allowed:
            given = ", ".join(map(str, allowed))
            raise traitlets.TraitError(f"{name} must be one of {given}, got {proposal.value}")
        return proposal.value

    @property
    def x_T(self) -> Tensor:
        """The starting noise [N, 1, H, W]: the one given, or the one of a later ``seed``."""
        seed, noise = self._given
        return noise if self.seed == seed else draw(noise, self.seed, use=0)

    def sampled(self, method: str, label: int, scale: float) -> Iterator[Step]:
        """The walk that ends in the pictures shown for this choice, computed now."""
        x_T = self.x_T
        denoiser = self.methods[method](self._labels(len(x_T), label, x_T), scale)
        return sample(denoiser, x_T, self.schedule, self.steps, ddim_step)

    def _calls(self, part: int) -> int:
        return len(self._scales) * self.steps

    def _compute(self, part: int) -> Part:
        row, column = divmod(part, len(self._classes))
        finished = []
        for scale in self._scales:
            for step in self.sampled(self._methods[row], self._classes[column], scale):
                if step.t > 0:
                    yield
            finished.append(step.x)
        return {"pictures": pack_greys(torch.stack(finished))}

    def pictures(
        self, method: str | None = None, label: int | None = None, scale: float | None = None
    ) -> Tensor:
        """Samples, float32 [N, 1, H, W]: those shown unless others are named.

        ValueError for a choice that was not given, LookupError if it is not computed yet for a new
        noise.
        """
        method = self.method if method is None else method
        label = self.label if label is None else label
        scale = self.scale if scale is None else scale
        if method not in self._methods or label not in self._classes or scale not in self._scales:
            raise ValueError(
                f"there are the methods {self._methods}, classes {self._classes} and scales "
                f"{self._scales}; got {method!r}, {label} and {scale}"
            )
        part = self._methods.index(method) * len(self._classes) + self._classes.index(label)
        count, rows, columns = self._shape
        shape = [len(self._scales), count, 1, rows, columns]
        return unpack_greys(self._part(part)["pictures"], shape)[self._scales.index(scale)]

    def figure(self) -> "Figure":
        """Samples of the chosen class and method at every scale, a row each."""
        count, rows, columns = min(self._shape[0], 8), *self._shape[1:]
        height = len(self._scales)
        grid = torch.cat([self.pictures(scale=scale)[:count, 0] for scale in self._scales])
        grid = grid.view(height, count, rows, columns).transpose(1, 2)
        figure = new_figure(1.1 + 0.6 * count, 0.5 + 0.6 * height)
        axes = figure.subplots()
        picture = grid.reshape(height * rows, count * columns).numpy()
        axes.imshow(picture, cmap="gray", vmin=-1, vmax=1)
        middles = [(i + 0.5) * rows - 0.5 for i in range(height)]
        axes.set_yticks(middles, [f"{scale:g}" for scale in self._scales])
        axes.set_xticks([])
        axes.tick_params(length=0, labelsize=9, colors=INK)
        axes.spines[:].set_visible(False)
        axes.set_ylabel("scale", color=INK, fontsize=9)
        axes.set_title(f"class {self.label}, {self.method}", fontsize=10, color=RESULT)
        return figure


def _check_curve(name: str, curve: Curve) -> list[list[float]]:
    points = [[float(value) for value in point] for point in curve]
    for point in points:
        good = len(point) == 3 and all(map(math.isfinite, point))
        if not good or not all(0 <= share <= 1 for share in point[1:]):
            raise ValueError(
                f"the curve of {name!r} must hold points (scale, recall, precision), the last two "
                f"in 0..1, got {point}"
            )
    return sorted(points)
