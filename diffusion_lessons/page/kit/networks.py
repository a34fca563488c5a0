"""Which network stands behind what a widget was given: one that the page can run itself, or not.

A widget is given functions: a denoiser, a guidance, a decoder. Whatever they are wrapped in, they
call a network, and that can be listened to. If it is one that ships with the package, weight by
weight, and if what the function answers is what the page would make of it, then the page may
compute in the kernel's place. Any other function is the kernel's.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from ...math.sampling import Denoiser, ddim_step, final, sample
from ...math.schedule import NoiseSchedule
from ...networks.checkpoints import load_pretrained
from ...networks.diffusion import DiffusionModel
from ...networks.drawing import GUIDANCES, NO_GUIDANCE
from ...networks.vae import VAE
from .. import engine

Guided = Callable[[Tensor, float], Denoiser]
"""(labels [N], scale) -> the denoiser that draws those labels"""

Decode = Callable[[Tensor, Tensor], Tensor]
"""(z [N, D], labels [N]) -> pictures [N, 1, H, W] in -1..1"""

FREE = "classifier-free"
CLOSE = 1e-3  # the same network on the same numbers: only roundings differ


class Call(NamedTuple):
    """One call of a diffusion model, and the labels that it was given."""

    model: DiffusionModel
    label: Tensor | None


def network_behind(denoiser: Denoiser, x: Tensor, schedule: NoiseSchedule) -> dict[str, Any]:
    """What a page must know to be this denoiser; empty if it cannot be.

    ``name`` of the network, ``labels`` (a list, or None) and ``clip``, whether x0_hat is kept in
    -1..1. ``x`` is noise of the batch that the denoiser is for, [N, 1, H, W].
    """
    calls = _heard(denoiser, 2 * x, _moments(schedule)[0])
    if len(calls) != 1 or not (name := _known(calls[0].model, schedule)):
        return {}
    model, label = calls[0]
    for clip in (1.0, None):
        if _alike(denoiser, model.denoiser(label, clip), x, schedule):
            labels = None if label is None else label.tolist()
            return {"name": name, "labels": labels, "clip": clip is not None}
    return {}


def guidance_behind(guided: Guided, x: Tensor, schedule: NoiseSchedule) -> dict[str, str]:
    """The same of a guidance: ``name`` of the network and of the ``guidance``, or nothing."""
    label, x = torch.zeros(1, dtype=torch.int64, device=x.device), x[:1]
    calls = _heard(guided(label, 2.5), 2 * x, _moments(schedule)[0])
    kind = {1: NO_GUIDANCE, 2: FREE}.get(len(calls))
    if kind is None or not (name := _known(calls[0].model, schedule)):
        return {}
    for scale in (2.5, 0.5):
        if not _alike(
            guided(label, scale), GUIDANCES[kind](calls[0].model, label, scale), x, schedule
        ):
            return {}
    return {"name": name, "guidance": kind}


def decoder_behind(decode: Decode, latent: int) -> dict[str, Any]:
    """What a page must know to be this decoder of ``latent`` numbers; empty if it cannot be.

    The ``name`` of the VAE whose own ``decode`` this is; or that of a diffusion model and the
    ``steps`` of the walk, if it is `sample` with `ddim_step` (eta 0) from the latent as noise, with
    the label and x0_hat kept in -1..1.
    """
    vae = getattr(decode, "__self__", None)
    if isinstance(vae, VAE) and getattr(decode, "__func__", None) is VAE.decode:
        return {"name": name} if (name := shipped_name(vae)) else {}
    z, label = torch.linspace(-1, 1, latent)[None], torch.zeros(1, dtype=torch.int64)
    calls = _heard(lambda z, _: decode(z, label), z, 0)
    if not calls or not (name := shipped_name(model := calls[0].model)):
        return {}
    if latent != math.prod(model.shape) or len(calls) > model.schedule.T:
        return {}
    denoiser = GUIDANCES[NO_GUIDANCE](model, label, 1.0)
    walk = sample(denoiser, z.view(1, *model.shape), model.schedule, len(calls), ddim_step)
    close = torch.allclose(final(walk).x, decode(z, label), rtol=10 * CLOSE, atol=10 * CLOSE)
    return {"name": name, "steps": len(calls)} if close else {}


def labels_behind(calls: Sequence[Call]) -> tuple[int, list[str]]:
    """How many labels there are to ask the network that was called for, and what they are called.

    The last label asks for nothing. 0 if nothing was called or it knows no classes, and no names if
    its classes have none.
    """
    model = calls[0].model if calls else None
    if model is None or not model.classes:
        return 0, []
    return model.classes + 1, [*model.names, "nothing"] if model.names else []


def shipped_name(model: nn.Module) -> str | None:
    """The name of a network that the page can run, if this is it, to the last weight."""
    state = model.state_dict()
    for name in engine.NETWORKS:
        known = _shipped(name)
        if known.about != getattr(model, "about", None):
            continue
        weights = known.state_dict()
        if weights.keys() == state.keys() and all(
            torch.equal(weights[key], state[key].cpu()) for key in weights
        ):
            return name
    return None


@lru_cache
def _shipped(name: str) -> Any:
    return load_pretrained(name)


def _known(model: DiffusionModel, schedule: NoiseSchedule) -> str | None:
    return shipped_name(model) if model.schedule.same_as(schedule) else None


def _moments(schedule: NoiseSchedule) -> tuple[int, int]:
    """Two times at which answers are compared."""
    return max(1, schedule.T // 2), max(1, schedule.T // 10)


@contextmanager
def calls_heard() -> Iterator[list[Call]]:
    """The calls of diffusion models that are made meanwhile, in order."""
    calls: list[Call] = []

    def listen(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if isinstance(module, DiffusionModel):
            calls.append(Call(module, args[2] if len(args) > 2 else kwargs.get("label")))

    hook = register_module_forward_hook(listen, with_kwargs=True)
    try:
        yield calls
    finally:
        hook.remove()


@torch.no_grad()
def _heard(denoiser: Denoiser, x: Tensor, t: int) -> list[Call]:
    """The calls of diffusion models that one call of the denoiser makes; none if of several."""
    with calls_heard() as calls:
        denoiser(x, t)
    return calls if len({id(call.model) for call in calls}) == 1 else []


@torch.no_grad()
def _alike(one: Denoiser, other: Denoiser, x: Tensor, schedule: NoiseSchedule) -> bool:
    """Whether two denoisers answer the same, also where x0_hat lies beyond -1..1."""
    return all(
        torch.allclose(one(2 * x, t), other(2 * x, t), rtol=CLOSE, atol=CLOSE)
        for t in _moments(schedule)
    )
