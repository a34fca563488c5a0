"""Files: tried before the work, whole or not there, written by one at a time, and told in words.

`outlet` tries a place before the work that fills it; `aside` writes a file and gives it its name
when it is whole; `locked` and `claimed` keep other processes out. JSON carries a checksum:
`write_json` writes one object, and in a file of JSON lines (`create_json_lines`,
`append_json_line`) each line is one. Wherever a path is taken, ``~`` is the home folder.
"""

import errno
import glob
import hashlib
import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

ASSETS = Path(__file__).parent / "assets"
"""Where the digits, the shipped networks and the measured tables lie."""

STALE = 3600  # seconds after which a file aside belongs to a process that was killed

MOST_METADATA = 10**8  # bytes: what safetensors itself allows

CUT_OFF = b" (cut off)"  # ends a line that its writer could not finish; no JSON object ends so

# ------------------------------------------------------------------ places


def expanded(path: Path | str) -> Path:
    """The path with the home folder in place of ``~``. ValueError where there is no home."""
    whole = Path(os.path.expanduser(path))
    if whole.parts[:1] == ("~",):
        raise ValueError(f"{path}: there is no home folder that ~ could stand for")
    return whole


def cache_folder() -> Path | None:
    """The course's folder among the user's caches, there or not; None where there is no home.

    ``DIFFUSION_LESSONS_CACHE``, if set, names another folder.
    """
    try:
        if own := os.environ.get("DIFFUSION_LESSONS_CACHE"):
            return expanded(own)
        return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "diffusion-lessons"
    except ValueError:
        return None


def outlet(path: Path | str) -> Path:
    """Where a file shall be written, tried before the work that makes it; ``~`` is expanded.

    Missing folders are made; a file that is there is left alone. Raises OSError, in words, for a
    folder, a file that is write-protected, and wherever else nothing could be written.
    """
    path = expanded(path)
    with _in_words(path, "written"):
        target = _target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _part(target):
            pass
    return path


def growing_outlet(path: Path | str) -> Path:
    """As `outlet`, for a file that grows: of one that is there, its folder does not matter."""
    path = expanded(path)
    with _in_words(path, "written"):
        if not _target(path).exists():
            return outlet(path)
        with open(path, "r+b"):
            return path


# ------------------------------------------------------------------ whole files


@contextmanager
def aside(path: Path | str) -> Iterator[Path]:
    """Where to write what shall become ``path``: whoever reads that sees the old file or the new.

    A link is followed. A new file has the mode that the umask says, one that is replaced keeps its
    own. The file aside has a name of the process's own, so two that write to one path do not mix.
    Whatever the disk refuses is an OSError that names ``path`` and the cause; the old file is still
    there then, and the one aside is not.
    """
    path = expanded(path)
    with _in_words(path, "written"):
        target = _target(path)
        with _part(target) as unfinished:
            mode = unfinished.stat().st_mode & 0o777  # as the umask says
            yield unfinished
            _sync(unfinished)
            _keep_mode(unfinished, target, mode)
            os.replace(unfinished, target)


def read_bytes(path: Path | str) -> bytes:
    """What a file holds. OSError, in words, if it cannot be read: FileNotFoundError if missing."""
    path = expanded(path)
    with _in_words(path, "read"):
        return path.read_bytes()


