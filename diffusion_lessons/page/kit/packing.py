"""Numbers and pictures as bytes, the way they travel to the page and are kept in a notebook."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from numpy.typing import NDArray
from torch import Tensor


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
