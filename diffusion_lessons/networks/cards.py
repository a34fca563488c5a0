"""The card of a network, and the file of weights that it describes: one pair.

The card says what the network is (kind, arguments, schedule, what it predicts), how it was made
(command, seed, time, machine), what it was measured to do, and the SHA-256 of its weights, which is
checked on loading, as is the card's own checksum.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from .. import checks
from ..files import (
    ASSETS,
    aside,
    expanded,
    locked,
    outlet,
    read_bytes,
    read_json,
    read_tensors,
    tensors_checksum,
    write_json,
)

Card = dict[str, Any]
Network = TypeVar("Network", bound=nn.Module)

ENDING = ".safetensors"
"""Of the name of a network's file; its card has the same name with .json at the end."""

CHECKSUM = "checksum"
"""In the metadata of the weights, their own: so damage is told from the card of another network."""

REPLACES = "replaces"
"""In a new card, the one of the weights that it is about to replace; see `write_network`."""


class UnknownNetwork(ValueError):
    """A file that may be whole, but describes nothing that this version can make."""


def loaded(path: Path | str, make: Callable[[Card], Network]) -> Network:
    """The network at ``path``, which ``make`` makes of its card: float32, on the CPU, in eval mode.

    Raises FileNotFoundError if it is not there, another OSError, in words, if it cannot be read,
    and ValueError, naming the file, if it is damaged, or its weights are not finite.
    """
    path = network_file(path)
    content = read_bytes(path)
    try:
        tensors, words = read_tensors(content)
        if words.get(CHECKSUM) not in (None, tensors_checksum(tensors)):
            raise ValueError("its checksum is wrong")
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. {_remedy(path)}") from error
    card = read_card(path)
    if _sha256(content) != card["sha256"]:
        damaged = "" if CHECKSUM in words else "is damaged, or "  # version 0.2 did not say which
        raise ValueError(
            f"{path} {damaged}does not belong to {_card_file(path).name}: the weights are not the "
            f"ones its card describes. {_take_both(path)}"
        )
    model = _made(path, make, card)
    try:
        model.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
        )
    except RuntimeError as error:
        raise UnknownNetwork(
            f"{path} describes no network that this version can make: its weights do not fit its "
            f"card. If a newer version made it, update the package. {_take_both(path)}"
        ) from error
    checks.finite_weights(path, model.state_dict())
    return model.eval()


def _made(path: Path, make: Callable[[Card], Network], card: Card) -> Network:
    try:
        # Leave the caller's random numbers alone, and let gradients pass, wherever it is loaded.
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
            return make(card)
    except (ValueError, TypeError, KeyError) as error:
        raise UnknownNetwork(
            f"{path} describes no network that this version can make: {error}. If a newer version "
            "made it, update the package; if you changed its card, undo that"
        ) from error


def pretrained_names() -> list[str]:
    """The names `load_pretrained` knows."""
    return sorted(path.stem for path in ASSETS.glob(f"*{ENDING}"))


def pretrained_path(name: str) -> Path:
    """Where a shipped network lies. Raises ValueError for an unknown name."""
    if name not in pretrained_names():
        raise ValueError(f"no pretrained network {name!r}; there are {pretrained_names()}")
    return ASSETS / f"{name}{ENDING}"


def network_file(path: Path | str) -> Path:
    """The path of a network, ``~`` expanded. ValueError unless it ends in .safetensors."""
    path = expanded(path)
    checks.ending("a network's file", path, ENDING)
    return path


def network_outlet(path: Path | str) -> Path:
    """Where a network shall be written, tried before the work that makes it.

    Raises as `outlet`, and ValueError where another file than a card has the card's name, and for a
    link to a network whose own card would then describe weights that are gone.
    """
    path = outlet(network_file(path))
    card = outlet(_card_file(path))
    real = path.resolve()
    own = _card_file(real)
    if path.is_symlink() and own.exists() and own != card.resolve():
        raise ValueError(f"{path} is a link to {real}, which has a card of its own: save it there")
    if card.exists() and not _is_card(read_bytes(card)):
        raise ValueError(
            f"{card} is no network's card, and the card of {path} would overwrite it; choose "
            "another name"
        )
    return path


