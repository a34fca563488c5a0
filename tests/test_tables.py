"""Tables of measurements: rows are appended, and survive kills, damage and company."""

import errno
import json
import multiprocessing
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusion_lessons import files
from diffusion_lessons.files import (
    CUT_OFF,
    STALE,
    append_json_line,
    create_json_lines,
    read_json_lines,
    write_json,
)
from diffusion_lessons.measuring import tables
from diffusion_lessons.measuring.tables import Row, Table, shipped_table

HEAD = {"seed": 0, "network": {"sha256": "ab\u00fc"}}
ROWS = [{"steps": steps, "eta": 0.5, "floor": {"recall": steps / 7}} for steps in (3, 1, 2)]
IN_ORDER = [ROWS[1], ROWS[2], ROWS[0]]


def table(path: Path, head: dict[str, Any] = HEAD) -> Table:
    return Table(path, head, lambda row: row["steps"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table of three rows."""
    measured = tmp_path / "measured.jsonl"
    for row in ROWS:
        table(measured).add(row)
    return measured


# ------------------------------------------------------------------ what is in the file


def test_a_table_is_a_line_for_the_head_and_one_for_each_row(path: Path) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line, content in zip(lines, [HEAD, *ROWS], strict=True):
        assert line.pop("checksum") == files.checksum(content)
        assert line == content


def test_a_new_row_leaves_the_file_as_it_is_and_adds_a_line(path: Path) -> None:
    before, number = path.read_bytes(), path.stat().st_ino
    table(path).add({"steps": 0})
    after = path.read_bytes()
    assert path.stat().st_ino == number
    assert after.startswith(before)
    assert after.count(b"\n") == before.count(b"\n") + 1


@given(
    st.lists(
        st.fixed_dictionaries(
            {"steps": st.integers(-5, 5)}, optional={"name": st.text(), "x": st.floats(0, 1)}
        ),
        max_size=8,
    )
)
def test_rows_are_in_order_and_of_two_alike_the_first_is_kept(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    path = tmp_path_factory.mktemp("tables") / "t.jsonl"
    measured = table(path)
    first: dict[int, Row] = {}
    for row in rows:
        assert (row["steps"] in measured) == (row["steps"] in first)
        measured.add(row)
        first.setdefault(row["steps"], row)
    expected = [first[steps] for steps in sorted(first)]
    assert measured.rows == expected
    assert table(path).rows == expected
    assert path.exists() == bool(rows)


def test_the_head_is_compared_as_it_is_read(tmp_path: Path) -> None:
    """A tuple becomes a list in JSON."""
    measured = table(tmp_path / "t.jsonl", {"levels": (14, 7)})
    for row in ROWS:
        measured.add(row)
    assert table(tmp_path / "t.jsonl", {"levels": (14, 7)}).rows == IN_ORDER


@pytest.mark.unix
def test_files_are_made_as_the_umask_says_in_folders_that_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "t.jsonl"
    before = os.umask(0o027)
    try:
        table(path).add(ROWS[0])
        table(path).add(ROWS[1])
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in path.parent.iterdir()] == ["t.jsonl"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_table_of_the_old_form_is_refused_in_words(exists: bool, tmp_path: Path) -> None:
    path = tmp_path / "ablation.json"
    if exists:
        write_json(path, {**HEAD, "rows": ROWS}, indent=1)
    words = r"ablation\.json is the name of one JSON object.*another file, say .*ablation\.jsonl$"
    with pytest.raises(ValueError, match=words):
        table(path)
    write_json(path.with_suffix(".jsonl"), {**HEAD, "rows": ROWS}, indent=1)
    with pytest.raises(ValueError, match=r"not a table.*line 1: .*choose another file"):
        table(path.with_suffix(".jsonl"))


def test_a_file_that_cannot_be_begun_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"t\.jsonl could not be written .*is a file, not a folder"):
        table(tmp_path / "file" / "t.jsonl")
    with pytest.raises(ValueError, match=r"the name of a table must end in \.jsonl"):
        table(tmp_path / "file")
    folder = tmp_path / "t.jsonl"
    folder.mkdir()
    with pytest.raises(IsADirectoryError, match="Name a file, not a folder"):
        table(folder)


# ------------------------------------------------------------------ cut off, and damaged


@pytest.mark.parametrize("rest", [b"", bytes(100)], ids=["", "zeros of a lost block"])
def test_cut_anywhere_in_its_last_line_a_table_goes_on(rest: bytes, path: Path) -> None:
    content = path.read_bytes()
    last = content[:-1].rindex(b"\n") + 1
    for end in range(last, len(content)):
        path.write_bytes(content[:end] + rest)
        measured = table(path)
        assert measured.rows == [ROWS[1], ROWS[0]], end
        measured.add(ROWS[2])  # measured anew
        assert measured.rows == table(path).rows == IN_ORDER
        table(path).add({"steps": 4})
        assert table(path).rows == [*IN_ORDER, {"steps": 4}]
        assert path.read_bytes().startswith(content[:end])  # nothing is taken away
        assert path.read_bytes().endswith(b"}\n")


def test_cut_twice_in_one_place_a_table_goes_on(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b'{"steps": 9, "et' + CUT_OFF[:4])
    table(path).add({"steps": 4})
    assert table(path).rows == [*IN_ORDER, {"steps": 4}]


def test_a_line_that_another_finished_just_before_it_was_marked_is_kept(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(CUT_OFF + b"\n")
    assert table(path).rows == IN_ORDER


def cut_off_in_the_middle(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b'{"steps": 9, "eta": {"a": ')
    table(path).add({"steps": 4})


@pytest.mark.slow
@pytest.mark.parametrize("prepare", [lambda path: None, cut_off_in_the_middle])
def test_any_flipped_bit_is_refused_or_changes_nothing(
    prepare: Callable[[Path], None], path: Path
) -> None:
    prepare(path)
    content, rows = path.read_bytes(), table(path).rows
    words = re.escape(str(path)) + r".*(line \d+|was measured with).*choose another file"
    refusals, unchanged = set(), 0
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            measured = table(path)
        except ValueError as error:
            refusals.add(str(error))
        else:
            assert (measured.head, measured.rows) == (HEAD, rows), bit
            unchanged += 1
    assert unchanged < 8 * len(content) // 10
    assert all(re.search(words, refusal) for refusal in refusals)


@pytest.mark.parametrize(
    ("number", "line", "words"),
    [
        (1, b"", "line 1: Expecting value"),
        (2, b"[3]", "line 2: it holds no JSON object"),
        (3, b"[" * 100_000, "line 3: it is nested too deeply"),
        (4, b'{"steps": 2}', "line 4: its checksum is wrong"),
        (4, files._line({"eta": 2})[:-1], r"line 4 is no row of this table: KeyError\('steps'\)"),
        (4, files._line({"steps": "2"})[:-1], "not supported between"),
        (1, CUT_OFF, "line 1 is missing or cut off"),
    ],
)
def test_damage_is_named_with_its_line(number: int, line: bytes, words: str, path: Path) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[number - 1] = line
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(
        ValueError, match=rf"measured\.jsonl is not a table.*{words}.*choose another file"
    ):
        table(path)


def test_a_shipped_table_does_not_grow(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = path.parent / "tables"
    folder.mkdir()
    shipped = folder / "measured.jsonl"
    content = path.read_bytes()
    monkeypatch.setattr(tables, "ASSETS", path.parent)
    shipped.write_bytes(content)
    assert shipped_table("measured") == {**HEAD, "rows": ROWS}
    last = content[:-1].rindex(b"\n") + 1
    for end in range(last + 1, len(content)):
        shipped.write_bytes(content[:end])
        words = r"measured\.jsonl.*line 4: it does not end.*install the package again"
        with pytest.raises(ValueError, match=words):
            shipped_table("measured")


# ------------------------------------------------------------------ several runs, one table

EACH, BEGUN = 50, 20


def fill(folder: Path, who: int, barrier: Any) -> None:
    """Begin some tables at the same moment as another process; then 50 long rows to one."""
    for number in range(BEGUN):
        measured = Table(folder / f"{number}.jsonl", HEAD, lambda row: row["steps"])
        barrier.wait(60)
        measured.add({"steps": who})
        measured.add({"steps": 9, "who": who})  # measured by both
    measured = Table(folder / "long.jsonl", HEAD, lambda row: row["steps"])
    barrier.wait(60)
    for i in range(EACH):
        measured.add({"steps": 2 * i + who, "pictures": f"{i}" * 10_000})


def test_two_processes_that_fill_one_table_lose_and_mix_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["diffusion_lessons.measuring.tables"])
    barrier = context.Barrier(2)
    both = [context.Process(target=fill, args=(tmp_path, who, barrier)) for who in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
        assert process.exitcode == 0
    for number in range(BEGUN):
        begun = tmp_path / f"{number}.jsonl"
        lines = dict(read_json_lines(begun))
        assert lines[1] == HEAD
        assert sorted(row["steps"] for row in list(lines.values())[1:]) == [0, 1, 9, 9]
        (first, _) = (row for row in lines.values() if row.get("steps") == 9)
        assert table(begun).rows == [{"steps": 0}, {"steps": 1}, first]
    rows = table(tmp_path / "long.jsonl").rows
    assert [row["steps"] for row in rows] == list(range(2 * EACH))
    assert all(row["pictures"] == f"{i // 2}" * 10_000 for i, row in enumerate(rows))
    assert {file.suffix for file in tmp_path.iterdir()} == {".jsonl"}


def test_two_tables_of_one_file_see_all_rows_when_it_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    one, other = table(path), table(path)
    one.add(ROWS[0])
    other.add(ROWS[1])
    one.add({**ROWS[1], "eta": 1.0})  # measured by both
    one.add(ROWS[2])
    assert table(path).rows == IN_ORDER


def test_a_run_with_another_head_cannot_fill_a_table_that_was_begun_meanwhile(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.jsonl"
    one, other = table(path), table(path, {"seed": 1})
    one.add(ROWS[0])
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"was measured with seed 0, not 1; choose another file"):
        other.add(ROWS[1])
    assert path.read_bytes() == before
    assert other.rows == []


def test_a_table_that_was_deleted_meanwhile_is_written_again(path: Path) -> None:
    measured = table(path)
    path.unlink()
    measured.add({"steps": 4})
    assert table(path).rows == [*IN_ORDER, {"steps": 4}]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_begun_once(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, path: Path) -> None:
        raise OSError(errno.ENOTSUP, "the disk has no hard links")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "t.jsonl"
    assert create_json_lines(path, [HEAD])
    assert not create_json_lines(path, [{"seed": 1}])
    append_json_line(path, ROWS[0])
    assert dict(read_json_lines(path)) == {1: HEAD, 2: ROWS[0]}
    assert [file.name for file in tmp_path.iterdir()] == ["t.jsonl"]


def test_a_process_killed_while_it_began_a_file_leaves_one_that_is_whole(path: Path) -> None:
    """It had given the file its name, and the name aside was still there: both are one file."""
    content = path.read_bytes()
    left = path.with_name(f"{path.name}.{os.getpid()}.part")
    os.link(path, left)
    assert not create_json_lines(path, [{"seed": 1}])  # with the number of the killed one
    assert path.read_bytes() == content
    old = path.with_name(f"{path.name}.1.part")
    os.link(path, old)
    os.utime(old, times=(time.time() - STALE - 60,) * 2)
    assert not create_json_lines(path, [{"seed": 1}])
    assert not old.exists()
    assert path.read_bytes() == content
