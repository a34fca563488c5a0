"""What several commands share: how options are read, and where a network is."""

import argparse
import ast
from pathlib import Path
from typing import Any

from .. import checks
from ..files import expanded
from ..networks import cards

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
    kept = ("command", "steps", "seconds", "sha256", "averaged", "start")
    return {key: card[key] for key in kept if key in card}
