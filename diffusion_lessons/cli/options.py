"""What several commands share: how options are read, and where a network is."""

import argparse
import ast
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import checks
from ..files import expanded
from ..networks import cards
from ..networks.compute import FORMATS, Compute, fastest
from ..networks.processes import processes

NETWORK = "a pretrained network's name, or a .safetensors file"

Commands = Any
"""What argparse's ``add_subparsers`` gives"""


def positive(text: str) -> int:
    """An integer from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def port(text: str) -> int:
    """A number that a port can have."""
    number = int(text)
    if not 1 <= number <= 65_535:
        raise argparse.ArgumentTypeError(f"must lie in 1..65535, got {number}")
    return number


def setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as Python writes it."""
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}") from error


def add_compute(command: argparse.ArgumentParser) -> None:
    """The two options that say how networks run."""
    command.add_argument(
        "--format", choices=list(FORMATS), help="number format (default: chosen once a machine)"
    )
    command.add_argument("--threads", type=positive, help="of the processor (default: likewise)")


def compute_of(options: argparse.Namespace, usual: Compute | None = None) -> Compute:
    """How networks run: as asked, and for the rest as usual or as chosen for this machine."""
    compute = usual or fastest()
    if options.format is not None:
        compute = replace(compute, dtype=FORMATS[options.format])
    return compute if options.threads is None else replace(compute, threads=options.threads)


def compute_words(options: argparse.Namespace) -> list[str]:
    """The same as the command takes it."""
    given = {"--format": options.format, "--threads": options.threads}
    return [
        word for name, value in given.items() if value is not None for word in (name, str(value))
    ]


def tell(compute: Compute) -> None:
    """One line for whoever looks on; what is drawn or measured has standard output for itself."""
    if processes().main and sys.stderr is not None:
        print(f"computing in {compute.in_words()}", file=sys.stderr)


def network_path(network: str) -> Path:
    """The file of a network that is named, or given by its path."""
    if network in cards.pretrained_names():
        return cards.pretrained_path(network)
    path = expanded(network)
    if path.suffix == cards.ENDING:
        return path
    if path.exists():
        checks.ending("a network's file", path, cards.ENDING)
    return cards.pretrained_path(network)


def origin(card: dict[str, Any]) -> dict[str, Any]:
    """What a network's card tells of how it was made."""
    kept = ("command", "history", "steps", "seconds", "sha256", "averaged", "start")
    return {key: card[key] for key in kept if key in card}
