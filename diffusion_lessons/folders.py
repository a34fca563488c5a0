"""A folder of pictures as `Images`: any picture files, brought to one size, a tenth held out."""

import hashlib
import io
import json
import os
import stat
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from . import checks
from .data import Images
from .files import aside, cache_folder, expanded, outlet, read_bytes, read_tensors, tensors_checksum

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # as Pillow finds them in the bytes

MOST_BYTES = 10**9  # of a file; so many threads read at a time as there are cores, and some

SMALLEST, LARGEST = 8, 64
HELD_OUT = 10
"""One picture of so many is never trained on."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """A folder's pictures, made by `pictures`: what to train on, and what was held out of that.

    ``classes`` are the names of the folders within, in order, or none; a label is a place in them.
    ``names`` are the pictures' paths in the folder, those to train on first. ``left_out`` says of
    each file that is not among them why.
    """

    folder: Path
    train: Images
    held_out: Images
    classes: tuple[str, ...]
    names: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one picture, [C, H, W]; C is 1 if all are grey."""
        _, C, H, W = self.train.images.shape
        return C, H, W

    @cached_property
    def about(self) -> dict[str, Any]:
        """What a card says of what its network was trained on."""
        tensors = {
            f"{part}/{name}": tensor
            for part, images in (("train", self.train), ("held out", self.held_out))
            for name, tensor in images._asdict().items()
        }
        return {
            "folder": self.folder.resolve().name,  # of "." as well
            "pictures": len(self.train.labels),
            "held_out": len(self.held_out.labels),
            "classes": list(self.classes),
            "mean": [round(mean / 127.5 - 1, 4) for mean in self._channel_means()],
            "sha256": tensors_checksum(tensors),
        }

    def _channel_means(self) -> list[float]:
        """Of the pictures to train on, in 0..255."""
        means: list[float] = self.train.images.double().mean((0, 2, 3)).tolist()
        return means

    def in_words(self) -> str:
        """How many there are, of which kind, in one line."""
        C, H, W = self.shape
        kinds = f" in {len(self.classes)} classes" if self.classes else ""
        colours = "grey" if C == 1 else "coloured"
        return (
            f"{len(self.names):,} {colours} pictures of {W} x {H}{kinds}: "
            f"{len(self.train.labels):,} to train on, {len(self.held_out.labels):,} held out"
        )

    def left_out_in_words(self, most: int = 5) -> list[str]:
        """A line for each file that is left out, or for so many of them."""
        return _lines(self.left_out, most)


def pictures(folder: Path | str, size: int = 28, progress: bool = True) -> Pictures:
    """The pictures in a folder (no classes) or, if it holds folders, those in each (a class each).

    A folder that holds nothing but one other, as an unpacked archive may, stands for that one.

    PNG, JPEG, WebP and what else `ENDINGS` names, of any size: the middle square of each, brought
    to ``size``, a multiple of 4 in 8..64. Turned as its EXIF says; transparent parts are white; of
    an animation the first frame counts. Hidden files are passed over, links followed, and a file
    that cannot be used is left out, with a warning.

    One in ten is held out. Which one, and the order of all, is decided by the bytes of the files
    alone, so names and dates change nothing, and a copy is not held out of a training that sees the
    original. What was read is kept in the cache folder, and read anew when a file in the folder
    changes (by its name, size or date). Raises OSError if there is no folder, and ValueError for
    one without pictures, or with pictures both beside and in its folders.
    """
    size = checks.whole("size", size, SMALLEST, LARGEST)
    if size % 4:
        raise ValueError(f"size must be a multiple of 4, got {size}")
    folder = expanded(folder)
    found = _found(folder)
    cache = _cache_file(folder, size)
    key = _key(found, size)
    made = _from_cache(cache, key)
    if made is None:
        made = _read_all(folder, found, size, progress)
        _to_cache(cache, key, made)
    whole = _split(folder, made)
    if whole.left_out:
        lines = "; ".join(line.removeprefix("left out: ") for line in whole.left_out_in_words())
        warnings.warn(f"{folder}: left out {lines}", stacklevel=2)
    return whole


# ------------------------------------------------------------------ which files


class Found(NamedTuple):
    """What lies in a folder."""

    files: dict[str, os.stat_result]  # pictures, by their paths in it, sorted
    left_out: dict[str, str]
    classes: tuple[str, ...]
    depth: int  # of the folders whose names are those of the classes