def read_tensors(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata in the bytes of a safetensors file. ValueError if they are no such file.

    Read as bytes, for where safetensors opens a file itself it does not tell a missing right from
    damage.
    """
    try:
        return load_tensors(content), _metadata(io.BytesIO(content))
    except MemoryError:
        raise
    except Exception as error:  # nothing but the bytes is left that could be wrong
        raise ValueError(f"it is no whole safetensors file: {error}") from error


def tensors_checksum(tensors: dict[str, Tensor], about: dict[str, Any] | None = None) -> str:
    """SHA-256 of named tensors on the CPU, and of a JSON object beside them."""
    digest = hashlib.sha256()
    if about is not None:
        digest.update(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        x = tensors[name]
        digest.update(f"{name} {x.dtype} {list(x.shape)}".encode())
        digest.update(x.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_metadata(path: Path | str) -> dict[str, str]:
    """The metadata alone. OSError as `read_bytes`, ValueError if it is no safetensors file."""
    path = expanded(path)
    with _in_words(path, "read"), open(path, "rb") as file:
        return _metadata(file)


def _metadata(file: BinaryIO) -> dict[str, str]:
    size = int.from_bytes(file.read(8), "little")
    if size > MOST_METADATA:
        raise ValueError("its head is damaged")
    head = json.loads(file.read(size))
    words: dict[str, str] = head.get("__metadata__", {}) if isinstance(head, dict) else {}
    return words


def write_json(path: Path | str, content: dict[str, Any], indent: int) -> None:
    """Write a JSON object with its ``checksum`` at the end."""
    text = json.dumps(_with_checksum(content), indent=indent) + "\n"
    with aside(path) as unfinished:
        unfinished.write_text(text, "utf-8")


def read_json(path: Path | str) -> dict[str, Any]:
    """The object that `write_json` wrote. Raises ValueError if it is another one.

    A file without a checksum, written by hand, is taken as it is. Raises OSError as `read_bytes`.
    """
    content, expected = _parsed(read_bytes(path))
    if expected is not None and expected != checksum(content):
        raise ValueError("its checksum is wrong; if you changed it by hand, take that line out")
    return content


# ------------------------------------------------------------------ files that grow


def create_json_lines(path: Path | str, contents: Iterable[dict[str, Any]]) -> bool:
    """Write a file of JSON objects, one a line with its ``checksum``, unless there is a file.

    Tells whether there was none; missing folders are made. Of several processes that do so at once,
    one is told True, and nobody sees an unfinished file. Raises OSError as `aside` does.
    """
    path, text = expanded(path), b"".join(map(_line, contents))
    with _in_words(path, "written"):
        target = _target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _part(target) as unfinished:
            unfinished.write_bytes(text)
            _sync(unfinished)
            return _rename_if_free(unfinished, target)


def append_json_line(path: Path | str, content: dict[str, Any]) -> None:
    """Add a JSON object to a file of them, in one write after whatever others have added.

    So several processes may add to one file. A last line that was left unfinished is marked as cut
    off. Raises OSError as `aside` does; the lines before are whole then.
    """
    path, line = expanded(path), _line(content)
    with (
        _in_words(path, "written"),
        _THREADS,
        open(path, "r+b", buffering=0, opener=_appending) as file,
    ):
        _take(file.fileno(), wait=True)  # until it is closed
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            # Not taken away: on a disk without locks another may be just about to finish it.
            line = CUT_OFF + b"\n" + line
        if file.write(line) < len(line):
            raise OSError(errno.ENOSPC, "the disk took a part of it")
        os.fsync(file.fileno())


def read_json_lines(path: Path | str, growing: bool = True) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects in a file of JSON lines, each with the number of its line.

    Lines that were cut off are passed over, an unfinished last one only while the file is
    ``growing``. Raises ValueError, which names the line, where one is damaged or has no checksum.
    """
    *lines, rest = read_bytes(path).split(b"\n")
    for number, line in enumerate(lines, start=1):
        if line.endswith(CUT_OFF) and _may_be_unfinished(line.removesuffix(CUT_OFF)):
            continue
        try:
            content, expected = _parsed(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if expected != checksum(content):
            raise ValueError(f"line {number}: its checksum is wrong")
        yield number, content
    if rest and not (growing and _may_be_unfinished(rest)):
        raise ValueError(f"line {len(lines) + 1}: it does not end where it should")


def checksum(content: dict[str, Any]) -> str:
    """SHA-256 of a JSON object; its layout and order do not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# ------------------------------------------------------------------ one at a time


@contextmanager
def locked(path: Path | str) -> Iterator[None]:
    """Nobody else is in here with the same path, no thread and no process: what is read and then
    written again loses nothing. Waits for its turn.

    The lock is the operating system's, which takes it from a process that is killed; where a disk
    knows no locks there is none.
    """
    with _THREADS, _lock(expanded(path), wait=True):
        yield


@contextmanager
def claimed(path: Path | str) -> Iterator[None]:
    """While in here, other processes that claim the path are refused: OSError. See `locked`."""
    with _lock(expanded(path), wait=False):
        yield


_THREADS = threading.RLock()
_HELD: dict[Path, tuple[int, int]] = {}  # by the lock's file: its number, and how often it is held


@contextmanager
def _lock(path: Path, wait: bool) -> Iterator[None]:
    target = Path(os.path.realpath(path))
    name = target.with_name(f"{target.name}.lock")
    with _THREADS:
        number, times = _HELD[name] if name in _HELD else (_lock_file(name, path, wait), 0)
        _HELD[name] = (number, times + 1)
    try:
        yield
    finally:
        with _THREADS:
            number, times = _HELD.pop(name)
            if times > 1:
                _HELD[name] = (number, times - 1)
            elif number >= 0:
                _let_go(number, name)


def _lock_file(name: Path, path: Path, wait: bool) -> int:
    """The number of the lock's file, opened and locked; -1 where it cannot be made.

    Then the file that it protects cannot be written either, and whoever writes it will tell.
    """
    while True:
        try:
            number = os.open(name, os.O_RDONLY | os.O_CREAT, 0o666)
        except OSError:
            return -1
        try:
            taken = _take(number, wait)
            with suppress(FileNotFoundError):  # who had it before has deleted it: begin again
                if not taken or os.path.samestat(os.fstat(number), os.stat(name)):
                    if taken:
                        return number
                    raise BlockingIOError(
                        f"{path} is being written by another process; wait for its end, or choose "
                        "another place"
                    )
        except BaseException:
            os.close(number)
            raise
        os.close(number)


def _let_go(number: int, name: Path) -> None:
    if sys.platform != "win32":  # there it must be closed first, and another may have opened it
        name.unlink(missing_ok=True)
    os.close(number)
    if sys.platform == "win32":
        with suppress(OSError):
            name.unlink()


def _take(number: int, wait: bool) -> bool:
    """Lock an open file until it is closed, waiting for whoever has it; False if not to wait."""
    while True:
        try:
            if sys.platform == "win32":
                os.lseek(number, 2**31 - 2, os.SEEK_SET)  # a byte that nobody writes
                msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return True
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                return True  # a disk without locks
            if not wait:
                return False
        time.sleep(0.05)


# ------------------------------------------------------------------ causes in words

_ROOM = "Make room on the disk, or choose another place"
_RIGHT = "Change the rights of the file or its folder, or choose another place"
_FILE = "A part of its path is a file, not a folder: choose another place"
_OPEN = "Close some files, or raise the limit (ulimit -n)"
_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _RIGHT),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _OPEN),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), _FILE),
    errno.EISDIR: "Name a file, not a folder",
    errno.EROFS: "Choose a place on a disk that can be written",
}


@contextmanager
def _in_words(path: Path, what: str) -> Iterator[None]:
    """An OSError of the same kind that names the file, the cause, and what helps against it."""
    try:
        yield
    except OSError as error:
        if isinstance(error.__cause__, OSError):
            raise  # it is in words already
        if what == "read" and error.errno == errno.ENOENT:
            raise FileNotFoundError(f"{path} is not there") from error
        advice = _ADVICE.get(error.errno or 0, "Choose another place")
        unchanged = "; what was there before is unchanged" if what == "written" else ""
        kind = type(error) if type(error).__module__ == "builtins" else OSError
        raise kind(
            f"{path} could not be {what} ({error.strerror or error}). {advice}{unchanged}"
        ) from error


def _target(path: Path) -> Path:
    """Where a path leads, links followed. OSError if no file may be written there."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if target.is_symlink():
        raise OSError(errno.ELOOP, "it is a link that leads nowhere")
    if target.exists():
        if not target.is_file():
            raise OSError(errno.EINVAL, "it is no ordinary file")
        # Root may write anywhere, but somebody wanted this one to stay.
        if not target.stat().st_mode & 0o222 or not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "it is write-protected")
    return target


# ------------------------------------------------------------------ parts of the above


@contextmanager
def _part(path: Path) -> Iterator[Path]:
    """An empty file beside ``path`` for this process alone; what has its name in the end goes."""
    with _THREADS:
        for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
            with suppress(OSError):
                if time.time() - part.stat().st_mtime > STALE:
                    part.unlink()
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
        unfinished.unlink(missing_ok=True)  # of a killed process; perhaps a second name of ``path``
        try:
            unfinished.touch()
            yield unfinished
        finally:
            unfinished.unlink(missing_ok=True)


def _keep_mode(unfinished: Path, target: Path, mode: int) -> None:
    """Give a new file the owner and mode of the one that it replaces, or of a new one, ``mode``."""
    with suppress(FileNotFoundError):
        old = target.stat()
        mode = old.st_mode & 0o7777
        if hasattr(os, "chown"):
            with suppress(OSError):  # only root may give files away
                os.chown(unfinished, old.st_uid, old.st_gid)
    with suppress(OSError):  # a disk without modes
        unfinished.chmod(mode)


def _sync(path: Path) -> None:
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def _rename_if_free(source: Path, path: Path) -> bool:
    """Give a file the name ``path``, unless that is taken; whether it was free."""
    try:
        os.link(source, path)  # unlike a rename, refuses a name that is taken
    except FileExistsError:
        return False
    except OSError:  # a disk without hard links, such as a mounted drive: nearly as good
        if path.exists():
            return False
        os.replace(source, path)
    return True


def _appending(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_APPEND)


def _with_checksum(content: dict[str, Any]) -> dict[str, Any]:
    plain = json.loads(json.dumps(content))  # as it will be read: the keys are text
    return {**plain, "checksum": checksum(plain)}


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(_with_checksum(content)).encode() + b"\n"


def _parsed(text: bytes) -> tuple[dict[str, Any], Any]:
    """A JSON object, and apart from it the checksum that stands in it, or None."""
    try:
        content = json.loads(text.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    return content, content.pop("checksum", None)


def _may_be_unfinished(rest: bytes) -> bool:
    """Whether this is a line that was cut off: in one, nothing follows on a whole object.

    Zeros do not count: a disk that lost its power may hold them in place of what was written.
    """
    text = rest.rstrip(b"\0").decode("utf-8", "replace")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return True
    return end == len(text)
