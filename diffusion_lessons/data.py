"""Data: the MNIST digits that ship with the package, two more sets on request, 2-D points."""

import hashlib
import io
import math
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from lzma import decompress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from . import checks
from .files import aside, expanded, locked, outlet, read_bytes

DIGITS_FILE = Path(__file__).parent / "assets" / "mnist.zip"

# MD5 of the four original files, uncompressed (LeCun, Cortes, Burges: the MNIST database).
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


class Images(NamedTuple):
    """Pictures and their classes: ``images`` uint8 [N, C, H, W], ``labels`` int64 [N]."""

    images: Tensor
    labels: Tensor


def to_unit(images: Tensor) -> Tensor:
    """Bytes 0..255 -> float32 in -1..1, the range the networks work in."""
    checks.tensor("images", images)
    if images.dtype != torch.uint8:  # pictures in -1..1, given once more, would all turn black
        raise TypeError(
            f"images must be bytes (torch.uint8), got {images.dtype}. Of floats in 0..1, "
            "2 * images - 1 makes pictures in -1..1"
        )
    return images.float() / 127.5 - 1


def to_bytes(x: Tensor) -> Tensor:
    """Floats in -1..1 (clipped if outside) -> bytes 0..255. Undoes `to_unit`."""
    checks.floats(x=x)
    checks.finite("x", x)  # NaN is no grey, and infinity no white
    checks.no_bytes("x", x)
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def digits(train: bool = True) -> Images:
    """MNIST: 60,000 training or 10,000 test digits, images [N, 1, 28, 28], labels 0..9.

    Comes with the package, so it needs no network; each call gives tensors of its own. The bytes
    are checked against the original files' MD5; a damaged file is a ValueError that names it, one
    that cannot be read an OSError.
    """
    return Images(*(part.clone() for part in _digits("train" if train else "t10k")))


@lru_cache
def _digits(prefix: str) -> Images:
    images = _idx(_original(f"{prefix}-images-idx3-ubyte"))
    labels = _idx(_original(f"{prefix}-labels-idx1-ubyte"))
    return Images(images[:, None], labels.long())


def _original(name: str) -> bytearray:
    """One of MNIST's four files, byte for byte, from its compressed parts in the zip."""
    try:
        packed = io.BytesIO(read_bytes(DIGITS_FILE))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; install the package again") from error
    try:
        with zipfile.ZipFile(packed) as archive:
            parts = [archive.read(part) for part in sorted(archive.namelist()) if name in part]
        content, md5 = bytearray(), hashlib.md5(usedforsecurity=False)
        with ThreadPoolExecutor() as pool:  # lzma lets other threads run: a part for each core
            for piece in pool.map(decompress, parts):
                md5.update(piece)
                content += piece
    except Exception as error:
        raise ValueError(
            f"{DIGITS_FILE} is damaged ({error}); install the package again"
        ) from error
    if md5.hexdigest() != MNIST_MD5[name]:
        raise ValueError(f"{DIGITS_FILE} holds another {name}; install the package again")
    return content


def _idx(content: bytearray) -> Tensor:
    """The IDX format: two zero bytes, the type (8 = bytes), the rank, the sizes, the numbers."""
    rank = content[3]
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return torch.frombuffer(content, dtype=torch.uint8, offset=4 + 4 * rank).view(shape)


