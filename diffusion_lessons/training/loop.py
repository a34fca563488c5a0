"""Training as a generator: the caller's for-loop plots, samples and stops."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import checks
from ..files import expanded, outlet
from ..math.randomness import RowGenerator, derived
from ..networks.compute import Compute, fastest
from ..networks.diffusion import DiffusionModel
from ..networks.processes import processes
from .average import EMA
from .optimizers import MuonAdamW, Optimizers
from .states import check_same_run, identity_of, read_state, restore, save_state

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
    optimizer: Callable[[nn.Module], Optimizers] | None = None
    warmup: int | None = None
    ema: float | None = None
    ema_warmup: bool | None = None
    seed: int = 0
    compute: Compute | None = None
    compile: Callable[[nn.Module], Any] | None = None
    checkpoint: Path | str | None = None
    save_every: int = 1000
    identity: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps is not None and self.seconds is not None:
            raise ValueError("give either steps or seconds")
        if not isinstance(self.identity, Mapping):
            raise TypeError(f"identity must be a mapping, got {type(self.identity).__name__}")
        if self.steps is not None:
            checks.whole("steps", self.steps, 1)
        if self.seconds is not None:
            checks.positive("seconds", self.seconds)
        if self.warmup is not None:
            checks.whole("warmup", self.warmup, 0)
        if self.ema is not None:
            checks.decay("decay", self.ema)
        checks.whole("seed", self.seed, 0, 2**63 - 1)
        checks.whole("save_every", self.save_every, 1)

    def usual(
        self,
        *,
        steps: int | None = None,
        optimizer: Callable[[nn.Module], Optimizers] | None = None,
        warmup: int | None = None,
        ema: float | None = None,
        ema_warmup: bool | None = None,
        compute: Compute | None = None,
    ) -> "TrainOptions":
        """The same, with these in the place of what is None; steps unless seconds are given."""
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
    optimizer: Callable[[nn.Module], Optimizers] = MuonAdamW,
    warmup: int = 20,
    ema: float = 0.999,
    seed: int = 0,
    compute: Compute | None = None,
    compile: Callable[[nn.Module], Any] | None = None,
    checkpoint: Path | str | None = None,
    save_every: int = 1000,
    identity: Mapping[str, str] | None = None,
) -> Iterator[TrainStep]:
    """Train a network for a number of steps, or for a number of seconds; yield after each update.

    ``loss(model, batch, generator)`` is called with ``batches(step)``, moved to the device, and
    random numbers of the step's own. The learning rate rises over ``warmup`` steps, then falls in
    a line to zero at the end; time the caller spends between steps is not counted. With ``steps``
    the result depends on the seed alone (on a CPU, bit for bit). ``compile`` may be torch.compile:
    a slow start, then quicker steps where the compiler helps.

    With ``checkpoint`` the whole state is written there every ``save_every`` steps and at the end;
    a run goes on from it, and one that was finished yields its last step again. After a
    KeyboardInterrupt the same run goes on, too: loop over it once more. A state of another network,
    schedule, prediction, kind of optimiser, batch size or seed is refused, and of another
    ``identity``: what else sets this run apart (settings, the weights it began with).

    Several `processes` share out each batch and see the same steps; the main one writes, and its
    clock counts, so all must go through the loop alike. (Dropout is drawn by each, and batch norms
    see their process's rows.)

    Raises ValueError unless exactly one of steps and seconds is given and above 0, OSError, in
    words, for a checkpoint that could not be written (before the first step), and
    FloatingPointError if the loss is no longer a finite number.
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

    def descend(
        network: nn.Module, update: Optimizers, batch: Any, generator: torch.Generator, turn: Turn
    ) -> Tensor:
        update.zero_grad()
        with turn.compute.autocast():
            value = loss(network, batch, generator)
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
    usual = options.usual(optimizer=MuonAdamW, warmup=20, ema=0.999, ema_warmup=True)
    training = Training(model, update, batches, usual)
    return training.finished() or Run(training.updates)


class Training:
    """A run under way: the network, its average, the optimisers, and how far it is."""

    def __init__(
        self, model: nn.Module, update: Update, batches: Batches, options: TrainOptions
    ) -> None:
        self.model, self.update, self.batches, self.options = model, update, batches, options
        self.shared = processes()
        self.step, self.spent = 0, 0.0
        self.last_loss = math.nan
        saved = self.shared.from_main(self._read)
        self.compute = self._chosen_compute(saved)
        self.compute.place(model)
        self.shared.copy_([*model.parameters(), *model.buffers()])
        kept = {id(value) for value in model.state_dict(keep_vars=True).values()}
        self.statistics = [buffer for buffer in model.buffers() if id(buffer) in kept]
        assert options.optimizer is not None
        assert options.ema is not None
        assert options.warmup is not None
        self.warmup = options.warmup
        self.optimizers = options.optimizer(model)
        self.average = EMA(model, options.ema, bool(options.ema_warmup))
        about = identity_of(model, self.optimizers, batches, options.seed)
        self.about = about | {"identity": dict(options.identity)}
        if saved is not None:
            self._go_on(saved)

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
            compute = Compute.from_dict(saved[0]["compute"])
        compute = compute or fastest()
        if self.shared.size > 1:
            compute = replace(compute, threads=None)  # the launcher shares out the cores
        return compute

    def _go_on(self, saved: tuple[dict[str, Any], dict[str, Tensor]]) -> None:
        path = self.options.checkpoint
        assert path is not None
        check_same_run(saved[0], self.about, path)
        self.step, self.spent, self.last_loss = restore(
            saved, path, self.model, self.average, self.optimizers
        )

    @property
    def progress(self) -> float:
        return self.options.progress(self.step, self.spent)

    def finished(self) -> Iterator[TrainStep] | None:
        """The last step of a run that was finished before; None if there is something to do."""
        if self.progress < 1:
            return None
        if self.options.steps is not None and self.step > self.options.steps:
            raise ValueError(
                f"{self.options.checkpoint} has made {self.step} steps already, more than the "
                f"{self.options.steps} that are wanted; choose another path"
            )
        loss = torch.tensor(self.last_loss)
        return iter([TrainStep(self.step, loss, self.spent, 1.0, self.average.model)])

    def updates(self) -> Iterator[TrainStep]:
        """The updates that are left to make."""
        self.model.train()
        network = self._compiled()
        while self.progress < 1:
            start = time.perf_counter()
            loss = self._updated(network)
            self.average.update(self.model, self.step)
            self.step += 1
            self.spent += time.perf_counter() - start
            if self.options.seconds is not None:
                self.spent = self.shared.from_main(partial(float, self.spent))
            self._check_and_save(loss)
            yield TrainStep(self.step, loss, self.spent, self.progress, self.average.model)

    def _compiled(self) -> Any:
        """What the loss is given. Of a `DiffusionModel`, whose own methods call the network within,
        that network is compiled.
        """
        model, compile = self.model, self.options.compile
        if compile is None:
            return model
        if isinstance(model, DiffusionModel):
            return model.with_network(compile(model.network))
        return compile(model)

    def _updated(self, network: nn.Module) -> Tensor:
        """One update of the weights; its loss."""
        shared, seed = self.shared, self.options.seed
        generator = RowGenerator(
            derived(seed, self.step), device=self.compute.device, rank=shared.rank, size=shared.size
        )
        warm = min(1.0, (self.step + 1) / max(1, self.warmup))
        turn = Turn(self.step, warm * (1 - self.progress), warm, self.compute)
        devices = [torch.cuda.current_device()] if self.compute.device.type == "cuda" else []
        with torch.random.fork_rng(devices):  # dropout draws from torch's own generator
            torch.manual_seed(derived(seed, self.step, 1 + shared.rank))  # not the noise's numbers
            batch = self.compute.move(shared.rows(self.batches(self.step)))
            loss = self.update(network, self.optimizers, batch, generator, turn).detach().clone()
        shared.mean_([loss, *self.statistics])
        return loss

    def _check_and_save(self, loss: Tensor) -> None:
        """Every so often, and at the end: FloatingPointError for a loss that is not finite."""
        done, path = self.progress == 1, self.options.checkpoint
        save = path is not None and (self.step % self.options.save_every == 0 or done)
        if (save or done or self.step % 100 == 0) and not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.step}: lower the rate"
            )
        if save and self.shared.main:
            assert path is not None
            reached = {"step": self.step, "seconds": self.spent, "loss": loss.item()}
            metadata = {**reached, **self.about, "compute": self.compute.as_dict()}
            save_state(path, self.model, self.average, self.optimizers, metadata)


