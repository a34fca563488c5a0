"""The posterior of one step back, by hand: two Gaussians multiplied."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import traitlets

from ...math.gaussian import Gaussian, posterior
from ...math.schedule import NoiseSchedule, linear_schedule
from .. import kit
from ..palette import NOISE, RESULT, SIGNAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REACH = 3.0  # of the sliders for x_0 and x_t


class PosteriorExplorer(kit.Explorer):
    """q(x_s | x_t, x_0) in one dimension: the prior times the likelihood, normalised (DDPM eq. 7).

    On the axis of x_s: the prior N(sqrt(a_s) x_0, 1 - a_s), what x_0 says about x_s; the likelihood
    of x_t as a function of x_s, a bell around x_t / sqrt(a_ts) of variance (1 - a_ts) / a_ts, where
    a_ts = a_t / a_s is the signal kept from s to t; and their product, with its mean mu_tilde and
    its standard deviation.

    Synced traits: ``x_0`` and ``x_t`` (-3..3), ``t`` (2..T), ``stride`` (1..T-1). ``s`` is
    ``t - stride``, but at least 1. ``posterior`` is the Gaussian shown. ``schedule`` defaults to
    `linear_schedule()` and must have T of at least 2, else ValueError; traitlets.TraitError for
    values outside their range.
    """

    _files = kit.files(__file__, "_back.js", "posterior.js")

    x_0 = traitlets.Float(1.2, min=-REACH, max=REACH).tag(sync=True)
    x_t = traitlets.Float(-0.6, min=-REACH, max=REACH).tag(sync=True)
    t = traitlets.Int(2).tag(sync=True)
    stride = traitlets.Int(1, min=1).tag(sync=True)

    _alpha_bar = kit.as_bytes()

    def __init__(self, schedule: NoiseSchedule | None = None) -> None:
        schedule = schedule or linear_schedule()
        if schedule.T < 2:
            raise ValueError(f"the schedule must have at least 2 steps, got T = {schedule.T}")
        self.schedule = schedule
        t = max(2, round(0.35 * schedule.T))
        stride = max(1, round(0.1 * schedule.T))
        super().__init__(t=t, stride=stride, _alpha_bar=kit.pack(schedule.alpha_bar, "<f8"))

    @traitlets.validate("t", "stride")
    def _check_times(self, proposal: Any) -> int:
        name, T = proposal.trait.name, self.schedule.T
        low, high = (2, T) if name == "t" else (1, T - 1)
        if not low <= proposal.value <= high:
            raise traitlets.TraitError(f"{name} must lie in {low}..{high}, got {proposal.value}")
        return int(proposal.value)

    @property
    def s(self) -> int:
        """The earlier time, at least 1."""
        return max(1, self.t - self.stride)

    @property
    def posterior(self) -> Gaussian:
        """q(x_s | x_t, x_0) at the current values, mean float64 [1]."""
        x_t, x_0 = (torch.tensor([x], dtype=torch.float64) for x in (self.x_t, self.x_0))
        return posterior(x_t, x_0, self.t, self.s, self.schedule)

    def figure(self) -> "Figure":
        """The three bells at the current values."""
        a_s, a_t = (float(self.schedule.alpha_bar[time]) for time in (self.s, self.t))
        a_ts = a_t / a_s
        q = self.posterior
        mean, std = float(q.mean), float(q.std)
        figure = kit.new_figure(8, 3)
        axes = figure.subplots()
        kit.draw_axes(axes, "$x_s$", f"from t = {self.t} back to s = {self.s}")
        near = mean + std * np.linspace(-5, 5, 200)  # it may be narrower than the even grid
        grid = np.unique(np.concatenate([np.linspace(-4, 4, 800), near]))
        for centre, width, colour, style, name in [
            (a_s**0.5 * self.x_0, (1 - a_s) ** 0.5, SIGNAL, "--", "prior $q(x_s | x_0)$"),
            (
                self.x_t / a_ts**0.5,
                ((1 - a_ts) / a_ts) ** 0.5,
                NOISE,
                "-.",
                "likelihood $q(x_t | x_s)$",
            ),
            (mean, std, RESULT, "-", f"posterior: {mean:.3f} ± {std:.3f}"),
        ]:
            height = np.exp(-0.5 * ((grid - centre) / width) ** 2) / (width * np.sqrt(2 * np.pi))
            axes.plot(grid, height, color=colour, linestyle=style, label=name)
        axes.set_xlim(-4, 4)
        axes.legend(frameon=False, fontsize=9)
        return figure
