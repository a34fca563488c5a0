"""Networks on disk: weights as safetensors, everything else in a JSON card beside them."""

import copy
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import nn

from .. import checks
from ..files import tensors_checksum
from ..math.schedule import NoiseSchedule
from .cards import CHECKSUM, Card, loaded, network_outlet, pretrained_path, write_network
from .classifier import Classifier, NoisyClassifier, ResidualClassifier
from .diffusion import DiffusionModel
from .gan import Gan
from .latent import LatentDiffusion
from .mlp import MLP
from .unet import UNet, without_unreached
from .vae import VAE

KINDS: dict[str, Callable[[Card], nn.Module]] = {
    UNet.kind: lambda card: DiffusionModel.from_card(
        UNet(**without_unreached(card["config"])), card
    ),
    MLP.kind: lambda card: DiffusionModel.from_card(MLP(**card["config"]), card),
    VAE.kind: lambda card: VAE(**card["config"]),
    LatentDiffusion.kind: LatentDiffusion.from_card,
    Gan.kind: Gan.from_card,
    Classifier.kind: lambda card: Classifier(**card["config"]),
    ResidualClassifier.kind: lambda card: ResidualClassifier(**card["config"]),
    NoisyClassifier.kind: NoisyClassifier.from_card,
}
"""What can be saved: the kind of network on a card, and what makes it of the card."""


def save(path: Path | str, model: nn.Module, card: Card | None = None) -> None:
    """Write ``path`` (.safetensors) and its card (.json beside it), both or none.

    Matrices and convolutions are stored in half precision where that keeps them, the few other
    numbers in full. Raises ValueError for a path with another ending, for weights that are not
    finite, and for a network that could not be made again of its card: one whose schedule and
    prediction are not known, or are not those that the card would name. Raises OSError, in words,
    for a place where nothing can be written; what was there before is unchanged then.
    """
    path = network_outlet(path)
    about = getattr(model, "about", None)
    if about is None or about["network"] not in KINDS:
        raise ValueError(
            f"cannot save a {type(model).__name__}; what can be saved is a DiffusionModel around a "
            f"{UNet.kind} or {MLP.kind}, a LatentDiffusion, a VAE, a Gan or a classifier"
        )
    tensors = {name: _stored(value) for name, value in model.state_dict().items()}
    checks.finite_weights(path, tensors)
    content = save_tensors(tensors, metadata={CHECKSUM: tensors_checksum(tensors)})
    full = {**about, "parameters": sum(p.numel() for p in model.parameters()), **(card or {})}
    _check_made_again(model, tensors.keys(), json.loads(json.dumps(full)))
    write_network(path, content, full)


def _stored(value: torch.Tensor) -> torch.Tensor:
    """A tensor as the file has it, on the CPU: matrices in half precision unless that loses more.

    Half precision ends at 65,504 and keeps nothing below 6e-8.
    """
    value = value.detach().cpu().contiguous()
    if not value.is_floating_point():
        return value
    full = value.float()
    half = full.half()
    lost = (half.float() - full).abs().max() if full.numel() else 0
    return half if full.ndim > 1 and lost <= 2**-10 * full.abs().max() else full


def _check_made_again(model: nn.Module, names: Collection[str], card: Card) -> None:
    """ValueError unless the card makes the same network again, with the same prediction."""
    with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
        again: Any = made_of(card)
    if again.state_dict().keys() != names:
        kind = type(model).__name__
        raise ValueError(f"cannot save a {kind} of these parts: its card would make another")
    schedule, prediction = (getattr(model, name, None) for name in ("schedule", "prediction"))
    if prediction is not None and again.prediction != prediction:
        raise ValueError(f"cannot save a prediction that is not in PREDICTIONS: {prediction.name}")
    if isinstance(schedule, NoiseSchedule) and not again.schedule.same_as(schedule):
        raise ValueError(f"cannot save {schedule}: its config describes another schedule")


def load(path: Path | str) -> nn.Module:
    """The network at ``path``, in float32 on the CPU, ready to be used (``eval`` mode).

    Raises FileNotFoundError if it is not there, another OSError, in words, if it cannot be read,
    and ValueError, naming the file, if it is damaged, of a kind that is not known, or broken: its
    weights are not finite.
    """
    return loaded(path, made_of)


def made_of(card: Card) -> nn.Module:
    """The network that a card describes, with fresh weights. ValueError for what is unknown."""
    kind = card["network"]
    checks.one_of("its network", kind, KINDS)
    return KINDS[kind](card)


@torch.no_grad()
def mean_weights(models: Sequence[nn.Module]) -> nn.Module:
    """A new network whose weights are the means of several networks' of one kind and size.

    Two players circle around the point where neither can better the other, and the middle of the
    circle is a better place than any on it (Yazici et al., arXiv 1806.04498). Raises ValueError for
    none, or networks that are not alike.
    """
    if not models:
        raise ValueError("models must hold at least one network")
    first, *others = models
    for other in others:
        if other.about != first.about:
            raise ValueError("models must all be of one kind, size, prediction and schedule")
    mean = copy.deepcopy(first)
    for name, value in mean.state_dict().items():
        if value.is_floating_point():  # a count is the first one's
            value.copy_(torch.stack([model.state_dict()[name] for model in models]).mean(0))
    return mean


def load_pretrained(name: str) -> nn.Module:
    """A network that ships with the package, by name; see `pretrained_names`.

    Raises ValueError for a name that is not among them.
    """
    return load(pretrained_path(name))
