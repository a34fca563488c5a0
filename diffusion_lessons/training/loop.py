"""Training as a generator: the caller's for-loop plots, samples and stops."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import checks
from ..networks.compute import Compute, fastest
from ..networks.processes import processes
from .average import EMA
from .batches import step_generator
from .losses import Loss
from .optimizers import MuonAdamW, Optimizers
from .states import check_same_run, identity_of, read_state, restore, save_state


class TrainStep(NamedTuple):
    """What `train` tells after each update."""

    step: int  # updates made so far
    loss: Tensor  # of this step's batch, a scalar on the training device
    seconds: float  # spent training, over all runs
    progress: float  # 0..1
    model: nn.Module  # the averaged network: sample from this one


def train(
    model: nn.Module,
    loss: Loss,
    batches: Callable[[int], Any],
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
    kind of optimiser or seed is refused, and of another ``identity``: what else sets this run apart
    (settings, the weights it began with).

    Several `processes` share out each batch and see the same steps; the main one writes, and its
    clock counts, so all must go through the loop alike. (Dropout is drawn by each, and batch norms
    see their process's rows.)

    Raises ValueError unless exactly one of steps and seconds is given and above 0, and
    FloatingPointError if the loss is no longer a finite number.
    """

    def descend(
        network: nn.Module, update: Optimizers, batch: Any, generator: torch.Generator, turn: Turn
    ) -> Tensor:
        update.zero_grad()
        with turn.compute.autocast():
            value = loss(network, batch, generator)
        value.backward()
        update.step(turn.factor)
        return value

    budget = {"steps": steps, "seconds": seconds, "seed": seed, "compute": compute}
    files = {"checkpoint": checkpoint, "save_every": save_every, "identity": identity}
    how = {"optimizer": optimizer, "warmup": warmup, "ema": ema, "compile": compile}
    return advance(model, descend, batches, **budget, **how, **files)  # type: ignore[arg-type]


class Turn(NamedTuple):
    """What an update is told beside its batch."""

    step: int  # updates made so far
    factor: float  # of the learning rates: rises, then falls to 0
    warm: float  # the same without the fall: rises to 1 and stays there
    compute: Compute


Update = Callable[[nn.Module, Optimizers, Any, torch.Generator, Turn], Tensor]
"""(network, optimisers, batch, generator, turn) -> the loss, after the weights were changed"""


def advance(
    model: nn.Module,
    update: Update,
    batches: Callable[[int], Any],
    *,
    optimizer: Callable[[nn.Module], Optimizers],
    steps: int | None = None,
    seconds: float | None = None,
    warmup: int = 20,
    ema: float = 0.999,
    ema_warmup: bool = True,
    seed: int = 0,
    compute: Compute | None = None,
    compile: Callable[[nn.Module], Any] | None = None,
    checkpoint: Path | str | None = None,
    save_every: int = 1000,
    identity: Mapping[str, str] | None = None,
) -> Iterator[TrainStep]:
    """The loop of `train` around any ``update`` of the weights; see there.

    A run that goes on from a good network may do without the average's warm-up (see `EMA`).
    """
    if (steps is None) == (seconds is None):
        raise ValueError("give either steps or seconds")
    if not isinstance(identity, Mapping | None):
        raise TypeError(f"identity must be a mapping, got {type(identity).__name__}")
    if steps is not None:
        checks.whole("steps", steps, 1)
    else:
        checks.positive("seconds", seconds)
    checks.whole("warmup", warmup, 0)
    checks.whole("seed", seed, 0, 2**63 - 1)
    checks.whole("save_every", save_every, 1)
    budget = steps if steps is not None else seconds
    assert budget is not None
    shared = processes()

    def read() -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        return read_state(checkpoint) if checkpoint and Path(checkpoint).exists() else None

    saved = shared.from_main(read)
    if saved is not None:
        compute = compute or Compute.from_dict(saved[0]["compute"])
    compute = compute or fastest()
    if shared.size > 1:
        compute = replace(compute, threads=None)  # the launcher shares out the cores
    compute.place(model)
    shared.copy_([*model.parameters(), *model.buffers()])
    statistics = [b for name, b in model.named_buffers() if name in model.state_dict()]
    optimizers = optimizer(model)
    average = EMA(model, ema, ema_warmup)
    about = identity_of(model, optimizers, seed) | {"identity": dict(identity or {})}
    step, spent = 0, 0.0
    if saved is not None:
        assert checkpoint is not None
        check_same_run(saved[0], about, checkpoint)
        step, spent, last_loss = restore(saved, checkpoint, model, average, optimizers)
        if step >= budget if steps is not None else spent >= budget:
            return iter([TrainStep(step, torch.tensor(last_loss), spent, 1.0, average.model)])
    model.train()
    network = model if compile is None else compile(model)
    devices = [torch.cuda.current_device()] if compute.device.type == "cuda" else []

    def updates() -> Iterator[TrainStep]:
        nonlocal step, spent
        while (progress := (step / steps if steps is not None else spent / budget)) < 1:
            start = time.perf_counter()
            generator = step_generator(seed, step, compute.device, shared)
            warm = min(1.0, (step + 1) / max(1, warmup))
            turn = Turn(step, warm * (1 - progress), warm, compute)
            with torch.random.fork_rng(devices):  # dropout draws from torch's own generator
                dropout_seed = generator.initial_seed() ^ 0x5EED  # not the noise's numbers
                torch.manual_seed(dropout_seed + 1_000_003 * shared.rank)
                batch = compute.move(shared.rows(batches(step)))
                value = update(network, optimizers, batch, generator, turn).detach().clone()
            shared.mean_([value, *statistics])
            average.update(model, step)
            step += 1
            spent += time.perf_counter() - start
            if seconds is not None:
                spent = shared.from_main(partial(float, spent))
            done = min(1.0, step / steps if steps is not None else spent / budget)
            save = checkpoint is not None and (step % save_every == 0 or done == 1)
            if (save or done == 1 or step % 100 == 0) and not math.isfinite(value.item()):
                raise FloatingPointError(
                    f"the loss is {value.item()} at step {step}: lower the rate"
                )
            if save and shared.main:
                assert checkpoint is not None
                told = {"step": step, "seconds": spent, "loss": value.item(), **about}
                save_state(
                    checkpoint, model, average, optimizers, told | {"compute": compute.as_dict()}
                )
            yield TrainStep(step, value, spent, done, average.model)

    return Run(updates)


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
