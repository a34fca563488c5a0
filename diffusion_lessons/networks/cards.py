"""The card of a network, and the file of weights that it describes.

The card says what the network is (kind, arguments, schedule, what it predicts), how it was made
(command, seed, time, machine), what it was measured to do, and the SHA-256 of its weights, which is
checked on loading, as is the card's own checksum.
"""

import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load as load_tensors
from torch import nn

from ..files import ASSETS, read_json, write_json

Card = dict[str, Any]
Network = TypeVar("Network", bound=nn.Module)


class UnknownNetwork(ValueError):
    """A file that may be whole, but describes nothing that this version can make."""


def loaded(path: Path | str, make: Callable[[Card], Network]) -> Network:
    """The network at ``path``, which ``make`` makes of its card: float32, on the CPU, in eval mode.

    Raises FileNotFoundError if it is not there and ValueError, naming the file, if it is damaged.
    """
    path = Path(path)
    card = read_card(path)
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != card["sha256"]:
            raise ValueError("its weights are not the ones its card describes")
        tensors = load_tensors(content)
        model = _made(path, make, card)
        model.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
        )
    except (FileNotFoundError, UnknownNetwork):
        raise
    except Exception as error:
        raise ValueError(f"{path} is damaged: {error}. {_remedy(path)}") from error
    return model.eval()


def _made(path: Path, make: Callable[[Card], Network], card: Card) -> Network:
    try:
        with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
            return make(card)
    except (ValueError, TypeError, KeyError) as error:
        raise UnknownNetwork(
            f"{path} describes no network that this version can make: {error}. If a newer version "
            "made it, update the package; if you changed its card, undo that"
        ) from error


def pretrained_names() -> list[str]:
    """The names `load_pretrained` knows."""
    return sorted(path.stem for path in ASSETS.glob("*.safetensors"))


def pretrained_path(name: str) -> Path:
    """Where a shipped network lies. Raises ValueError for an unknown name."""
    if name not in pretrained_names():
        raise ValueError(f"no pretrained network {name!r}; there are {pretrained_names()}")
    return ASSETS / f"{name}.safetensors"


def read_card(path: Path | str) -> dict[str, Any]:
    """The card of the network at ``path``. Raises as `load` does."""
    card = Path(path).with_suffix(".json")
    try:
        content = read_json(card)
        if not {"network", "config", "sha256"} <= content.keys():
            raise ValueError("it is not the card of a network")
        measured = content.get("measured", [])
        if not isinstance(measured, list) or not all(isinstance(m, dict) for m in measured):
            raise ValueError("what was measured is no list of results")
    except ValueError as error:
        raise ValueError(f"{card} is damaged: {error}. {_remedy(card)}") from error
    return content


def write_card(path: Path | str, card: dict[str, Any]) -> None:
    """Write the card of the network at ``path``."""
    write_json(Path(path).with_suffix(".json"), card, indent=2)


def machine() -> dict[str, Any]:
    """What a measurement should say of where it was made."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
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
