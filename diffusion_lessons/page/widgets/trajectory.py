"""A sampler's way from noise to data, to be played and scrubbed."""

import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.sampling import Denoiser, Step, thin
from ...math.schedule import NoiseSchedule
from .. import kit
from ..palette import NOISE, RESULT, SIGNAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BUDGET = 110_000  # compressed bytes; 150 kB in a notebook, where they are written as base64
LEAST_FRAMES = 8  # fewer are no longer a film


class TrajectoryPlayer(kit.Explorer):
    """x_t beside x0_hat, the picture the denoiser expects, at the times a sampler visited.

    ``steps`` are those of ``sample(...)``, or other `Step` tuples in the order in which they are to
    be seen: pictures [B, 1, H, W], or [B, 3, H, W] in colour (B at most 16, values outside -1..1
    are clipped), or points [M, 2], which also leave trails. ``labels`` are B captions for pictures.
    At most ``frames`` steps are kept, evenly spread, first and last always among them; fewer if the
    film would weigh more than 110 kB compressed (noise does not compress: 8 pictures of 28 x 28 fit
    in about 30 frames). Pictures are kept in 32 greys, or as many of each colour, points as 16-bit
    integers.

    With ``autoplay`` the film plays slowly by itself, over and over, while it is on the screen. It
    can be paused, and who asked their system for less motion finds it standing at its end.

    ``names`` are two captions for steps that hold something else than a walk and its guesses: what
    stands in place of x, drawn as noise, and in place of x0_hat, drawn as a result. Points
    leave no trails then.

    With the ``denoiser`` and the ``schedule`` of a walk from noise to pictures, "New noise" walks
    anew at the same times by DDPM's step, if the page itself can: the denoiser must be made of a
    network that ships with the package.

    Synced traits: ``frame`` (0 is the first), ``t`` (setting it jumps to the frame nearest in
    time, of several to the nearest to the one shown), ``seed`` (0 is the film given). ``times`` are
    the frames' times. Raises ValueError for steps that are empty, differ in shape, or are too heavy
    for 8 frames, and for a denoiser of steps that are no such walk.
    """

    _files = kit.files(__file__, "trajectory.js")

    frame = traitlets.Int(0, min=0).tag(sync=True)
    t = traitlets.Int(0).tag(sync=True)
    times = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    autoplay = traitlets.Bool(False).tag(sync=True)

    seed = traitlets.Int(0, min=0).tag(sync=True)

    _network = traitlets.Dict().tag(sync=True)  # what the page needs to walk anew
    _walked = traitlets.List(traitlets.Int()).tag(sync=True)  # all times of the walk
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # [B, H, W], [B, 3, H, W] or [M, 2]
    _scale = traitlets.Float(1.0).tag(sync=True)  # of points: value / integer
    _film = kit.as_bytes()  # zlib of all x, then all x0_hat

    def __init__(
        self,
        steps: Iterable[Step],
        labels: Sequence[object] | Tensor | None = None,
        frames: int = 40,
        autoplay: bool = False,
        denoiser: Denoiser | None = None,
        schedule: NoiseSchedule | None = None,
        names: tuple[str, str] | None = None,
    ) -> None:
        every = list(steps)
        _check_steps(every)
        frames = checks.whole("frames", frames, 2, 1000)
        shape = list(every[0].x.shape)
        pictures = len(shape) == 4
        captions = kit.check_labels(labels, shape[0] if pictures else 0)
        kept, film, scale = _fit(every, frames)
        if names is not None and (isinstance(names, str) or len(names) != 2):
            raise ValueError(f"names must be two captions, got {names!r}")
        walked = [step.t for step in every]
        network = {}
        if denoiser is not None and schedule is not None:
            if not pictures or sorted({*walked, 0, schedule.T}, reverse=True) != walked:
                raise ValueError(
                    f"with a denoiser, steps must be a walk of pictures from {schedule.T} to 0"
                )
            kit.check_denoiser(denoiser, every[0].x, schedule.T)
            network = kit.network_behind(denoiser, every[0].x, schedule)
        elif denoiser is not None or schedule is not None:
            raise ValueError("denoiser and schedule must be given together")
        super().__init__(
            labels=captions,
            names=list(names or ()),
            autoplay=autoplay,
            _network=network,
            _walked=walked if network else [],
            _shape=list(kit.as_kept(every[0].x).shape) if pictures else shape,
            _scale=scale,
            _film=film,
        )
        with self.hold_sync():
            self.set_trait("times", [step.t for step in kept])
            self.t = kept[0].t

    @traitlets.validate("frame")
    def _check_frame(self, proposal: Any) -> int:
        if self.times and proposal.value >= len(self.times):
            raise traitlets.TraitError(
                f"frame must lie in 0..{len(self.times) - 1}, got {proposal.value}"
            )
        return int(proposal.value)

    @traitlets.observe("t")
    def _follow_t(self, change: Any) -> None:
        self.frame = self._nearest(change.new)

    @traitlets.observe("frame")
    def _follow_frame(self, change: Any) -> None:
        if self._nearest(self.t) != change.new:  # a t between two frames may stay where it is
            self.t = self.times[change.new]

    def _nearest(self, t: int) -> int:
        def distance(i: int) -> tuple[int, int]:
            return abs(self.times[i] - t), abs(i - self.frame)

        return min(range(len(self.times)), key=distance)

    def decoded(self) -> tuple[Tensor, Tensor]:
        """What the browser shows: all x and all x0_hat, float32 [F, B, C, H, W] or [F, M, 2]."""
        shape = [2, len(self.times), *self._shape]
        if self._pictures:
            shape[3:] = kit.with_channel(shape[3:])
            x, x0_hat = kit.unpack_greys(self._film, shape)
        else:
            integers = kit.unpack(zlib.decompress(self._film), "<i2").astype("f4")
            x, x0_hat = torch.from_numpy(integers).reshape(shape) * self._scale
        return x, x0_hat

    @property
    def _pictures(self) -> bool:
        return len(self._shape) > 2

    def figure(self) -> "Figure":
        """Five moments of the film (of its first picture): x_t above, x0_hat below."""
        first, second = ("", "") if self.names else ("$x_t$, ", r"$\hat{x}_0$")
        above, below = (NOISE, RESULT) if self.names else (RESULT, SIGNAL)
        x, x0_hat = self.decoded()
        moments = sorted({round(i * (len(x) - 1) / 4) for i in range(5)})
        figure = kit.new_figure(1.8 * len(moments), 3.7)
        grid = figure.subplots(2, len(moments), squeeze=False)
        if self.names:
            figure.suptitle(f"above: {self.names[0]}; below: {self.names[1]}", fontsize=10)
        limit = 1.05 * float(x.abs().max())
        limit_below = 1.05 * float(x0_hat.abs().max()) if self.names else limit
        for column, i in enumerate(moments):
            for axes, values, name, colour, reach in [
                (grid[0][column], x[i], f"{first}t = {self.times[i]}", above, limit),
                (grid[1][column], x0_hat[i], second, below, limit_below),
            ]:
                if self._pictures:
                    kit.draw_picture(axes, kit.as_kept(values)[0], name, colour)
                    continue
                kit.draw_axes(axes, "", name)
                axes.scatter(*values.numpy().T, s=2, color=colour)
                axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        return figure


