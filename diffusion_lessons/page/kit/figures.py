"""Pieces of the picture that a widget leaves for viewers without JavaScript."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..palette import INK, LINE, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """A figure that needs no display and leaves pyplot's global state alone."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def draw_picture(axes: "Axes", picture: Tensor, title: str, colour: str) -> None:
    """A picture in -1..1, grey [H, W] or in colour [3, H, W], values outside clipped."""
    show_picture(axes, picture)
    axes.set_title(title, color=colour, fontsize=10)
    axes.set_axis_off()


def show_picture(axes: "Axes", picture: Tensor) -> None:
    """The same without words, its axes left as they are."""
    greys: dict[str, Any] = {"cmap": "gray", "vmin": -1, "vmax": 1}
    coloured = picture.ndim == 3
    values = (picture.clamp(-1, 1).movedim(0, -1) + 1) / 2 if coloured else picture
    axes.imshow(values.numpy(), interpolation="nearest", **({} if coloured else greys))


def tiled(pictures: Tensor, across: int) -> Tensor:
    """Pictures [N, H, W] or [N, 3, H, W] as one, ``across`` in a row; black where none is left."""
    missing = -len(pictures) % across
    rest = pictures.new_full((missing, *pictures.shape[1:]), -1.0)
    rows = torch.cat([pictures, rest]).unflatten(0, (-1, across))
    return torch.cat([torch.cat([*row], dim=-1) for row in rows], dim=-2)


def draw_axes(axes: "Axes", x_label: str, title: str) -> None:
    """Quiet axes: a base line, faint horizontal lines, a label in words."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="y", color=LINE)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, labelsize=8, left=False)
    axes.set_xlabel(x_label, color=INK, fontsize=9)
    axes.set_title(title, loc="left", color=INK, fontsize=10)


def ring(size: int = 28) -> Tensor:
    """A soft ring, rather like a zero: the picture when none is given. [1, size, size]"""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    distance = (torch.hypot(x / 0.75, y) - 0.62).abs()
    return (1 - 2 * ((distance - 0.06) / 0.16).clamp(0, 1))[None]
