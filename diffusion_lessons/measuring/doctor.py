"""What is wrong with a network: the troubles of the book's page "When it does not work".

What its card tells is read, a few pictures are drawn, and each thing that looks wrong is a
`Finding`. About what is well nothing is said.
"""

import math
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..checks import MOST_LEFT, PAGE, see
from ..data import digits, to_unit
from ..files import read_bytes, read_tensors
from ..math.guidance import clipped
from ..math.randomness import RowGenerator
from ..math.sampling import sample
from ..math.solvers import FAR, SAMPLERS
from ..networks.cards import UnknownNetwork, read_card
from ..networks.checkpoints import load, made_of
from ..networks.compute import Compute, chosen
from ..networks.diffusion import DiffusionModel
from ..networks.drawing import Drawer, DrawSettings
from ..training.states import load_state
from .drawing import draw, in_eval_mode, settled
from .judge import DIGITS, accuracy, features

COUNT, STEPS = 20, 10
"""Pictures that are drawn, and the steps of their walk, at most."""

PATIENCE = 60.0
"""Seconds after which a walk is given up."""

FEW_UPDATES = {"pictures": 1000, "points": 300}
FEW_PICTURES, MANY_PASSES = 200, 160
"""Below and above which a network remembers (the table of the ablation `memorisation`)."""

NOISE, LOSS, UPDATES = "Only noise comes out", "The loss is flat", "How many updates"
TINT, COPIES, SIZES = "A tint", "The samples are training pictures", "One channel, other sizes"
LAST, BLACK, CHANNELS = "The last steps", "Nothing is quite black", "Twice the channels"
NAN, DAMAGED = "NaN", "The file is damaged"


class Finding(NamedTuple):
    """Something that looks wrong: what, in words, and the section of the page that explains it."""

    words: str
    section: str


def examine(
    path: Path, compute: Compute | None = None, patience: float = PATIENCE
) -> list[Finding]:
    """What looks wrong with the network in a .safetensors file, with its card, or a .training file.

    It is given up to draw a few pictures, and to say nothing of them, after ``patience`` seconds.
    Raises as `load` and `load_state`; what the tensors tell of the cause is added to the words.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is warned of is found below
        model, about = _read(path)
        found = list(_of_its_making(model, about))
        if isinstance(model, DiffusionModel):
            found += _of_its_prediction(model)
        if isinstance(model, Drawer):
            found += _of_its_schedule(model)
            found += _of_its_pictures(model, about, chosen(compute), patience)
    return found


# ------------------------------------------------------------------ the file


def _read(path: Path) -> tuple[nn.Module, Mapping[str, Any]]:
    """The network, and what its card or its training state tells of it."""
    try:
        if path.suffix == ".training":
            return load_state(path)
        return load(path), read_card(path)
    except (ValueError, FileNotFoundError) as error:
        if not path.exists() or PAGE in str(error):
            raise
        fits_not = isinstance(error, UnknownNetwork)
        finding = next(_of_its_tensors(path, fits_not), Finding("", DAMAGED))
        words = " ".join(filter(None, [f"{error}.", finding.words, see(finding.section)]))
        missing = isinstance(error, FileNotFoundError)
        raise (FileNotFoundError if missing else ValueError)(words) from error


def _of_its_tensors(path: Path, fits_not: bool) -> Iterator[Finding]:
    """Why a network cannot be loaded: what its tensors tell, whoever wrote them."""
    try:
        tensors, _ = read_tensors(read_bytes(path))
    except ValueError:
        return
    layers = [tuple(x.shape) for x in tensors.values() if x.ndim == 4]
    taken, given = (min((shape[i] for shape in layers), default=0) for i in (1, 0))
    if taken and given == 2 * taken:
        yield Finding(
            f"Its layers take {taken} channels and give {given}: so do networks that learn the "
            "variance of each step, too.",
            CHANNELS,
        )
    if not fits_not:
        return
    try:
        with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
            wanted = made_of(read_card(path)).state_dict()
    except (ValueError, TypeError, KeyError):
        return
    for name, x in wanted.items():
        if name in tensors and tensors[name].shape != x.shape:
            there, by_card = list(tensors[name].shape), list(x.shape)
            yield Finding(f"Its {name} is {there}, and {by_card} by the card.", SIZES)


# ------------------------------------------------------------------ how it was made


def updates_of(about: Mapping[str, Any]) -> int | None:
    """How many updates a network has had, those of the one that it began with included."""
    own = _count(about.get("steps", about.get("step")))
    averaged = about.get("averaged")
    parts = averaged if isinstance(averaged, list) else []
    before = [updates_of(part) for part in parts if isinstance(part, Mapping)]
    own = max((part for part in before if part), default=None) if own is None else own
    return own if own is None else own + (updates_of(_part(about, "start")) or 0)


def _part(about: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a card, which somebody may have changed by hand."""
    part = about.get(name)
    return part if isinstance(part, Mapping) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _of_its_making(model: nn.Module, about: Mapping[str, Any]) -> Iterator[Finding]:
    if not isinstance(model, Drawer):
        return
    kind = "pictures" if len(model.shape) == 3 else "points"
    data, batches = _part(about, "data"), _part(about, "batches")
    rows = _count(data.get("pictures", batches.get("rows")))
    told = re.search(r"batch_size=(\d+)", str(about.get("command", "")))
    batch = _count(batches.get("batch_size")) or int(told[1] if told else 64)
    updates = updates_of(about)
    passes = None if updates is None or not rows else updates * batch / rows
    if updates is not None and updates < FEW_UPDATES[kind]:
        seen = "" if passes is None else f", {passes:.1f} passes over {rows:,} {kind}"
        yield Finding(f"it has been trained for {updates:,} updates only{seen}", UPDATES)
    if kind == "pictures" and rows and rows < FEW_PICTURES:
        yield Finding(f"it was trained on {rows} pictures, and may draw just these", COPIES)
    elif kind == "pictures" and passes and passes > MANY_PASSES:
        yield Finding(f"it has seen each of its {rows:,} pictures {passes:.0f} times", COPIES)
    size = _count(data.get("size"))
    if size and size != model.shape[-1]:
        yield Finding(
            f"its pictures were of {size} pixels a side, and it draws {model.shape[-1]}", SIZES
        )


