"""Numbers and pictures as bytes, the way they travel to the page and are kept in a notebook."""

import base64
import json
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


LEVELS = 32
"""Greys of a picture that is only looked at: on a digit nobody tells more of them apart, and noise,
which does not compress, takes the less room the fewer there are."""


def pack_greys(x: Tensor, levels: int = LEVELS) -> bytes:
    """Greys in -1..1 (clipped if outside) as bytes 0..255, of so many levels, compressed."""
    share = (x.detach().cpu().float().clamp(-1, 1) + 1) / 2
    greys = (share * (levels - 1)).round() * 255 / (levels - 1)
    return zlib.compress(greys.round().to(torch.uint8).numpy().tobytes(), 9)


def unpack_greys(content: bytes, shape: Sequence[int]) -> Tensor:
    """Undoes `pack_greys`: float32 in -1..1 of the given shape, -1 where the size is left open."""
    greys = np.frombuffer(zlib.decompress(content), "u1").astype("f4")
    return torch.from_numpy(greys / 127.5 - 1).reshape(*shape)


def pack_files(texts: Sequence[tuple[str, str]]) -> str:
    """Scripts and styles, (name, text) each, compressed: a few letters of base64 for a page."""
    return base64.b64encode(zlib.compress(json.dumps(texts).encode(), 9)).decode()


def unpack_files(content: str) -> list[tuple[str, str]]:
    """Undoes `pack_files`."""
    return [(name, text) for name, text in json.loads(zlib.decompress(base64.b64decode(content)))]
