"""The forward process, by hand: a picture dissolves into noise."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import traitlets
from torch import Tensor

from ...math.schedule import NoiseSchedule, linear_schedule
from .. import kit
from ..palette import INK, NOISE, RESULT, SIGNAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ForwardExplorer(kit.Explorer):
    """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise, for every t (DDPM eq. 4).

    Shows x_0, the noise and x_t, the two coefficients, the histogram of x_t's pixels on its way to
    the bell curve, and, if ``points`` are given, a cloud of points on its way to a ball.

    ``images`` are floats [N, 1, H, W] in -1..1 (at most 12), or [N, 3, H, W] in colour, ``points``
    floats [M, 2] (at most 4,000), ``schedule`` defaults to `linear_schedule()`. The first noise
    comes from torch with ``seed``; the button "new noise" draws another in the browser, which
    Python sees too.

    Synced traits: ``t`` (0..T), ``image`` (0..N-1), ``draw`` (how often new noise was drawn).
    ``x_t`` is the picture shown. Raises ValueError for data of another shape or range, and
    traitlets.TraitError for a ``t`` or an ``image`` that does not exist.
    """

    _files = kit.files(__file__, "forward.css", "forward.js")

    t = traitlets.Int(0).tag(sync=True)
    image = traitlets.Int(0).tag(sync=True)
    draw = traitlets.Int(0, min=0).tag(sync=True)

    _seed = traitlets.Int(0).tag(sync=True)
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # [N, H, W] or [N, 3, H, W]
    _alpha_bar = kit.as_bytes()
    _images = kit.as_bytes()
    _noise = kit.as_bytes()
    _points = kit.as_bytes()
    _point_noise = kit.as_bytes()

    def __init__(
        self,
        images: Tensor,
        schedule: NoiseSchedule | None = None,
        points: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        x_0 = kit.check_pictures(images)
        dots = torch.zeros(0, 2) if points is None else kit.check_points(points)
        schedule = schedule or linear_schedule()
        kit.check_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        self.schedule = schedule
        super().__init__(
            t=schedule.T // 4,
            _seed=seed,
            _shape=list(x_0.shape),
            _alpha_bar=kit.pack(schedule.alpha_bar, "<f8"),
            _images=kit.pack(x_0, "<f4"),
            _noise=kit.pack(torch.randn(x_0.shape[1:], generator=generator), "<f4"),
            _points=kit.pack(dots, "<f4"),
            _point_noise=kit.pack(torch.randn(dots.shape, generator=generator), "<f4"),
        )

    @traitlets.validate("t")
    def _check_t(self, proposal: Any) -> int:
        if not 0 <= proposal.value <= self.schedule.T:
            raise traitlets.TraitError(f"t must lie in 0..{self.schedule.T}, got {proposal.value}")
        return int(proposal.value)

    @traitlets.validate("image")
    def _check_image(self, proposal: Any) -> int:
        last = (self._shape or [1])[0] - 1
        if not 0 <= proposal.value <= last:
            raise traitlets.TraitError(f"image must lie in 0..{last}, got {proposal.value}")
        return int(proposal.value)

    @property
    def noise(self) -> Tensor:
        """The noise shown, float32 [H, W], or [3, H, W] in colour; likewise x_0 and x_t."""
        return torch.tensor(kit.unpack(self._noise, "<f4")).view(self._shape[1:])

    @property
    def x_0(self) -> Tensor:
        """The clean picture shown."""
        return torch.tensor(kit.unpack(self._images, "<f4")).view(self._shape)[self.image]

    @property
    def x_t(self) -> Tensor:
        """The noisy picture shown, not clipped."""
        return self._mix(self.x_0, self.noise)

    def _mix(self, x_0: Tensor, noise: Tensor) -> Tensor:
        a_t = self.schedule.alpha_bar[self.t]
        return (a_t.sqrt() * x_0.double() + (1 - a_t).sqrt() * noise.double()).float()

    def figure(self) -> "Figure":
        """x_0, the noise, x_t and the histogram at the current t."""
        a_t = float(self.schedule.alpha_bar[self.t])
        columns = 5 if self._points else 4
        figure = kit.new_figure(2.1 * columns, 2.3)
        axes = figure.subplots(1, columns, width_ratios=[1, 1, 1] + [1.5] * (columns - 3))
        kit.draw_picture(axes[0], self.x_0, f"{a_t**0.5:.3f} · picture $x_0$", SIGNAL)
        kit.draw_picture(axes[1], self.noise, f"+ {(1 - a_t) ** 0.5:.3f} · noise", NOISE)
        kit.draw_picture(axes[2], self.x_t, f"= $x_t$ at t = {self.t}", RESULT)
        kit.draw_axes(axes[3], "value of a pixel of $x_t$", "histogram")
        axes[3].hist(
            self.x_t.flatten().numpy(),
            bins=40,
            range=(-4, 4),
            density=True,
            color=RESULT,
            alpha=0.6,
        )
        grid = np.linspace(-4, 4, 200)
        axes[3].plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), color=INK, linestyle="--")
        if self._points:
            pair = [torch.tensor(kit.unpack(p, "<f4")) for p in (self._points, self._point_noise)]
            x, y = self._mix(*pair).view(-1, 2).numpy().T
            kit.draw_axes(axes[4], "the points $x_t$", "")
            axes[4].scatter(x, y, s=2, color=RESULT)
            axes[4].set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal")
        return figure
