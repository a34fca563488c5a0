"""Noise schedules, by hand: what beta does to alpha_bar and to the picture."""

from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.schedule import NoiseSchedule, cosine_schedule, linear_schedule, vp_schedule
from .. import kit
from ..palette import NOISE, RESULT, SIGNAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ["linear", "cosine", "vp"]
MOST_STEPS = 10_000


class ScheduleExplorer(kit.Explorer):
    """beta, alpha_bar and the log signal-to-noise ratio of a schedule, and the picture along it.

    ``images`` is one or more pictures, floats [N, 1, H, W] in -1..1, or [N, 3, H, W] in colour, of
    which the first is shown (a ring if none is given); ``kind`` is "linear", "cosine" or "vp". The
    curves are computed in the browser with the formulas of `diffusion_lessons.math.schedule`.
    ``beta_1`` and ``beta_T`` belong to the linear schedule only.

    Synced traits: ``kind``, ``T`` (1..10,000), ``beta_1`` and ``beta_T`` (between 0 and 1), ``t``
    (0..T; lowering T pulls it along). ``schedule`` is the schedule shown. Raises ValueError for
    values outside these ranges at the start, traitlets.TraitError later.
    """

    _files = kit.files(__file__, "schedule.css", "schedule.js")

    kind = traitlets.Enum(KINDS, "linear").tag(sync=True)
    T = traitlets.Int(1000, min=1, max=MOST_STEPS).tag(sync=True)
    beta_1 = traitlets.Float(1e-4).tag(sync=True)
    beta_T = traitlets.Float(0.02).tag(sync=True)
    t = traitlets.Int(0, min=0, max=MOST_STEPS).tag(sync=True)

    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # [H, W] or [3, H, W]
    _image = kit.as_bytes()
    _noise = kit.as_bytes()

    def __init__(
        self,
        images: Tensor | None = None,
        kind: str = "linear",
        T: int = 1000,
        beta_1: float = 1e-4,
        beta_T: float = 0.02,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        T = checks.whole("T", T, 1, MOST_STEPS)
        beta_1, beta_T = checks.variance("beta_1", beta_1), checks.variance("beta_T", beta_T)
        x_0 = kit.ring() if images is None else kit.check_pictures(images)
        noise = torch.randn(x_0.shape[1:], generator=torch.Generator().manual_seed(0))
        super().__init__(
            kind=kind,
            T=T,
            beta_1=beta_1,
            beta_T=beta_T,
            t=T // 4,
            _shape=list(x_0.shape[1:]),
            _image=kit.pack(x_0[0], "<f4"),
            _noise=kit.pack(noise, "<f4"),
        )

    @traitlets.validate("beta_1", "beta_T")
    def _check_beta(self, proposal: Any) -> float:
        if not 0 < proposal.value < 1:
            name = proposal.trait.name
            raise traitlets.TraitError(f"{name} must lie between 0 and 1, got {proposal.value}")
        return float(proposal.value)

    @traitlets.observe("T", "t")
    def _keep_t_inside(self, change: Any) -> None:
        self.t = min(self.t, self.T)

    @property
    def schedule(self) -> NoiseSchedule:
        """The schedule shown. ValueError if its picture is gone so thoroughly that 0 is left."""
        if self.kind == "linear":
            return linear_schedule(self.T, self.beta_1, self.beta_T)
        return cosine_schedule(self.T) if self.kind == "cosine" else vp_schedule(self.T)

    def figure(self) -> "Figure":
        """The three curves with t marked, and the picture at t."""
        schedule, t = self.schedule, self.t
        figure = kit.new_figure(9.2, 2.4)
        axes = figure.subplots(1, 4, width_ratios=[1.3, 1.3, 1.3, 1])
        curves = [
            (schedule.beta[1:], 1, NOISE, r"noise added, $\beta_t$"),
            (schedule.alpha_bar, 0, SIGNAL, r"signal left, $\bar\alpha_t$"),
            (schedule.snr.log()[1:], 1, RESULT, "log signal / noise"),
        ]
        for panel, (values, first, colour, title) in zip(axes, curves, strict=False):
            kit.draw_axes(panel, "time t", title)
            panel.plot(range(first, first + len(values)), values.numpy(), color=colour)
            panel.axvline(t, color="gray", linestyle=":")
        a_t = schedule.alpha_bar[t]
        x_0, noise = (torch.tensor(kit.unpack(x, "<f4")) for x in (self._image, self._noise))
        x_t = a_t.sqrt() * x_0 + (1 - a_t).sqrt() * noise
        kit.draw_picture(axes[3], x_t.view(self._shape), f"$x_t$ at t = {t}", RESULT)
        return figure
