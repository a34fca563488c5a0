"""Training as a generator: the caller's for-loop plots, samples and stops."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import checks
from ..files import expanded, outlet
from ..math.randomness import RowGenerator, derived, own_numbers
from ..networks.compute import Compute, chosen, plain
from ..networks.diffusion import DiffusionModel
from ..networks.processes import processes
from .average import EMA
from .optimizers import MuonAdamW, Optimizer, Optimizers, optimizers_of
from .states import (
    as_before,
    check_same_run,
    identity_of,
    machine_words,
    read_state,
    restore,
    save_state,
    with_session,
)

Loss = Callable[[nn.Module, Any, torch.Generator], Tensor]
"""(model, batch, generator) -> the number to make small"""

Batches = Callable[[int], Any]
"""The step's number -> its batch"""


class TrainStep(NamedTuple):
    """What `train` yields after each update."""

    step: int  # updates made so far
    loss: Tensor  # of this step's batch, a scalar on the training device
    seconds: float  # spent training, over all runs
    progress: float  # 0..1
    model: nn.Module  # the averaged network: sample from this one


@dataclass(frozen=True)
class TrainOptions:
    """How long to train, how, and where the state is kept; see `train`.

    What is None is what is usual: a recipe's own (`usual`), or `train`'s. Raises ValueError for
    steps and seconds together, and for numbers outside their range.
    """

    steps: int | None = None
    seconds: float | None = None
    optimizer: Optimizer | None = None
    warmup: int | None = None
    ema: float | None = None
    ema_warmup: bool | None = None
    seed: int = 0
    compute: Compute | None = None
    compile: Callable[[nn.Module], Any] | None = None
    checkpoint: Path | str | None = None
    save_every: int = 1000
    identity: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps is not None and self.seconds is not None:
            raise ValueError("give either steps or seconds")
        if not isinstance(self.identity, Mapping):
            raise TypeError(f"identity must be a mapping, got {type(self.identity).__name__}")
        object.__setattr__(self, "identity", checks.written("identity", self.identity))
        if self.compute is not None:
            checks.instance("compute", self.compute, Compute)
        checks.numbers_of(self, checks.whole, "steps", "save_every", low=1)
        checks.numbers_of(self, checks.whole, "warmup", low=0)
        checks.numbers_of(self, checks.whole, "seed", low=0, high=2**63 - 1)
        checks.numbers_of(self, checks.positive, "seconds")
        checks.numbers_of(self, checks.decay, "ema")

    def usual(
        self,
        *,
        steps: int | None = None,
        optimizer: Optimizer | None = None,
        warmup: int | None = None,
        ema: float | None = None,
        ema_warmup: bool | None = None,
        compute: Compute | None = None,
    ) -> "TrainOptions":
        """The same, with these in place of what is None; steps unless seconds are given."""
        return replace(
            self,
            steps=steps if self.steps is None and self.seconds is None else self.steps,
            optimizer=self.optimizer or optimizer,
            warmup=warmup if self.warmup is None else self.warmup,
            ema=ema if self.ema is None else self.ema,
            ema_warmup=ema_warmup if self.ema_warmup is None else self.ema_warmup,
            compute=self.compute or compute,
        )

    def progress(self, step: int, spent: float) -> float:
        """How far the run is after so many updates and seconds, 0..1."""
        share = step / self.steps if self.steps is not None else spent / (self.seconds or math.inf)
        return min(1.0, share)


