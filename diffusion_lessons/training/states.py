"""Training states: everything that a run needs to go on, in one file that is whole or not there."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from .. import checks
from ..files import (
    aside,
    claimed,
    expanded,
    read_bytes,
    read_metadata,
    read_tensors,
    tensors_checksum,
)
from ..math.prediction import NOISE
from ..math.schedule import linear_schedule
from ..networks.cards import processor
from ..networks.checkpoints import KINDS, made_of
from ..networks.compute import Compute
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
    """Write all that a run needs to go on, in place of an earlier state of the same run.

    ValueError if another run has written there meanwhile, OSError, in words, if it is just doing so
    or the disk refuses.
    """
    parts = {"model": model.state_dict(), "ema": average.state_dict()}
    parts["optimizer"] = optimizers.tensors()
    tensors = {
        f"{part}/{key}": value.detach().contiguous().cpu().clone()
        for part, state in parts.items()
        for key, value in state.items()
    }
    metadata = metadata | {"sha256": _checksum(tensors, metadata)}
    content = save_tensors(tensors, metadata={"training": json.dumps(metadata)})
    with claimed(path):
        _check_not_ahead(expanded(path), metadata)
        # A run killed here leaves the last whole file in its place.
        with aside(path) as unfinished:
            unfinished.write_bytes(content)


def _check_not_ahead(path: Path, metadata: dict[str, Any]) -> None:
    """ValueError if the state that is there is another run's, or further than this one."""
    try:
        there = json.loads(read_metadata(path).get("training", "{}"))
    except (ValueError, OSError):
        return  # nothing whole would be lost
    told = ("network", "predicts", "schedule", "optimizers", "batches", "seed", "identity")
    check_same_run(there, {name: metadata[name] for name in told if name in metadata}, path)
    if there.get("step", 0) > metadata["step"]:
        raise ValueError(
            f"another run has written {path} meanwhile and is at step {there['step']} already; "
            "begin again to go on from there, or choose another path"
        )


def _checksum(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> str:
    rest = {key: value for key, value in metadata.items() if key != "sha256"}
    return tensors_checksum(tensors, rest)


def read_state(path: Path | str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a training state tells of itself (step, seconds, loss, network, ...), and its tensors.

    FileNotFoundError if it is not there, another OSError, in words, if it cannot be read, and
    ValueError if it is damaged, or no training state.
    """
    path = expanded(path)
    content = read_bytes(path)
    try:
        tensors, words = read_tensors(content)
        metadata = json.loads(words.get("training", "null"))
        if metadata is not None and metadata["sha256"] != _checksum(tensors, metadata):
            raise ValueError("its checksum is wrong")
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a whole training state ({error}); delete it to start the training "
            "anew, or choose another file"
        ) from error
    if metadata is None:
        raise ValueError(f"{path} holds tensors, but no training state; choose another file")
    if missing := _TOLD - metadata.keys():
        raise ValueError(
            f"{path} is the training state of another version, without {', '.join(missing)}; "
            "go on with the version that wrote it, or choose another file"
        )
    return metadata, tensors


_TOLD = {"step", "seconds", "loss", "compute", "network", "seed"}


KNOWN = ("predicts", "schedule", "usual")
"""What a state tells of a model beside its network, where there is something to tell."""


def identity_of(
    model: nn.Module, optimizers: Optimizers, batches: object, seed: int
) -> dict[str, Any]:
    """What a run must share with the state that it goes on from.

    Of a network that knows it: its schedule, what it predicts and how it is usually drawn from; of
    `shuffled` batches their size and how many rows of data there are.
    """
    about = known_of(model)
    config = json.dumps(about.get("config", {}))
    return {
        "network": f"{about['network']} {config}",
        **{name: about[name] for name in KNOWN if name in about},
        "optimizers": [type(optimizer).__name__ for optimizer in optimizers.optimizers],
        "batches": getattr(batches, "about", {}),
        "seed": seed,
    }


IN_WORDS = {
    "predicts": "prediction",
    "optimizers": "choice of optimisers",
    "batches": "choice of batches",
}


def machine_words() -> dict[str, Any]:
    """The machine, as far as the number format that is quick on it goes."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": processor(), "gpu": gpu}


def as_before(saved: dict[str, Any]) -> Compute | None:
    """How the run computed until now, if that was on such a machine as this one; else None."""
    try:
        compute = Compute.from_dict(saved["compute"])
    except (LookupError, ValueError):
        return None
    here = saved.get("machine", machine_words()) == machine_words()
    return compute if here and compute.possible() else None


def with_session(saved: dict[str, Any], step: int, session: dict[str, Any]) -> list[dict[str, Any]]:
    """A state's history, with the session that begins after ``step`` updates.

    Each part of it says from which update on it was trained how: towards how many steps or seconds
    (by which the learning rate falls), in which format, on how many processes. A state of a version
    that kept no history does not say towards what it was trained.
    """
    unsaid = [{"from": 0, "compute": saved["compute"]}] if "compute" in saved else []
    history: list[dict[str, Any]] = list(saved.get("history", unsaid))
    begins = {"from": step, **session}
    if history and {**begins, "from": history[-1]["from"]} == history[-1]:
        return history
    return [*(part for part in history if part["from"] < step), begins]


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
        value = checks.written(name, value)  # as it was saved: tuples are lists
        before = saved.get(name, unsaid.get(name, value))
        if json.dumps(before, sort_keys=True) != json.dumps(value, sort_keys=True):
            raise ValueError(
                f"{path} holds the training of another {IN_WORDS.get(name, name)}: {before!r}, "
                f"not {value!r}; choose another path"
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
        average.load_state_dict(parts["ema"])
    except RuntimeError as error:
        raise ValueError(
            f"{path} holds the training of another network; choose another path"
        ) from error
    optimizers.load_tensors(parts["optimizer"])
    return metadata["step"], metadata["seconds"], metadata["loss"]


def load_state(path: Path | str) -> tuple[nn.Module, dict[str, Any]]:
    """The averaged network of a training state (``.training``), and what the state tells of itself.

    Raises as `read_state`, and ValueError for the state of something that cannot be saved as a
    network, or whose weights are not finite.
    """
    metadata, tensors = read_state(path)
    kind, _, config = metadata.get("network", "").partition(" ")
    if kind not in KINDS:
        raise ValueError(f"{path} is the training of a {kind or 'nameless network'}")
    card: dict[str, Any] = {name: metadata[name] for name in KNOWN if name in metadata}
    try:
        with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
            model = made_of({"network": kind, "config": json.loads(config), **card})
    except ValueError as error:
        raise ValueError(f"{path} is the training of a network unknown here: {error}") from error
    part = "ema/"
    averaged = {k.removeprefix(part): v for k, v in tensors.items() if k.startswith(part)}
    try:
        model.load_state_dict(averaged)
    except RuntimeError as error:
        raise ValueError(f"{path} is the training of a network unknown here: {error}") from error
    checks.finite_weights(expanded(path), model.state_dict())
    return model.eval(), metadata
