"""What does the fastest device of this machine make of the course, a GPU where there is one?

    python benchmarks/device.py --compile --out device.json

The parts, each a process of its own with a limit in seconds, so that one that fails or hangs leaves
the others alone; every row is in --out as soon as it is there:

- bar: how many seconds of training lesson 02's network needs until it is as good as on two CPU
  cores in its minute; a wider one, in larger batches, likewise.
- sampling: digits a second from the shipped digits-ddpm in each quick number format and layout,
  with --compile also under torch.compile, which on a GPU replays CUDA graphs; and the share of
  peak: operations a second, counted by torch, over those that a large matrix product reaches.
- race: seconds for 100 pictures by a thousand steps of DDPM and by the four of DDGAN, from the
  shipped networks and from two of the paper's size for CIFAR-10, untrained; and the paper's, on a
  V100.
- updates: pictures a second in training cifar10-adm, on made pictures, by layout and, with
  --compile, compiled; and for a few updates where the GPU waits for the program, and at what the
  program waits for the GPU.
- processes: a smoke test. Two processes share the device, through gloo, and must see the losses
  that one sees.
- cifar10: trains cifar10-adm for the rest of --total, at most --train seconds. State, network and a
  grid of guided samples lie in the folder --runs as it goes; a second call goes on.

Seconds are those of the clock, since a GPU works beside the processor; begin with a machine that
does nothing else. --parts names those to run; what --out holds of the others stays. --small takes a
little of everything, to try the script where there is no GPU. CIFAR-10 must lie in
~/.cache/diffusion-lessons where there is no internet connection; without it only its part fails.
Where the package is not installed, PYTHONPATH=. finds it in the clone.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import islice, product
from pathlib import Path
from threading import Timer
from typing import Any, cast
from unittest import mock

import torch
from common import write_result
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from waiting import profiled

from diffusion_lessons import (
    DiffusionModel,
    DrawSettings,
    TrainOptions,
    cli,
    ddim_step,
    load_pretrained,
    sample,
)
from diffusion_lessons.data import Images
from diffusion_lessons.files import outlet
from diffusion_lessons.math.prediction import X0
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.measuring.evaluation import evaluate
from diffusion_lessons.networks import checkpoints
from diffusion_lessons.networks.cards import machine
from diffusion_lessons.networks.compute import Compute, Fast, best_device, product_format
from diffusion_lessons.networks.drawing import Drawer
from diffusion_lessons.networks.gan import Gan, Generator
from diffusion_lessons.networks.processes import processes
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.training import recipes
from diffusion_lessons.training.optimizers import adamw

Row = dict[str, Any]
ROW = "ROW "
"""Begins a line that a part's process hands to the one that writes"""

BAR = {"class_accuracy": 0.913, "frechet_distance": 11.8}
"""Lesson 02's after its minute on two cores of an AMD EPYC, by 1,000 samples of ten DDIM steps"""

PAPER = {"DDPM": 80.5, "DDGAN": 0.21}
"""Seconds for 100 pictures of CIFAR-10 on a V100 (arXiv 2112.07804, Table 1)"""


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    seconds: tuple[float, ...] = (5, 10, 15, 20)  # of training, until the bar is reached
    samples: int = 1000
    digits: int = 2000  # drawn at a time
    ddim: int = 50
    ddpm: int = 1000
    pictures: int = 100
    channels: int = 128  # of the networks of the paper's size
    cifar: tuple[tuple[str, int], ...] = ()  # arguments of the recipe
    rows: int = 50_000
    warm: int = 10
    updates: int = 60
    profiled: int = 20
    every: float = 90  # seconds of training between two snapshots
    matrix: int = 8192


SMALL = Sizes(
    seconds=(0.2, 0.3),
    samples=10,
    digits=2,
    ddim=2,
    ddpm=3,
    pictures=2,
    channels=16,
    cifar=(("batch_size", 4), ("channels", 16)),  # in the order of their names
    rows=40,
    warm=1,
    updates=2,
    profiled=2,
    every=1,
    matrix=256,
)


