"""Losses, and training as a generator: the caller's for-loop plots, samples and stops."""

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from . import checks
from .compute import Compute, fastest, product_format
from .files import aside
from .gaussian import Gaussian, Share, forward, kl_divergence, own_rows, randn_like
from .processes import Processes, processes
from .schedule import NoiseSchedule, widest_float

Loss = Callable[[nn.Module, Any, torch.Generator], Tensor]
"""(model, batch, generator) -> the number to make small"""


def noise_prediction_loss(
    model: nn.Module,
    x_0: Tensor,
    schedule: NoiseSchedule,
    generator: torch.Generator | None = None,
    label: Tensor | None = None,
    drop_label: float = 0.1,
) -> Tensor:
    """L_simple (DDPM eq. 14): mean squared error of the predicted noise at random times 1..T.

    With labels [B] the model is called ``model(x_t, t, label)``, and a share ``drop_label`` of them
    is replaced by the null label ``model.classes``, so that the network also learns "any class".
    """
    checks.batch(x_0=x_0)
    checks.share("drop_label", drop_label)
    device = generator.device if generator is not None else x_0.device
    t = random_times(len(x_0), schedule.T, generator).to(x_0.device)
    q = forward(x_0, 0, t, schedule)
    noise = randn_like(x_0, generator)
    x_t = q.mean + q.std * noise
    if label is None:
        return (model(x_t, t) - noise).square().mean()
    checks.rows("label", label, len(x_0))
    draw = partial(torch.rand, generator=generator, device=device)
    drop = own_rows(draw, (len(x_0),), generator).to(x_0.device) < drop_label
    label = label.masked_fill(drop, int(model.classes))  # type: ignore[arg-type]
    return (model(x_t, t, label) - noise).square().mean()


def vae_loss(
    model: nn.Module,
    x: Tensor,
    generator: torch.Generator | None = None,
    label: Tensor | None = None,
) -> Tensor:
    """The negative ELBO of a VAE in nats a picture (Kingma & Welling, arXiv 1312.6114, eq. 7).

    Two terms: how badly the decoder explains the pictures x [B, ...] in -1..1, and how far the
    encoder's q(z | x) is from the standard normal. The pixels' greys are taken for probabilities of
    ink, an old custom for MNIST: with greys it is no true likelihood, but it trains well.
    """
    checks.batch(2, x=x)
    shape = (len(x), int(model.latent))  # type: ignore[arg-type]
    noise = randn_like(x.new_empty(shape), generator)
    mean, std, logits = model(x, noise, label)
    ink = (x + 1) / 2
    explained = F.binary_cross_entropy_with_logits(logits.float(), ink, reduction="none")
    mean, std = mean.float(), std.float()
    normal = Gaussian(torch.zeros_like(mean), torch.ones_like(std))
    far = kl_divergence(Gaussian(mean, std), normal)  # [B]
    return (explained.flatten(1).sum(1) + far).mean()


def random_times(n: int, T: int, generator: torch.Generator | None = None) -> Tensor:
    """n times in 1..T, each uniform, int64 [n]: one random offset, then evenly spaced.

    Every batch then meets all noise levels, and its loss varies less than with n independent draws
    (Kingma et al., arXiv 2107.00630, appendix I.1).
    """
    checks.amount("n", n)
    checks.whole("T", T, 1)
    device = generator.device if generator is not None else torch.device("cpu")
    dtype = widest_float(device)

    def evenly(shape: Sequence[int]) -> Tensor:
        offset = torch.rand((), generator=generator, device=device, dtype=dtype)
        return (offset + torch.arange(*shape, device=device, dtype=dtype) / shape[0]) % 1

    u = own_rows(evenly, (n,), generator)
    return 1 + (u * T).long().clamp(max=T - 1)


def shuffled(*tensors: Tensor, batch_size: int = 64, seed: int = 0) -> Callable[[int], Any]:
    """Endless batches of rows: a function from the step's number to a tuple of tensors.

    Each pass over the data has an order of its own, which depends on the seed and the pass alone,
    so that a run which resumes at step n sees the batches it would have seen. Raises ValueError if
    the tensors differ in length or are shorter than one batch.
    """
    if not tensors:
        raise ValueError("give at least one tensor")
    for tensor in tensors:
        checks.tensor("each of tensors", tensor)
        if not tensor.ndim:
            raise ValueError("each of tensors must have rows, got a single number")
    n = len(tensors[0])
    if any(len(tensor) != n for tensor in tensors):
        raise ValueError(f"tensors of different lengths: {[len(tensor) for tensor in tensors]}")
    checks.whole("batch_size", batch_size, 1, n)
    checks.whole("seed", seed, 0, 2**63 - 1)
    per_pass = n // batch_size
    order: dict[int, Tensor] = {}

    def batch(step: int) -> tuple[Tensor, ...]:
        number, i = divmod(step, per_pass)
        if number not in order:
            order.clear()
            g = step_generator(seed, number)
            order[number] = torch.randperm(n, generator=g).to(tensors[0].device)
        rows = order[number][i * batch_size : (i + 1) * batch_size]
        return tuple(tensor[rows] for tensor in tensors)

    return batch


