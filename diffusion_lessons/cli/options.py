"""What several commands share: how options are read, and where a network is."""

import argparse
import ast
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import checks
from ..files import expanded
from ..folders import Pictures, pictures
from ..measuring.own import check_fits
from ..networks import cards
from ..networks.compute import FORMATS, Compute, fastest
from ..networks.drawing import Drawer
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


def add_data(command: argparse.ArgumentParser, words: str, required: bool = False) -> None:
    """The option that names a folder of pictures."""
    command.add_argument("--data", type=Path, metavar="FOLDER", help=words, required=required)


def pictures_for(path: Path, model: Any, folder: Path) -> Pictures:
    """The pictures that the network at ``path`` was trained on, and those held out of them.

    ValueError for one that draws no pictures, or if its card tells of other ones: then some that
    are held out now may have been trained on.
    """
    if not isinstance(model, Drawer) or len(model.shape) != 3:
        raise ValueError(f"{path} draws no pictures, so --data says nothing of it")
    data = pictures_of(folder, model.shape[-1])
    check_fits(model, data)
    trained_on = cards.read_card(path).get("data", {})
    if trained_on.get("sha256", data.about["sha256"]) != data.about["sha256"]:
        raise ValueError(
            f"{path} was trained on other pictures ({trained_on.get('folder')}: "
            f"{trained_on.get('pictures')} and {trained_on.get('held_out')} held out) than are in "
            f"{folder} now: some of those held out now may have been trained on"
        )
    return data


def pictures_of(folder: Path, size: int) -> Pictures:
    """The pictures of a folder; a line for whoever looks on of each file that is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said below, in lines
        data = processes().from_main(lambda: pictures(folder, size))
    if processes().main and sys.stderr is not None:
        for line in data.left_out_in_words():
            print(line, file=sys.stderr)
    return data