def train(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    optimizer: Optimizer = MuonAdamW,
    warmup: int = 20,
    ema: float = 0.999,
    seed: int = 0,
    compute: Compute | None = None,
    compile: Callable[[nn.Module], Any] | None = None,
    checkpoint: Path | str | None = None,
    save_every: int = 1000,
    identity: Mapping[str, Any] | None = None,
) -> Iterator[TrainStep]:
    """Train a network for a number of steps, or for a number of seconds; yield after each update.

    ``loss(model, batch, generator)`` is called with ``batches(step)``, moved to the device, and
    random numbers of the step's own. ``final(train(...))`` keeps the last step alone. ``optimizer``
    makes the optimiser for a network: `MuonAdamW`, `adamw`, a class of torch.optim, or a function
    that answers with one; one that is made already will do, too. The learning rate rises over
    ``warmup`` steps, then falls in a line to zero at the end; time the caller spends between steps
    is not counted. With ``steps`` the result depends on the seed alone (on one machine's CPU, bit
    for bit). ``compile`` may be torch.compile: a slow start, then quicker steps where the compiler
    helps.

    With ``checkpoint`` the whole state is written there every ``save_every`` steps and at the end;
    a run goes on from it, and one that was finished yields its last step again. A state may go on
    on another machine or device, in the format that is quick there; with more steps than it was
    begun with the learning rate rises again, and the state's history says so. After an interrupt,
    or any other exception, the same run goes on, too: loop over it once more. A state of another
    network, schedule, prediction, kind of optimiser, batch size or seed is refused, and of another
    ``identity``: what else sets this run apart (settings, the weights it began with), in text,
    numbers, lists and mappings.

    Several `processes` share out each batch and see the same steps; the main one writes, and its
    clock counts, so all must go through the loop alike. (Dropout is drawn by each, and batch norms
    see their process's rows.)

    Raises ValueError unless exactly one of steps and seconds is given and above 0, OSError, in
    words, for a checkpoint that could not be written (before the first step), and
    FloatingPointError if the loss, or what is to be saved, is no longer finite; what was saved
    before stays.
    """
    options = TrainOptions(
        steps=steps,
        seconds=seconds,
        optimizer=optimizer,
        warmup=warmup,
        ema=ema,
        seed=seed,
        compute=compute,
        compile=compile,
        checkpoint=checkpoint,
        save_every=save_every,
        identity={} if identity is None else identity,
    )
    return train_with(model, loss, batches, options)


def train_with(
    model: nn.Module, loss: Loss, batches: Batches, options: TrainOptions
) -> Iterator[TrainStep]:
    """`train`, with its options in one."""
    checks.called("loss", loss, "(model, batch, generator) -> a number that has a gradient")

    def descend(
        network: nn.Module, update: Optimizers, batch: Any, generator: torch.Generator, turn: Turn
    ) -> Tensor:
        update.zero_grad()
        with turn.compute.autocast():
            value = loss(network, batch, generator)
        checks.one_number("loss", value)
        value.backward()
        update.step(turn.factor)
        return value

    return advance(model, descend, batches, options)


class Turn(NamedTuple):
    """What an update gets beside its batch."""

    step: int  # updates made so far
    factor: float  # of the learning rates: rises, then falls to 0
    warm: float  # the same without the fall: rises to 1 and stays there
    compute: Compute


# Of something that an update changes: which part it belongs to, and its place there.
Name = tuple[Any, ...]

Update = Callable[[nn.Module, Optimizers, Any, torch.Generator, Turn], Tensor]
"""(network, optimisers, batch, generator, turn) -> the loss, after the weights were changed"""


def advance(
    model: nn.Module, update: Update, batches: Batches, options: TrainOptions
) -> Iterator[TrainStep]:
    """The loop of `train` around any ``update`` of the weights; see there.

    A run that goes on from a good network may do without the average's warm-up (see `EMA`).
    """
    if options.steps is None and options.seconds is None:
        raise ValueError("give either steps or seconds")
    checks.network("model", model)
    checks.called("batches", batches, "the step's number -> its batch, as shuffled(...) gives")
    usual = options.usual(optimizer=MuonAdamW, warmup=20, ema=0.999, ema_warmup=True)
    return Run(Training(plain(model), update, batches, usual))


class Reached(NamedTuple):
    """How far a run is."""

    step: int = 0
    seconds: float = 0.0
    loss: Tensor = torch.tensor(math.nan)