def clocked(act: Callable[[], Any], device: torch.device) -> float:
    """Seconds until the device, too, has done it."""
    wait = torch.accelerator.synchronize if device.type != "cpu" else lambda: None
    wait()
    began = time.perf_counter()
    act()
    wait()
    return time.perf_counter() - began


@lru_cache
def peak(device: torch.device, dtype: torch.dtype, n: int) -> float:
    """Operations a second of a large matrix product in this number format.

    A GPU's convolutions of float32 are in TF32 unless that is forbidden, so the product is, too.
    """
    one, other = torch.randn(2, n, n, device=device, dtype=dtype)
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
        return 2 * n**3 / min(clocked(lambda: one @ other, device) for _ in range(20))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def speed(compute: Compute, operations: float, seconds: float, sizes: Sizes) -> Row:
    """Operations a second, and their share of peak."""
    reached = operations / seconds
    share = reached / peak(compute.device, compute.dtype, sizes.matrix)
    return {"operations_per_second": round(reached), "share_of_peak": round(share, 4)}


def quick() -> Compute:
    """How large networks run on this device."""
    device = best_device()
    return Compute(device, product_format(device), torch.channels_last)


# ------------------------------------------------------------------ the parts


def bar(sizes: Sizes, options: argparse.Namespace) -> Iterator[Row]:
    ways = {"lesson 02's": (16, 64), "twice as wide, batches of 256": (32, 256)}
    clocked(lambda: torch.zeros(1, device=best_device()), best_device())  # wakes it up
    for network, (channels, batch) in ways.items():
        for seconds in sizes.seconds:
            with recipes.first_weights(0):
                unet = UNet(channels=channels, blocks=1, attention_resolutions=())
            model = DiffusionModel(unet, prediction=X0)
            plan = TrainOptions(seconds=seconds, compute=quick())
            last: Any = None
            for last in recipes.train_on_digits(model, plan, batch, recipes.clamped_snr):
                pass
            found = evaluate(last.model, DrawSettings(steps=10), sizes.samples, progress=False)
            kept = {name: found[name] for name in BAR}
            reached = (
                kept["class_accuracy"] >= BAR["class_accuracy"]
                and kept["frechet_distance"] <= BAR["frechet_distance"]
            )
            row = {"network": network, "seconds": round(last.seconds, 2), "updates": last.step}
            row |= {"samples": sizes.samples, **kept, "reached": reached}
            yield row | {"floor": found["floor"]["frechet_distance"], "bar": BAR}
            if reached:
                break


def sampling(sizes: Sizes, options: argparse.Namespace) -> Iterator[Row]:
    dtypes = {torch.float32, product_format(best_device())}  # bfloat16 only where it is quick
    layouts = torch.contiguous_format, torch.channels_last
    for dtype, layout in product(sorted(dtypes, key=str, reverse=True), layouts):
        yield sampled(Compute(best_device(), dtype, layout), False, sizes)
    if options.compile:
        yield sampled(quick(), True, sizes)


def sampled(compute: Compute, compiled: bool, sizes: Sizes) -> Row:
    """Digits a second from the shipped network, and how much of the device's peak they use."""
    model = load_pretrained("digits-ddpm")
    assert isinstance(model, DiffusionModel)
    network = Fast(model.network, compute)
    x_T = torch.randn(sizes.digits, 1, 28, 28, device=compute.device)
    label = torch.arange(sizes.digits, device=compute.device) % 10
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x_T, torch.full_like(label, 500), label=label)
    if compiled:  # on a GPU "reduce-overhead" replays CUDA graphs
        network.model = torch.compile(network.model, mode="reduce-overhead")  # type: ignore[assignment]
    denoiser = model.with_network(network).denoiser(label, clip=1)

    def walk(steps: int) -> None:
        for _ in sample(denoiser, x_T, model.schedule, steps, ddim_step):
            pass

    walk(min(sizes.ddim, 5))  # warms up, compiles
    spent = min(clocked(partial(walk, sizes.ddim), compute.device) for _ in range(3))
    row = compute.as_dict() | {"compiled": compiled, "batch": sizes.digits, "steps": sizes.ddim}
    row["images_per_second"] = round(sizes.digits / spent, 1)
    return row | speed(compute, counter.get_total_flops() * sizes.ddim, spent, sizes)


