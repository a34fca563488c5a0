"""The one place that chooses device, number format and memory layout, by measuring them."""

import contextlib
import math
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from .processes import processes


@dataclass(frozen=True)
class Compute:
    """Where and how networks run.

    ``dtype`` is what convolutions and matrix products are done in (through autocast, the weights
    stay float32); ``memory_format`` is how pictures lie in memory; ``threads`` is how many of the
    processor's cores torch uses (None leaves that alone).
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    memory_format: torch.memory_format = torch.contiguous_format
    threads: int | None = None

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which a network should be called."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def place(self, model: nn.Module) -> nn.Module:
        """Move a network to the device, its convolution weights in the chosen layout.

        Also gives torch the chosen number of threads.
        """
        if self.threads is not None and self.threads != torch.get_num_threads():
            torch.set_num_threads(self.threads)
        model.to(self.device)
        return model.to(memory_format=self.memory_format)  # type: ignore[call-overload]

    def move(self, value: Any) -> Any:
        """Tensors, alone or in a tuple, moved to the device, pictures in the chosen layout."""
        if isinstance(value, tuple):
            return tuple(self.move(part) for part in value)
        if not isinstance(value, Tensor):
            return value
        if value.ndim == 4:
            return value.to(self.device, memory_format=self.memory_format)
        return value.to(self.device)

    def fast(self, model: nn.Module) -> nn.Module:
        """The network, placed, and called in the chosen format wherever its inputs lie."""
        return model if isinstance(model, Fast) else Fast(model, self)

    def as_dict(self) -> dict[str, Any]:
        """The choice in words, for checkpoints and reports."""
        return {
            "device": self.device.type,
            "dtype": str(self.dtype).removeprefix("torch."),
            "memory_format": str(self.memory_format).removeprefix("torch."),
            "threads": self.threads,
        }

    @classmethod
    def from_dict(cls, words: dict[str, Any]) -> "Compute":
        """Undo `as_dict`."""
        return cls(
            torch.device(words["device"]),
            getattr(torch, words["dtype"]),
            getattr(torch, words["memory_format"]),
            words["threads"],
        )


class Fast(nn.Module):
    """A network that runs as ``compute`` says and answers where and how it was asked.

    Inputs may lie on any device; the output has the first input's device and dtype.
    """

    def __init__(self, model: nn.Module, compute: Compute) -> None:
        super().__init__()
        self.model, self.compute = compute.place(model), compute
        for name in ("shape", "classes", "kind", "config"):  # what a network says of itself
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The network's own."""
        return self.model.state_dict(*args, **kwargs)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        there = self.compute.move((x, *args))
        named = {name: self.compute.move(value) for name, value in kwargs.items()}
        with self.compute.autocast():
            out: Tensor = self.model(*there, **named)
        return out.to(x.device, x.dtype)


def fast(model: nn.Module, compute: Compute | None = None) -> nn.Module:
    """The same network, moved to the fastest device and run in its fastest number format.

    Of a `DiffusionModel` the network within: schedule and prediction stay with it.
    """
    compute = compute or fastest()
    if hasattr(model, "with_network"):
        wrapped: nn.Module = model.with_network(compute.fast(model.network))  # type: ignore[operator, arg-type]
        return wrapped
    return compute.fast(model)


def best_device() -> torch.device:
    """CUDA before Apple's MPS, which several processes cannot share, before the CPU."""
    alone = processes().size == 1  # asked first: it gives each of several processes its GPU
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if alone and torch.backends.mps.is_available() else "cpu")


@lru_cache
def fastest(device: torch.device | None = None) -> Compute:
    """Time a small convolution there and back in each way; keep the quickest.

    So that noise does not decide, a near tie between layouts goes to channels-last, which larger
    networks like better, and float32 and all cores stay unless something else is 1.2 times as
    fast. Costs one or two seconds, once a process; of several the main one chooses for all.
    """
    device = device or best_device()
    return processes().from_main(lambda: _quickest(measure(device)))


def _quickest(seconds: dict[Compute, float]) -> Compute:
    def best(choices: list[Compute]) -> Compute:
        handicap = {torch.channels_last: 1.0, torch.contiguous_format: 1.2}
        return min(choices, key=lambda choice: seconds[choice] * handicap[choice.memory_format])

    usual = next(iter(seconds)).threads
    chosen = best([c for c in seconds if c.dtype == torch.float32 and c.threads == usual])
    for quicker in (best([c for c in seconds if c.threads == usual]), best(list(seconds))):
        if seconds[chosen] > 1.2 * seconds[quicker]:
            chosen = quicker
    return chosen


def product_format(device: torch.device) -> torch.dtype:
    """The format in which rough matrix products are quick: bfloat16, but on CPUs without AVX512.

    It goes by the processor's kind and measures nothing, so that the same run has the same bits.
    (AVX2 alone, AMD EPYC of the third generation: [4, 128, 128] products take seven times as long
    in bfloat16.)
    """
    slow = device.type == "cpu" and "AVX512" not in torch.backends.cpu.get_cpu_capability()
    return torch.float32 if slow else torch.bfloat16


ROUNDS = 6  # of 3 passes each, the first of which warms up
HOPELESS = 4  # times the quickest: a choice as slow as this is not timed again


@lru_cache
def measure(device: torch.device) -> dict[Compute, float]:
    """Seconds that one training pass through a convolution takes in each way; float32 first.

    On a CPU the quickest format is timed with half of the threads as well, and with half of those.
    Raises RuntimeError if the device cannot run a convolution.
    """
    usual = torch.get_num_threads() if device.type == "cpu" else None
    dtypes = [torch.float32, torch.bfloat16]
    layouts = [torch.contiguous_format, torch.channels_last]
    choices = [Compute(device, dtype, layout, usual) for dtype in dtypes for layout in layouts]
    seconds: dict[Compute, float] = {}
    reason: RuntimeError | None = None
    for _ in range(ROUNDS):  # a disturbance hits all choices alike
        for choice in choices:
            if seconds.get(choice, 0) > HOPELESS * min(seconds.values(), default=math.inf):
                continue  # bfloat16 where it is emulated would take most of the time
            try:
                seconds[choice] = min([seconds.get(choice, math.inf), *_passes(choice)])
            except RuntimeError as error:  # this device cannot do it this way
                reason = error
    if not seconds:
        raise RuntimeError(f"device {device} cannot run a convolution") from reason
    quickest = min(seconds, key=lambda choice: seconds[choice])
    try:
        for threads in {usual // 2, usual // 4} - {0} if usual else {}:
            fewer = replace(quickest, threads=threads)
            seconds[fewer] = min(min(_passes(fewer)) for _ in range(ROUNDS))
    finally:  # an interrupt, too, gives the threads back
        if usual:
            torch.set_num_threads(usual)
    return seconds


def _passes(choice: Compute, repeats: int = 3) -> list[float]:
    """Seconds of each of some training passes, the first of which warms up."""
    seconds = []
    # Weights are drawn here: leave the caller's random numbers alone. And gradients are needed,
    # whoever asks, and whatever they have switched off.
    with torch.random.fork_rng(), torch.inference_mode(False), torch.enable_grad():
        layer = choice.place(nn.Conv2d(64, 64, 3, padding=1))
        x = choice.move(torch.randn(32, 64, 14, 14))
        for _ in range(repeats):
            start = time.perf_counter()
            with choice.autocast():
                loss = layer(x).float().square().mean()
            loss.backward()
            loss.item()  # waits for a GPU
            seconds.append(time.perf_counter() - start)
    return seconds