class Training:
    """A run under way: the network, its average, the optimisers, and how far it is.

    Whatever is raised, and wherever, the run can go on: an update that was not counted is taken
    back (`Before`) and made again, and a step that was counted is saved and handed over before the
    next one is made.
    """

    def __init__(
        self, model: nn.Module, update: Update, batches: Batches, options: TrainOptions
    ) -> None:
        self.model, self.update, self.batches, self.options = model, update, batches, options
        self.shared = processes()
        self.reached = Reached()
        saved = self.shared.from_main(self._read)
        self.compute = self._chosen_compute(saved)
        self.compute.place(model)
        self.shared.copy_([*model.parameters(), *model.buffers()])
        kept = {id(value) for value in model.state_dict(keep_vars=True).values()}
        self.statistics = [buffer for buffer in model.buffers() if id(buffer) in kept]
        assert options.ema is not None
        assert options.warmup is not None
        self.warmup = options.warmup
        self.optimizers = optimizers_of(model, options.optimizer)
        self.average = EMA(model, options.ema, bool(options.ema_warmup))
        about = identity_of(model, self.optimizers, batches, options.seed)
        self.about = about | {"identity": dict(options.identity)}
        self.before = Before()
        if saved is not None:
            self._go_on(saved)
        self.history = self._history({} if saved is None else saved[0])
        # What is there need not be handed over, but for the last step of a run that is finished.
        self.handed: Reached | None = None if self.progress == 1 else self.reached
        self.saved: Reached | None = self.reached

    def _read(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """The state to go on from. Where something is left to write, its place is tried."""
        if not self.options.checkpoint:
            return None
        path = expanded(self.options.checkpoint)
        saved = read_state(path) if os.path.exists(path) else None
        if saved is None or self.options.progress(saved[0]["step"], saved[0]["seconds"]) < 1:
            outlet(path)
        return saved

    def _chosen_compute(self, saved: tuple[dict[str, Any], Any] | None) -> Compute:
        compute = self.options.compute
        if compute is None and saved is not None:
            compute = as_before(saved[0])
        compute = chosen(compute)
        if self.shared.size > 1:
            compute = replace(compute, threads=None)  # the launcher shares out the cores
        return compute

    def _history(self, saved: dict[str, Any]) -> list[dict[str, Any]]:
        """How it has been trained, and how it is from here on, for the state and its card."""
        options = self.options
        budget = {"steps": options.steps} if options.steps else {"seconds": options.seconds}
        session = {
            **budget,
            "compute": self.compute.as_dict(),
            "compiled": options.compile is not None,
            "processes": self.shared.size,
        }
        return with_session(saved, self.reached.step, session)

    def _go_on(self, saved: tuple[dict[str, Any], dict[str, Tensor]]) -> None:
        path = self.options.checkpoint
        assert path is not None
        check_same_run(saved[0], self.about, path)
        step, seconds, loss = restore(saved, path, self.model, self.average, self.optimizers)
        self.reached = Reached(step, seconds, torch.tensor(loss))
        if self.options.steps is not None and step > self.options.steps:
            raise ValueError(
                f"{path} has made {step} steps already, more than the {self.options.steps} that "
                "are wanted; choose another path"
            )

    @property
    def progress(self) -> float:
        return self.options.progress(self.reached.step, self.reached.seconds)

    def next_step(self) -> TrainStep | None:
        """Make an update, if there is one to make; save when it is time; None after the last."""
        if self.handed is self.reached:
            if self.progress == 1:
                return None
            self._advance()
        self._check_and_save()
        step, seconds, loss = self.reached
        self.handed = self.reached
        return TrainStep(step, loss, seconds, self.progress, self.average.model)

    def _advance(self) -> None:
        """One update, counted at once or not at all."""
        if not self._taken_back():
            self.before.take(self._changing(), self.reached)
        start = time.perf_counter()
        loss = self._updated(self._network)
        self.average.update(self.model, self.reached.step)
        if (self.reached.step + 1) % LOOK == 0:
            loss.item()  # a GPU may be behind: until it has caught up it trains, too
        spent = self.reached.seconds + time.perf_counter() - start
        if self.options.seconds is not None:
            spent = self.shared.from_main(partial(float, spent))
        self.reached = Reached(self.reached.step + 1, spent, loss)

    def _taken_back(self) -> bool:
        """Whether an exception came in the middle of the next update; then it is taken back."""
        if self.before.of is not self.reached:
            return False
        self.optimizers.keep_only(self.before.put_back(self._changing()))
        return True

    def save(self) -> int:
        """Save what was reached, if it is not saved yet; how many updates that is."""
        self._taken_back()
        if self.reached.step:
            self._check_and_save(now=True)
        return self.reached.step

    def _changing(self) -> dict[Name, Any]:
        """Everything that an update changes."""
        parts: dict[str, Iterable[Tensor]] = {
            "model": self.model.parameters(),
            "buffers": self.model.buffers(),
            "average": self.average.tensors(),
        }
        networks = {(part, i): x for part in parts for i, x in enumerate(parts[part])}
        return networks | self.optimizers.memory()

    @cached_property
    def _network(self) -> Any:
        """What the loss is given. Of a `DiffusionModel`, whose own methods call the network within,
        that network is compiled.
        """
        model, compile = self.model.train(), self.options.compile
        if compile is None:
            return model
        if isinstance(model, DiffusionModel):
            return model.with_network(compile(model.network))
        return compile(model)

    def _updated(self, network: nn.Module) -> Tensor:
        """One update of the weights; its loss."""
        shared, seed, step = self.shared, self.options.seed, self.reached.step
        device = self.compute.device
        generator = RowGenerator(
            derived(seed, step), device=device, rank=shared.rank, size=shared.size
        )
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        turn = Turn(step, warm * (1 - self.progress), warm, self.compute)
        own = derived(seed, step, 1 + shared.rank)  # not the noise's numbers
        # Dropout draws from torch's own generator; and gradients are needed, whoever asks.
        with own_numbers(own, device), torch.enable_grad(), self.compute.own_threads():
            batch = self.compute.move(shared.rows(self.batches(step)))
            loss = self.update(network, self.optimizers, batch, generator, turn).detach().clone()
        shared.mean_([loss, *self.statistics])
        return loss

    def _check_and_save(self, now: bool = False) -> None:
        """Every so often, and at the end: FloatingPointError for numbers that are not finite."""
        step, seconds, loss = self.reached
        done, path = self.progress == 1, self.options.checkpoint
        save = path is not None and (now or step % self.options.save_every == 0 or done)
        save = save and self.saved is not self.reached
        look = save or done or loss.device.type == "cpu" or step % LOOK == 0
        if look and not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {step}: lower the rate {checks.see('NaN')}"
            )
        if save or done:
            self._check_finite(step)
        if save and self.shared.main:
            assert path is not None
            reached = {"step": step, "seconds": seconds, "loss": loss.item()}
            metadata = {
                **reached,
                **self.about,
                "compute": self.compute.as_dict(),
                "machine": machine_words(),
                "history": self.history,
            }
            save_state(path, self.model, self.average, self.optimizers, metadata)
        if save:
            self.saved = self.reached

    def _check_finite(self, step: int) -> None:
        """A loss may be finite where its gradient is not, and then the weights are none."""
        for (part, *_), x in self._changing().items():
            if not isinstance(x, Tensor) or not x.is_floating_point():
                continue
            broken = x.isnan() if part == "buffers" else ~x.isfinite()  # a mask may be infinite
            if broken.any():
                raise FloatingPointError(
                    f"after step {step} {WHERE[part]} holds numbers that are not finite, though "
                    f"the loss was: nothing was saved; lower the rate {checks.see('NaN')}"
                )


