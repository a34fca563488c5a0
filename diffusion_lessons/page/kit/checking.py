"""What a widget is given, refused if it cannot be shown: the message says what would do."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ... import checks
from ...math.sampling import Denoiser
from .packing import as_kept


def as_float(x: Any, name: str) -> Tensor:
    """Finite float32 numbers on the CPU."""
    if isinstance(x, Tensor):
        checks.tensor(name, x)
    try:
        tensor = torch.as_tensor(x).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be a tensor or an array: {error}") from error
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must hold floats, got {tensor.dtype} (to_unit makes pictures so)")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} must be finite, but holds NaN or infinity")
    return tensor.float()


def check_pictures(images: Any, name: str = "images", most: int = 12) -> Tensor:
    """Pictures in -1..1 as float32, grey ones [N, H, W], those in colour [N, 3, H, W].

    Given as [N, 1, H, W] (or [N, H, W]), and as [N, 3, H, W].
    """
    x = as_float(images, name)
    if x.ndim == 3:
        x = x[:, None]
    _check_shape(x.shape if x.ndim == 4 else torch.as_tensor(images).shape, name, most)
    if x.abs().max() > 1.001:
        raise ValueError(
            f"{name} must lie in -1..1, got {x.min():.3g} to {x.max():.3g} "
            "(to_unit turns bytes into that range)"
        )
    return as_kept(x)


def check_points(points: Any, name: str = "points", most: int = 4000) -> Tensor:
    """Points of the plane -> float32 [M, 2]."""
    x = as_float(points, name)
    if x.ndim != 2 or x.shape[1] != 2 or not 1 <= len(x) <= most:
        raise ValueError(
            f"{name} must be 1 to {most} points of the plane [M, 2], got shape {list(x.shape)}"
        )
    return x


def check_batch(x: Any, name: str, most: int) -> Tensor:
    """Noise or pictures, floats [N, 1 or 3, H, W] of any size in value, where they are."""
    _check_shape(as_float(x, name).shape, name, most)
    return torch.as_tensor(x).detach().float()


def _check_shape(shape: Sequence[int], name: str, most: int) -> None:
    if not are_pictures(shape) or not 1 <= shape[0] <= most:
        what = f"1 to {most} pictures" if most > 1 else "one picture"
        raise ValueError(
            f"{name} must be {what}, grey ones [N, 1, H, W] or in colour [N, 3, H, W], "
            f"of at most 64 x 64 pixels, got shape {list(shape)}"
        )


def are_pictures(shape: Sequence[int]) -> bool:
    """Whether this is the shape of pictures [N, C, H, W] that a widget can show."""
    return len(shape) == 4 and shape[1] in (1, 3) and all(1 <= n <= 64 for n in shape[2:])


def check_labels(labels: Sequence[object] | Tensor | None, count: int) -> list[str]:
    """Captions as text: none, or one for each of ``count`` pictures (0 for points)."""
    labels = labels.tolist() if isinstance(labels, Tensor) else labels
    captions = [] if labels is None else [str(label) for label in labels]
    if captions and len(captions) != count:
        allowed = f"one for each of {count} pictures" if count else "left out for points"
        raise ValueError(f"labels must be {allowed}, got {len(captions)}")
    return captions


def check_seed(seed: int) -> None:
    """Refuse what the browser's own generator cannot start from."""
    checks.whole("seed", seed, 0, 2**31 - 1)


def check_denoiser(denoiser: Denoiser, x: Tensor, t: int) -> None:
    """Call it once: a mistake shows before the work begins, and the network is warm afterwards."""
    if not callable(denoiser):
        raise ValueError(
            "denoiser must be a function (x_t, t) -> x0_hat, such as from_noise_model makes, "
            f"got {type(denoiser).__name__}"
        )
    with torch.no_grad():
        shape = list(denoiser(x, t).shape)
    if shape != list(x.shape):
        raise ValueError(f"denoiser must keep the shape {list(x.shape)}, but gave {shape}")
