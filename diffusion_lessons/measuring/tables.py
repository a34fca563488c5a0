"""Tables of measurements: files that grow row by row, and go on where a run was cut off.

A table is a file of JSON lines: first the head, what all rows have in common, then a line a row. A
new row is appended in one write, so a run that is killed loses at most the row it was measuring,
and several runs may fill one table.
"""

import json
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import checks
from ..files import (
    ASSETS,
    append_json_line,
    create_json_lines,
    expanded,
    growing_outlet,
    read_json_lines,
)
from ..networks.processes import processes

Row = dict[str, Any]
Key = Callable[[Row], Hashable]


class Table:
    """The rows measured so far, in the file ``path``, to which every new one is appended.

    The path ends in .jsonl. ``head`` is what all rows have in common, say the network's checksum;
    ``key`` tells from a row what was measured, so that nothing is measured twice; ``rows`` are in
    its order. Raises ValueError if there is a file that holds no such rows, or rows with another
    head, and OSError, in words, if nothing could be written there. Of several `processes` the main
    one reads and writes, and all hold the same rows; what other runs add
    meanwhile is not among them.
    """

    def __init__(self, path: Path | str, head: dict[str, Any], key: Key) -> None:
        self.path, self.key = expanded(path), key
        if self.path.suffix.lower() == ".json":
            raise ValueError(
                f"{path} is the name of one JSON object, as tables once were; they are files of "
                f"JSON lines now: choose another file, say {self.path.with_suffix('.jsonl')}"
            )
        checks.ending("a table", self.path, ".jsonl")
        self.head: Row = json.loads(json.dumps(head))  # as it will be read
        self.rows: list[Row] = []
        if (content := processes().from_main(self._read)) is not None:
            written, self.rows = content
            self._compare(written)
            self.head = written

    def __contains__(self, settings: Hashable) -> bool:
        return any(self.key(row) == settings for row in self.rows)

    def add(self, row: Row) -> None:
        """Take a row in, and append it to the file, unless one of its settings is there.

        Raises OSError if the disk does not take it, and ValueError if meanwhile another run has
        begun the file with another head.
        """
        if self.key(row) in self:
            return
        processes().from_main(lambda: self._write(row))
        self.rows = _in_order([*self.rows, row], self.key)

    def _read(self) -> tuple[Row, list[Row]] | None:
        """Head and rows, or None if there is no file yet; that it can be written is tried."""
        growing_outlet(self.path)
        if not self.path.exists():
            return None
        with _damage_in_words(self.path):
            head, rows = _head_and_rows(self.path, growing=True)
            for number, row in rows.items():
                try:
                    self.key(row)
                except (ValueError, LookupError, TypeError) as error:
                    raise ValueError(f"line {number} is no row of this table: {error!r}") from error
            return head, _in_order(rows.values(), self.key)

    def _write(self, row: Row) -> None:
        if not self.path.exists() and create_json_lines(self.path, [self.head, *self.rows, row]):
            return
        with _damage_in_words(self.path):
            _, written = next(read_json_lines(self.path), (0, {}))
        self._compare(written)
        append_json_line(self.path, row)

    def _compare(self, written: Row) -> None:
        """Raises ValueError if the head that the file has is not this table's."""
        for name, value in self.head.items():
            if written.get(name) != value:
                raise ValueError(
                    f"{self.path} was measured with {name} {written.get(name)!r}, not {value!r}; "
                    "choose another file"
                )


def shipped_table(name: str) -> dict[str, Any]:
    """A table measured by the course's authors, such as "speed-quality".

    Its ``rows`` are dicts; beside them stands what they have in common. Raises ValueError for a
    name that does not exist.
    """
    folder = ASSETS / "tables"
    path = folder / f"{name}.jsonl"
    if not path.exists():
        names = sorted(file.stem for file in folder.glob("*.jsonl"))
        raise ValueError(f"no table {name!r}; there are {names}")
    with _damage_in_words(path):
        head, rows = _head_and_rows(path, growing=False)
    return {**head, "rows": list(rows.values())}


def _head_and_rows(path: Path, growing: bool) -> tuple[Row, dict[int, Row]]:
    """What all rows have in common, and the rows by the numbers of their lines."""
    rows = dict(read_json_lines(path, growing))
    if 1 not in rows:
        raise ValueError("line 1 is missing or cut off, which holds what all rows have in common")
    return rows.pop(1), rows


def _in_order(rows: Iterable[Row], key: Key) -> list[Row]:
    """Rows by their keys; of those with one key, which two runs have measured, the first."""
    first: dict[Any, Row] = {}
    for row in rows:
        first.setdefault(key(row), row)
    return [first[settings] for settings in sorted(first)]


@contextmanager
def _damage_in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        remedy = "install the package again" if ASSETS in path.parents else "choose another file"
        raise ValueError(
            f"{path} is not a table of measurements, or damaged ({error}); {remedy}"
        ) from error
