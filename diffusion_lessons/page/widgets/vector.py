"""Guidance in the plane, where it is exact: the denoiser's arrow, the classifier's, their sum."""

from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.exact import GaussianMixture
from ...math.sampling import ddim_step
from ...math.schedule import NoiseSchedule, linear_schedule
from .. import kit
from ..palette import CLASS, RESULT, SIGNAL, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REACH = 3.0  # of the axes, either way
MOST = 10.0  # scale


class VectorExplorer(kit.Explorer):
    """Classifier guidance of an exact mixture in the plane: three arrows, and points that follow.

    At a point that can be moved, for any time: the denoiser's arrow, from x_t to
    ``sqrt(alpha_bar) x0_hat``; the classifier's, ``scale (1 - alpha_bar) grad log p(label | x_t)``;
    and their sum, which ends where the guided x0_hat lies. Both are formulas for a
    `GaussianMixture`, and are computed in the page. ``particles`` points walk from noise to data
    with DDIM (eta 0) in ``steps`` steps under the chosen guidance.

    ``mixture`` has at most 12 components in two dimensions; a class is a component. ``schedule``
    defaults to `linear_schedule()`. Synced traits: ``label``, ``scale`` (0..10), ``frame`` (0 is
    noise, the last is data), ``x`` and ``y`` (the point, -3..3). ``arrows()`` and ``points()`` are
    what is shown. Raises ValueError for a mixture or counts outside these ranges, and
    traitlets.TraitError for values outside theirs.
    """

    _files = kit.files(__file__, "vector.css", "vector.js")

    label = traitlets.Int(0, min=0).tag(sync=True)
    scale = traitlets.Float(1.0, min=0.0, max=MOST).tag(sync=True)
    frame = traitlets.Int(0, min=0).tag(sync=True)
    x = traitlets.Float(0.6, min=-REACH, max=REACH).tag(sync=True)
    y = traitlets.Float(0.4, min=-REACH, max=REACH).tag(sync=True)

    times = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    _alpha_bar = traitlets.List(traitlets.Float()).tag(sync=True)  # at the times
    _means = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    _stds = traitlets.List(traitlets.Float()).tag(sync=True)
    _weights = traitlets.List(traitlets.Float()).tag(sync=True)
    _start = kit.as_bytes()  # x_T of the particles

    def __init__(
        self,
        mixture: GaussianMixture,
        schedule: NoiseSchedule | None = None,
        particles: int = 300,
        steps: int = 50,
        label: int = 0,
        seed: int = 0,
    ) -> None:
        K, D = mixture.means.shape
        if D != 2 or K > 12:
            raise ValueError(
                f"mixture must have at most 12 components in 2 dimensions, got {K} in {D}"
            )
        schedule = schedule or linear_schedule()
        particles = checks.whole("particles", particles, 1, 2000)
        steps = checks.whole("steps", steps, 2, min(schedule.T, 200))
        label = checks.whole("label", label, 0, K - 1)
        kit.check_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        self.mixture, self.schedule = mixture, schedule
        times = schedule.times(steps)
        super().__init__(
            _alpha_bar=[float(schedule.alpha_bar[t]) for t in times],
            _means=mixture.means.tolist(),
            _stds=mixture.stds.tolist(),
            _weights=mixture.weights.tolist(),
            _start=kit.pack(torch.randn(particles, 2, generator=generator), "<f4"),
        )
        self.set_trait("times", times)
        self.frame = 3 * steps // 5
        self.label = label

    @traitlets.validate("label", "frame")
    def _check_index(self, proposal: Any) -> int:
        name = proposal.trait.name
        last = len(self._weights if name == "label" else self.times) - 1
        if last >= 0 and not 0 <= proposal.value <= last:
            raise traitlets.TraitError(f"{name} must lie in 0..{last}, got {proposal.value}")
        return int(proposal.value)

    @property
    def t(self) -> int:
        """The time shown."""
        return int(self.times[self.frame])

    def arrows(self, x_t: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The denoiser's arrow and the classifier's, scale included; float64 [B, 2] twice.

        At x_t [B, 2] and the time shown, at the point that can be moved unless others are given. At
        t = 0 both are 0.
        """
        if x_t is None:
            x_t = torch.tensor([[self.x, self.y]])
        return self._arrows(x_t.double(), self.t)

    def _arrows(self, x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        a_t = self.schedule.alpha_bar[t]
        mixture = self._double(slice(None))
        one = self._double([self.label])
        score = mixture.score(x_t, t, self.schedule)
        # Bayes: grad log p(label | x_t) is what the class's own score has more.
        push = one.score(x_t, t, self.schedule) - score
        return (1 - a_t) * score, self.scale * (1 - a_t) * push

    def _double(self, rows: Any) -> GaussianMixture:
        means, stds, weights = (
            tensor[rows].double()
            for tensor in (self.mixture.means, self.mixture.stds, self.mixture.weights)
        )
        return GaussianMixture(means, stds, weights / weights.sum())

    def points(self) -> Tensor:
        """Where the particles are at the time shown, float64 [particles, 2]."""
        x = torch.tensor(kit.unpack(self._start, "<f4")).view(-1, 2).double()
        for t, s in zip(self.times[: self.frame], self.times[1:], strict=False):
            denoiser, classifier = self._arrows(x, t)
            x0_hat = (x + denoiser + classifier) / self.schedule.alpha_bar[t].sqrt()
            x = ddim_step(x, x0_hat, t, s, self.schedule).mean
        return x

    def figure(self) -> "Figure":
        """The plane at the time shown, with each class's circle of two standard deviations."""
        from matplotlib.patches import Circle

        figure = kit.new_figure(4.2, 4.2)
        axes = figure.subplots()
        kit.draw_axes(axes, "", f"class {self.label}, scale {self.scale:g}, t = {self.t}")
        across, up = self.points().numpy().T
        axes.scatter(across, up, s=3, color=SOFT)
        root = float(self.schedule.alpha_bar[self.t].sqrt())
        for k, (mean, std) in enumerate(zip(self._means, self._stds, strict=True)):
            mine = k == self.label
            centre, colour = (root * mean[0], root * mean[1]), CLASS if mine else SOFT
            dash = "-" if mine else ":"
            axes.add_patch(Circle(centre, 2 * root * std, fill=False, color=colour, ls=dash))
            axes.text(*centre, str(k), color=colour, ha="center", va="center")
        here = torch.tensor([[self.x, self.y]]).double()
        denoiser, classifier = self.arrows()
        for arrow, colour in [
            (denoiser, SIGNAL),
            (classifier, CLASS),
            (denoiser + classifier, RESULT),
        ]:
            axes.quiver(*here[0], *arrow[0], color=colour, angles="xy", scale_units="xy", scale=1)
        axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
        return figure