def _found(folder: Path) -> Found:
    if not folder.is_dir():
        kind = NotADirectoryError if folder.exists() else FileNotFoundError
        raise kind(f"{folder} is no folder" if folder.exists() else f"{folder} is not there")
    files: dict[str, os.stat_result] = {}
    left_out: dict[str, str] = {}
    others: Counter[str] = Counter()
    for path in _walk(folder, set(), left_out, folder):
        name = str(path.relative_to(folder))
        if path.suffix.lower() not in ENDINGS:
            others[path.suffix.lower() or "no ending"] += 1
            continue
        try:
            about = path.stat()
        except OSError as error:
            broken = os.path.islink(path) and not os.path.exists(path)  # pathlib's may raise
            left_out[name] = "a link that leads nowhere" if broken else _why(error)
            continue
        if not stat.S_ISREG(about.st_mode):
            left_out[name] = "no ordinary file"
        elif about.st_size > MOST_BYTES:
            left_out[name] = f"{about.st_size / 1e9:.1f} GB are too much for a picture"
        else:
            files[name] = about
    for ending, count in sorted(others.items()):
        left_out[f"{count:,} of {ending}"] = "no kind of file that is read"
    if not files:
        known = ", ".join(ending.removeprefix(".") for ending in ENDINGS)
        lines = "; ".join(_lines(left_out))
        raise ValueError(
            f"{folder} holds no pictures (files of {known})" + f": {lines}" * bool(lines)
        )
    depth, classes = _classes(folder, files, left_out)
    return Found(files, left_out, classes, depth)


def _classes(
    folder: Path, files: Iterable[str], left_out: dict[str, str]
) -> tuple[int, tuple[str, ...]]:
    """How deep the folders lie that are the classes, and their names, if they are several.

    ValueError for pictures beside them. A folder there that holds none is left out.
    """
    parts = [Path(name).parts for name in files]
    depth = 0
    while True:
        tops = {each[depth] for each in parts if len(each) > depth + 1}
        beside = sum(len(each) == depth + 1 for each in parts)
        here = Path(*parts[0][:depth])
        if tops and beside:
            raise ValueError(
                f"{folder / here} holds {beside:,} picture{'s' * (beside > 1)} beside folders of "
                f"pictures ({readable(min(tops))}): put all into one folder, or each into the one "
                "of its class"
            )
        if not tops:
            return depth, ()
        told = {Path(name).parts[: depth + 1] for name in left_out}
        for path in sorted((folder / here).iterdir()):
            name = here / path.name
            named = path.name.startswith(".") or path.name in tops or name.parts in told
            if os.path.isdir(path) and not named:
                left_out[str(name)] = "a folder without pictures"
        if len(tops) > 1:
            return depth, tuple(sorted(tops))
        depth += 1


def _walk(
    folder: Path, above: set[tuple[int, int]], left_out: dict[str, str], top: Path
) -> Iterator[Path]:
    """All files that are not hidden, in the order of their names; a circle of links is left."""
    try:
        about = folder.stat()
        here = (about.st_dev, about.st_ino)
        if here in above:
            left_out[str(folder.relative_to(top))] = "a link back to a folder above it"
            return
        entries = sorted(folder.iterdir())
    except OSError as error:
        if folder == top:
            raise type(error)(f"{folder} could not be read ({_why(error)})") from error
        left_out[str(folder.relative_to(top))] = _why(error)
        return
    for path in entries:
        if path.name.startswith("."):
            continue
        if os.path.isdir(path):  # pathlib's raises where a right is missing
            yield from _walk(path, above | {here}, left_out, top)
        else:
            yield path


# ------------------------------------------------------------------ reading them


class Made(NamedTuple):
    """All that was read, in the order of the files' checksums."""

    images: Tensor  # uint8 [N, C, size, size]
    labels: Tensor  # int64 [N]
    held: Tensor  # bool [N]
    words: dict[str, Any]  # names, classes and left_out


