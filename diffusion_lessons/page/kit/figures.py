"""Pieces of the picture that a widget leaves for viewers without JavaScript."""

from typing import TYPE_CHECKING

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
    """A grey picture in -1..1, values outside clipped."""
    axes.imshow(picture.numpy(), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_title(title, color=colour, fontsize=10)
    axes.set_axis_off()


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
