"""Where did x_t come from? One bump for a small step, several for a large one."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ...math.exact import GaussianMixture
from ...math.gaussian import Gaussian, forward, posterior
from ...math.sampling import ddpm_step
from ...math.schedule import NoiseSchedule, linear_schedule
from .. import kit
from ..palette import DATA, INK, NOISE, RESULT, SIGNAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REACH = 3.0  # of x_t
SPAN = (-3.5, 3.5)  # of the axis


@dataclass(frozen=True)
class StepBack:
    """One step back from a value x_t on a line, exactly, and the Gaussian to be set beside it.

    ``mixture`` is float64. With ``fitted`` the Gaussian has the mean and the variance of the truth,
    else it is DDPM's step.
    """

    mixture: GaussianMixture
    schedule: NoiseSchedule
    t: int
    s: int
    x_t: float
    fitted: bool

    def exact(self) -> tuple[Tensor, Tensor, Tensor]:
        """The true q(x_s | x_t): weights, means and deviations of its bumps, float64 [K] each."""
        a_s, a_t = (self.schedule.alpha_bar[time] for time in (self.s, self.t))
        means, stds, weights = self.mixture.means[:, 0], self.mixture.stds, self.mixture.weights
        r, b = (a_t / a_s).sqrt(), 1 - a_t / a_s  # x_t = r x_s + sqrt(b) noise
        middle, v = a_s.sqrt() * means, a_s * stds**2 + 1 - a_s  # of each component at time s
        seen = r**2 * v + b  # variance of x_t within a component
        log = weights.log() - 0.5 * ((self.x_t - r * middle) ** 2 / seen + seen.log())
        precision = 1 / v + r**2 / b
        return log.softmax(0), (middle / v + r * self.x_t / b) / precision, precision**-0.5

    def given(self, x_0: Tensor) -> Gaussian:
        """q(x_s | x_t, x_0) for a clean value float64 [1, 1]."""
        return posterior(torch.full_like(x_0, self.x_t), x_0, self.t, self.s, self.schedule)

    @property
    def bell(self) -> Gaussian:
        """The Gaussian beside the truth, mean float64 [1, 1]."""
        if not self.fitted:
            x_t = torch.tensor([[self.x_t]], dtype=torch.float64)
            x0_hat = self.mixture.denoise(x_t, self.t, self.schedule)
            return ddpm_step(x_t, x0_hat, self.t, self.s, self.schedule)
        weights, means, stds = self.exact()
        mean = weights @ means
        variance = weights @ (means**2 + stds**2) - mean**2
        return Gaussian(mean.view(1, 1), variance.sqrt())

    def curves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The densities of the true q(x_s | x_t) and of ``bell`` at places x float64 [N]."""
        weights, means, stds = self.exact()
        bells = torch.exp(-0.5 * ((x[:, None] - means) / stds) ** 2) / (stds * math.tau**0.5)
        return bells @ weights, self.bell.log_prob(x[:, None]).exp()

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Prior q(x_s) and likelihood q(x_t | x_s) at places x float64 [N], whose product,
        normalised, is the truth; the likelihood scaled to an area of 1."""
        prior = self.mixture.log_prob(x[:, None], self.s, self.schedule).exp()
        step = forward(x[:, None], self.s, self.t, self.schedule)
        shrunk = forward(torch.ones(1, dtype=torch.float64), self.s, self.t, self.schedule).mean
        return prior, shrunk * step.log_prob(torch.full_like(x[:, None], self.x_t)).exp()

    @property
    def overlap(self) -> float:
        """The area that the two curves share, 0..1."""
        x = torch.linspace(-6, 6, 24_001, dtype=torch.float64)
        return float(torch.trapezoid(torch.minimum(*self.curves(x)), x))


class MultimodalExplorer(kit.Explorer):
    """q(x_s | x_t) of a mixture on a line, exactly, and the Gaussian that a DDPM step draws.

    Three curves over x_s: the true q(x_s | x_t), a mixture of as many Gaussians as the data has;
    DDPM's step `ddpm_step` with the exact denoiser, one Gaussian of variance beta_tilde around the
    true mean; and q(x_s | x_t, x_0) for one chosen x_0, the middle of a component.

    With ``bayes`` it shows instead how the true curve is made, by Bayes' rule: the prior q(x_s)
    times the likelihood q(x_t | x_s); beside the truth stands the Gaussian of the same mean and
    variance. Then s goes down to 0, and the film plays from s = t - 1 to there.

    ``mixture`` has 2 to 6 components in one dimension. Synced traits: ``t`` (2..T), ``stride``
    (1..T-1, with ``bayes`` 1..T), ``x_t`` (-3..3), ``component``. ``s`` is ``t - stride``, but at
    least 1, or 0 with ``bayes``. What is shown is ``back()``, and ``overlap`` the area that the
    truth and the Gaussian share, 0..1. Raises ValueError for another mixture or a schedule of one
    step, traitlets.TraitError for values outside their range.
    """

    _files = kit.files(__file__, "_back.js", "multimodal.js")

    t = traitlets.Int(2).tag(sync=True)
    stride = traitlets.Int(1, min=1).tag(sync=True)
    x_t = traitlets.Float(0.1, min=-REACH, max=REACH).tag(sync=True)
    component = traitlets.Int(0, min=0).tag(sync=True)
    bayes = traitlets.Bool(False).tag(sync=True)

    _alpha_bar = kit.as_bytes()
    _means = traitlets.List(traitlets.Float()).tag(sync=True)
    _stds = traitlets.List(traitlets.Float()).tag(sync=True)
    _weights = traitlets.List(traitlets.Float()).tag(sync=True)

    def __init__(
        self,
        mixture: GaussianMixture,
        schedule: NoiseSchedule | None = None,
        bayes: bool = False,
    ) -> None:
        K, D = mixture.means.shape
        if D != 1 or not 2 <= K <= 6:
            raise ValueError(
                f"mixture must have 2 to 6 components in one dimension, got {K} in {D}"
            )
        schedule = schedule or linear_schedule()
        if schedule.T < 2:
            raise ValueError(f"the schedule must have at least 2 steps, got T = {schedule.T}")
        self.mixture, self.schedule = mixture, schedule
        super().__init__(
            bayes=bayes,
            t=max(2, round(0.6 * schedule.T)),
            stride=max(1, round(0.02 * schedule.T)),
            _alpha_bar=kit.pack(schedule.alpha_bar, "<f8"),
            _means=mixture.means[:, 0].tolist(),
            _stds=mixture.stds.tolist(),
            _weights=mixture.weights.tolist(),
        )

    @traitlets.validate("t", "stride", "component")
    def _check_whole(self, proposal: Any) -> int:
        name, T = proposal.trait.name, self.schedule.T
        low, high = {
            "t": (2, T),
            "stride": (1, T - 1 + self.bayes),
            "component": (0, max(len(self._means) - 1, 0)),
        }[name]
        if not low <= proposal.value <= high:
            raise traitlets.TraitError(f"{name} must lie in {low}..{high}, got {proposal.value}")
        return int(proposal.value)

    @property
    def s(self) -> int:
        """The earlier time, at least 1; with ``bayes`` at least 0."""
        return max(0 if self.bayes else 1, self.t - self.stride)

    def back(self, s: int | None = None) -> "StepBack":
        """The step back to s, and to the ``s`` shown if none is given."""
        means, stds, weights = (
            torch.tensor(x, dtype=torch.float64) for x in (self._means, self._stds, self._weights)
        )
        mixture = GaussianMixture(means[:, None], stds, weights)
        to = self.s if s is None else s
        return StepBack(mixture, self.schedule, self.t, to, self.x_t, fitted=self.bayes)

    @property
    def overlap(self) -> float:
        """The area that the truth and the Gaussian share, 0..1."""
        return self.back().overlap

    def figure(self) -> "Figure":
        """The curves for a short, a middle and a long step, the one shown among them."""
        figure = kit.new_figure(9.5, 3)
        steps = self._three_steps()
        every = figure.subplots(1, len(steps), squeeze=False)[0]
        for axes, s in zip(every, steps, strict=True):
            self._draw(axes, self.back(s))
        lines, names = every[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
        return figure

    def _three_steps(self) -> list[int]:
        """One time earlier, half of the way, nearly all of it; the nearest gives way to ``s``.

        Nearly all, for close to the clean values DDPM's step is too narrow to be drawn beside them.
        """
        last = 0 if self.bayes else max(1, self.t // 6)
        steps = sorted({self.t - 1, self.t // 2, last}, reverse=True)
        nearest = min(steps, key=lambda s: abs(s - self.s))
        return [self.s if s == nearest else s for s in steps]

    def _draw(self, axes: "Axes", back: "StepBack") -> None:
        x = torch.linspace(*SPAN, 1401, dtype=torch.float64)
        true, gauss = back.curves(x)
        title = f"{back.t} to {back.s}: they share {100 * back.overlap:.0f} %"
        kit.draw_axes(axes, f"$x_{{{back.s}}}$", title)
        if back.s == self.s:
            axes.set_title(title, loc="left", fontsize=10, color=INK, fontweight="bold")
        colour = RESULT if self.bayes else DATA
        axes.fill_between(x, true, color=colour, alpha=0.25, lw=0)
        axes.plot(x, true, color=colour, label="$q(x_s | x_t)$")
        if self.bayes:
            prior, likelihood = back.factors(x)
            axes.plot(x, prior, "--", color=SIGNAL, label="prior $q(x_s)$")
            axes.plot(x, likelihood, ":", color=NOISE, label="likelihood $q(x_t | x_s)$")
            axes.plot(x, gauss, color=INK, lw=1, label="nearest Gaussian")
        else:
            axes.plot(x, gauss, "--", color=INK, label="DDPM's step")
            known = back.given(back.mixture.means[self.component, None])
            axes.plot(
                x, known.log_prob(x[:, None]).exp(), ":", color=SIGNAL, label="$q(x_s | x_t, x_0)$"
            )
        axes.plot(self.x_t, 0, "o", color=INK, clip_on=False)
