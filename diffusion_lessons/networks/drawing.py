"""One way to draw: what any network is asked for, and what it answers.

A `Drawer` says the shape of what it draws, which classes it knows and which settings it takes; its
``draw`` makes one batch. A `DiffusionModel`, one in a latent, a VAE and a GAN are drawers alike.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from .. import checks
from ..math.guidance import (
    class_log_prob,
    classifier_free_guidance,
    classifier_guidance,
    clipped,
)
from ..math.randomness import RowGenerator
from ..math.sampling import Denoiser, Step
from ..math.schedule import NoiseSchedule, Spacing, even_in_log_snr, quadratic, uniform
from ..math.solvers import SAMPLERS
from .cards import loaded, pretrained_path
from .classifier import NoisyClassifier
from .compute import Compute, chosen

SPACINGS: dict[str, Callable[[NoiseSchedule], Spacing]] = {
    "uniform": lambda schedule: uniform,
    "quadratic": lambda schedule: quadratic,
    "log-snr": even_in_log_snr,
}
"""How the times of a walk are spread under a schedule, by name."""

NO_GUIDANCE, TRUNCATION = "none", "truncation"


@dataclass(frozen=True)
class DrawSettings:
    """How to draw; None stands for what is usual for the network.

    ``sampler`` is a key of `SAMPLERS`, ``spacing`` of `SPACINGS`, ``guidance`` of `GUIDANCES` with
    its ``scale``, or "truncation" of the latent or of the noise at the start, whose scale is the
    threshold. ``eta`` belongs to DDIM. Raises ValueError for a name that does not exist or a number
    outside its range.
    """

    steps: int | None = None
    eta: float | None = None
    sampler: str | None = None
    spacing: str = "uniform"
    guidance: str = NO_GUIDANCE
    scale: float = 1.0

    def __post_init__(self) -> None:
        checks.numbers_of(self, checks.whole, "steps", low=1)
        checks.numbers_of(self, checks.share, "eta")
        checks.numbers_of(self, checks.within, "scale", low=-math.inf, high=math.inf)
        if self.sampler is not None:
            checks.one_of("sampler", self.sampler, SAMPLERS)
        checks.one_of("spacing", self.spacing, SPACINGS)
        checks.one_of("guidance", self.guidance, [*GUIDANCES, TRUNCATION])
        if self.guidance != TRUNCATION:
            checks.number("scale", self.scale)
        if self.guidance == NO_GUIDANCE and self.scale != 1:
            raise ValueError(f"scale {self.scale:g} belongs to a guidance, and none is named")

    def filled(self, steps: int, sampler: str, eta: float) -> "DrawSettings":
        """The same with a network's own values for what is left open."""
        return replace(
            self,
            steps=self.steps if self.steps is not None else steps,
            sampler=self.sampler if self.sampler is not None else sampler,
            eta=self.eta if self.eta is not None else eta,
        )

    def times(self, schedule: NoiseSchedule) -> list[int]:
        """The times that a walk visits, of settled settings."""
        return schedule.times(self.steps, SPACINGS[self.spacing](schedule))

    def in_words(self) -> str:
        """For a progress bar or a printed row."""
        eta = "" if self.eta is None else f"eta {self.eta:g}"
        words = [f"{self.steps} steps", eta, self.spacing]
        if self.sampler not in (None, "ddim"):
            words[1] = str(self.sampler)
        if self.guidance != NO_GUIDANCE:
            words.append(f"{self.guidance} {self.scale:g}")
        return ", ".join(words)

    def as_row(self) -> dict[str, Any]:
        """Settled settings as a row of a table tells them: what is usual for all is left out."""
        words: dict[str, Any] = {"steps": self.steps}
        if self.sampler not in ("ddim", "ddpm"):
            words["sampler"] = self.sampler
        words |= {"eta": self.eta, "spacing": self.spacing}
        if self.guidance != NO_GUIDANCE:
            words |= {"guidance": self.guidance, "scale": self.scale}
        return words

    def as_arguments(self) -> str:
        """Settled settings as the command takes them."""
        words = f"--steps {self.steps}"
        if self.sampler not in ("ddim", "ddpm"):
            words += f" --sampler {self.sampler}"
        else:
            words += f" --eta {self.eta}"
        words += f" --spacing {self.spacing}"
        if self.guidance != NO_GUIDANCE:
            words += f" --guidance {self.guidance} --scale {self.scale}"
        return words


class Drawn(NamedTuple):
    """One batch: ``x`` [B, ...] and how often the network was called for each."""

    x: Tensor
    calls: int


@runtime_checkable
class Drawer(Protocol):
    """Whatever draws: pictures [C, H, W] in -1..1, or points [2]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture or point."""

    @property
    def classes(self) -> int:
        """How many classes can be asked for; 0 if there are none."""

    def settled(self, settings: DrawSettings) -> DrawSettings:
        """The settings filled up. ValueError for what this network cannot do."""

    def draw(
        self,
        count: int,
        label: Tensor | None,
        generator: RowGenerator,
        settings: DrawSettings,
        compute: Compute,
    ) -> Drawn:
        """``count`` pictures of the labels [count], or of none, with settled settings."""


