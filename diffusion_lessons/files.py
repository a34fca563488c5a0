"""Files that are whole or not there: written aside and renamed, JSON with a checksum."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent / "assets"
"""Where the digits, the shipped networks and the measured tables lie."""

STALE = 3600  # seconds after which a file aside belongs to a process that was killed


@contextmanager
def aside(path: Path | str) -> Iterator[Path]:
    """Where to write what shall become ``path``: whoever reads that sees the old file or the new.

    The file aside has a name of the process's own, so two that write to one path do not mix.
    Whatever goes wrong, a full disk above all, is an OSError that names ``path``; the old file is
    still there then, and the one aside is not.
    """
    path = Path(path)
    for left in path.parent.glob(f"{path.name}.*.part"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE:
                left.unlink()
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        with open(unfinished, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except Exception as error:
        raise OSError(
            f"{path} could not be written ({error}). Make room on the disk, or choose another "
            "place; what was there before is unchanged"
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def write_json(path: Path | str, content: dict[str, Any], indent: int) -> None:
    """Write a JSON object with its ``checksum`` at the end."""
    plain = json.loads(json.dumps(content))  # as it will be read: the keys are text
    text = json.dumps({**plain, "checksum": checksum(plain)}, indent=indent) + "\n"
    with aside(path) as unfinished:
        unfinished.write_text(text, "utf-8")


def read_json(path: Path | str) -> dict[str, Any]:
    """The object that `write_json` wrote. Raises ValueError if it is another one.

    A file without a checksum, written by hand, is taken as it is.
    """
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("it holds no JSON object")
    given = found.pop("checksum", None)
    if given is not None and given != checksum(found):
        raise ValueError("its checksum is wrong; if you changed it by hand, take that line out")
    return found


def checksum(content: dict[str, Any]) -> str:
    """SHA-256 of a JSON object; its layout and order do not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
