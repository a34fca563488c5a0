"""Three solvers of one equation at equal calls: their ways, their errors, where their steps lie."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ...math.exact import GaussianMixture
from ...math.sampling import Step, final, sample
from ...math.schedule import linear_schedule
from ...math.solvers import SAMPLERS, dpm_solver_2m
from ...networks.drawing import SPACINGS
from .. import kit
from ..palette import DATA, INK, RESULT, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEDULE = linear_schedule()
SOLVERS = {"ddim": "DDIM", "heun": "Heun", "dpm++": "2M"}
LINES = {"ddim": "-", "heun": "--", "dpm++": ":"}
SPREADS = {"uniform": "even in t", "log-snr": "even in log-SNR"}
MOST = 40  # calls
PATHS = 5  # points whose way is drawn; all of them are counted
SHOWN = (1, 2, 3, 4, 5, 7, 10, 14, 20, 28, 40)  # calls, in the figure


class SolverExplorer(kit.Explorer):
    """DDIM, Heun's method and DPM-Solver++ 2M in the plane, at equal calls of an exact denoiser.

    On the left the ways of the first five points of ``noise`` [N, 2] (N at most 200), beside the
    true ones; on the right the root mean square distance of all ends from the true ends against the
    calls, with lines of slope 1 and 2; below where each solver looks, between noise and data, and
    how quickly the true guess of x_0 changes there. The truth is a walk of all 1,000 steps of 2M
    under `linear_schedule()`. Heun's method makes two calls a step, but one in the last: with n
    steps 2n - 1. Everything is computed in the page.

    ``mixture`` has 1 to 12 components in the plane. Synced traits: ``calls`` (1..40), ``sampler``
    ("ddim", "heun" or "dpm++", the one that stands out), ``spacing`` ("uniform" or "log-snr").
    ``walk()``, ``error()`` and ``looks()`` are what the page computes. Raises ValueError for
    another mixture or noise, traitlets.TraitError for values outside their range.
    """

    _files = kit.files(__file__, "solvers.css", "solvers.js")

    calls = traitlets.Int(10, min=1, max=MOST).tag(sync=True)
    sampler = traitlets.Enum(list(SOLVERS), "ddim").tag(sync=True)
    spacing = traitlets.Enum(list(SPREADS), "uniform").tag(sync=True)

    _means: Any = traitlets.List().tag(sync=True)  # [x, y] each
    _stds = traitlets.List(traitlets.Float()).tag(sync=True)
    _weights = traitlets.List(traitlets.Float()).tag(sync=True)
    _noise = kit.as_bytes()

    def __init__(self, mixture: GaussianMixture, noise: Tensor) -> None:
        K, D = mixture.means.shape
        if D != 2 or K > 12:
            raise ValueError(f"mixture must have 1 to 12 components in the plane, got {K} in {D}")
        self.noise = kit.check_points(noise, "noise", 200).double()
        self.mixture = GaussianMixture(
            mixture.means.double(), mixture.stds.double(), mixture.weights.double()
        )
        super().__init__(
            _means=self.mixture.means.tolist(),
            _stds=self.mixture.stds.tolist(),
            _weights=self.mixture.weights.tolist(),
            _noise=kit.pack(self.noise, "<f4"),
        )

    def times(self, sampler: str | None = None, calls: int | None = None) -> list[int]:
        """The times of a solver's steps, with no more than so many calls."""
        calls = calls or self.calls
        steps = (calls + 1) // 2 if (sampler or self.sampler) == "heun" else calls
        return SCHEDULE.times(steps, SPACINGS[self.spacing](SCHEDULE))

    def walk(self, sampler: str | None = None, calls: int | None = None) -> list[Step]:
        """A solver's way from the noise, x [N, 2] float64 at each of its times."""
        sampler, times = sampler or self.sampler, self.times(sampler, calls)
        denoiser = self.mixture.denoiser(SCHEDULE)
        walk = sample(denoiser, self.noise, SCHEDULE, times=times, sampler=SAMPLERS[sampler])
        return list(walk)

    def truth(self) -> list[Step]:
        """The way itself: a walk of all steps."""
        denoiser = self.mixture.denoiser(SCHEDULE)
        return list(sample(denoiser, self.noise, SCHEDULE, sampler=dpm_solver_2m))

    def error(self, sampler: str | None = None, calls: int | None = None) -> float:
        """Root mean square distance of a solver's ends from the true ones."""
        return self._errors([calls or self.calls], sampler or self.sampler)[0]

    def _errors(self, calls: Sequence[int], sampler: str) -> list[float]:
        ends = final(self.truth()).x
        gaps = [final(self.walk(sampler, each)).x - ends for each in calls]
        return [float(gap.square().sum(1).mean().sqrt()) for gap in gaps]

    def looks(self) -> list[tuple[int, int, float]]:
        """Heun's steps with a second look: from t, to s, and how much the look's news counts.

        The step is DDIM's with the guess at t moved on by so many times the way to the guess at s:
        half of how many times more noise there is in proportion to x_0 at t than at s.
        """
        ratio = SCHEDULE.sigma / SCHEDULE.alpha
        steps = list(pairwise(self.times("heun")))[:-1]
        return [(t, s, float(ratio[t] / ratio[s]) / 2) for t, s in steps]

    def figure(self) -> "Figure":
        """Ways and errors at the current values."""
        figure = kit.new_figure(9, 3.8)
        left, right = figure.subplots(1, 2)
        kit.draw_axes(
            left, "", f"{SOLVERS[self.sampler]}, {self.calls} calls at most, and the truth"
        )
        means, stds = self.mixture.means, self.mixture.stds
        left.scatter(*means.T, s=(60 * stds).square(), color=DATA, alpha=0.2)
        true = torch.stack([step.x[:PATHS] for step in self.truth()])
        left.plot(true[..., 0], true[..., 1], color=INK, lw=1)
        way = torch.stack([step.x[:PATHS] for step in self.walk()])
        left.plot(way[..., 0], way[..., 1], "-o", color=RESULT, ms=3)
        reach = self.reach
        left.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        kit.draw_axes(
            right, "calls of the denoiser", f"error at the end, times {SPREADS[self.spacing]}"
        )
        for name, words in SOLVERS.items():
            chosen = name == self.sampler
            right.loglog(
                SHOWN,
                self._errors(SHOWN, name),
                LINES[name],
                color=RESULT if chosen else SOFT,
                label=words,
            )
        right.legend(frameon=False, fontsize=9)
        right.axvline(self.calls, color=SOFT, lw=0.8, ls="--")
        return figure

    @property
    def reach(self) -> float:
        """How far the plane is shown, from 0: the points as noise, and the data."""
        widest = float((self.mixture.means.abs() + 2 * self.mixture.stds[:, None]).max())
        return max(2.0, 1.1 * widest, 1.1 * float(self.noise[:PATHS].abs().max()))