LOOK = 10
"""A GPU works behind the program, which waits for it and its loss every so many steps."""

WHERE = {
    "model": "the network",
    "buffers": "the network",
    "average": "the averaged network",
    "optimizer": "the optimiser's memory",
}


class Before:
    """What an update changes, as it was before: a run that was interrupted in one takes it back."""

    def __init__(self) -> None:
        self.of: Any = None
        self._copies: dict[Name, Tensor] = {}
        self._values: dict[Name, Any] = {}

    @torch.no_grad()
    def take(self, changing: dict[Name, Any], of: Any) -> None:
        """Copy tensors and other values, which belong to ``of``."""
        self.of = None  # for as long as the copies are of two minds
        tensors = {name: x for name, x in changing.items() if isinstance(x, Tensor)}
        alike = self._copies.keys() == tensors.keys() and all(
            (copy.shape, copy.dtype) == (tensors[name].shape, tensors[name].dtype)
            for name, copy in self._copies.items()
        )
        if not alike:
            self._copies = {name: torch.empty_like(x) for name, x in tensors.items()}
        if tensors:
            torch._foreach_copy_(list(self._copies.values()), list(tensors.values()))
        self._values = {name: x for name, x in changing.items() if name not in tensors}
        self.of = of

    @torch.no_grad()
    def put_back(self, changing: dict[Name, Any]) -> dict[Name, Any]:
        """Give the tensors their old numbers; all that there was before, by name."""
        for name, copy in self._copies.items():
            changing[name].copy_(copy)
        return {**self._values, **{name: changing[name] for name in self._copies}}


