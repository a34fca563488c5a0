"""The one place that chooses device, number format, memory layout and threads.

They change the last bits of every result, so they are chosen once a machine and kept: in a small
file in the user's cache folder, or for this process where there is none.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from .. import checks
from ..files import cache_folder, create_json_lines, read_json_lines
from ..math.randomness import own_numbers
from .cards import processor
from .processes import processes

FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""What networks can run in, by name."""

LAYOUTS = (torch.contiguous_format, torch.channels_last)


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

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """The context in which a network should be called: number format and threads."""
        with self.own_threads():
            if self.dtype == torch.float32:
                yield
                return
            with torch.autocast(self.device.type, self.dtype):
                yield

    @contextlib.contextmanager
    def own_threads(self) -> Iterator[None]:
        """Torch uses as many of the processor's cores as were chosen; afterwards as before."""
        before = torch.get_num_threads()
        if self.threads in (None, before):
            yield
            return
        try:
            torch.set_num_threads(self.threads)
            yield
        finally:
            torch.set_num_threads(before)

    def place(self, model: nn.Module) -> nn.Module:
        """Move a network to the device, its convolution weights in the chosen layout."""
        model.to(self.device)
        return model.to(memory_format=self.memory_format)  # type: ignore[call-overload]

    def move(self, value: Any) -> Any:
        """Tensors moved to the device, pictures in the chosen layout; alone or in a tuple, a named
        tuple, a list or a dict, which stay what they are.
        """
        return tree_map(self._moved, value)

    def _moved(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value.ndim == 4:
            return value.to(self.device, memory_format=self.memory_format)
        return value.to(self.device)

    def fast(self, model: nn.Module) -> nn.Module:
        """The network, placed, and called in the chosen format wherever its inputs lie."""
        return model if isinstance(model, Fast) else Fast(model, self)

    @property
    def there(self) -> bool:
        """Whether this machine, and this PyTorch, have the device."""
        known = {
            "cpu": True,
            "cuda": torch.cuda.is_available(),
            "mps": torch.backends.mps.is_available(),
        }
        return known.get(self.device.type, False)

    def possible(self) -> bool:
        """Whether this machine has the device, and as many cores."""
        enough = (self.threads or 1) <= max(os.cpu_count() or 1, torch.get_num_threads())
        return self.there and enough

    def as_dict(self) -> dict[str, Any]:
        """The choice in words, for checkpoints and reports."""
        return {
            "device": self.device.type,
            "dtype": str(self.dtype).removeprefix("torch."),
            "memory_format": str(self.memory_format).removeprefix("torch."),
            "threads": self.threads,
        }

    def in_words(self) -> str:
        """For the one line that a command prints."""
        words = self.as_dict()
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.threads else ""
        return f"{words['dtype']}, {words['memory_format']}{threads}, on {words['device']}"

    @classmethod
    def from_dict(cls, words: dict[str, Any]) -> "Compute":
        """Undo `as_dict`. Raises ValueError for words that describe no choice."""
        layouts = {str(layout).removeprefix("torch."): layout for layout in LAYOUTS}
        try:
            threads = words["threads"]
            if threads is not None:
                threads = checks.whole("threads", threads, 1)
            return cls(
                torch.device(words["device"]),
                FORMATS[words["dtype"]],
                layouts[words["memory_format"]],
                threads,
            )
        except (LookupError, TypeError, RuntimeError) as error:
            raise ValueError(f"{words!r} says no way to compute: {error!r}") from error


class Fast(nn.Module):
    """A network that runs as ``compute`` says and answers where and how it was asked.

    Inputs may lie on any device; the output has the first input's device and dtype. Whatever else
    the network can do, such as draw, it does itself, and its weights keep their names.
    """

    def __init__(self, model: nn.Module, compute: Compute) -> None:
        super().__init__()
        weight = next(model.parameters(), None)
        if weight is not None and weight.dtype != torch.float32:  # it has chosen its own format
            compute = replace(compute, dtype=torch.float32)
        self.model, self.compute = compute.place(model), compute

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "model":  # it is only being made
                raise
            return getattr(self.model, name)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The network's own."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The network's own."""
        return self.model.load_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        inside(state_dict, prefix, "model")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        there = self.compute.move((x, *args))
        named = {name: self.compute.move(value) for name, value in kwargs.items()}
        with self.compute.autocast():
            out: Tensor = self.model(*there, **named)
        return out.to(x.device, x.dtype)


def inside(state_dict: dict[str, Any], prefix: str, part: str) -> None:
    """Give back to weights the name of the part that they lie in, which `state_dict` left out.

    So a module that is saved under the names of the one within loads as a part of another, too.
    """
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[f"{prefix}{part}.{key[len(prefix) :]}"] = state_dict.pop(key)


def fast(model: nn.Module, compute: Compute | None = None) -> nn.Module:
    """The same network, moved to the fastest device and run in its fastest number format.

    Of a `DiffusionModel` the network within: schedule and prediction stay with it.
    """
    checks.network("model", model)
    compute = chosen(compute)
    if hasattr(model, "with_network"):
        wrapped: nn.Module = model.with_network(compute.fast(model.network))  # type: ignore[operator, arg-type]
        return wrapped
    return compute.fast(model)


def plain(model: nn.Module) -> nn.Module:
    """The network that `fast` was given."""
    if isinstance(model, Fast):
        return model.model
    if isinstance(network := getattr(model, "network", None), Fast):
        within: nn.Module = model.with_network(network.model)  # type: ignore[operator]
        return within
    return model


def best_device() -> torch.device:
    """CUDA before Apple's MPS, which several processes cannot share, before the CPU."""
    alone = processes().size == 1  # asked first: it gives each of several processes its GPU
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if alone and torch.backends.mps.is_available() else "cpu")


