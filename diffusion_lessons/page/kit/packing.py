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


def as_kept(x: Tensor) -> Tensor:
    """Pictures [..., 1 or 3, H, W] as a widget keeps them: grey ones have no channel, [..., H, W].

    So the shape says whether there are colours; `pictureShape` reads it in the page.
    """
    return x.squeeze(-3)


def with_channel(shape: Sequence[int]) -> list[int]:
    """One picture's shape in full, [C, H, W], of the one that `as_kept` leaves."""
    return [1, *shape] if len(shape) == 2 else list(shape)


LEVELS = 32
"""Greys of a picture that is only looked at: on a digit nobody tells more of them apart, and noise,
which does not compress, takes the less room the fewer there are. Of a picture in colour, as many of
each of its three."""


def pack_greys(x: Tensor, levels: int = LEVELS) -> bytes:
    """Greys, or red, green and blue, in -1..1 (clipped if outside) as bytes, compressed.

    They lie in 0..255, and each has so many levels.
    """
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
