"""What a widget is given, refused if it cannot be shown: the message says what would do."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ... import checks
from ...math.sampling import Denoiser


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
    """Grey pictures float [N, 1, H, W] in -1..1 (or [N, H, W]) -> float32 [N, H, W]."""
    x = as_float(images, name)
    if x.ndim == 4 and x.shape[1] == 1:
        x = x[:, 0]
    if x.ndim != 3 or not 1 <= len(x) <= most or not all(1 <= n <= 64 for n in x.shape[1:]):
        what = f"1 to {most} grey pictures [N, 1, H, W]" if most > 1 else "a grey picture [1, H, W]"
        raise ValueError(
            f"{name} must be {what} of at most 64 x 64 pixels, "
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


def check_batch(x: Any, name: str, most: int) -> Tensor:
    """Noise or grey pictures, floats [N, 1, H, W] of any size in value, where they are."""
    numbers = as_float(x, name)
    fits = numbers.ndim == 4 and numbers.shape[1] == 1 and max(numbers.shape[2:]) <= 64
    if not fits or not 1 <= len(numbers) <= most:
        raise ValueError(
            f"{name} must be 1 to {most} grey pictures [N, 1, H, W] of at most 64 x 64 pixels, "
            f"got shape {list(numbers.shape)}"
        )
    return torch.as_tensor(x).detach().float()


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
