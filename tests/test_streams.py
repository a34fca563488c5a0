"""What a command says must not end it: closed streams, broken pipes, ASCII, a full disk."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffusion_lessons.cli.streams import Patient, patient_streams
from diffusion_lessons.networks import checkpoints

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "diffusion_lessons"]
ENV = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
pytestmark = pytest.mark.unix  # bash closes the streams

TRAIN = ["train", "moons-ddpm", "--steps", "2", "--out"]


def shell(line: str, *arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A line for bash, in which ``"$@"`` is the command with its arguments."""
    command = ["bash", "-c", line, "bash", *COMMAND, *arguments]
    return subprocess.run(
        command, cwd=cwd, env=ENV | env, capture_output=True, text=True, timeout=240
    )


def test_what_a_stream_cannot_encode_is_said_in_its_letters() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    print("r\u00fcns \u2588 ab", file=Patient(stream))
    assert stream.buffer.getvalue() == b"r\\xfcns \\u2588 ab\n"
    assert Patient(stream).encoding == "ascii"  # all else is the stream's own


def test_a_pipe_that_nobody_reads_is_written_into_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        patient = Patient(stream)
        for _ in range(3):
            print("x" * 100_000, file=patient, flush=True)


def test_closed_streams_take_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    with patient_streams():
        print("nobody", file=sys.stderr)
        print("hears", flush=True)
    assert sys.stderr is None


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_training_needs_no_streams(closed: str, tmp_path: Path) -> None:
    done = shell(f'"$@" {closed}', *TRAIN, "runs", cwd=tmp_path)
    assert done.returncode == 0
    checkpoints.load(tmp_path / "runs" / "moons-ddpm.safetensors")


@pytest.mark.slow
def test_a_reader_who_leaves_early_stops_nothing(tmp_path: Path) -> None:
    line = 'set -o pipefail; "$@" 2>&1 | head -c 1 > /dev/null'
    done = shell(line, *TRAIN, "runs", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    checkpoints.load(tmp_path / "runs" / "moons-ddpm.safetensors")


@pytest.mark.slow
def test_an_ascii_terminal_hears_of_a_folder_with_an_umlaut(tmp_path: Path) -> None:
    done = shell('"$@"', *TRAIN, "r\u00fcns", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "r\\xfcns" in done.stdout


@pytest.mark.slow
def test_output_that_a_full_disk_does_not_take_is_told_in_one_line(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    measured = ["evaluate", "moons-ddpm", "--samples", "20", "--steps", "1"]
    done = shell('"$@" > /dev/full', *measured, cwd=tmp_path)
    assert done.returncode == 2
    words = "diffusion-lessons: the output could not be written (No space left on device)"
    assert done.stderr.splitlines() == [words]
