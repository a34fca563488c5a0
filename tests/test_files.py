"""Files: a place is tried before the work, what is written is whole, and causes are told apart."""

import errno
import multiprocessing
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from diffusion_lessons import files
from diffusion_lessons.files import (
    append_json_line,
    aside,
    cache_folder,
    claimed,
    create_json_lines,
    expanded,
    growing_outlet,
    locked,
    outlet,
    read_bytes,
    read_json,
    read_metadata,
    read_tensors,
    tensors_checksum,
    write_json,
)

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.unix  # rights, links, and locks that no file holds open


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path | str, text: str = "new") -> None:
    with aside(path) as unfinished:
        unfinished.write_text(text)


# ------------------------------------------------------------------ places


def test_the_home_folder_is_understood_wherever_a_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert outlet("~/a/n.txt") == tmp_path / "a" / "n.txt"
    write("~/a/n.txt")
    assert read_bytes("~/a/n.txt") == b"new"
    write_json("~/n.json", {"a": 1}, 1)
    assert read_json("~/n.json") == {"a": 1}
    create_json_lines("~/n.jsonl", [{"a": 1}])
    append_json_line("~/n.jsonl", {"a": 2})
    assert (tmp_path / "n.jsonl").read_text().count("\n") == 2
    assert not (tmp_path / "~").exists()
    assert expanded("a~b") == Path("a~b")


def test_without_a_home_a_tilde_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # a user whom the machine does not know
    with pytest.raises(ValueError, match="there is no home folder that ~ could stand for"):
        expanded("~/runs")


def test_the_cache_folder_is_the_users_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == Path(os.environ["DIFFUSION_LESSONS_CACHE"])  # that of all tests
    monkeypatch.setenv("DIFFUSION_LESSONS_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("DIFFUSION_LESSONS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "diffusion-lessons"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "diffusion-lessons"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # a user whom the machine does not know
    assert cache_folder() is None


def test_an_outlet_makes_folders_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "t.txt"
    assert outlet(str(path)) == path
    assert list(path.parent.iterdir()) == []
    path.write_text("old")
    before = path.stat()
    assert outlet(path) == growing_outlet(path) == path
    assert path.stat() == before
    assert [file.name for file in path.parent.iterdir()] == ["t.txt"]


def folder_in_the_way(path: Path) -> None:
    path.mkdir()


def file_for_a_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


def protected(path: Path) -> None:
    path.write_text("old")
    path.chmod(0o440)


def endless_link(path: Path) -> None:
    path.symlink_to(path)


def pipe(path: Path) -> None:
    """Renamed onto, it would be gone, as /dev/null would be if root writes there."""
    os.mkfifo(path)


REFUSED: list[tuple[Callable[[Path], None], type[OSError], str]] = [
    (folder_in_the_way, IsADirectoryError, "it is a folder.*Name a file, not a folder"),
    (file_for_a_folder, OSError, "A part of its path is a file, not a folder"),
    (protected, PermissionError, "it is write-protected.*Change the rights"),
    (endless_link, OSError, "it is a link that leads nowhere"),
    (pipe, OSError, "it is no ordinary file"),
]


@pytest.mark.parametrize("attempt", [outlet, growing_outlet, write])
@pytest.mark.parametrize(("prepare", "kind", "words"), REFUSED, ids=lambda value: str(value)[:20])
def test_where_nothing_can_be_written_the_cause_is_named(
    attempt: Callable[[Path], Any],
    prepare: Callable[[Path], None],
    kind: type[OSError],
    words: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "folder" / "t.txt"
    path.parent.mkdir()
    prepare(path)
    with pytest.raises(kind, match=rf"t\.txt could not be written \(.*{words}") as caught:
        attempt(path)
    assert "Errno" not in str(caught.value)
    assert "delete" not in str(caught.value).lower()
    if prepare is protected:
        assert path.read_text() == "old"
    if prepare is pipe:
        assert path.is_fifo()


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Make room on the disk"),
        (errno.EDQUOT, "Make room on the disk"),
        (errno.EROFS, "Choose a place on a disk that can be written"),
        (errno.EACCES, "Change the rights"),
        (errno.EMFILE, "Close some files"),
        (errno.EIO, "Choose another place"),
    ],
)
def test_each_cause_has_its_own_advice_and_the_old_file_stays(
    number: int, advice: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.txt"
    path.write_text("old")

    def fail() -> None:
        with aside(path) as unfinished:
            unfinished.write_text("half")
            raise OSError(number, os.strerror(number))

    with pytest.raises(OSError, match=rf"\({os.strerror(number)}\)\. {advice}") as caught:
        fail()
    others = {"room", "rights", "Close"} - set(advice.split())
    assert not any(word in str(caught.value) for word in others)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["t.txt"]


def test_what_is_not_the_disks_fault_is_not_blamed_on_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), aside(tmp_path / "t.txt"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_reading_tells_missing_from_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"t\.txt is not there$"):
        read_bytes(tmp_path / "t.txt")
    with pytest.raises(IsADirectoryError, match="Name a file, not a folder"):
        read_bytes(tmp_path)