@runtime_checkable
class Walker(Drawer, Protocol):
    """A `Drawer` that walks to its pictures step by step."""

    def walk(
        self,
        count: int,
        label: Tensor | None,
        generator: RowGenerator,
        settings: DrawSettings,
        compute: Compute,
    ) -> Iterator[Step]:
        """Each `Step` on the way to what ``draw`` gives; its calls are the network's."""


class Conditional(Protocol):
    """What a guidance needs of a `DiffusionModel`."""

    schedule: NoiseSchedule

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture or point."""

    @property
    def classes(self) -> int:
        """How many classes can be asked for; 0 if there are none."""

    @property
    def device(self) -> torch.device:
        """Where the network lies."""

    @property
    def limit(self) -> float | None:
        """What x0_hat is limited to; None for nothing."""

    def denoiser(self, label: Tensor | None = None, clip: float | None = None) -> Denoiser:
        """The denoiser that is given the label, or none."""


Guidance = Callable[[Conditional, Tensor | None, float], Denoiser]
"""(model, labels [B], scale) -> the denoiser that draws those labels"""


def unguided(model: Conditional, label: Tensor | None, scale: float) -> Denoiser:
    """The network is given the label; there is no scale."""
    return model.denoiser(label, clip=model.limit)


def by_classifier(model: Conditional, label: Tensor | None, scale: float) -> Denoiser:
    """The network is given no label, a classifier pushes; scale 0 draws any class."""
    return _limited(_pushed(model, None, label, scale), model)


def by_label_and_classifier(model: Conditional, label: Tensor | None, scale: float) -> Denoiser:
    """The network is given the label, and a classifier pushes as well; scale 0 is `unguided`."""
    return _limited(_pushed(model, label, label, scale), model)


def free_of_classifier(model: Conditional, label: Tensor | None, scale: float) -> Denoiser:
    """The network is asked with the label and without; scale 1 is `unguided`, 0 any class."""
    conditional, unconditional = model.denoiser(label), model.denoiser()
    return _limited(classifier_free_guidance(conditional, unconditional, scale), model)


GUIDANCES: dict[str, Guidance] = {
    NO_GUIDANCE: unguided,
    "classifier": by_classifier,
    "label+classifier": by_label_and_classifier,
    "classifier-free": free_of_classifier,
}
BY_CLASSIFIER = {"classifier", "label+classifier"}


def _limited(denoiser: Denoiser, model: Conditional) -> Denoiser:
    return denoiser if model.limit is None else clipped(denoiser, model.limit)


def _pushed(
    model: Conditional, given: Tensor | None, wanted: Tensor | None, scale: float
) -> Denoiser:
    guide = _guide_on(model.device, guide_of(model))
    if wanted is None:
        raise ValueError("a classifier pushes towards a class: give labels")
    log_prob = class_log_prob(guide, wanted)
    return classifier_guidance(model.denoiser(given), log_prob, model.schedule, scale)


DIGITS_GUIDE = "digits-noisy-classifier"

GUIDES: dict[tuple[tuple[int, ...], int], str] = {
    ((1, 28, 28), 10): DIGITS_GUIDE,
    ((3, 32, 32), 2): "cats-dogs-noisy-classifier",
}
"""By a network's shape and classes: the shipped classifier that can guide it."""


def guide_of(model: Conditional) -> str:
    """The name of the classifier that guides this network.

    ValueError if there is none, or if it knows pictures noised under another schedule.
    """
    name = GUIDES.get((tuple(model.shape), model.classes))
    if name is None:
        raise ValueError(
            "the classifiers that guide are of digits, and of cats and dogs (32 x 32, in colour), "
            "which this network does not draw"
        )
    known = _noisy_classifier(name).schedule
    if not known.same_as(model.schedule):
        raise ValueError(
            f"the classifier that guides was trained on pictures noised under {known}, "
            f"and this network belongs to {model.schedule}"
        )
    return name


def noisy_classifier(compute: Compute | None = None, name: str = DIGITS_GUIDE) -> NoisyClassifier:
    """A shipped classifier of noisy pictures, one of `GUIDES`; the digits' unless named.

    Your own copy: in float32, on the fastest device.
    """
    checks.one_of("name", name, GUIDES.values())
    return _guide_on(chosen(compute).device, name)


def _guide_on(device: torch.device, name: str) -> NoisyClassifier:
    with torch.inference_mode(False):  # gradients pass through it later
        return copy.deepcopy(_noisy_classifier(name)).to(device)


@lru_cache
def _noisy_classifier(name: str) -> NoisyClassifier:
    model = loaded(pretrained_path(name), NoisyClassifier.from_card)
    return model.requires_grad_(False)


def refuse_sampling(settings: DrawSettings, kind: str, steps: int, eta: float) -> None:
    """ValueError for steps, eta, sampler or spacing of a network that leaves no choice."""
    given = (settings.steps, settings.eta)
    if given != (steps, eta):
        raise ValueError(
            f"{kind} draws in {steps} step{'s' * (steps > 1)} with eta {eta:g}, "
            f"got {given[0]} steps and eta {given[1]:g}"
        )
    if settings.spacing != "uniform":
        raise ValueError(f"{kind} has no choice of spacing, got {settings.spacing!r}")
