"""A latent of two numbers as a map: every place a picture that the decoder draws there."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from .. import kit
from ..palette import INK, RESULT

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LatentExplorer(kit.Explorer):
    """The plane of a two-dimensional latent: slide through it, see what the decoder draws.

    ``decode`` makes pictures [B, 1 or 3, H, W] in -1..1 of latents z [B, 2], as `VAE.decode` does
    for a VAE without classes. It is asked on a grid of ``side`` x ``side`` places, each coordinate
    in -reach..reach, at once.

    Synced traits: ``across`` and ``up``, the place on the grid, 0..side - 1. ``z`` and ``picture``
    are what is shown. Raises ValueError for values outside these ranges, traitlets.TraitError for a
    place beyond the grid.
    """

    _files = kit.files(__file__, "latent.js")

    across = traitlets.Int(0, min=0).tag(sync=True)
    up = traitlets.Int(0, min=0).tag(sync=True)

    _side = traitlets.Int(0).tag(sync=True)
    _reach = traitlets.Float(0.0).tag(sync=True)
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # [H, W] or [3, H, W]
    _pictures = kit.as_bytes()  # [side (up), side (across), (3,) H, W]

    def __init__(
        self, decode: Callable[[Tensor], Tensor], reach: float = 2.5, side: int = 21
    ) -> None:
        side = checks.whole("side", side, 3, 31)
        reach = checks.within("reach", reach, 0.1, 10)
        if not callable(decode):
            raise TypeError(f"decode must be a function of z, got {type(decode).__name__}")
        ticks = torch.linspace(-reach, reach, side)
        z_2, z_1 = torch.meshgrid(ticks, ticks, indexing="ij")
        with torch.no_grad():
            drawn = kit.as_float(
                decode(torch.stack([z_1, z_2], -1).view(-1, 2)), "what decode makes"
            )
        if not kit.are_pictures(drawn.shape) or len(drawn) != side**2:
            raise ValueError(
                f"decode must make pictures [{side**2}, 1 or 3, H, W] of at most 64 x 64 pixels, "
                f"got shape {list(drawn.shape)}"
            )
        super().__init__(
            _side=side,
            _reach=float(reach),
            _shape=list(kit.as_kept(drawn).shape[1:]),
            _pictures=kit.pack_greys(drawn),
        )
        self.across = self.up = side // 2

    @traitlets.validate("across", "up")
    def _check_place(self, proposal: Any) -> int:
        if self._side and proposal.value >= self._side:
            name = proposal.trait.name
            raise traitlets.TraitError(f"{name} must lie in 0..{self._side - 1}")
        return int(proposal.value)

    @property
    def z(self) -> Tensor:
        """The place shown, float32 [2]."""
        ticks = torch.linspace(-self._reach, self._reach, self._side)
        return torch.stack([ticks[self.across], ticks[self.up]])

    def _every(self) -> Tensor:
        return kit.unpack_greys(self._pictures, [self._side, self._side, *self._shape])

    @property
    def picture(self) -> Tensor:
        """What the decoder draws there, float32 [H, W] or [3, H, W]."""
        return self._every()[self.up, self.across]

    def figure(self) -> "Figure":
        """The map, every second place, and the picture shown."""
        figure = kit.new_figure(6.4, 4.4)
        plane, axes = figure.subplots(1, 2, width_ratios=[3, 1])
        rows = self._every()[::2, ::2].flip(0)  # up is up
        tiles = kit.tiled(rows.flatten(0, 1), rows.shape[1])
        kit.draw_picture(plane, tiles, "the latent's plane", INK)
        z_1, z_2 = self.z.tolist()
        kit.draw_picture(axes, self.picture, f"z = ({z_1:.2f}, {z_2:.2f})", RESULT)
        return figure