def step_generator(
    seed: int, step: int, device: torch.device | str = "cpu", shared: Processes | None = None
) -> torch.Generator:
    """Random numbers that belong to one step of one run, whatever happened before it.

    For processes that share the step they are a `Share`.
    """
    generator = torch.Generator(device)
    if shared is not None and shared.size > 1:
        generator = share = Share(device)
        share.rank, share.size = shared.rank, shared.size
    return generator.manual_seed((seed * 1_000_003 + step) % 2**63)


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is made orthogonal (Jordan et al. 2024), so that a weight matrix
    learns in all directions at one pace. A convolution counts as the matrix [out, in*height*width].

    The same update as ``torch.optim.Muon`` without weight decay, but matrices of one shape go
    through the iteration together, which on two CPU cores made it three to seven times as fast.
    """

    def __init__(self, weights: list[Tensor], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad.flatten(1) for weight in weights]
            for weight, gradient in zip(weights, gradients, strict=True):
                if not self.state[weight]:
                    self.state[weight]["momentum"] = torch.zeros_like(gradient)
            averages = [self.state[weight]["momentum"] for weight in weights]
            torch._foreach_lerp_(averages, gradients, 1 - momentum)
            # Nesterov's momentum: look one step ahead.
            directions = torch._foreach_lerp(gradients, averages, momentum)
            by_shape: dict[torch.Size, list[int]] = {}
            for i, direction in enumerate(directions):
                by_shape.setdefault(direction.shape, []).append(i)
            for (rows, columns), members in by_shape.items():
                updates = orthogonalize(torch.stack([directions[i] for i in members]))
                rate = lr * max(1.0, rows / columns) ** 0.5
                for i, update in zip(members, updates, strict=True):
                    weights[i].sub_(update.view(weights[i].shape), alpha=rate)


def orthogonalize(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Matrices [N, R, C] -> about the nearest with singular values 1.

    A Newton-Schulz iteration: an odd polynomial of each matrix that moves its singular values
    into 0.7..1.2 and leaves its singular vectors alone. It may be rough, so it is in bfloat16 where
    that is quick, and in float32 elsewhere (`product_format`).
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    X = matrices if wide else matrices.mT
    X = X.to(product_format(X.device))
    X = X / X.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        A = X @ X.mT
        B = torch.baddbmm(A, A, A, beta=-4.7750, alpha=2.0315)
        X = torch.baddbmm(X, B, X, beta=3.4445)
    return X if wide else X.mT


class Optimizers:
    """Optimisers that share out a network's weights; their rates rise and fall together."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self.optimizers = optimizers
        self._lr = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def step(self, factor: float, only: nn.Module | None = None) -> None:
        """One update with the learning rates multiplied by ``factor``.

        With ``only`` step the optimisers that hold weights of that network alone. Several processes
        first take the mean of their gradients.
        """
        told = list(zip(self.optimizers, self._lr, strict=True))
        if only is not None:
            chosen = {id(weight) for weight in only.parameters()}
            told = [pair for pair in told if chosen.issuperset(map(id, _weights(pair[0])))]
        weights = [weight for optimizer, _ in told for weight in _weights(optimizer)]
        processes().mean_([weight.grad for weight in weights if weight.grad is not None])
        for optimizer, lr in told:
            optimizer.param_groups[0]["lr"] = lr * factor
            optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """The optimisers' memory, for a checkpoint."""
        found: dict[str, Tensor] = {}
        for i, optimizer in enumerate(self.optimizers):
            for j, state in optimizer.state_dict()["state"].items():
                found |= {f"{i}.{j}.{key}": torch.as_tensor(value) for key, value in state.items()}
        return found

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Undo `tensors`."""
        for i, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                number, j, key = name.split(".")
                if int(number) == i:
                    state.setdefault(int(j), {})[key] = tensor
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def inner_weights(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """A network's weights that suit `Muon`, and all others.

    Those of convolutions and linear layers suit it. Embeddings, norms, biases do not, nor do layers
    that lie in a part named ``input``, ``output`` or ``time``.
    """
    inner = [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
        and {"input", "output", "time"}.isdisjoint(name.split("."))
    ]
    chosen = {id(weight) for weight in inner}
    return inner, [weight for weight in model.parameters() if id(weight) not in chosen]


class MuonAdamW(Optimizers):
    """`Muon` for a network's `inner_weights`, AdamW for all others."""

    def __init__(self, model: nn.Module, lr: float = 0.02, adamw_lr: float = 2e-3) -> None:
        inner, rest = inner_weights(model)
        adamw = torch.optim.AdamW(
            rest, lr=adamw_lr, betas=(0.9, 0.99), weight_decay=0.0, foreach=True
        )
        super().__init__(adamw, *([Muon(inner, lr)] if inner else []))


