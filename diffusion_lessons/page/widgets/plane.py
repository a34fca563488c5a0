"""The plane lab: set points, and see what the exact denoiser and a small network make of them."""

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.exact import GaussianMixture
from ...math.guidance import classifier_guidance
from ...math.randomness import RowGenerator
from ...math.sampling import Denoiser, Step, ddim_step, ddpm_step, sample
from ...math.schedule import linear_schedule, quadratic
from .. import kit
from ..palette import DATA, LINE, NOISE, RESULT, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REACH = 3.0  # of the axes, either way
NEAR = 0.1  # within which a particle has ended on a point
MOST = 100  # points
WIDEST = 0.3  # std
WIDTHS = (8, 16, 32, 64)  # of the network
TINY = 1e-6  # the std of a point: the mixture wants one above 0

Points = list[list[float]]


class PlaneLab(kit.Explorer):
    """Points that you set, and particles that walk from noise to them, by one of two denoisers.

    The exact one knows the points: they are the centres of a `GaussianMixture` whose ``std`` may be
    0, and it gives them back (it memorises). The other is an `MLP` of ``width`` units, trained in
    the page on the same points for a minute at most, which fills in what lies between. Nothing is
    computed beforehand and no kernel is needed. How many particles end within 0.1 of a point is
    counted for both, and for the noise that they began as, which is the level of chance.

    ``points`` are floats [M, 2] in -3..3, at most 100 (default: two moons of twelve), ``labels``
    whole numbers [M], 0 or 1: the two classes towards which the walk can be guided, by the exact
    class posterior. The schedule is `linear_schedule()`; a walk takes ``steps`` steps, closer
    together near the data (`quadratic`).

    Synced traits: ``points`` ([x, y, class] each), ``denoiser`` ("exact" or "network"), ``std``
    (0..0.3), ``width`` (8, 16, 32 or 64), ``sampler`` ("ddim" or "ddpm"), ``eta`` (0..1, DDIM's),
    ``steps`` (2..100), ``label`` (the class to guide towards, or None), ``scale`` (0..10), ``seed``
    (of the particles), ``frame`` (0 is noise; ``steps`` and beyond are the end), ``arrows``.
    ``walk()`` and ``share`` are what the page computes with the exact denoiser. Raises ValueError
    for other points or counts, traitlets.TraitError for values outside their range.
    """

    _files = kit.files(
        __file__, "plane.css", "_mlp.js", "_plane.js", "_points.js", "_trainer.js", "plane.js"
    )

    points: Any = traitlets.List().tag(sync=True)
    denoiser = traitlets.Enum(["exact", "network"], "exact").tag(sync=True)
    std = traitlets.Float(0.0, min=0.0, max=WIDEST).tag(sync=True)
    width = traitlets.Enum(WIDTHS, 32).tag(sync=True)
    sampler = traitlets.Enum(["ddim", "ddpm"], "ddim").tag(sync=True)
    eta = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    steps = traitlets.Int(50, min=2, max=100).tag(sync=True)
    label = traitlets.Int(None, min=0, max=1, allow_none=True).tag(sync=True)
    scale = traitlets.Float(2.0, min=0.0, max=10.0).tag(sync=True)
    seed = traitlets.Int(0, min=0, max=2**31 - 1).tag(sync=True)
    frame = traitlets.Int(50, min=0, max=100).tag(sync=True)
    arrows = traitlets.Bool(True).tag(sync=True)

    _particles = traitlets.Int(300).tag(sync=True)
    _shapes: Any = traitlets.List().tag(sync=True)  # those to choose from, [name, points] each

    def __init__(
        self, points: Tensor | None = None, labels: Tensor | None = None, particles: int = 300
    ) -> None:
        particles = checks.whole("particles", particles, 1, 1000)
        given = SHAPES["two moons"] if points is None else _as_rows(points, labels)
        if points is None and labels is not None:
            raise ValueError("labels belong to points, and none are given")
        super().__init__(
            points=given,
            _particles=particles,
            _shapes=[[name, rows] for name, rows in SHAPES.items()],
        )

    @traitlets.validate("points")
    def _check_points(self, proposal: Any) -> Points:
        rows = proposal.value
        if len(rows) > MOST:
            raise traitlets.TraitError(f"points must be at most {MOST}, got {len(rows)}")
        for row in rows:
            if not _is_point(row):
                raise traitlets.TraitError(
                    f"points must be [x, y, class] each, x and y in -{REACH:g}..{REACH:g} and "
                    f"class 0 or 1, got {row!r}"
                )
        return [[float(x), float(y), int(label)] for x, y, label in rows]

    @property
    def mixture(self) -> GaussianMixture:
        """The mixture with the points as centres, float64. Raises ValueError without points."""
        if not self.points:
            raise ValueError("the plane has no points")
        K = len(self.points)
        means = torch.tensor([row[:2] for row in self.points], dtype=torch.float64)
        stds = torch.full((K,), max(self.std, TINY), dtype=torch.float64)
        return GaussianMixture(means, stds, torch.full((K,), 1 / K, dtype=torch.float64))

    def walk(self) -> list[Step]:
        """The particles' walk with the exact denoiser: x [particles, 2] float64 at each time.

        Guided towards ``label`` if there are points of that class. Raises ValueError without
        points.
        """
        generator = RowGenerator(self.seed, torch.arange(self._particles))
        x_T = generator.normal((self._particles, 2)).double()
        rule = ddpm_step if self.sampler == "ddpm" else partial(ddim_step, eta=self.eta)
        return list(
            sample(
                self._guided(),
                x_T,
                SCHEDULE,
                step=rule,
                generator=generator,
                times=SCHEDULE.times(self.steps, quadratic),
            )
        )

    def _guided(self) -> Denoiser:
        mixture = self.mixture
        members = [k for k, (_, _, label) in enumerate(self.points) if label == self.label]
        if not members:
            return mixture.denoiser(SCHEDULE)

        def log_prob(x_t: Tensor, t: int) -> Tensor:
            joint = mixture.log_joint(x_t, t, SCHEDULE)
            return joint[:, members].logsumexp(1) - joint.logsumexp(1)

        return classifier_guidance(mixture.denoiser(SCHEDULE), log_prob, SCHEDULE, self.scale)

    def near(self, x: Tensor) -> float:
        """The share of places x [B, 2] that lie within 0.1 of a point."""
        distance = torch.cdist(x.double(), self.mixture.means)
        return float((distance.min(1).values <= NEAR).double().mean())

    @property
    def share(self) -> float:
        """The share of the particles that the exact denoiser leads to within 0.1 of a point."""
        return self.near(self.walk()[-1].x)

    def figure(self) -> "Figure":
        """The points, and the exact denoiser's particles at the frame shown, with their way."""
        figure = kit.new_figure(4.2, 4.2)
        axes = figure.subplots()
        if self.points:
            walk = self.walk()[: self.frame + 1]
            paths = torch.stack([step.x for step in walk]).numpy()
            axes.plot(paths[..., 0], paths[..., 1], color=SOFT, alpha=0.15, lw=0.6)
            ended = walk[-1].t == 0
            across, up = paths[-1].T
            axes.scatter(across, up, s=4, color=RESULT if ended else NOISE, zorder=2)
            share = f": {self.near(walk[-1].x):.0%} lie on a point" if ended else ""
            title = f"t = {walk[-1].t}{share}"
        else:
            title = "no points yet"
        kit.draw_axes(axes, "", title)
        for label, marker, inside in [(0, "o", DATA), (1, "D", "white")]:
            rows = [row[:2] for row in self.points if row[2] == label]
            if rows:
                across, up = zip(*rows, strict=True)
                axes.scatter(across, up, s=22, marker=marker, facecolor=inside, edgecolor=DATA)
        axes.grid(color=LINE)
        axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
        return figure


