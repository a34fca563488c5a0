"""Pictures and films of images, points, schedules and sampling steps."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from .. import checks
from ..data import to_bytes
from ..files import aside, expanded, outlet
from ..math.sampling import Step, thin
from ..networks.unet import ResBlock, UNet
from .palette import DATA, RESULT, SIGNAL, SOFT


def tile(images: Tensor, columns: int | None = None) -> np.ndarray:
    """Pictures in -1..1, rows of ``columns``, as one picture of bytes.

    Grey ones [N, 1, H, W] make [h, w], coloured ones [N, 3, H, W] make [h, w, 3].
    """
    checks.floats(images=images)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        shapes = "[N, 1, H, W] or [N, 3, H, W] with N >= 1"
        raise ValueError(f"images must be {shapes}, got {list(images.shape)}")
    n, C, H, W = images.shape
    rows, columns = _rows_and_columns(n, columns)
    canvas = torch.zeros(rows * columns, C, H, W, dtype=torch.uint8)
    canvas[:n] = to_bytes(images.detach().cpu())
    canvas = canvas.view(rows, columns, C, H, W).permute(0, 3, 1, 4, 2)  # [rows, H, columns, W, C]
    picture = canvas.reshape(rows * H, columns * W, C).numpy()
    return picture[:, :, 0] if C == 1 else picture


def _rows_and_columns(count: int, columns: int | None) -> tuple[int, int]:
    columns = min(count, 10) if columns is None else columns
    columns = checks.whole("columns", columns, 1, 1000)
    return math.ceil(count / columns), columns


def show_images(
    images: Tensor, columns: int | None = None, title: str = "", scale: float = 0.8
) -> Figure:
    """Pictures [N, 1 or 3, H, W] in -1..1 as a grid; ``scale`` is the width of one in inches."""
    scale = checks.positive("scale", scale)
    picture = tile(images, columns)
    h, w = picture.shape[0] / images.shape[2], picture.shape[1] / images.shape[3]
    figure, ax = plt.subplots(figsize=(w * scale, h * scale + (0.3 if title else 0)))
    _picture(ax, picture, title)
    plt.close(figure)  # a notebook shows what a cell returns; do not show it twice
    return figure


def show_rows(rows: dict[str, Tensor], scale: float = 0.8, heads: Sequence[str] = ()) -> Figure:
    """Named rows of pictures [N, 1 or 3, H, W], one under another, ``heads`` above the columns."""
    if not rows:
        raise ValueError("rows must hold at least one row of pictures")
    scale = checks.positive("scale", scale)
    n = max(len(images) for images in rows.values())
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(n * scale + 1.2, len(rows) * scale + 0.3), squeeze=False
    )
    for ax, (name, images) in zip(axes[:, 0], rows.items(), strict=True):
        _picture(ax, tile(images, n))
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
    width = next(iter(rows.values())).shape[3]
    for i, head in enumerate(heads):
        axes[0, 0].text((i + 0.5) * width, -3, head, ha="center", fontsize=9)
    plt.close(figure)
    return figure


def show_named(images: Tensor, names: Sequence[str], columns: int = 8) -> Figure:
    """Pictures [N, 1 or 3, H, W] in -1..1, each under its name, of a long one its ends."""
    tile(images)  # refuses what it cannot draw
    if len(names) != len(images):
        raise ValueError(f"names must be {len(images)}, one a picture, got {len(names)}")
    rows, columns = _rows_and_columns(len(images), columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.3 * columns, 1.5 * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, name in zip(axes.flat, images, names, strict=False):
        _picture(ax, tile(image[None]))
        short = name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}"
        ax.set_title(short, fontsize=7, parse_math=False)
    plt.close(figure)
    return figure


def show_steps(steps: Iterable[Step], columns: int = 8, which: int = 0) -> Figure:
    """One picture's way out of the noise: x_t above, x0_hat below, at evenly spaced moments."""
    kept = thin(list(steps), columns)
    rows = {
        "$x_t$": torch.stack([step.x[which] for step in kept]),
        r"$\hat x_0$": torch.stack([step.x0_hat[which] for step in kept]),
    }
    return show_rows(rows, heads=[f"t = {step.t}" for step in kept])