def _of_its_prediction(model: DiffusionModel) -> Iterator[Finding]:
    schedule, kind = model.schedule, model.prediction
    weight = float(kind.loss_weight(schedule.T, torch.ones(1), schedule))
    if weight < FAR**-2:
        yield Finding(
            f"it predicts {kind.name}, and its schedule leaves {float(schedule.alpha[-1]):.1g} of "
            f"the picture at T: an error there is {weight**-0.5:,.0f} times as large in x_0",
            LAST,
        )


def _of_its_schedule(model: Drawer) -> Iterator[Finding]:
    schedule = getattr(model, "schedule", None)
    if schedule is None:
        return
    left = float(schedule.alpha[-1]) / schedule.start_std
    shift = left * math.sqrt(math.prod(model.shape))
    if left > MOST_LEFT or shift > 1:
        yield Finding(
            f"its schedule leaves {left:.2g} of the picture at T, where a walk begins with none: "
            f"a white one would begin {shift:.1f} standard deviations away",
            BLACK,
        )


# ------------------------------------------------------------------ what it draws


class Seen(NamedTuple):
    """A few pictures, and of a walk, what share of x0_hat lay outside of -1..1, call by call."""

    x: Tensor
    outside: list[float]


def _of_its_pictures(
    model: Drawer, about: Mapping[str, Any], compute: Compute, patience: float
) -> Iterator[Finding]:
    labels = torch.arange(COUNT) % model.classes if model.classes else None
    seen = _drawn(model, labels, compute, patience)
    if seen is None:
        return
    x = seen.x
    if not x.isfinite().all():
        yield Finding("its samples hold numbers that are not finite", NAN)
        return
    far = (x[:, None] - x).flatten(2).square().mean(2).sqrt()
    same = torch.ones(COUNT, COUNT) if labels is None else labels[:, None] == labels
    if far[same.bool() & ~torch.eye(COUNT, dtype=torch.bool)].median() < ALIKE:
        yield Finding("its samples are all alike, those of a class at least", COPIES)
        return
    if len(model.shape) != 3:
        return
    if (alike := neighbours(x)) < ROUGH:
        yield Finding(
            f"its samples are noise: pixels beside each other correlate by {alike:.2f}", NOISE
        )
        return
    drawn = (model.shape, model.classes)
    of_digits = drawn == (DIGITS.shape, DIGITS.classes) and _learnt_digits(about)
    if of_digits and labels is not None:
        right = accuracy(features(x.clamp(-1, 1), compute=compute), labels, compute)
        if right < RECOGNISED:
            yield Finding(f"the judge recognises {right:.0%} of its digits", NOISE)
    if seen.outside and (share := sorted(seen.outside)[len(seen.outside) // 2]) > OUTSIDE:
        yield Finding(f"{share:.0%} of x0_hat lie outside of -1..1 and are clipped", LAST)
    yield from _of_its_colours(x, about, of_digits)


ALIKE = 0.05
"""Root mean squared distance of two samples of a class"""

ROUGH = 0.3
"""Correlation of pixels beside each other"""

RECOGNISED = 0.7
OUTSIDE = 0.1
"""Of x0_hat at the middle one of the calls"""


def _drawn(model: Drawer, labels: Tensor | None, compute: Compute, patience: float) -> Seen | None:
    """None where it takes too long."""
    if not isinstance(model, DiffusionModel):
        return Seen(draw(model, COUNT if labels is None else labels, compute=compute), [])
    end = time.monotonic() + patience
    settings = settled(model, DrawSettings(min(STEPS, model.usual.steps, model.schedule.T)))
    fast = model.with_network(compute.fast(model.network))
    generator = RowGenerator(0, torch.arange(COUNT), device=compute.device)
    free = fast.denoiser(compute.move(labels))
    limit, outside = model.limit, []

    def watched(x_t: Tensor, t: int) -> Tensor:
        x0_hat = free(x_t, t)
        if limit is not None:
            outside.append((x0_hat.abs() > 1.05 * limit).double().mean().item())
        return x0_hat

    walk = sample(
        watched if limit is None else clipped(watched, limit),
        model.schedule.start_std * generator.normal((COUNT, *model.shape)).float(),
        model.schedule,
        generator=generator,
        times=model.schedule.times(settings.steps),
        sampler=SAMPLERS[str(settings.sampler)],
    )
    with in_eval_mode(model), compute.own_threads():
        for step in walk:
            if time.monotonic() > end:
                return None
    return Seen(step.x.cpu(), outside)


def neighbours(x: Tensor) -> float:
    """The correlation of each pixel with the one to its right [B, C, H, W]: 0 for mere noise."""
    pairs = torch.stack([x[..., :-1].flatten(), x[..., 1:].flatten()])
    return float(torch.corrcoef(pairs.double())[0, 1])


def _learnt_digits(about: Mapping[str, Any]) -> bool:
    """Whether its card tells of a recipe that trains on MNIST."""
    commands = re.findall(r"train digits-\S+.*", str(about))
    return bool(commands) and "--data" not in " ".join(commands)


def _of_its_colours(x: Tensor, about: Mapping[str, Any], of_digits: bool) -> Iterator[Finding]:
    """The mean of each channel beside that of what it was trained on, if its card tells."""
    known = _part(about, "data").get("mean")
    if known is None and of_digits:
        known = [to_unit(digits().images[:5000]).mean().item()]
    if not isinstance(known, list) or len(known) != x.shape[1]:
        return
    if not all(isinstance(value, int | float) for value in known):
        return
    means = x.flatten(2).mean(2)  # [B, C]
    off = means.mean(0) - torch.tensor(known)
    room = torch.clamp(4 * means.std(0) / math.sqrt(len(x)), min=0.1)
    if (off.abs() > room).any():
        told = ", ".join(f"{value:+.2f}" for value in off.tolist())
        what = "brighter or darker" if x.shape[1] == 1 else "tinted"
        yield Finding(
            f"its samples are {what}: the mean is off by {told} from the training pictures'", TINT
        )
