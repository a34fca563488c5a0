"""Drawing any number of pictures from any network, batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .. import checks
from ..math.randomness import RowGenerator
from ..math.sampling import Step, thin
from ..networks.compute import Compute, chosen
from ..networks.drawing import GUIDANCES, NO_GUIDANCE, Drawer, Drawn, DrawSettings, Walker
from ..networks.processes import processes

T = TypeVar("T")

USUAL = DrawSettings()
BATCH = 250

Labels = Tensor | Sequence[int] | int
"""Classes [N] to draw, integers of any kind, or the number of pictures of any class"""


def draw(
    model: Drawer,
    labels: Labels,
    settings: DrawSettings = USUAL,
    seed: int = 0,
    numbers: Tensor | None = None,
    compute: Compute | None = None,
) -> Tensor:
    """All pictures at once, float32 [N, ...] on the CPU; arguments and errors of `draw_batches`."""
    return torch.cat(
        [part.x for part in draw_batches(model, labels, settings, seed, numbers, compute)]
    )


def draw_batches(
    model: Drawer,
    labels: Labels,
    settings: DrawSettings = USUAL,
    seed: int = 0,
    numbers: Tensor | None = None,
    compute: Compute | None = None,
    batch_size: int = BATCH,
) -> Iterator[Drawn]:
    """Pictures of ``labels`` [N], or so many of any class, batch by batch on the CPU.

    A picture belongs to the seed and its number alone (``numbers`` int64 [N], usually 0, 1, ...):
    it is the same in any batch, beside any others, and on any number of processes. Of several
    `processes` each draws some of the batches, and all get all: loop to the end in each. Raises
    TypeError for what draws nothing, and ValueError for settings or labels that the network cannot
    take.
    """
    drawn = partial(_drawn, model)
    return _batches(model, labels, settings, seed, numbers, compute, batch_size, drawn)


def draw_walk(
    model: Drawer,
    labels: Labels,
    settings: DrawSettings = USUAL,
    seed: int = 0,
    numbers: Tensor | None = None,
    compute: Compute | None = None,
    moments: int = 60,
) -> list[Step]:
    """The way of all pictures out of the noise, at no more than ``moments`` of its steps.

    They are evenly spread, the first and the last among them; the last one's ``x`` is what `draw`
    gives for the same arguments, whose errors it shares. ValueError, too, for a network that draws
    in one go, such as a VAE.
    """
    if isinstance(model, Drawer) and not isinstance(model, Walker):
        raise ValueError(f"a {type(model).__name__} draws in one go: there is no walk to be seen")
    walked = partial(_walked, model, checks.whole("moments", moments, 2))
    walks = list(_batches(model, labels, settings, seed, numbers, compute, BATCH, walked))
    return [
        Step(t[0], torch.cat(x), torch.cat(x0_hat), calls[0])
        for t, x, x0_hat, calls in (zip(*same, strict=True) for same in zip(*walks, strict=True))
    ]


def _batches(
    model: Any,
    labels: Labels,
    settings: DrawSettings,
    seed: int,
    numbers: Tensor | None,
    compute: Compute | None,
    batch_size: int,
    make: Callable[[int, Tensor | None, RowGenerator, DrawSettings, Compute], T],
) -> Iterator[T]:
    """What ``make`` gives for each batch; everything is checked before the first."""
    settings = settled(model, settings)
    row, count = _asked(model, labels)
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    usual = torch.arange(count)
    numbers = usual if numbers is None else checks.rows("numbers", numbers, usual)
    batch_size = checks.whole("batch_size", batch_size, 1)
    if row is None and settings.guidance in GUIDANCES and settings.guidance != NO_GUIDANCE:
        raise ValueError(f"guidance {settings.guidance!r} is towards a class: give labels")
    return _made(model, row, settings, seed, numbers, chosen(compute), batch_size, make)


def draw_watched(
    model: Drawer,
    labels: Labels,
    settings: DrawSettings,
    seed: int = 0,
    progress: bool = True,
    compute: Compute | None = None,
) -> tuple[Tensor, int]:
    """All pictures behind a progress bar, and how often the network was called for each.

    ``settings`` are settled ones; otherwise as `draw`.
    """
    from tqdm.auto import tqdm

    _, total = _asked(model, labels)
    silent = not (progress and processes().main)
    words = settings.in_words()
    parts, calls = [], 0
    with tqdm(total=total, desc=words, unit="img", leave=False, disable=silent) as bar:
        for x, calls in draw_batches(model, labels, settings, seed, compute=compute):
            parts.append(x)
            bar.update(len(x))
    return torch.cat(parts), calls


def settled(model: Drawer, settings: DrawSettings) -> DrawSettings:
    """The settings, filled up with what is usual for the network. Raises as `draw_batches`."""
    if not isinstance(model, Drawer):
        if isinstance(model, nn.Module):
            checks.network("model", model)  # of one that is wrapped, the network within may draw
        raise TypeError(f"a {type(model).__name__} draws no pictures")
    if not isinstance(settings, DrawSettings):
        raise TypeError(f"settings must be DrawSettings, got {type(settings).__name__}")
    return model.settled(settings)


def _asked(model: Drawer, labels: Labels) -> tuple[Tensor | None, int]:
    """The labels int64 [N], or none, and how many pictures are asked for."""
    what = "the number of labels or pictures"
    if not isinstance(labels, Tensor | Sequence) and not getattr(labels, "shape", ()):
        return None, checks.whole(what, labels, 1)
    if not model.classes:
        raise ValueError("this network knows no classes: give a number of pictures, not labels")
    row = checks.row_of_any_length("labels", labels, model.classes)
    return row, checks.whole(what, len(row), 1)


@contextmanager
def in_eval_mode(model: Any) -> Iterator[None]:
    """Without dropout, which would make a picture another one each time."""
    training = {part: part.training for part in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for part, mode in training.items():
            part.training = mode


def _drawn(model: Drawer, *how: Any) -> Drawn:
    x, calls = model.draw(*how)
    return Drawn(x.cpu().contiguous(), calls)


def _walked(model: Any, moments: int, *how: Any) -> list[Step]:
    _, _, _, settings, _ = how
    kept = set(thin(range(settings.steps + 1), moments))
    walk = (step for i, step in enumerate(model.walk(*how)) if i in kept)
    return [Step(t, x.cpu(), x0_hat.cpu(), calls) for t, x, x0_hat, calls in walk]


def _made(
    model: Any,
    labels: Tensor | None,
    settings: DrawSettings,
    seed: int,
    numbers: Tensor,
    compute: Compute,
    batch_size: int,
    make: Callable[..., T],
) -> Iterator[T]:
    shared = processes()
    parts = numbers.split(batch_size)
    label_parts = [None] * len(parts) if labels is None else labels.split(batch_size)
    for first in range(0, len(parts), shared.size):
        mine, batch = first + shared.rank, None
        if mine < len(parts):
            generator = RowGenerator(seed, parts[mine], device=compute.device)
            label = compute.move(label_parts[mine])
            with in_eval_mode(model), compute.own_threads():
                batch = make(len(parts[mine]), label, generator, settings, compute)
        yield from (each for each in shared.gather(batch) if each is not None)