def _read_all(folder: Path, found: Found, size: int, progress: bool) -> Made:
    from tqdm.auto import tqdm

    def read(name: str) -> tuple[str, str, np.ndarray | str]:
        try:
            content = (folder / name).read_bytes()
            return name, hashlib.sha256(content).hexdigest(), _picture(content, size)
        except MemoryError:
            raise
        except Exception as error:  # of as many kinds as there are ways to be damaged
            return name, "", _why(error)

    rows: list[tuple[str, str, np.ndarray]] = []
    left_out: dict[str, str] = {}
    with (
        ThreadPoolExecutor() as pool,  # Pillow lets other threads run
        warnings.catch_warnings(),
        tqdm(
            total=len(found.files), desc=folder.resolve().name, leave=False, disable=not progress
        ) as bar,
    ):
        warnings.simplefilter("ignore")  # Pillow's own, of what is taken all the same
        for name, digest, picture in pool.map(read, found.files):
            bar.update()
            if isinstance(picture, str):
                left_out[name] = picture
            else:
                rows.append((digest, name, picture))
    if not rows:
        name = next(iter(found.files))
        raise ValueError(
            f"{folder}: of {len(found.files):,} picture{'s' * (len(found.files) > 1)} none can be "
            f"used, say {readable(name)}: {left_out[name]}"
        )
    left_out |= found.left_out  # last: damage comes before what was never a picture
    rows.sort(key=lambda row: row[:2])
    images = torch.from_numpy(np.stack([picture for _, _, picture in rows]))
    images = images.permute(0, 3, 1, 2).contiguous()  # [N, H, W, 3] -> [N, 3, H, W]
    if (images == images[:, :1]).all():
        images = images[:, :1].contiguous()
    names = [name for _, name, _ in rows]
    folders = [Path(name).parts[found.depth] for name in names]
    classes = sorted(set(folders)) if found.classes else []
    classes = classes if len(classes) > 1 else []
    place = {name: label for label, name in enumerate(classes)}
    labels = [place.get(each, 0) for each in folders]
    digests = [digest for digest, _, _ in rows]
    different = sorted(set(digests))
    last = different[: len(different) // HELD_OUT]
    held = torch.tensor([bool(last) and digest <= last[-1] for digest in digests])
    words = {"names": names, "classes": classes, "left_out": left_out}
    return Made(images, torch.tensor(labels), held, words)


def _picture(content: bytes, size: int) -> np.ndarray:
    """The bytes of a picture file -> [size, size, 3]. Raises whatever is wrong with them."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        width, height = opened.size
        if 4 * min(width, height) < size:
            raise ValueError(f"{width} x {height} pixels are too few for {size} x {size}")
        opened.draft(None, (2 * size, 2 * size))  # a JPEG need not be decoded in full
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off instead of scaling
            grey = np.asarray(image, dtype=np.float64) / 257
            if grey.min() < 0 or grey.max() > 255:
                raise ValueError("its pixels have 32 bits, and nothing says which is white")
            image = Image.fromarray(grey.round().astype(np.uint8))
        elif image.mode == "F":
            raise ValueError("its pixels are floats, and nothing says which is white")
        if image.has_transparency_data:
            above = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
        return np.array(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC))


def _split(folder: Path, made: Made) -> Pictures:
    train, held = (~made.held).nonzero()[:, 0], made.held.nonzero()[:, 0]
    names = made.words["names"]
    return Pictures(
        folder,
        Images(made.images[train], made.labels[train]),
        Images(made.images[held], made.labels[held]),
        tuple(made.words["classes"]),
        tuple(names[i] for i in [*train.tolist(), *held.tolist()]),
        made.words["left_out"],
    )


# ------------------------------------------------------------------ the cache

VERSION = 2
"""Of how pictures are read: one that another version has read is read anew."""


def _cache_file(folder: Path, size: int) -> Path | None:
    cache = cache_folder()
    place = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
    return None if cache is None else cache / "pictures" / f"{place}-{size}.safetensors"


def _key(found: Found, size: int) -> str:
    """Of all that would change what is read."""
    listing = [[name, about.st_size, about.st_mtime_ns] for name, about in found.files.items()]
    whole = [VERSION, size, listing, found.left_out, found.classes]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def _from_cache(path: Path | None, key: str) -> Made | None:
    """What was read before; None if that is damaged, of another state of the folder, or none."""
    if path is None:
        return None
    try:
        tensors, metadata = read_tensors(read_bytes(path))
        words = json.loads(metadata["words"])
        if metadata["key"] != key or metadata["checksum"] != tensors_checksum(tensors, words):
            return None
        return Made(tensors["images"], tensors["labels"], tensors["held"], words)
    except (OSError, ValueError, LookupError):
        return None


def _to_cache(path: Path | None, key: str, made: Made) -> None:
    if path is None:
        return
    tensors = {"images": made.images, "labels": made.labels, "held": made.held}
    metadata = {"key": key, "checksum": tensors_checksum(tensors, made.words)}
    content = save_tensors(tensors, metadata | {"words": json.dumps(made.words)})
    with suppress(OSError), aside(outlet(path)) as unfinished:  # read anew next time
        unfinished.write_bytes(content)


# ------------------------------------------------------------------ in words


def _why(error: Exception) -> str:
    """What is wrong with a file, without the file's name, in one line."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "no picture that Pillow can read"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than Pillow takes for a picture (179 million)"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines: Iterable[str] = str(error).strip().splitlines()
    return next(iter(lines), type(error).__name__)


def _lines(left_out: dict[str, str], most: int = 5) -> list[str]:
    lines = [f"left out: {readable(name)}: {why}" for name, why in left_out.items()]
    more = len(lines) - most
    return lines if more <= 0 else [*lines[:most], f"left out: {more:,} more"]


def readable(name: str) -> str:
    """A file's name that can be printed in one line, whatever bytes it is made of."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