def _check_steps(steps: list[Step]) -> None:
    if len(steps) < 2:
        raise ValueError(f"a trajectory needs at least 2 steps, got {len(steps)}")
    shape = list(steps[0].x.shape)
    pictures = kit.are_pictures(shape) and 1 <= shape[0] <= 16
    points = len(shape) == 2 and shape[1] == 2 and shape[0] >= 1
    if not (pictures or points):
        raise ValueError(
            "steps must hold 1 to 16 pictures, grey ones [B, 1, H, W] or in colour [B, 3, H, W], "
            f"of at most 64 x 64 pixels, or points [M, 2], got shape {shape}"
        )
    for step in steps:
        if list(step.x.shape) != shape or list(step.x0_hat.shape) != shape:
            raise ValueError(
                f"every step must have shape {shape} like the first, but the one at t = {step.t} "
                f"has {list(step.x.shape)} and {list(step.x0_hat.shape)}"
            )


def _fit(steps: list[Step], frames: int) -> tuple[list[Step], bytes, float]:
    """The steps to keep, their film, and the size of one integer step for points."""
    kept = thin(steps, frames)
    scale = max(max(_reach(step) for step in kept), 1e-6) / 32767
    while True:
        film = _packed([step.x for step in kept] + [step.x0_hat for step in kept], scale)
        if len(film) <= BUDGET:
            return kept, film, scale
        fewer = min(len(kept) - 1, int(len(kept) * BUDGET / len(film)))
        if fewer < LEAST_FRAMES:
            raise ValueError(
                f"a film of {list(steps[0].x.shape)} is too heavy even with {LEAST_FRAMES} frames; "
                "give fewer pictures or points"
            )
        kept = thin(steps, fewer)


def _reach(step: Step) -> float:
    return max(float(kit.as_float(x, "steps").abs().max()) for x in (step.x, step.x0_hat))


def _packed(parts: list[Tensor], scale: float) -> bytes:
    together = torch.stack([kit.as_float(x, "steps") for x in parts])
    if together.ndim == 5:
        return kit.pack_greys(together)
    return zlib.compress(kit.pack((together / scale).round(), "<i2"), 9)