# ------------------------------------------------------------------ modes and links


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_a_new_file_has_the_mode_of_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write(tmp_path / "t.txt")
    finally:
        os.umask(before)
    assert mode(tmp_path / "t.txt") == 0o666 & ~umask


@given(st.integers(0, 0o777))
def test_a_file_that_is_replaced_keeps_its_mode_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, wanted: int
) -> None:
    path = tmp_path_factory.mktemp("modes") / "t.txt"
    path.write_text("old")
    path.chmod(wanted)
    try:
        write(path)
    except PermissionError:
        assert not wanted & 0o200 or os.geteuid() != 0
        assert not wanted & 0o222 or os.geteuid() != 0
        expected = "old"
    else:
        assert wanted & 0o222
        expected = "new"
    assert mode(path) == wanted
    path.chmod(0o600)
    assert path.read_text() == expected


def test_the_owner_of_a_replaced_file_stays_its_owner(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    write(tmp_path / "t.txt")
    os.chown(tmp_path / "t.txt", 12345, 23456)
    write(tmp_path / "t.txt")
    status = (tmp_path / "t.txt").stat()
    assert (status.st_uid, status.st_gid) == (12345, 23456)


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("make", [write, lambda path: create_json_lines(path, [{"a": 1}])])
def test_a_link_is_followed(make: Callable[[Path], Any], exists: bool, tmp_path: Path) -> None:
    real, link = tmp_path / "disk" / "real.txt", tmp_path / "link.txt"
    real.parent.mkdir()
    link.symlink_to(real)
    if exists and make is write:
        real.write_text("old")
    make(link)
    assert link.is_symlink()
    assert real.read_text() != "old"
    assert [file.name for file in real.parent.iterdir()] == ["real.txt"]


# ------------------------------------------------------------------ tensors


def test_metadata_is_read_with_the_tensors_or_alone(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(3, dtype=torch.int8)}
    content = save(tensors, metadata={"who": "x"})
    (tmp_path / "t").write_bytes(content)
    found, words = read_tensors(content)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert words == read_metadata(tmp_path / "t") == {"who": "x"}
    assert read_tensors(save(tensors))[1] == {}
    assert tensors_checksum(found) == tensors_checksum(tensors)
    assert tensors_checksum(found | {"b": torch.tensor(3)}) != tensors_checksum(tensors)
    assert tensors_checksum(found, {"step": 1}) != tensors_checksum(found, {"step": 2})


@given(st.binary(max_size=64))
def test_other_bytes_are_no_tensors(content: bytes) -> None:
    with pytest.raises(ValueError, match="no whole safetensors file"):
        read_tensors(content)


# ------------------------------------------------------------------ one at a time


def count_up(path: Path, times: int) -> None:
    for _ in range(times):
        with locked(path):
            number = int(path.read_text())
            write(path, str(number + 1))


def test_two_processes_and_two_threads_lose_no_count(tmp_path: Path) -> None:
    path, times = tmp_path / "count.txt", 50
    path.write_text("0")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["diffusion_lessons.files"])
    workers: list[Any] = [context.Process(target=count_up, args=(path, times)) for _ in "ab"]
    workers += [threading.Thread(target=count_up, args=(path, times)) for _ in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert path.read_text() == str(4 * times)
    assert [file.name for file in tmp_path.iterdir()] == ["count.txt"]


CLAIM = """
import sys
from diffusion_lessons.files import claimed
with claimed(sys.argv[1]):
    print("mine", flush=True)
    sys.stdin.readline()
"""


def claim(path: Path) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, "-c", CLAIM, str(path)], subprocess.PIPE
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=env, text=True, stdin=pipe, stdout=pipe, stderr=pipe)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [True, False])
def test_what_a_process_claims_is_free_when_it_ends_or_is_killed(
    killed: bool, tmp_path: Path
) -> None:
    path = tmp_path / "t.txt"
    other = claim(path)
    assert other.stdout is not None
    assert other.stdout.readline() == "mine\n"
    words = r"t\.txt is being written by another process"
    with pytest.raises(BlockingIOError, match=words), claimed(path):
        pass
    if killed:
        other.kill()
        other.communicate()
    else:
        other.communicate("go\n")
    with claimed(path), claimed(path):  # of one process, several may
        assert (tmp_path / "t.txt.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_where_no_lock_can_be_made_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    create_json_lines(tmp_path / "t.jsonl", [{"a": 1}])
    append_json_line(tmp_path / "t.jsonl", {"a": 2})
    with locked(tmp_path / "t.txt"), claimed(tmp_path / "missing" / "t.txt"):
        write(tmp_path / "t.txt")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.jsonl", "t.txt"]


def test_an_interrupted_wait_leaves_nothing_open(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "t.txt"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "t.txt"):
        pass
