"""Training states: everything that a run needs to go on, in one file that is whole or not there."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..files import aside
from ..math.prediction import NOISE
from ..math.schedule import linear_schedule
from ..networks.checkpoints import KINDS, made_of
from ..networks.gan import Gan
from .average import EMA
from .optimizers import Optimizers


def save_state(
    path: Path | str,
    model: nn.Module,
    average: EMA,
    optimizers: Optimizers,
    metadata: dict[str, Any],
) -> None:
    parts = {"model": model.state_dict(), "ema": average.model.state_dict()}
    parts["optimizer"] = optimizers.tensors()
    tensors = {
        f"{part}/{key}": value.detach().contiguous().cpu().clone()
        for part, state in parts.items()
        for key, value in state.items()
    }
    metadata = metadata | {"sha256": _digest(tensors, metadata)}
    # A run killed here leaves the last whole file in its place.
    with aside(path) as unfinished:
        save_file(tensors, unfinished, metadata={"training": json.dumps(metadata)})


def _digest(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> str:
    rest = {key: value for key, value in metadata.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        x = tensors[name]
        digest.update(f"{name} {x.dtype} {list(x.shape)}".encode())
        digest.update(x.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_state(path: Path | str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a training state tells of itself (step, seconds, loss, network, ...), and its tensors.

    FileNotFoundError if it is not there, ValueError if it is damaged.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} is not there")
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, Any] = json.loads(file.metadata()["training"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["sha256"] != _digest(tensors, metadata):
            raise ValueError("the checksum is wrong")
    except Exception as error:
        raise ValueError(
            f"{path} is not a whole training state; delete it to start the training anew"
        ) from error
    return metadata, tensors


def identity_of(
    model: nn.Module, optimizers: Optimizers, batches: object, seed: int
) -> dict[str, Any]:
    """What a run must share with the state that it goes on from.

    Of a network that knows it: its schedule and what it predicts, too; of `shuffled` batches their
    size and how many rows of data there are.
    """
    about = known_of(model)
    config = json.dumps(about.get("config", {}))
    return {
        "network": f"{about['network']} {config}",
        **{name: about[name] for name in ("predicts", "schedule") if name in about},
        "optimizers": [type(optimizer).__name__ for optimizer in optimizers.optimizers],
        "batches": getattr(batches, "about", {}),
        "seed": seed,
    }


IN_WORDS = {
    "predicts": "prediction",
    "optimizers": "choice of optimisers",
    "batches": "choice of batches",
}


def known_of(model: nn.Module) -> dict[str, Any]:
    """What a card would say of it; of a network that no card knows, at least its class.

    Schedule and prediction are told of any model that has them.
    """
    if hasattr(model, "about"):
        about: dict[str, Any] = model.about  # type: ignore[assignment]
        return about
    about = {"network": type(model).__name__, "config": getattr(model, "config", {})}
    return about


def check_same_run(saved: dict[str, Any], wanted: dict[str, Any], path: Path | str) -> None:
    """ValueError, naming what differs, unless the state is of the run that is wanted.

    A state of version 0.1 does not say what is predicted, nor under which schedule: but for a GAN's
    it was always noise, under the linear one. What else it does not say is not compared.
    """
    gan = wanted["network"].startswith(f"{Gan.kind} ")
    unsaid = {} if gan else {"predicts": NOISE.name, "schedule": linear_schedule().config}
    for name, value in wanted.items():
        value = json.loads(json.dumps(value))  # as it was saved: tuples are lists
        before = saved.get(name, unsaid.get(name, value))
        if before != value:
            raise ValueError(
                f"{path} holds the training of another {IN_WORDS.get(name, name)}: {before!r}, "
                f"not {value!r}; delete it or choose another path"
            )


def restore(
    state: tuple[dict[str, Any], dict[str, Tensor]],
    path: Path | str,
    model: nn.Module,
    average: EMA,
    optimizers: Optimizers,
) -> tuple[int, float, float]:
    metadata, tensors = state
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, key = name.split("/", 1)
        parts[part][key] = tensor
    try:
        model.load_state_dict(parts["model"])
        average.model.load_state_dict(parts["ema"])
    except RuntimeError as error:
        raise ValueError(
            f"{path} holds the training of another network; delete it or choose another path"
        ) from error
    optimizers.load_tensors(parts["optimizer"])
    return metadata["step"], metadata["seconds"], metadata["loss"]


def load_state(path: Path | str) -> tuple[nn.Module, dict[str, Any]]:
    """The averaged network of a training state (``.training``), and what the state tells of itself.

    Raises FileNotFoundError if it is not there and ValueError if it is damaged, or the state of
    something that cannot be saved as a network.
    """
    metadata, tensors = read_state(path)
    kind, _, config = metadata.get("network", "").partition(" ")
    if kind not in KINDS:
        raise ValueError(f"{path} is the training of a {kind or 'nameless network'}")
    known = ("predicts", "schedule")
    card: dict[str, Any] = {name: metadata[name] for name in known if name in metadata}
    try:
        with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
            model = made_of({"network": kind, "config": json.loads(config), **card})
    except ValueError as error:
        raise ValueError(f"{path} is the training of a network unknown here: {error}") from error
    part = "ema/"
    averaged = {k.removeprefix(part): v for k, v in tensors.items() if k.startswith(part)}
    model.load_state_dict(averaged)
    return model.eval(), metadata