class Run(Iterator[TrainStep]):
    """The steps of a training. One that was interrupted (the stop button, Ctrl-C) can go on.

    A bare generator is spent once an exception has left it: the same loop, run again, would end at
    once and say nothing.
    """

    def __init__(self, updates: Callable[[], Iterator[TrainStep]]) -> None:
        self._updates, self._steps = updates, updates()

    def __next__(self) -> TrainStep:
        try:
            return next(self._steps)
        except KeyboardInterrupt:
            self._steps = self._updates()
            raise


def watch(run: Iterator[TrainStep], label: str = "training") -> Iterator[TrainStep]:
    """The same steps, with a progress bar that shows the loss (in a notebook or a terminal).

    It moves fifty times, however long the training. In a notebook each move is three messages, and
    of thousands the last are lost to a program that reads them only when the cell has ended.
    """
    from tqdm.auto import tqdm

    layout = "{desc} {percentage:3.0f}% {bar} {elapsed}<{remaining}{postfix}"
    shown, smooth = 0, math.nan
    silent = not processes().main
    with tqdm(total=100, desc=label, bar_format=layout, leave=False, disable=silent) as bar:
        for step in run:
            percent = 2 * int(50 * step.progress)
            if percent > shown:
                value = step.loss.item()
                smooth = value if math.isnan(smooth) else 0.8 * smooth + 0.2 * value
                bar.set_postfix_str(f"step {step.step}, loss {smooth:.4f}", refresh=False)
                bar.update(percent - shown)
                shown = percent
            yield step
