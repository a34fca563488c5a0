"""What does the fastest device of this machine make of the digits, a GPU where there is one?

    python benchmarks/device.py --compile

- Training: the recipe of digits-ddpm from nothing, for some seconds; then its class accuracy and
  Frechet distance.
- Sampling: digits a second from the shipped digits-ddpm, in each quick number format and memory
  layout; with --compile also under torch.compile, which on a GPU replays CUDA graphs.
- Share of peak: the operations a second of that sampling, counted by torch, over those that a large
  matrix product reaches in the same format.

Seconds are those of the clock, since a GPU works beside the processor; begin with a machine that
does nothing else. Results are printed, and written to --out with the machine they were found on.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from common import write_result
from torch.utils.flop_counter import FlopCounterMode

from diffusion_lessons import (
    DiffusionModel,
    DrawSettings,
    TrainOptions,
    ddim_step,
    load_pretrained,
    sample,
)
from diffusion_lessons.files import outlet
from diffusion_lessons.measuring.evaluation import evaluate
from diffusion_lessons.networks.compute import Compute, Fast, best_device, fastest, product_format
from diffusion_lessons.training.recipes import digits_ddpm


def clocked(act: Callable[[], Any], device: torch.device) -> float:
    """Seconds until the device, too, has done it."""
    wait = torch.accelerator.synchronize if device.type != "cpu" else lambda: None
    wait()
    began = time.perf_counter()
    act()
    wait()
    return time.perf_counter() - began


def trained(seconds: float, count: int, steps: int) -> dict[str, Any]:
    """What the recipe comes to in some seconds, by ``count`` samples of DDIM."""
    fastest()  # chooses before the clock runs
    last: Any = None

    def train() -> None:
        nonlocal last
        *_, last = digits_ddpm(TrainOptions(seconds=seconds))
        last.loss.item()

    spent = clocked(train, best_device())
    measured = evaluate(last.model, DrawSettings(steps=steps), count, progress=False)
    kept = {key: measured[key] for key in ("class_accuracy", "frechet_distance")}
    row = {"seconds": round(spent, 1), "updates": last.step, "samples": count, **kept}
    return row | {"floor": measured["floor"]["frechet_distance"], "compute": fastest().as_dict()}


@lru_cache
def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product in this number format."""
    n = 8192 if device.type == "cuda" else 1024
    one, other = torch.randn(2, n, n, device=device, dtype=dtype)
    return 2 * n**3 / min(clocked(lambda: one @ other, device) for _ in range(20))


def sampled(
    batch: int, steps: int, dtype: torch.dtype, layout: torch.memory_format, compiled: bool
) -> dict[str, Any]:
    """Digits a second from the shipped network, and how much of the device's peak they use."""
    compute = Compute(best_device(), dtype, layout)
    model = load_pretrained("digits-ddpm")
    assert isinstance(model, DiffusionModel)
    network = Fast(model.network, compute)
    x_T = torch.randn(batch, 1, 28, 28, device=compute.device)
    label = torch.arange(batch, device=compute.device) % 10
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x_T, torch.full_like(label, 500), label=label)
    if compiled:  # on a GPU "reduce-overhead" replays CUDA graphs
        network.model = torch.compile(network.model, mode="reduce-overhead")  # type: ignore[assignment]
    denoiser = model.with_network(network).denoiser(label, clip=1)

    def draw(steps: int) -> None:
        for _ in sample(denoiser, x_T, model.schedule, steps, ddim_step):
            pass

    draw(min(steps, 5))  # warms up, compiles
    spent = min(clocked(partial(draw, steps), compute.device) for _ in range(3))
    reached = counter.get_total_flops() * steps / spent
    return compute.as_dict() | {
        "compiled": compiled,
        "images_per_second": round(batch / spent, 1),
        "operations_per_second": round(reached),
        "share_of_peak": round(reached / peak(compute.device, dtype), 3),
    }


def rows(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    for seconds in options.seconds:
        yield "training", trained(seconds, options.samples, options.steps)
    dtypes = {torch.float32, product_format(best_device())}  # bfloat16 only where it is quick
    layouts = torch.contiguous_format, torch.channels_last
    ways = product(sorted(dtypes, key=str), layouts, [False, True][: 1 + options.compile])
    for dtype, layout, compiled in ways:
        yield "sampling", sampled(options.batch, options.steps, dtype, layout, compiled)


def main() -> None:
    parser = argparse.ArgumentParser(description="Digits on the fastest device of this machine.")
    parser.add_argument("--seconds", type=float, nargs="*", default=[15.0, 30.0, 60.0])
    parser.add_argument("--samples", type=int, default=1000)
    usual = 2000 if best_device().type == "cuda" else 100
    parser.add_argument("--batch", type=int, default=usual, help="digits drawn at a time")
    parser.add_argument("--steps", type=int, default=50, help="of DDIM")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    out = outlet(options.out) if options.out else None
    result: dict[str, Any] = {"batch": options.batch, "steps": options.steps}
    for kind, row in rows(options):
        print(kind, json.dumps(row), flush=True)
        result.setdefault(kind, []).append(row)
        if out:
            write_result(out, result)


if __name__ == "__main__":
    main()