class Plan(NamedTuple):
    """What a run is to do; None for what it does not know beforehand."""

    steps: int | None
    done: int  # of them
    seconds: float | None  # that are left, if a run has seconds instead of steps
    batch_size: int | None
    rows: int | None  # of the data


class Run(Iterator[TrainStep]):
    """The steps of a training. One that was interrupted, or failed, can go on: loop over it again.

    (A bare generator is spent once an exception has left it: the same loop would end at once and
    say nothing.)
    """

    def __init__(self, training: Training) -> None:
        self._training = training

    @property
    def plan(self) -> "Plan":
        """What is to be done, and how much of it is."""
        about = getattr(self._training.batches, "about", {})
        seconds = self._training.options.seconds
        return Plan(
            self._training.options.steps,
            self._training.reached.step,
            None if seconds is None else max(0.0, seconds - self._training.reached.seconds),
            about.get("batch_size"),
            about.get("rows"),
        )

    def save(self) -> int:
        """Write the state of a run that was stopped to its checkpoint; how many updates it made."""
        return self._training.save()

    def __next__(self) -> TrainStep:
        training, handed = self._training, self._training.handed
        try:
            step = training.next_step()
            if step is not None:
                return step
        except BaseException:  # on its way to the caller it may be stopped, too
            training.handed = handed
            raise
        raise StopIteration


def watch(run: Iterator[TrainStep], label: str = "training") -> Iterator[TrainStep]:
    """The same steps, with a progress bar that shows the loss (in a notebook or a terminal).

    It moves fifty times, however long the training. In a notebook each move is three messages, and
    of thousands the last are lost to a program that reads them only when the cell has ended. Like
    the run itself it goes on after an exception.
    """
    return Watched(run, label)


class Watched(Iterator[TrainStep]):
    """The steps of a run behind a progress bar, made by `watch`."""

    def __init__(self, run: Iterator[TrainStep], label: str) -> None:
        self._run, self._label = iter(run), label
        self._bar: Any = None

    def __next__(self) -> TrainStep:
        try:
            if self._bar is None:
                self._open()
            step = next(self._run)
            self._show(step)
        except BaseException:
            if self._bar is not None:
                self._bar.close()
            self._bar = None
            raise
        return step

    def _open(self) -> None:
        from tqdm.auto import tqdm

        layout = "{desc} {percentage:3.0f}% {bar} {elapsed}<{remaining}{postfix}"
        silent = not processes().main
        self._shown, self._smooth = 0, math.nan
        self._bar = tqdm(
            total=100, desc=self._label, bar_format=layout, leave=False, disable=silent
        )

    def _show(self, step: TrainStep) -> None:
        percent = 2 * int(50 * step.progress)
        if percent > self._shown:
            value = step.loss.item()
            self._smooth = value if math.isnan(self._smooth) else 0.8 * self._smooth + 0.2 * value
            self._bar.set_postfix_str(f"step {step.step}, loss {self._smooth:.4f}", refresh=False)
            self._bar.update(percent - self._shown)
            self._shown = percent