def write_network(path: Path | str, tensors: bytes, card: Card) -> None:
    """Write a network's weights (the bytes of a safetensors file) and its card, as one.

    A process killed at any moment leaves the old network or the new one: a card names what its
    weights replace until these are there. Raises as `network_outlet`.
    """
    path = network_outlet(path)
    card = {**card, "sha256": _sha256(tensors)}
    with locked(path):
        with aside(path) as unfinished:
            unfinished.write_bytes(tensors)
            old = _whole_card(path)
            _write_card(path, card if old is None else {**card, REPLACES: old})
        if old is not None:
            with suppress(OSError):  # the longer card will do
                _write_card(path, card)


def read_card(path: Path | str) -> Card:
    """The card of the network at ``path``. Raises as `loaded`."""
    path = network_file(path)
    place = _card_file(path)
    try:
        content = read_json(place)
    except FileNotFoundError as error:
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there") from error
        raise FileNotFoundError(
            f"{place} is not there, the card of {path.name}: a network is both files. "
            f"{_take_both(path)}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{place} is damaged: {error}. {_remedy(place)}") from error
    if _KEYS - content.keys():
        raise ValueError(
            f"{place} is not the card of a network, but another JSON file, or damaged. "
            f"{_take_both(path)}"
        )
    measured = content.get("measured", [])
    if not isinstance(measured, list) or not all(isinstance(m, dict) for m in measured):
        raise ValueError(
            f"{place} is damaged: what was measured is no list of results. {_remedy(place)}"
        )
    old = content.pop(REPLACES, None)
    if old is not None and path.exists() and _sha256(read_bytes(path)) == old["sha256"]:
        return old  # its writer was killed before it came to the weights
    return content


def add_measured(path: Path | str, sha256: str, result: dict[str, Any]) -> None:
    """Add a result to the card, in place of an older one of the same command.

    ``sha256`` is of the weights that were measured: ValueError if the card is now of other ones.
    """
    with locked(network_file(path)):
        card = read_card(path)
        if card["sha256"] != sha256:
            raise ValueError(f"{path} was replaced while it was measured; its card stays as it is")
        others = [m for m in card.get("measured", []) if m.get("command") != result["command"]]
        _write_card(path, card | {"measured": [*others, result]})


def write_card(path: Path | str, card: Card) -> None:
    """Write the card of the network at ``path``. Raises as `network_outlet`."""
    path = network_outlet(path)
    with locked(path):
        _write_card(path, card)


_KEYS = {"network", "config", "sha256"}


def _write_card(path: Path | str, card: Card) -> None:
    write_json(_card_file(network_file(path)), card, indent=2)


def _card_file(path: Path) -> Path:
    return path.with_suffix(".json")


def _is_card(content: bytes) -> bool:
    """Whether this is a card, perhaps one that was changed by hand."""
    try:
        card = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(card, dict) and card.keys() >= _KEYS


def _whole_card(path: Path) -> Card | None:
    """The card of the network that is at ``path``, if there is one and they belong together."""
    try:
        card = read_card(path)
        return card if _sha256(read_bytes(path)) == card["sha256"] else None
    except (ValueError, OSError):
        return None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def machine() -> dict[str, Any]:
    """What a measurement should say of where it was made."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def processor() -> str:
    """The processor's name, and the instructions that torch uses of it."""
    capability = torch.backends.cpu.get_cpu_capability()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {capability}"
    except OSError:
        pass
    return f"{platform.processor() or platform.machine()}, {capability}"


def _remedy(path: Path) -> str:
    if path.parent == ASSETS:
        return "Install the package again"
    return "Delete it and train again, or take it from a backup"


def _take_both(path: Path) -> str:
    if path.parent == ASSETS:
        return "Install the package again"
    return "Take both files from where they were made, or from a backup, or train again"