def write_digits_file(originals: Path, target: Path = DIGITS_FILE, parts: int = 8) -> None:
    """Make the shipped file from a folder with MNIST's four original IDX files (uncompressed).

    Each file is cut into parts, each a .xz of its own: decompressed and joined in order they give
    the original back.
    """
    import lzma

    # Bytes with no alignment: a 1 % smaller file, and 10 % faster to read, than the preset alone.
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "pb": 0}]
    with (
        aside(outlet(target)) as unfinished,
        zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name in MNIST_MD5:
            content = read_bytes(expanded(originals) / name)
            size = math.ceil(len(content) / parts)
            for i in range(parts):
                entry = zipfile.ZipInfo(f"{name}.{i}.xz")  # a fixed date: same bytes every time
                piece = content[i * size : (i + 1) * size]
                archive.writestr(entry, lzma.compress(piece, filters=filters))


def fashion(train: bool = True, root: Path | str = "~/.cache/diffusion-lessons") -> Images:
    """Fashion-MNIST through torchvision: images [N, 1, 28, 28]; downloaded once into ``root``.

    Raises ImportError without torchvision, ConnectionError when the download fails, and
    PermissionError without the right to read or write there.
    """
    data, labels = _torchvision("FashionMNIST", train, root)
    return Images(torch.as_tensor(data)[:, None], torch.as_tensor(labels))


def cifar10(train: bool = True, root: Path | str = "~/.cache/diffusion-lessons") -> Images:
    """CIFAR-10 through torchvision: images [N, 3, 32, 32]; downloaded once into ``root``.

    Raises ImportError without torchvision, ConnectionError when the download fails, and
    PermissionError without the right to read or write there.
    """
    data, labels = _torchvision("CIFAR10", train, root)
    images = torch.as_tensor(data).permute(0, 3, 1, 2).contiguous()  # [N, H, W, C] -> [N, C, H, W]
    return Images(images, torch.as_tensor(labels))


CATS, DOGS = 3, 5
"""Their labels among CIFAR-10's."""


def cats_and_dogs(train: bool = True, root: Path | str = "~/.cache/diffusion-lessons") -> Images:
    """The cats (label 0) and dogs (1) of `cifar10`: 10,000 to train on, or 2,000 to test.

    Images [N, 3, 32, 32], in its order; raises what `cifar10` raises.
    """
    images, labels = cifar10(train, root)
    ours = (labels == CATS) | (labels == DOGS)
    return Images(images[ours], (labels[ours] == DOGS).long())


def _torchvision(name: str, train: bool, root: Path | str):  # type: ignore[no-untyped-def]
    try:
        from torchvision import datasets
    except ImportError as error:
        raise ImportError(f"{name} comes through torchvision: pip install torchvision") from error
    folder = expanded(root)
    try:
        with suppress(OSError):  # it may be there already, where nothing can be written
            folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / name):  # of two that would download, the second finds it there
            dataset = getattr(datasets, name)(folder, train=train, download=True)
        if len(dataset.data) != len(
            dataset.targets
        ):  # torchvision takes a shortened file of labels
            raise ValueError(f"{len(dataset.data)} pictures and {len(dataset.targets)} labels")
    except PermissionError as error:
        raise PermissionError(
            f"{name} can be neither read in {folder} nor put there ({error.strerror}). Change the "
            "rights of the folder, or name another"
        ) from error
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"{name} could not be downloaded into {folder} ({error}). With a network, try again; "
            "without one, put the files there by hand or use digits(), which ships with the package"
        ) from error
    except Exception as error:  # torchvision reads what lies there, and stumbles in its own ways
        where = folder / ("cifar-10-batches-py" if name == "CIFAR10" else name)
        raise ValueError(f"{where} is damaged ({error}); delete it to load {name} anew") from error
    return dataset.data, dataset.targets


def _checked_points(n: int, noise: float) -> tuple[int, float]:
    n, _ = checks.amount("n", n, 2)
    return n, checks.at_least("noise", noise, 0)


def moons(
    n: int, generator: torch.Generator | None = None, noise: float = 0.06
) -> tuple[Tensor, Tensor]:
    """Two interleaved half circles: points [n, 2] of about unit variance, and which moon [n]."""
    n, noise = _checked_points(n, noise)
    which = torch.randint(2, (n,), generator=generator)
    angle = math.pi * torch.rand(n, generator=generator)
    side = 1 - 2.0 * which  # +1 is the upper moon, -1 the lower
    x = torch.stack([angle.cos() - side / 2, side * (angle.sin() - 0.25)], 1)
    x = x + noise * torch.randn(n, 2, generator=generator)
    return x * torch.tensor([1.15, 2.0]), which


def spiral(n: int, generator: torch.Generator | None = None, noise: float = 0.04) -> Tensor:
    """A spiral of one and a half turns: points [n, 2] of about unit variance."""
    n, noise = _checked_points(n, noise)
    u = torch.rand(n, generator=generator).sqrt()  # as many points on each bit of the curve
    angle = 3 * math.pi * u
    x = 2 * u[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return x + noise * torch.randn(n, 2, generator=generator)