def chosen(compute: Compute | None) -> Compute:
    """What a function does with its ``compute``: None is the `fastest`.

    Raises TypeError for what is none, ValueError for a device that is not there.
    """
    if compute is None:
        return fastest()
    checks.instance("compute", compute, Compute)
    if not compute.there:
        raise ValueError(f"compute is to be on {compute.device}, which is not there")
    return compute


def fastest(device: torch.device | None = None) -> Compute:
    """The way in which networks run quickest on this machine, chosen once and kept.

    It is written into `kept_file`, so that the same command gives the same result tomorrow. The
    first choice costs a few seconds. Float32 and all threads stay, and channels-last, which larger
    networks like, unless something else is clearly quicker (`MARGIN`). Formats and layouts are
    compared by the processor's seconds, pass by pass: beside a busy program all take as many as
    before. ``DIFFUSION_LESSONS_FORMAT``, if set, names the format (a key of `FORMATS`). Of several
    processes the main one chooses for all.
    """
    compute = _kept(device or best_device(), torch.get_num_threads())
    if wanted := os.environ.get("DIFFUSION_LESSONS_FORMAT"):
        checks.one_of("DIFFUSION_LESSONS_FORMAT", wanted, FORMATS)
        compute = replace(compute, dtype=FORMATS[wanted])
    return compute


@lru_cache
def _kept(device: torch.device, threads: int) -> Compute:
    return processes().from_main(lambda: _read(device, threads) or _choose(device, threads))


