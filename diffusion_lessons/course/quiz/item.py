"""What items of all kinds share: the lessons that they lead back to, and their small pictures."""

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Item = dict[str, Any]
Drawing = Callable[["Axes"], None]

LESSONS = {
    "00": "00_start",
    "01": "01_forward",
    "02": "02_ddpm",
    "03": "03_ddim",
    "04": "04_unet",
    "05": "05_guidance",
    "06": "06_ddgan",
    "07": "07_trilemma",
}
"""Where an answer sends its reader back to: the file of each lesson.

A table, since the package also runs without the notebooks; a test holds it to their folder.
"""


def picture(draw: Drawing, size: tuple[float, float]) -> str:
    """A small figure as WebP in base64, on white: a page in the dark shows it on a white card."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    draw(axes)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
    webp = io.BytesIO()
    figure.savefig(webp, format="webp", dpi=110, pil_kwargs={"lossless": True, "method": 6})
    return base64.b64encode(webp.getvalue()).decode()


def show_digits(axes: "Axes", x: Tensor, columns: int) -> None:
    """Digits [N, 1, H, W] in rows of ``columns``, white on black."""
    from ...page.viz import tile

    axes.imshow(tile(x, columns), cmap="gray", vmin=0, vmax=255)