def race(sizes: Sizes, options: argparse.Namespace) -> Iterator[Row]:
    """DDPM with all its steps against DDGAN with its four."""
    unet: Any = {
        "size": 32,
        "in_channels": 3,
        "channels": sizes.channels,
        "multipliers": (1, 2, 2, 2),
        "blocks": 2,
        "unshuffle": 1,
        "attention_resolutions": (16, 8),
        "head_channels": sizes.channels // 2,
    }
    pairs: dict[str, tuple[Any, Any]] = {
        "digits-ddpm and digits-ddgan": (
            load_pretrained("digits-ddpm"),
            load_pretrained("digits-ddgan"),
        ),
        "of the paper's size, untrained": (
            DiffusionModel(UNet(**unet)),
            Gan(Generator(64, **unet), nn.Identity(), 4),
        ),
    }
    compute = quick()
    settings = DrawSettings(steps=sizes.ddpm, eta=1.0)
    for networks, (ddpm, ddgan) in pairs.items():
        seconds = {
            "DDPM": drawn(ddpm, settings, DrawSettings(steps=2, eta=1.0), compute, sizes),
            "DDGAN": drawn(ddgan, DrawSettings(), DrawSettings(), compute, sizes),
        }
        row: Row = {"networks": networks, "pictures": sizes.pictures, "steps": sizes.ddpm}
        row |= {"seconds": {name: round(value, 4) for name, value in seconds.items()}}
        row["times_as_quick"] = round(seconds["DDPM"] / seconds["DDGAN"], 1)
        yield row | {"seconds_in_the_paper_on_a_V100": PAPER, "compute": compute.as_dict()}


def drawn(
    model: Drawer, settings: DrawSettings, first: DrawSettings, compute: Compute, sizes: Sizes
) -> float:
    """Seconds in which the package draws the pictures, once it has warmed up."""
    labels = torch.arange(sizes.pictures) % 10
    draw(model, labels, first, compute=compute)
    act = partial(draw, model, labels, settings, compute=compute)
    return min(clocked(act, compute.device) for _ in range(1 if settings.steps else 5))


def updates(sizes: Sizes, options: argparse.Namespace) -> Iterator[Row]:
    """How quickly cifar10-adm learns, and who waits for whom."""
    g = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (sizes.rows, 3, 32, 32), generator=g, dtype=torch.uint8)
    made = Images(pixels, torch.arange(sizes.rows) % 10)
    device = best_device()
    ways = [(torch.contiguous_format, False), (torch.channels_last, False)]
    for layout, compiled in ways + [(torch.channels_last, True)] * options.compile:
        compute = Compute(device, product_format(device), layout)
        plan = TrainOptions(
            steps=10**6, compute=compute, compile=torch.compile if compiled else None
        )
        with mock.patch.object(recipes, "cifar10", return_value=made):
            run: Any = recipes.cifar10_adm(plan, **dict(sizes.cifar))
        start = clocked(partial(list, islice(run, sizes.warm)), device)
        spent = clocked(partial(list, islice(run, sizes.updates)), device)
        batch, network = run.plan.batch_size, next(run).model
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            x = torch.zeros(1, *network.shape, device=device)
            network(x, *torch.ones(2, 1, dtype=torch.long, device=device))
        operations = 3 * counter.get_total_flops() * batch  # the way back is twice the way there
        row = compute.as_dict() | {"compiled": compiled, "batch": batch}
        row |= {"weights": sum(weight.numel() for weight in network.parameters())}
        row |= {"first_updates": sizes.warm, "seconds_of_the_first": round(start, 1)}
        row |= {"ms_an_update": round(1000 * spent / sizes.updates, 3)}
        row["pictures_per_second"] = round(batch * sizes.updates / spent, 1)
        row |= speed(compute, operations * sizes.updates, spent, sizes)
        yield row
        way = {name: row[name] for name in ("memory_format", "compiled")}
        yield {"profile_of": way, **profiled(partial(next, run), sizes.profiled)}


