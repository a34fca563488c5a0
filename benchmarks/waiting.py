"""Where a GPU waits for the program: a few updates of a training, profiled and summed up."""

import json
import tempfile
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from diffusion_lessons import DiffusionModel
from diffusion_lessons.training.average import EMA
from diffusion_lessons.training.batches import Shuffled
from diffusion_lessons.training.loop import Before
from diffusion_lessons.training.optimizers import Optimizers

PARTS: dict[str, tuple[type, str]] = {
    "copies, to take the update back": (Before, "take"),
    "batch": (Shuffled, "__call__"),
    "loss": (DiffusionModel, "loss"),
    "backward": (Tensor, "backward"),
    "optimisers": (Optimizers, "step"),
    "average": (EMA, "update"),
}
"""The parts of an update, and what does each."""

REST = "the rest"
WORK = ("kernel", "gpu_memcpy", "gpu_memset")
CALLS = ("cuda_runtime", "cuda_driver")


@contextmanager
def marked() -> Iterator[None]:
    """In here the parts of an update leave their names in a profile."""

    def named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def marking(*arguments: Any, **named: Any) -> Any:
            with record_function(name):
                return function(*arguments, **named)

        return marking

    with ExitStack() as stack:
        for name, (owner, method) in PARTS.items():
            wrapped = named(name, getattr(owner, method))
            stack.enter_context(mock.patch.object(owner, method, wrapped))
        yield


def profiled(update: Callable[[], object], updates: int) -> dict[str, Any]:
    """What `summed` says of so many updates, and which lines made the program wait for a GPU."""
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    lines = waiting_lines(update, updates) if on_gpu else Counter()
    with tempfile.TemporaryDirectory() as folder, marked():
        with profile(activities=activities) as recorded:
            for _ in range(updates):
                update()
            if on_gpu:
                torch.cuda.synchronize()
        path = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    each = {line: count / updates for line, count in lines.most_common()}
    return {"updates": updates, **summed(events, updates), "waits_an_update_by_line": each}


def waiting_lines(update: Callable[[], object], updates: int) -> Counter[str]:
    """File and line of what made the program wait for the GPU, and how often."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(updates):
                update()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    told = [each for each in caught if "synchroniz" in str(each.message)]
    return Counter(f"{Path(each.filename).name}:{each.lineno}" for each in told)


def summed(events: list[dict[str, Any]], updates: int) -> dict[str, Any]:
    """Of a profile in Chrome's format, an update: milliseconds that the program spent in each part,
    and, if there was a GPU, its work, its idle time by what it waited for, and what was copied.

    A GPU that has nothing to do waits for the program if what it does next was asked for only then;
    the wait counts for the part in which that was. Otherwise it lies between two pieces of work.
    """
    timed = [event for event in events if event.get("ph") == "X"]
    parts = sorted(
        (event["ts"], event["ts"] + event["dur"], event["name"])
        for event in timed
        if event.get("cat") == "user_annotation" and event["name"] in PARTS
    )
    program: Counter[str] = Counter()
    for began, ended, name in parts:
        program[name] += ended - began
    result: dict[str, Any] = {"program_ms_by_part": _each(program, updates)}
    work = sorted(
        (event["ts"], event["ts"] + event["dur"], event.get("args", {}).get("correlation"))
        for event in timed
        if event.get("cat") in WORK
    )
    if not work:
        return result
    calls = [event for event in timed if event.get("cat") in CALLS]
    asked = {event.get("args", {}).get("correlation"): event["ts"] for event in calls}
    free, busy, idle = work[0][0], 0.0, Counter[str]()
    for began, ended, correlation in work:
        if began > free:
            late = asked.get(correlation, free) > free
            idle[_part_at(asked[correlation], parts) if late else "between two kernels"] += (
                began - free
            )
        busy += max(0.0, ended - max(began, free))
        free = max(free, ended)
    copied = Counter(event["name"] for event in timed if event.get("cat") == "gpu_memcpy")
    waits = Counter[str]()
    for event in calls:
        if "Synchronize" in event["name"]:
            waits[event["name"]] += event["dur"]
    return result | {
        "gpu_busy_share": round(busy / (free - work[0][0]), 4),
        "gpu_busy_ms": round(busy / 1000 / updates, 3),
        "gpu_idle_ms_by_part": _each(idle, updates),
        "program_waits_ms_by_call": _each(waits, updates),
        "kernels": round(sum(event.get("cat") == "kernel" for event in timed) / updates, 1),
        "copies": {name: round(count / updates, 2) for name, count in copied.most_common()},
    }


def _part_at(moment: float, parts: list[tuple[float, float, str]]) -> str:
    """The part that the program was in; the last one that had begun, unless it had ended."""
    i = bisect_right(parts, (moment, float("inf"), ""))
    return parts[i - 1][2] if i and moment <= parts[i - 1][1] else REST


def _each(microseconds: Counter[str], updates: int) -> dict[str, float]:
    return {name: round(us / 1000 / updates, 3) for name, us in microseconds.most_common()}