SCHEDULE = linear_schedule()


def _is_point(row: Any) -> bool:
    if not isinstance(row, (list, tuple)) or len(row) != 3:
        return False
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in row):
        return False
    return max(abs(row[0]), abs(row[1])) <= REACH and row[2] in (0, 1)


def _as_rows(points: Any, labels: Any) -> Points:
    places = kit.check_points(points, most=MOST)
    if places.abs().max() > REACH:
        raise ValueError(
            f"points must lie within -{REACH:g}..{REACH:g}, got {places.min():.3g} to "
            f"{places.max():.3g}"
        )
    if labels is None:
        labels = torch.zeros(len(places), dtype=torch.int64)
    labels = checks.rows("labels", labels, places, 2)
    return [
        [round(x, 4), round(y, 4), int(label)]
        for (x, y), label in zip(places.tolist(), labels, strict=True)
    ]


# ------------------------------------------------------------------ the shapes to choose from


def _along(count: int, at: Any, label: int) -> Points:
    """``count`` points of a curve, at the middles of as many equal parts of 0..1."""
    places = (at((i + 0.5) / count) for i in range(count))
    return [[round(x, 3), round(y, 3), label] for x, y in places]


def _arc(radius: tuple[float, float], middle: tuple[float, float], from_: float, to: float) -> Any:
    """Part of an ellipse, from one angle to another, in turns."""

    def at(share: float) -> tuple[float, float]:
        angle = 2 * math.pi * (from_ + share * (to - from_))
        return (
            middle[0] + radius[0] * math.cos(angle),
            middle[1] + radius[1] * math.sin(angle),
        )

    return at


def _line(a: tuple[float, float], b: tuple[float, float]) -> Any:
    return lambda share: tuple(p + share * (q - p) for p, q in zip(a, b, strict=True))


# The moons are those of `data.moons`, without its noise.
SHAPES: dict[str, Points] = {
    "two moons": [
        *_along(12, _arc((1.15, 2.0), (-0.575, -0.5), 0.0, 0.5), 0),
        *_along(12, _arc((1.15, 2.0), (0.575, 0.5), 0.5, 1.0), 1),
    ],
    "a ring": [
        *_along(9, _arc((1.6, 1.6), (0, 0), 0.0, 0.5), 0),
        *_along(9, _arc((1.6, 1.6), (0, 0), 0.5, 1.0), 1),
    ],
    "the letter A": [
        *_along(7, _line((-1.4, -1.9), (0.0, 2.0)), 0),
        *_along(7, _line((0.2, 2.0), (1.4, -1.9)), 0),
        *_along(3, _line((-0.75, -0.5), (0.75, -0.5)), 1),
    ],
    "three clusters": [
        *_along(6, _arc((0.3, 0.3), (-1.5, -1.0), 0, 1), 0),
        *_along(6, _arc((0.3, 0.3), (1.5, -1.0), 0, 1), 0),
        *_along(6, _arc((0.3, 0.3), (0.0, 1.6), 0, 1), 1),
    ],
    "a single point": [[0.6, 0.4, 0]],
}
"""By name: points [x, y, class]."""