def where(device: torch.device, threads: int) -> dict[str, Any]:
    """What a choice holds for: this machine, this torch, this number of threads."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "device": device.type,
        "gpu": gpu,
        "threads": threads,
        "torch": torch.__version__,
        "measured": measured(device),
    }


def kept_file(device: torch.device | None = None, threads: int | None = None) -> Path | None:
    """Where the choice is kept; None where the user has no home. Delete it to choose anew."""
    words = where(device or best_device(), threads or torch.get_num_threads())
    digest = hashlib.sha256(json.dumps(words).encode()).hexdigest()
    folder = cache_folder()
    return folder and folder / f"compute-{digest[:16]}.jsonl"


def _read(device: torch.device, threads: int) -> Compute | None:
    """The choice that was kept; None if there is none that can be read and is of this machine."""
    path = kept_file(device, threads)
    if path is None or not os.path.exists(path):  # nor where the user may not look
        return None
    try:
        _, content = next(read_json_lines(path))
        compute = replace(Compute.from_dict(content["compute"]), device=device)
        if content["for"] == where(device, threads) and compute.possible():
            return compute
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        pass  # as if it were not there
    with contextlib.suppress(OSError):
        path.unlink()
    return None


def _choose(device: torch.device, threads: int) -> Compute:
    compute = _quickest(device, threads)
    path = kept_file(device, threads)
    if path is not None:
        content = {"for": where(device, threads), "compute": compute.as_dict()}
        with contextlib.suppress(OSError):  # without a place for it, each process chooses
            create_json_lines(path, [content])
    return _read(device, threads) or compute  # another process may have been first


MARGIN = 1.2
"""So many times as quick a way must be to take the place of what is usual."""


def _quickest(device: torch.device, threads: int) -> Compute:
    seconds = measure(device)
    (plain, usual, *_) = seconds
    best = plain if quicker(seconds[plain], seconds[usual]) > MARGIN else usual
    half = [choice for choice in seconds if choice.dtype == torch.bfloat16]
    if half:
        (plain, usual) = half
        half_best = plain if quicker(seconds[plain], seconds[usual]) > MARGIN else usual
        if quicker(seconds[half_best], seconds[best]) > MARGIN:
            best = half_best
    if device.type != "cpu":
        return best
    return _threads_for(best, threads)


def quicker(seconds: list[float], than: list[float]) -> float:
    """How many times as quick: the median over the rounds, in each of which both were timed."""
    return median(b / a for a, b in zip(seconds, than, strict=True))


def _threads_for(choice: Compute, threads: int) -> Compute:
    """With all threads, or with so few that a pass is clearly quicker in every round.

    On a machine that is busy the clock says nothing of this: then all stay.
    """
    usual = replace(choice, threads=threads)
    if busy():
        return usual
    seconds = measure_threads(choice, threads)
    for fewer in [each for each in seconds if each != usual]:
        pairs = zip(seconds[fewer], seconds[usual], strict=True)
        if min(all_others / few for few, all_others in pairs) > MARGIN:
            usual = fewer
    return usual


def busy() -> bool:
    """Whether other programs have kept more than a quarter of the cores at work of late."""
    try:
        return os.getloadavg()[0] > 0.25 * (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return False  # this system does not say


def product_format(device: torch.device) -> torch.dtype:
    """The format in which rough matrix products are quick: bfloat16, but on CPUs without AVX512.

    It goes by the processor's kind and measures nothing, so that the same run has the same bits.
    (AVX2 alone, AMD EPYC of the third generation: [4, 128, 128] products take seven times as long
    in bfloat16.)
    """
    slow = device.type == "cpu" and "AVX512" not in torch.backends.cpu.get_cpu_capability()
    return torch.float32 if slow else torch.bfloat16


ROUNDS = 15

SHAPES = {"cuda": (512, 128, 16, 16)}
"""Of the pictures that are convolved, by device: with few, all that is timed of a large GPU is how
quickly it can be told what to do."""


def shape(device: torch.device) -> tuple[int, ...]:
    """[B, C, H, W] of the pictures that are convolved."""
    return SHAPES.get(device.type, (32, 64, 14, 14))


def measured(device: torch.device) -> str:
    """What is timed; another thing must have another name, so that old choices do not count."""
    _, C, _, _ = pictures = shape(device)
    return f"convolution {C} x {C} x 3 x 3 of {list(pictures)}, there and back, {ROUNDS} rounds"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has units for bfloat16; elsewhere it would be emulated, slowly."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        # As in ATen; a version of torch that has no such question is asked to try.
        asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        known = [getattr(torch.cpu, name)() for name in asked if hasattr(torch.cpu, name)]
        return any(known) or not known
    return True


@lru_cache
def _measured(device: torch.device) -> dict[Compute, list[float]]:
    formats = [torch.float32] + [torch.bfloat16] * has_bfloat16(device)
    threads = 1 if device.type == "cpu" else None
    choices = [Compute(device, dtype, layout, threads) for dtype in formats for layout in LAYOUTS]
    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    seconds: dict[Compute, list[float]] = {choice: [] for choice in choices}
    for dtype in formats:
        mine = [choice for choice in choices if choice.dtype == dtype]
        try:
            for choice in mine:
                _pass(choice, clock)  # warms up
        except RuntimeError as error:  # this device cannot do it this way
            if dtype == torch.float32:
                raise RuntimeError(f"device {device} cannot run a convolution") from error
            seconds = {choice: [] for choice in seconds if choice not in mine}
    for _ in range(ROUNDS):  # a disturbance hits all choices alike
        for choice in seconds:
            seconds[choice].append(_pass(choice, clock))
    return seconds


def measure(device: torch.device) -> dict[Compute, list[float]]:
    """Seconds that one training pass through a convolution takes in each way, round by round.

    Float32 comes first, each format contiguous and then channels-last; bfloat16 only where it is
    not emulated. On a CPU they are the seconds that one thread works, whatever else runs beside it.
    Raises RuntimeError if the device cannot run a convolution.
    """
    return {choice: list(seconds) for choice, seconds in _measured(device).items()}


def measure_threads(choice: Compute, threads: int) -> dict[Compute, list[float]]:
    """The same by the clock, with all threads, with half of them and with half of those."""
    counts = dict.fromkeys([threads, *({threads // 2, threads // 4} - {0})])
    choices = [replace(choice, threads=count) for count in sorted(counts, reverse=True)]
    seconds: dict[Compute, list[float]] = {each: [] for each in choices}
    if len(choices) > 1:
        for each in choices:
            _pass(each, time.perf_counter)
        for _ in range(ROUNDS):
            for each in choices:
                seconds[each].append(_pass(each, time.perf_counter))
    return seconds


def _pass(choice: Compute, clock: Callable[[], float]) -> float:
    """Seconds of one training pass."""
    # Weights are drawn here: leave the caller's random numbers alone. And gradients are needed,
    # whoever asks, and whatever they have switched off.
    with (
        own_numbers(0, choice.device),
        torch.inference_mode(False),
        torch.enable_grad(),
        choice.own_threads(),
    ):
        pictures = shape(choice.device)
        layer = choice.place(nn.Conv2d(pictures[1], pictures[1], 3, padding=1))
        x = choice.move(torch.randn(pictures))
        for _ in range(2):  # the first one packs the weights anew
            start = clock()
            with choice.autocast():
                loss = layer(x).float().square().mean()
            loss.backward()
            loss.item()  # waits for a GPU
        return clock() - start