def adamw(lr: float = 2e-3) -> Callable[[nn.Module], Optimizers]:
    """Plain AdamW for everything: quicker a step than `MuonAdamW` where a network is small."""

    def optimizers(model: nn.Module) -> Optimizers:
        betas = (0.9, 0.99)
        return Optimizers(
            torch.optim.AdamW(model.parameters(), lr, betas, weight_decay=0.0, foreach=True)
        )

    return optimizers


class EMA:
    """A running average of a network's weights, which samples better than the weights themselves.

    The average forgets with ``decay`` a step. With ``warmup`` it forgets faster at first, by
    min(decay, (1 + n) / (10 + n)): for a network that begins with weights worth forgetting. The
    parts that a network names in ``not_averaged`` are copied as they are.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999, warmup: bool = True) -> None:
        checks.real("decay", decay)
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in 0..1 and below 1, got {decay}")
        self.decay = decay
        self.warmup = warmup
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the network's weights, ``step`` updates having been made."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for average, now in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(now)
        for name in getattr(model, "not_averaged", ()):
            self.model.get_submodule(name).load_state_dict(model.get_submodule(name).state_dict())


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
    about = _about(model, optimizers, seed) | {"identity": dict(identity or {})}
    step, spent = 0, 0.0
    if saved is not None:
        assert checkpoint is not None
        _check_same_run(saved[0], about, checkpoint)
        step, spent, last_loss = _load_state(saved, checkpoint, model, average, optimizers)
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
                _save_state(
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


def _save_state(
    path: Path | str,
    model: nn.Module,
    average: EMA,
    optimizers: Optimizers,
    metadata: dict[str, Any],
) -> None:
    parts = {"model": model.state_dict(), "ema": average.model.state_dict()}
    parts["optimizer"] = optimizers.tensors()
    tensors = {
        f"{part}/{key}": value.detach().contiguous().cpu().clone()
        for part, state in parts.items()
        for key, value in state.items()
    }
    metadata = metadata | {"sha256": _digest(tensors, metadata)}
    # A run killed here leaves the last whole file in its place.
    with aside(path) as unfinished:
        save_file(tensors, unfinished, metadata={"training": json.dumps(metadata)})


def _digest(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> str:
    rest = {key: value for key, value in metadata.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        x = tensors[name]
        digest.update(f"{name} {x.dtype} {list(x.shape)}".encode())
        digest.update(x.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_state(path: Path | str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a training state tells of itself (step, seconds, loss, network, ...), and its tensors.

    FileNotFoundError if it is not there, ValueError if it is damaged.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} is not there")
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, Any] = json.loads(file.metadata()["training"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["sha256"] != _digest(tensors, metadata):
            raise ValueError("the checksum is wrong")
    except Exception as error:
        raise ValueError(
            f"{path} is not a whole training state; delete it to start the training anew"
        ) from error
    return metadata, tensors


def _about(model: nn.Module, optimizers: Optimizers, seed: int) -> dict[str, Any]:
    """What a run must share with the state that it goes on from."""
    return {
        "network": f"{type(model).__name__} {json.dumps(getattr(model, 'config', {}))}",
        "optimizers": [type(optimizer).__name__ for optimizer in optimizers.optimizers],
        "seed": seed,
    }


def _check_same_run(found: dict[str, Any], wanted: dict[str, Any], path: Path | str) -> None:
    for name, value in wanted.items():
        if found.get(name, value) != value:  # states of older versions do not say it
            raise ValueError(
                f"{path} holds the training of another {name}: {found[name]!r}, not {value!r}; "
                "delete it or choose another path"
            )


def _load_state(
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
        average.model.load_state_dict(parts["ema"])
    except RuntimeError as error:
        raise ValueError(
            f"{path} holds the training of another network; delete it or choose another path"
        ) from error
    optimizers.load_tensors(parts["optimizer"])
    return metadata["step"], metadata["seconds"], metadata["loss"]