def show_points(
    clouds: dict[str, Tensor], limit: float = 3.0, size: float = 2.5, color: str = RESULT
) -> Figure:
    """Named sets of points [N, 2] side by side, in the colour of samples.

    The sets that are called "data" and "truth" have that of data.
    """
    for name, points in clouds.items():
        checks.floats(**{name: points})
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"clouds must be points [N, 2], got {list(points.shape)} for {name!r}")
    if not clouds:
        raise ValueError("clouds must hold at least one set of points")
    limit = checks.positive("limit", limit)
    size = checks.positive("size", size)
    figure, axes = plt.subplots(1, len(clouds), figsize=(size * len(clouds), size + 0.3))
    for ax, (name, points) in zip(np.atleast_1d(axes), clouds.items(), strict=True):
        own = DATA if name in ("data", "truth") else color
        ax.scatter(*points.detach().cpu().T, s=2, color=own, alpha=0.5, linewidths=0)
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], title=name)
        ax.set_aspect("equal")
    figure.tight_layout()
    plt.close(figure)
    return figure


def show_unet(model: UNet) -> Figure:
    """A U-Net as boxes in the order of use: labelled with channels and resolution.

    Arcs are the skip connections; a stage with attention has a dot for each head. A box that only
    changes the resolution is drawn light, one that is no residual block dashed. Shapes are read off
    a real pass through the network.
    """
    x_t = torch.zeros(1, model.in_channels, model.size, model.size)
    *stages, _ = model.trace(x_t, torch.ones(1).long())
    parts = [*model.down, *model.middle, *model.up]
    plain = [True, *(not isinstance(part.block, ResBlock) for part in parts)]
    figure, ax = plt.subplots(figsize=(10, 3.6))
    for i, stage in enumerate(stages):
        _, channels, side, _ = stage.output.shape
        colour = SOFT if stage.kind == "middle" else SIGNAL
        face = to_rgba(colour, 0.2 if stage.resamples else 0.75)
        line = "--" if plain[i] else "-"
        ax.add_patch(Rectangle((i - 0.35, -side / 2), 0.7, side, fc=face, ec=colour, ls=line))
        words = f"{channels}\n{side}x{side}"
        ax.text(i, -side / 2 - 0.5, words, ha="center", va="top", fontsize=9)
        if stage.queries is not None:
            heads = stage.queries.shape[1]
            for k in range(heads):
                ax.plot(i, 1.2 * (k - (heads - 1) / 2), "o", color="white", ms=4)
        if stage.skip is not None:
            top = stages[stage.skip].output.shape[2] / 2
            arc = {"arrowstyle": "->", "connectionstyle": "arc3,rad=-0.25", "color": RESULT}
            ax.annotate("", (i, side / 2), (stage.skip, top), arrowprops=arc)
    top = max(stage.output.shape[2] for stage in stages) / 2
    ax.set(xlim=(-1, len(stages)), ylim=(-top - 4, 1.9 * top + 1), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    plt.close(figure)
    return figure


ENDINGS = {".png": 2**31 - 1, ".jpg": 65_500, ".jpeg": 65_500, ".tif": 2**31 - 1, ".webp": 16_383}
"""How a picture's name may end, and how many pixels wide and high it can be then."""


FILMS = {".gif": 65_535, ".webp": 16_383}
"""The same of a film."""

FRAMES = 60  # of a film, at most
MOST_IN_A_FILM = 1000  # pictures side by side


def picture_outlet(
    path: Path | str, count: int, shape: Sequence[int], columns: int | None = None, zoom: int = 2
) -> Path:
    """Where `save_grid` will write ``count`` pictures of ``shape`` [C, H, W], before they are made.

    Raises ValueError for an ending that it cannot write, for columns and zoom outside their range,
    and for more pixels than the format takes; OSError, in words, where nothing can be written.
    """
    return _outlet("a picture", ENDINGS, path, count, shape, columns, zoom)


def film_outlet(
    path: Path | str, count: int, shape: Sequence[int], columns: int | None = None, zoom: int = 3
) -> Path:
    """Where `save_film` will write. Raises as `picture_outlet`, and for too many pictures."""
    checks.whole("pictures in a film", count, 1, MOST_IN_A_FILM)
    return _outlet("a film", FILMS, path, count, shape, columns, zoom)


def _outlet(
    what: str,
    endings: dict[str, int],
    path: Path | str,
    count: int,
    shape: Sequence[int],
    columns: int | None,
    zoom: int,
) -> Path:
    zoom = checks.whole("zoom", zoom, 1, 100)
    rows, columns = _rows_and_columns(count, columns)
    path = expanded(path)
    checks.ending(what, path.with_suffix(path.suffix.lower()), *endings)
    longest, most = zoom * max(rows * shape[1], columns * shape[2]), endings[path.suffix.lower()]
    if longest > most:
        other = max(endings, key=lambda ending: endings[ending])
        raise ValueError(
            f"{path}: {columns} columns and {rows} rows make a side of {longest} pixels, and a "
            f"{path.suffix} holds {most}; choose a {other}, or fewer pictures"
        )
    return outlet(path)


def save_grid(path: Path | str, images: Tensor, columns: int | None = None, zoom: int = 2) -> None:
    """Write pictures [N, 1 or 3, H, W] in -1..1 as one, each pixel ``zoom`` wide.

    It is whole or not there. Raises as `tile` and `picture_outlet`.
    """
    picture = tile(images, columns)
    path = picture_outlet(path, len(images), images.shape[1:], columns, zoom)
    picture = picture.repeat(zoom, 0).repeat(zoom, 1)
    with aside(path) as unfinished:
        Image.fromarray(picture).save(unfinished, _format(path))


def save_film(
    path: Path | str,
    steps: Iterable[Step],
    columns: int | None = None,
    zoom: int = 3,
    seconds: float = 4.0,
    loop: bool = False,
) -> None:
    """Write a walk as a film, a ``.gif`` or ``.webp``: its pictures as a grid, moment by moment.

    It lasts ``seconds`` and stands still on the last step, unless ``loop`` has it begin anew two
    seconds later. Of more than 60 steps it shows so many, evenly spread. Frames of the way have 32
    levels of each colour, for noise hides more and would weigh several times as much; the last has
    all that the format can hold: every grey, every colour in a ``.webp``, 256 colours in a
    ``.gif``. It is whole or not there. Raises as `tile` and `film_outlet`, and ValueError for a
    walk of fewer than two steps.
    """
    seconds = checks.within("seconds", seconds, 0.1, 60)
    walk = thin(list(steps), FRAMES)
    if len(walk) < 2:
        raise ValueError(f"a film needs a walk of two steps at least, got {len(walk)}")
    pictures = [tile(step.x, columns) for step in walk]
    last = walk[-1].x
    path = film_outlet(path, len(last), last.shape[1:], columns, zoom)
    pictures = [*(_coarse(picture, 32) for picture in pictures[:-1]), pictures[-1]]
    first, *others = (Image.fromarray(p.repeat(zoom, 0).repeat(zoom, 1)) for p in pictures)
    each = 10 * max(2, round(100 * seconds / len(pictures)))  # GIF counts in hundredths
    options: dict[str, Any] = {"duration": [*[each] * len(others), 2000]}
    if path.suffix.lower() == ".gif":
        options |= {"loop": 0} if loop else {}
    else:
        options |= {"loop": 0 if loop else 1, "lossless": True}
    with aside(path) as unfinished:
        first.save(unfinished, _format(path), save_all=True, append_images=others, **options)


def _format(path: Path) -> str:
    """Pillow's name for it."""
    ending = path.suffix.lower().removeprefix(".")
    return {"jpg": "jpeg", "tif": "tiff"}.get(ending, ending)


def _coarse(picture: np.ndarray, levels: int) -> np.ndarray:
    """A picture of bytes with so many levels of each colour, black and white among them."""
    level = (picture / 255 * (levels - 1)).round()
    return (level / (levels - 1) * 255).round().astype(np.uint8)


def _picture(ax: Axes, picture: np.ndarray, title: str = "") -> None:
    ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
