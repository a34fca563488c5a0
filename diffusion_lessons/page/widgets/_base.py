"""What all widgets share on the Python side: their module text, their fallback picture, checks."""

import base64
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import torch
import traitlets
from numpy.typing import NDArray
from torch import Tensor

from ... import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HERE = Path(__file__).parent

# Neutral colours of kit.css in its light theme.
INK, SOFT, LINE = "#22272e", "#5c6570", "#e2e6ea"


def module_text(*names: str | Path) -> str:
    """One ES module without imports: the shared kit followed by the widget's own files.

    A file beside this one is given by its name, another by its whole path.
    """
    return "\n".join((HERE / name).read_text("utf-8") for name in ("kit.js", *names))


def style_text(*names: str | Path) -> str:
    """The kit's style sheet followed by those that only this widget needs."""
    return "\n".join((HERE / name).read_text("utf-8") for name in ("kit.css", *names))


class Explorer(anywidget.AnyWidget):
    """A widget that carries a PNG of its current state for viewers that run no JavaScript."""

    _css = style_text()

    def figure(self) -> "Figure":
        """The current state as a matplotlib figure."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        picture = io.BytesIO()
        self.figure().savefig(picture, format="png", dpi=80)
        png = base64.b64encode(picture.getvalue()).decode()
        return {**data, "text/plain": repr(self), "image/png": png}, metadata


def as_bytes() -> Any:
    """A synced trait of raw bytes; the browser's answer arrives as a memoryview."""
    return traitlets.Bytes(b"").tag(sync=True, from_json=lambda value, widget: bytes(value or b""))


def pack(x: Tensor | NDArray[Any], dtype: str) -> bytes:
    """Numbers as little-endian bytes, the order that every browser reads."""
    return np.ascontiguousarray(torch.as_tensor(x).detach().cpu().numpy(), dtype=dtype).tobytes()


def unpack(content: bytes, dtype: str) -> NDArray[Any]:
    """Undoes `pack`, flat."""
    return np.frombuffer(content, dtype=dtype)


def pack_greys(x: Tensor, levels: int = 256) -> bytes:
    """Greys in -1..1 (clipped if outside) in so many levels, a byte each, compressed."""
    share = (x.detach().cpu().float().clamp(-1, 1) + 1) / 2
    return zlib.compress((share * (levels - 1)).round().to(torch.uint8).numpy().tobytes(), 9)


def unpack_greys(content: bytes, shape: Sequence[int], levels: int = 256) -> Tensor:
    """Undoes `pack_greys`: float32 in -1..1 of the given shape, -1 where the size is left open."""
    greys = np.frombuffer(zlib.decompress(content), "u1").astype("f4")
    return torch.from_numpy(greys / (levels - 1) * 2 - 1).reshape(*shape)


def check_labels(labels: Sequence[object] | Tensor | None, count: int) -> list[str]:
    """Captions as text: none, or one for each of ``count`` pictures (0 for points)."""
    labels = labels.tolist() if isinstance(labels, Tensor) else labels
    captions = [] if labels is None else [str(label) for label in labels]
    if captions and len(captions) != count:
        wanted = f"one for each of {count} pictures" if count else "left out for points"
        raise ValueError(f"labels must be {wanted}, got {len(captions)}")
    return captions


def check_seed(seed: int) -> None:
    """Refuse what the browser's own generator cannot start from."""
    checks.whole("seed", seed, 0, 2**31 - 1)


def check_pictures(images: Any, name: str = "images", most: int = 12) -> Tensor:
    """Grey pictures float [N, 1, H, W] in -1..1 (or [N, H, W]) -> float32 [N, H, W]."""
    x = as_float(images, name)
    if x.ndim == 4 and x.shape[1] == 1:
        x = x[:, 0]
    if x.ndim != 3 or not 1 <= len(x) <= most or not all(1 <= n <= 64 for n in x.shape[1:]):
        raise ValueError(
            f"{name} must be 1 to {most} grey pictures [N, 1, H, W] of at most 64 x 64 pixels, "
            f"got shape {list(torch.as_tensor(images).shape)}"
        )
    if x.abs().max() > 1.001:
        raise ValueError(
            f"{name} must lie in -1..1, got {x.min():.3g} to {x.max():.3g} "
            "(to_unit turns bytes into that range)"
        )
    return x


def check_points(points: Any, name: str = "points", most: int = 4000) -> Tensor:
    """Points of the plane -> float32 [M, 2]."""
    x = as_float(points, name)
    if x.ndim != 2 or x.shape[1] != 2 or not 1 <= len(x) <= most:
        raise ValueError(
            f"{name} must be 1 to {most} points of the plane [M, 2], got shape {list(x.shape)}"
        )
    return x


def as_float(x: Any, name: str) -> Tensor:
    """Finite float32 numbers on the CPU."""
    try:
        tensor = torch.as_tensor(x).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be a tensor or an array: {error}") from error
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must hold floats, got {tensor.dtype} (to_unit makes pictures so)")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} must be finite, but holds NaN or infinity")
    return tensor.float()


def ring(size: int = 28) -> Tensor:
    """A soft ring, rather like a zero: the picture when none is given. [1, size, size]"""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    distance = (torch.hypot(x / 0.75, y) - 0.62).abs()
    return (1 - 2 * ((distance - 0.06) / 0.16).clamp(0, 1))[None]


# ------------------------------------------------------------------ pieces of fallback pictures


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
