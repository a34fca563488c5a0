"""The command ``diffusion-lessons``: train, sample, evaluate, average, ablate, lab and more."""

import argparse
import contextlib
import sys
from collections.abc import Sequence

from .. import __version__
from ..networks.processes import processes
from . import drawing, machine, tables, training


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        shared = processes()
        with contextlib.redirect_stdout(sys.stdout if shared.main else None):
            options.run(options)
        shared.leave()
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        print(f"diffusion-lessons: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """Each file of this folder adds its own commands."""
    whole = argparse.ArgumentParser(
        prog="diffusion-lessons", description="Train, sample and measure the course's networks."
    )
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for part in (training, drawing, tables, machine):
        part.add_commands(commands)
    return whole
