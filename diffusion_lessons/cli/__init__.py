"""The command ``diffusion-lessons``: train, sample, evaluate, average, ablate, lab and more."""

import argparse
import contextlib
import sys
import traceback
from collections.abc import Sequence

from .. import __version__
from ..networks.processes import processes
from . import drawing, machine, own, tables, training
from .streams import patient_streams

MISTAKES = (ValueError, TypeError, OSError, ImportError, FloatingPointError)
"""What this package raises for what it was given, in words that say what is wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status.

    0, 2 for what was given wrongly or the machine refuses, 130 for Ctrl-C, and 1 for anything else,
    which may be a mistake of this package: one line each, after the traceback if it is asked for.
    """
    with patient_streams():
        options = parser().parse_args(arguments)
        try:
            shared = processes()
            with contextlib.redirect_stdout(sys.stdout if shared.main else None):
                options.run(options)
                print(end="", flush=True)  # a full disk is told of while there is somebody to tell
            shared.leave()
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130
        except Exception as error:
            if options.traceback:
                traceback.print_exc()
            status, words = _in_one_line(error)
            print(f"diffusion-lessons: {words}", file=sys.stderr)
            return status
    return 0


def _in_one_line(error: Exception) -> tuple[int, str]:
    """An exit status, and what is wrong."""
    line = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, OSError) and error.strerror:
        line = f"{error.filename or 'the machine'}: {error.strerror}"
    if isinstance(error, MISTAKES):
        return 2, line or type(error).__name__
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return 2, f"out of memory: {line or 'take fewer, or smaller, at a time'}"
    kind = type(error).__name__
    return 1, f"unexpected {kind}: {line} (--traceback tells where; perhaps a bug: please report)"


def parser() -> argparse.ArgumentParser:
    """Each file of this folder adds its own commands."""
    whole = argparse.ArgumentParser(
        prog="diffusion-lessons", description="Train, sample and measure the course's networks."
    )
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for part in (training, drawing, own, tables, machine):
        part.add_commands(commands)
    for command in commands.choices.values():
        command.add_argument(
            "--traceback", action="store_true", help="of an error, tell where it was raised"
        )
    return whole
