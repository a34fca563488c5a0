"""Where a position of the U-Net looks: the attention weights of a trained network."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ...math.schedule import NoiseSchedule, linear_schedule
from .. import kit
from ..palette import INK, SIGNAL
from ._network import NetworkExplorer, Traced

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class AttentionExplorer(NetworkExplorer):
    """Pick a pixel, a time and a head: how much it looks at every other position.

    ``model``, ``images``, ``label`` and ``times`` are those of `UNetExplorer`. For each resolution
    that has attention one stage is shown, the last on the way up, or those whose numbers (in the
    order of ``model.trace``) are in ``stages``. The page keeps their queries and keys, 8 bits a
    number, and makes the weights of them: softmax of ``q k / sqrt(width)``.

    Synced traits: ``picture``, ``t`` (one of the times), ``head`` (from 1 on; 0 is the mean of
    all), ``row`` and ``column`` of the pixel. ``weights(i)`` are what the i-th panel shows. Raises
    ValueError for values outside these ranges and for a network without attention,
    traitlets.TraitError for a choice that was not given.
    """

    _files = kit.files(__file__, "_network.js", "attention.js")

    head = traitlets.Int(1, min=0).tag(sync=True)
    row = traitlets.Int(0, min=0).tag(sync=True)
    column = traitlets.Int(0, min=0).tag(sync=True)

    _stages = traitlets.List(traitlets.Dict()).tag(sync=True)
    _numbers = kit.as_bytes()  # by stage, time, picture: queries, keys [heads, places, width], int8
    _scales = kit.as_bytes()  # float32, one for each of these [places, width]

    def __init__(
        self,
        model: Traced,
        images: Tensor,
        schedule: NoiseSchedule | None = None,
        label: Tensor | None = None,
        times: Sequence[int] = (50, 200, 400, 600, 900),
        stages: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(model, images, schedule or linear_schedule(), label, times, seed)
        first = self.passes[0].stages
        looking = [i for i, trace in enumerate(first) if trace.queries is not None]
        if not looking:
            raise ValueError("this network has no attention: there is nothing to look at")
        if stages is None:  # later ones of a resolution replace earlier ones
            by_side = {first[i].output.shape[2:]: i for i in looking}
            stages = sorted(by_side.values(), key=lambda i: -first[i].output.shape[2])
        if unknown := set(stages) - set(looking):
            raise ValueError(f"stages must be of {looking}, which look around, got {unknown}")
        kept, numbers, scales = [], [], []
        for i in stages:
            heads, _, width = first[i].queries.shape[1:]
            size = list(first[i].output.shape[2:])
            kept.append({"kind": first[i].kind, "size": size, "heads": heads, "width": width})
            # [times, N, 2, heads, places, width]
            both = torch.stack(
                [torch.stack([p.stages[i].queries, p.stages[i].keys], 1) for p in self.passes]
            )
            scale = both.abs().amax((-2, -1)).clamp(min=1e-6) / 127
            numbers.append((both / scale[..., None, None]).round().flatten())
            scales.append(scale.flatten())
        self._stages = kept
        self._numbers = kit.pack(torch.cat(numbers), "i1")
        self._scales = kit.pack(torch.cat(scales), "<f4")
        self.row, self.column = (n // 2 for n in self._shape[-2:])

    @traitlets.validate("head", "row", "column")
    def _check_place(self, proposal: Any) -> int:
        name = proposal.trait.name
        if not self._stages:
            return int(proposal.value)
        last = {
            "head": min(stage["heads"] for stage in self._stages),
            "row": self._shape[-2] - 1,
            "column": self._shape[-1] - 1,
        }[name]
        if proposal.value > last:
            raise traitlets.TraitError(f"{name} must lie in 0..{last}, got {proposal.value}")
        return int(proposal.value)

    def weights(self, i: int = 0) -> Tensor:
        """What the pixel's position looks at in the i-th panel, float32 [side, side]; sum 1."""
        start = start_scale = 0
        T, N = len(self._times), self._shape[0]
        for stage in self._stages[:i]:
            block = 2 * stage["heads"] * stage["size"][0] * stage["size"][1] * stage["width"]
            start += T * N * block
            start_scale += T * N * 2 * stage["heads"]
        stage = self._stages[i]
        (rows, columns), heads, width = stage["size"], stage["heads"], stage["width"]
        shape = [T, N, 2, heads, rows * columns, width]
        size = torch.Size(shape).numel()
        numbers = torch.tensor(kit.unpack(self._numbers, "i1")[start : start + size]).view(shape)
        count = T * N * 2 * heads
        scales = torch.tensor(kit.unpack(self._scales, "<f4")[start_scale : start_scale + count])
        both = numbers * scales.view(T, N, 2, heads, 1, 1)
        q, k = both[self._times.index(self.t), self.picture]  # [heads, places, width]
        place = (
            self.row * rows // self._shape[-2] * columns + self.column * columns // self._shape[-1]
        )
        every = torch.softmax((k @ q[:, place, :, None])[..., 0] * width**-0.5, -1)
        weights = every.mean(0) if self.head == 0 else every[self.head - 1]
        return weights.view(rows, columns)

    def figure(self) -> "Figure":
        """The noisy picture with the pixel marked, and where it looks at each resolution."""
        figure = kit.new_figure(2.2 * (1 + len(self._stages)), 2.4)
        axes = figure.subplots(1, 1 + len(self._stages))
        kit.draw_picture(axes[0], self.x_t, f"$x_t$, t = {self.t}", INK)
        axes[0].plot(self.column, self.row, "s", mec=SIGNAL, mfc="none", mew=2)
        for i, (ax, stage) in enumerate(zip(axes[1:], self._stages, strict=True)):
            weights = self.weights(i)
            title = f"{stage['size'][0]} x {stage['size'][1]}: where it looks"
            kit.draw_picture(ax, 2 * weights / weights.max() - 1, title, INK)
        return figure
