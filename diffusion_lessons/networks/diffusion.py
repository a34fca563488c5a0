"""A diffusion model: a network, what it predicts, and the schedule under which it does.

The three belong together. A network that predicts v, read as if it predicted noise, draws nothing
of sense, and nothing in its weights would tell: so they are made, saved and loaded as one.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from .. import checks
from ..math.guidance import truncated_normal
from ..math.losses import Weight, prediction_loss
from ..math.prediction import NOISE, PREDICTIONS, Prediction
from ..math.randomness import RowGenerator
from ..math.sampling import Denoiser, Sampler, Step, ddim_step, final, sample, stepwise
from ..math.schedule import NoiseSchedule, linear_schedule, schedule_from
from ..math.solvers import SAMPLERS
from .compute import Compute, inside
from .drawing import (
    BY_CLASSIFIER,
    GUIDANCES,
    NO_GUIDANCE,
    TRUNCATION,
    Drawn,
    DrawSettings,
    guide_of,
)


class Usual(NamedTuple):
    """How a model is drawn from, if nobody says otherwise."""

    sampler: str = "ddim"
    steps: int = 50


class DiffusionModel(nn.Module):
    """A network ``(x_t, t [B], label [B]) -> what it predicts``, its schedule and its prediction.

    Without more it is DDPM's: noise, under the linear schedule. Called, it is the network itself,
    which refuses times outside 1..T. Its weights carry the network's own names. Raises ValueError
    for a network that predicts noise under a schedule that leaves nothing of x_0 at T: its guess
    of x_0 there would be a division by 0. ``usual`` is the sampler with which it is drawn from, and
    in how many steps, unless others are asked for. ``names`` are those of its classes, if they have
    any: a card tells them as its data's ``classes``.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: NoiseSchedule | None = None,
        prediction: Prediction = NOISE,
        usual: Usual = Usual(),  # noqa: B008 (it cannot be changed)
        names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        checks.instance("network", network, nn.Module)
        checks.instance("prediction", prediction, Prediction)
        self.network, self.prediction, self.usual = network, prediction, Usual(*usual)
        checks.one_of("the usual sampler", self.usual.sampler, SAMPLERS)
        checks.whole("the usual steps", self.usual.steps, 1)
        self.names = tuple(names)
        if self.names and (
            len(self.names) != self.classes or not all(isinstance(name, str) for name in names)
        ):
            raise ValueError(f"names must be {self.classes} texts, one a class, got {names!r}")
        self.schedule = linear_schedule() if schedule is None else schedule
        checks.instance("schedule", self.schedule, NoiseSchedule)
        checks.ends_in_noise(self.schedule, 2)
        alpha_T, sigma_T = self.schedule.alpha[-1:], self.schedule.sigma[-1:]
        a, b = prediction.mixture(alpha_T, sigma_T)
        checks.above_zero(
            "alpha at T",
            alpha_T * b - sigma_T * a,
            f"under {self.schedule} x_0 cannot be read off predicted {prediction.name}; "
            f"predict x0, v or velocity {checks.see('The last steps')}",
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture [C, H, W], or point [2]."""
        return tuple(self.network.shape)  # type: ignore[arg-type]

    @property
    def classes(self) -> int:
        """How many classes can be asked for; 0 if there are none."""
        return int(getattr(self.network, "classes", 0))

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.parameters()).device

    @property
    def limit(self) -> float | None:
        """What x0_hat is limited to: 1 for pictures, nothing for points."""
        return 1.0 if len(self.shape) == 3 else None

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        checks.batch(x_t=x_t)
        t = checks.times(t, x_t, self.schedule.T)
        answer: Tensor = self.network(x_t, t) if label is None else self.network(x_t, t, label)
        return answer

    def denoiser(self, label: Tensor | None = None, clip: float | None = None) -> Denoiser:
        """``(x_t, t) -> x0_hat`` for labels [B], or none; ``clip`` limits x0_hat to -clip..clip.

        Raises ValueError if clip is not above 0.
        """
        if clip is not None:
            clip = checks.positive("clip", clip)

        def denoiser(x_t: Tensor, t: int) -> Tensor:
            answer = self(x_t, torch.full((len(x_t),), t, device=x_t.device), label)
            x0_hat = self.prediction.x0_hat(answer, x_t, t, self.schedule)
            return x0_hat if clip is None else x0_hat.clamp(-clip, clip)

        return denoiser

    def loss(
        self,
        x_0: Tensor,
        generator: torch.Generator | None = None,
        label: Tensor | None = None,
        drop_label: float = 0.1,
        weight: Weight | None = None,
    ) -> Tensor:
        """`prediction_loss` of clean x_0 [B, ...]: what to make small in training.

        ValueError for pictures that do not lie in -1..1, to which drawing limits them.
        """
        checks.examples(x_0=x_0)
        if x_0.ndim == 4:  # a batch of pictures; a compiled network may not know its shape
            checks.in_unit("x_0", x_0)
        kind = self.prediction
        return prediction_loss(self, x_0, self.schedule, kind, generator, label, drop_label, weight)

    def with_network(self, network: nn.Module) -> Self:
        """The same model around another network of its kind, say a faster one."""
        model = copy.copy(self)
        model._modules = {"network": network}
        return model

    # ------------------------------------------------------------------ drawing

    def settled(self, settings: DrawSettings) -> DrawSettings:
        """The settings filled up, usually with 50 steps of DDIM without noise. ValueError for what
        cannot be.

        Truncation is that of the noise at the start.
        """
        sampler = settings.sampler or self.usual.sampler
        steps = min(self.usual.steps, self.schedule.T)
        settings = settings.filled(steps, sampler, _eta(sampler))
        checks.whole("steps", settings.steps, 1, self.schedule.T)
        if sampler != "ddim" and settings.eta != _eta(sampler):
            raise ValueError(f"eta belongs to the sampler ddim, not to {sampler}")
        checks.one_of("guidance of a diffusion model", settings.guidance, [*GUIDANCES, TRUNCATION])
        if settings.guidance == TRUNCATION:
            checks.above("scale, the threshold of truncation,", settings.scale, 0)
            return settings
        if settings.guidance in BY_CLASSIFIER:
            guide_of(self)
        if settings.guidance != "none" and not self.classes:
            raise ValueError("this network knows no classes, so nothing can guide it to one")
        return settings

    def draw(
        self,
        count: int,
        label: Tensor | None,
        generator: RowGenerator,
        settings: DrawSettings,
        compute: Compute,
    ) -> Drawn:
        """See `Drawer`."""
        last = final(self.walk(count, label, generator, settings, compute))
        return Drawn(last.x, last.calls)

    def walk(
        self,
        count: int,
        label: Tensor | None,
        generator: RowGenerator,
        settings: DrawSettings,
        compute: Compute,
    ) -> Iterator[Step]:
        """See `Walker`."""
        counted = Counted(compute.fast(self.network))
        model = self.with_network(counted)
        shape = (count, *self.shape)
        if settings.guidance == TRUNCATION:  # of the noise at the start, the walk is unguided
            denoiser = GUIDANCES[NO_GUIDANCE](model, label, 1.0)
            noise = truncated_normal(shape, settings.scale, generator)
        else:
            denoiser = GUIDANCES[settings.guidance](model, label, settings.scale)
            noise = generator.normal(shape).float()
        x_T = self.schedule.start_std * noise
        walk = sample(
            denoiser,
            x_T,
            self.schedule,
            generator=generator,
            times=settings.times(self.schedule),
            sampler=_sampler(settings),
        )
        for step in walk:
            yield step._replace(calls=counted.calls)

    # ------------------------------------------------------------------ cards

    @property
    def about(self) -> dict[str, Any]:
        """What a card says of it, and `from_card` reads."""
        return {
            "network": getattr(self.network, "kind", type(self.network).__name__),
            "config": getattr(self.network, "config", {}),
            "predicts": self.prediction.name,
            "schedule": self.schedule.config,
            **({} if self.usual == Usual() else {"usual": self.usual._asdict()}),
            **({"data": {"classes": list(self.names)}} if self.names else {}),
        }

    @classmethod
    def from_card(cls, network: nn.Module, card: Mapping[str, Any]) -> Self:
        """The model that a card describes, around its network.

        A card of version 0.1 does not say what is predicted, nor under which schedule: it was
        always noise, under the linear one.
        """
        predicts = card.get("predicts", NOISE.name)
        checks.one_of("what the network predicts", predicts, PREDICTIONS)
        schedule = schedule_from(card["schedule"]) if "schedule" in card else linear_schedule()
        usual, names = Usual(**card.get("usual", {})), card.get("data", {}).get("classes", ())
        return cls(network, schedule, PREDICTIONS[predicts], usual, names)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The network's own."""
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The network's own."""
        return self.network.load_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        inside(state_dict, prefix, "network")
        super()._load_from_state_dict(state_dict, prefix, *args)


class Counted(nn.Module):
    """A network that counts how often it is called."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.calls = network, 0
        for name in ("shape", "classes"):
            if hasattr(network, name):
                setattr(self, name, getattr(network, name))

    def forward(self, *args: Any) -> Tensor:
        self.calls += 1
        answer: Tensor = self.network(*args)
        return answer


def _eta(sampler: str) -> float:
    """How random a sampler is, in DDIM's words."""
    return 1.0 if sampler == "ddpm" else 0.0


def _sampler(settings: DrawSettings) -> Sampler:
    if settings.sampler == "ddim":
        return stepwise(partial(ddim_step, eta=settings.eta or 0.0))
    return SAMPLERS[str(settings.sampler)]
