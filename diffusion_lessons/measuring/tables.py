"""Tables of measurements: JSON files that grow row by row, and go on where a run was cut off."""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from ..files import ASSETS, read_json, write_json
from ..networks.processes import processes

Row = dict[str, Any]


class Table:
    """The rows measured so far, in the file ``path``, which is written after every new one.

    ``head`` is what all rows have in common, say the network's checksum; ``key`` tells from a row
    what was measured, so that nothing is measured twice; rows are kept in its order. Raises
    ValueError if there is a file that holds no such rows, or rows with another head. Of several
    `processes` the main one reads and writes, and all hold the same rows.
    """

    def __init__(
        self, path: Path | str, head: dict[str, Any], key: Callable[[Row], Hashable]
    ) -> None:
        self.path, self.key = Path(path), key
        new: dict[str, Any] = {**head, "rows": []}
        self.content = processes().from_main(
            lambda: _read(self.path, key) if self.path.exists() else new
        )
        for name, wanted in head.items():
            if self.content.get(name) != wanted:
                raise ValueError(
                    f"{path} was measured with {name} {self.content.get(name)!r}, "
                    f"not {wanted!r}; choose another file"
                )

    @property
    def rows(self) -> list[Row]:
        rows: list[Row] = self.content["rows"]
        return rows

    def __contains__(self, settings: Hashable) -> bool:
        return any(self.key(row) == settings for row in self.rows)

    def add(self, row: Row) -> None:
        """Take a row in, and write the file."""
        self.content["rows"] = sorted([*self.rows, row], key=self.key)  # type: ignore[arg-type]
        if processes().main:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self.content, indent=1)


def shipped_table(name: str) -> dict[str, Any]:
    """A table measured by the course's authors, such as "speed-quality"; its ``rows`` are dicts.

    Raises ValueError for a name that does not exist.
    """
    folder = ASSETS / "tables"
    path = folder / f"{name}.json"
    if not path.exists():
        names = sorted(file.stem for file in folder.glob("*.json"))
        raise ValueError(f"no table {name!r}; there are {names}")
    return _read(path, len)


def _read(path: Path, key: Callable[[Row], Any]) -> dict[str, Any]:
    try:
        table = read_json(path)
        sorted(table["rows"], key=key)  # rows whose keys do not compare are no rows of this table
        if not all(isinstance(row, dict) for row in table["rows"]):
            raise ValueError("rows must be objects")
    except (ValueError, KeyError, TypeError) as error:
        remedy = "install the package again" if ASSETS in path.parents else "choose another file"
        raise ValueError(
            f"{path} is not a table of measurements, or damaged ({error}); {remedy}"
        ) from error
    return table
