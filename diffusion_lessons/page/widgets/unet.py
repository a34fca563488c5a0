"""The U-Net as a picture: every stage a button, behind it what the stage really computed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.schedule import NoiseSchedule, linear_schedule
from .. import kit
from ..palette import INK, NOISE, RESULT, SIGNAL, SOFT
from ._network import NetworkExplorer, Traced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"input": SIGNAL, "down": SIGNAL, "middle": SOFT, "up": SIGNAL}
WAY = {
    "input": "the way in",
    "down": "on the way down",
    "middle": "in the middle",
    "up": "on the way up",
    "output": "the answer",
}


class UNetExplorer(NetworkExplorer):
    """A U-Net as boxes in the order of use; a click on one shows its feature maps.

    ``model`` is a `UNet` (anything whose ``trace`` tells its stages), ``images`` are at most 6
    pictures [N, 1, H, W] in -1..1, or [N, 3, H, W] in colour, ``label`` their classes [N] if the
    network is to be told. All stages are computed for every picture at each of ``times``, with the
    same noise; shown are the ``maps`` channels (at most 16) of a stage that vary most. Grey is 0,
    white positive, black negative, on a scale for each stage and time: 1 is what 99 in 100 of the
    values do not reach.

    Synced traits: ``stage`` (0 is the way in, the last what the network predicts), ``picture``,
    ``t`` (one of the times). ``feature_maps()``, ``x_t`` and ``x0_hat`` are what is shown. Raises
    ValueError for values outside these ranges, traitlets.TraitError for a choice that was not
    given.
    """

    _files = kit.files(__file__, "unet.css", "_network.js", "unet.js")

    stage = traitlets.Int(0, min=0).tag(sync=True)

    _stages = traitlets.List(traitlets.Dict()).tag(sync=True)
    _maps = kit.as_bytes()  # by stage: [times, N, maps, side, side], greys

    def __init__(
        self,
        model: Traced,
        images: Tensor,
        schedule: NoiseSchedule | None = None,
        label: Tensor | None = None,
        times: Sequence[int] = (1, 100, 200, 350, 500, 700, 1000),
        maps: int = 12,
        seed: int = 0,
    ) -> None:
        maps = checks.whole("maps", maps, 1, 16)
        super().__init__(model, images, schedule or linear_schedule(), label, times, seed)
        stages, greys = [], []
        for i, trace in enumerate(self.passes[0].stages):
            every = torch.stack([p.stages[i].output for p in self.passes])  # [times, N, C, h, w]
            _, _, channels, height, width = every.shape
            variance = every.transpose(0, 2).flatten(1).var(1)  # [C]
            chosen = variance.topk(min(maps, channels)).indices.sort().values
            shown = every[:, :, chosen]
            scale = shown.abs().flatten(1).quantile(0.99, 1).clamp(min=1e-6)  # [times]
            greys.append((shown / scale[:, None, None, None, None]).flatten())
            stages.append(
                {
                    "kind": trace.kind,
                    "channels": channels,
                    "size": [height, width],
                    "resamples": trace.resamples,
                    "skip": trace.skip,
                    "heads": 0 if trace.queries is None else trace.queries.shape[1],
                    "shown": chosen.tolist(),
                }
            )
        self._stages = stages
        self._maps = kit.pack_greys(torch.cat(greys))
        self.stage = len(stages) // 2

    @traitlets.validate("stage")
    def _check_stage(self, proposal: Any) -> int:
        last = max(len(self._stages) - 1, 0)
        if proposal.value > last:
            raise traitlets.TraitError(f"stage must lie in 0..{last}, got {proposal.value}")
        return int(proposal.value)

    def feature_maps(self) -> Tensor:
        """The maps shown, float32 [maps, side, side] in -1..1."""
        return self._maps_of(self.stage)

    def _maps_of(self, i: int) -> Tensor:
        shapes = [
            [len(self._times), self._shape[0], len(stage["shown"]), *stage["size"]]
            for stage in self._stages
        ]
        sizes = [torch.Size(shape).numel() for shape in shapes]
        every = kit.unpack_greys(self._maps, [sum(sizes)]).split(sizes)
        maps = every[i].view(shapes[i])
        return maps[self._times.index(self.t), self.picture]

    def figure(self) -> "Figure":
        """The noisy picture, maps of a box of each kind, and what the network makes of them.

        Of the ways down and up and of the middle it is the chosen box, or else the last.
        """
        kinds = [stage["kind"] for stage in self._stages]
        last = {kind: i for i, kind in enumerate(kinds) if kind in ("down", "middle", "up")}
        rows = sorted((last | {kinds[self.stage]: self.stage}).values())
        shown = [self._maps_of(i)[:6] for i in rows]
        across = max(len(maps) for maps in shown) + 2
        figure = kit.new_figure(1.1 * across, 1.3 * len(rows))
        axes = figure.subplots(len(rows), across, squeeze=False)
        for ax in axes.flat:
            ax.axis("off")
        for line, i, maps in zip(axes, rows, shown, strict=True):
            answer = NOISE if self._prediction == "noise" else SOFT
            colour = COLOURS.get(kinds[i], answer)
            for ax, picture in zip(line[1:], maps, strict=False):
                kit.draw_picture(ax, picture, "", colour)
            line[1].set_title(f"box {i + 1}, {WAY[kinds[i]]}", loc="left", color=colour)
        middle = axes[len(rows) // 2]
        kit.draw_picture(middle[0], self.x_t, f"$x_t$, t = {self.t}", INK)
        kit.draw_picture(middle[-1], self.x0_hat, r"$\hat x_0$", RESULT)
        return figure