def smoke() -> list[float]:
    """The losses of a short training, alone or as one of several processes."""
    with recipes.first_weights(0):
        model = DiffusionModel(UNet(channels=16, blocks=1, attention_resolutions=()))
    plan = TrainOptions(steps=8, optimizer=adamw(), compute=Compute(best_device()))
    return [step.loss.item() for step in recipes.train_on_digits(model, plan)]


def together(sizes: Sizes, options: argparse.Namespace) -> Iterator[Row]:
    """A smoke test of two processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--num_machines", "1", "--main_process_port", port]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", __file__, "--smoke"]
    alone = smoke()
    with subprocess.Popen(launch, stdout=subprocess.PIPE, text=True) as process:
        try:
            out, _ = process.communicate(timeout=limit("processes", options) - 20)
        except subprocess.TimeoutExpired:
            process.terminate()  # asked, it ends the two; killed, it would leave them
            raise
    if process.returncode:
        raise RuntimeError(f"the launch ended with {process.returncode}")
    (told,) = [line for line in out.splitlines() if line.startswith(ROW)]
    found = json.loads(told.removeprefix(ROW))
    far = max(abs(b / a - 1) for a, b in zip(alone, found["losses"], strict=True))
    if far > 1e-2:  # a GPU rounds convolutions to TF32, and otherwise for batches of other sizes
        raise ValueError(f"two processes see {found['losses']}, one sees {alone}")
    yield {"smoke_test": "passed", "alone": alone, **found, "largest_relative_difference": far}


def cifar10(sizes: Sizes, options: argparse.Namespace) -> Iterator[Row]:
    """Train it, and keep what there is as it goes."""
    folder: Path = options.runs
    settings = [f"{name}={value}" for name, value in sizes.cifar]
    plan = TrainOptions(
        seconds=options.train,
        compute=quick(),
        compile=torch.compile if options.compile else None,
        checkpoint=folder / "cifar10-adm.training",
        save_every=5000,
        identity={"settings": " ".join(settings), "start": ""},  # the command's
    )
    so_far, shown = folder / "so-far.safetensors", 0.0
    outlet(so_far)
    last: Any = None
    for last in recipes.cifar10_adm(plan, **dict(sizes.cifar)):
        if last.seconds - shown >= sizes.every and last.progress < 1:
            shown = last.seconds
            checkpoints.save(so_far, last.model, {"steps": last.step, "seconds": round(shown)})
            yield learned(last, so_far, sizes)
    words = ["train", "cifar10-adm", "--seconds", str(options.train), "--out", str(folder)]
    words += ["--set", *settings] if settings else []
    command(words + ["--compile"] * options.compile)  # it is finished: the command writes its card
    yield learned(last, folder / "cifar10-adm.safetensors", sizes)
    for path in (so_far, so_far.with_suffix(".json")):
        path.unlink(missing_ok=True)


def learned(step: Any, network: Path, sizes: Sizes) -> Row:
    """How far it is; a grid of samples of all classes, guided, is drawn over the one before."""
    words = ["sample", str(network), "--guidance", "classifier-free", "--scale", "2", "--seed", "0"]
    words += ["--steps", str(min(25, sizes.ddim)), "--each", "8"]
    command([*words, "--out", str(network.with_name("cifar10-adm.png"))])
    return {"updates": step.step, "seconds": round(step.seconds, 1), "loss": step.loss.item()}


def command(words: list[str]) -> None:
    """`diffusion-lessons` with these words. RuntimeError if it fails, which says why itself."""
    if cli.main(words):
        raise RuntimeError(f"diffusion-lessons {' '.join(words)} failed")


Part = Callable[[Sizes, argparse.Namespace], Iterator[Row]]
PARTS: dict[str, tuple[Part, int]] = {  # and how many seconds it may take
    "updates": (updates, 150),
    "bar": (bar, 100),
    "race": (race, 60),
    "sampling": (sampling, 100),
    "processes": (together, 90),
    "cifar10": (cifar10, 600),
}


def limit(name: str, options: argparse.Namespace) -> int:
    """Of a part, in seconds; --small is for machines that are slow."""
    return PARTS[name][1] * (4 if options.small else 1)


SPARE = 60
"""Seconds that training leaves of the total: to start, to compile, to draw and to write."""


# ------------------------------------------------------------------ one process a part


def alone(name: str, options: argparse.Namespace) -> int:
    """In its own process: hand over each row of a part as it comes."""
    try:
        for row in PARTS[name][0](SMALL if options.small else Sizes(), options):
            print(ROW + json.dumps(row), flush=True)
    except Exception as error:
        traceback.print_exc()
        print(ROW + json.dumps({"failed": f"{type(error).__name__}: {error}"}), flush=True)
        return 1
    return 0


def rows(words: list[str], seconds: float) -> Iterator[Row]:
    """The rows of a part's process, which has so many seconds; in the last one why it failed."""
    out_of_time = False

    def stop() -> None:
        nonlocal out_of_time
        out_of_time = True
        os.killpg(process.pid, signal.SIGKILL)  # and the processes that it began

    with subprocess.Popen(
        [sys.executable, __file__, *words],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        timer = Timer(seconds, stop)
        timer.start()
        failed = False
        for line in cast(Any, process.stdout):
            if not line.startswith(ROW):
                print(line, end="", flush=True)
                continue
            row = json.loads(line.removeprefix(ROW))
            failed = failed or "failed" in row
            yield row
        code = process.wait()
        timer.cancel()
    if out_of_time:
        yield {"failed": f"stopped after {seconds:.0f} s"}
    elif code and not failed:
        yield {"failed": f"ended with {code}"}


def all_parts(options: argparse.Namespace) -> int:
    """Run them, one after the other; how many failed."""
    out = outlet(options.out)
    before = json.loads(out.read_text()) if out.exists() else {}
    result: Row = {"parts": before.get("parts", {})}
    began = time.perf_counter()
    failed = 0
    for name in options.parts:
        left = options.total - (time.perf_counter() - began)
        seconds = min(limit(name, options), left)
        told: Row = {"rows": [], "sizes": asdict(SMALL if options.small else Sizes())}
        told |= {"compile": options.compile, "machine": machine()}
        trained = max(1, int(min(options.train, left - SPARE)))
        words = ["--part", name, "--runs", str(options.runs), "--train", str(trained)]
        words += ["--compile"] * options.compile + ["--small"] * options.small
        start = time.perf_counter()
        for row in rows(words, seconds) if seconds > 0 else [{"failed": "no time was left"}]:
            print(name, json.dumps(row), flush=True)
            told["rows"].append(row)
            told["seconds"] = round(time.perf_counter() - start, 1)
            if "failed" not in row or name not in result["parts"]:  # else what was there is better
                result["parts"][name] = told
            write_result(out, result)
        failed += any("failed" in row for row in told["rows"])
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description="The course on the fastest device of a machine.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--total", type=float, default=580, help="seconds for all of it")
    parser.add_argument("--train", type=int, default=480, help="seconds of cifar10's training")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of its files")
    parser.add_argument("--out", type=Path, default=Path("device.json"))
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--smoke", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.smoke:
        losses = smoke()
        if processes().main:
            print(ROW + json.dumps({"processes": processes().size, "losses": losses}), flush=True)
        processes().leave()
        return 0
    return alone(options.part, options) if options.part else all_parts(options)


if __name__ == "__main__":
    sys.exit(main())
