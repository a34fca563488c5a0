"""Files that are whole or not there, written aside and renamed; and files that grow by whole lines.

JSON carries a checksum: `write_json` writes one object, and in a file of JSON lines
(`create_json_lines`, `append_json_line`) each line is one.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent / "assets"
"""Where the digits, the shipped networks and the measured tables lie."""

STALE = 3600  # seconds after which a file aside belongs to a process that was killed

CUT_OFF = b" (cut off)"  # ends a line that its writer could not finish; no JSON object ends so


@contextmanager
def aside(path: Path | str) -> Iterator[Path]:
    """Where to write what shall become ``path``: whoever reads that sees the old file or the new.

    The file aside has a name of the process's own, so two that write to one path do not mix.
    Whatever goes wrong, a full disk above all, is an OSError that names ``path``; the old file is
    still there then, and the one aside is not.
    """
    path = Path(path)
    with _in_words(path), _part(path) as unfinished:
        yield unfinished
        _sync(unfinished)
        os.replace(unfinished, path)


def write_json(path: Path | str, content: dict[str, Any], indent: int) -> None:
    """Write a JSON object with its ``checksum`` at the end."""
    text = json.dumps(_with_checksum(content), indent=indent) + "\n"
    with aside(path) as unfinished:
        unfinished.write_text(text, "utf-8")


def read_json(path: Path | str) -> dict[str, Any]:
    """The object that `write_json` wrote. Raises ValueError if it is another one.

    A file without a checksum, written by hand, is taken as it is.
    """
    content, expected = _parsed(Path(path).read_bytes())
    if expected is not None and expected != checksum(content):
        raise ValueError("its checksum is wrong; if you changed it by hand, take that line out")
    return content


def create_json_lines(path: Path | str, contents: Iterable[dict[str, Any]]) -> bool:
    """Write a file of JSON objects, one a line with its ``checksum``, unless there is a file.

    Tells whether there was none; missing folders are made. Of several processes that do so at once,
    one is told True, and nobody sees an unfinished file. Raises OSError as `aside` does.
    """
    path, text = Path(path), b"".join(map(_line, contents))
    with _in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _part(path) as unfinished:
            unfinished.write_bytes(text)
            _sync(unfinished)
            return _rename_if_free(unfinished, path)


def append_json_line(path: Path | str, content: dict[str, Any]) -> None:
    """Add a JSON object to a file of them, in one write after whatever others have added.

    So several processes, on a local disk, may add to one file. A last line that was left unfinished
    is marked as cut off. Raises OSError as `aside` does; the lines before are whole then.
    """
    line = _line(content)
    with _in_words(path), open(path, "r+b", buffering=0, opener=_appending) as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            # Not taken away: it may be another process's, which is just about to finish it.
            line = CUT_OFF + b"\n" + line
        if file.write(line) < len(line):
            raise OSError("the disk took a part of it")
        os.fsync(file.fileno())


def read_json_lines(path: Path | str, growing: bool = True) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects in a file of JSON lines, each with the number of its line.

    Lines that were cut off are passed over, an unfinished last one only while the file is
    ``growing``. Raises ValueError, which names the line, where one is damaged or has no checksum.
    """
    *lines, rest = Path(path).read_bytes().split(b"\n")
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


# ------------------------------------------------------------------ parts of the above


@contextmanager
def _in_words(path: Path | str) -> Iterator[None]:
    """Whatever goes wrong in writing is an OSError that names the file and says what to do."""
    try:
        yield
    except Exception as error:
        raise OSError(
            f"{path} could not be written ({error}). Make room on the disk, or choose another "
            "place; what was there before is unchanged"
        ) from error


@contextmanager
def _part(path: Path) -> Iterator[Path]:
    """A name beside ``path`` for this process alone, free; what has it in the end is deleted."""
    for part in path.parent.glob(f"{path.name}.*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > STALE:
                part.unlink()
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    unfinished.unlink(missing_ok=True)  # of a killed process; it may be a second name of ``path``
    try:
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)


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
