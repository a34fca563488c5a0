"""How soon does a network draw good digits on a CPU: ours, diffusers, denoising-diffusion-pytorch?

    pip install diffusers denoising-diffusion-pytorch
    taskset -c 1 env OMP_NUM_THREADS=1 python benchmarks/training.py

Each learns MNIST from nothing on one thread, in the number format that is quickest for it, for a
number of seconds, and draws 1,000 digits in 25 DDIM steps with its own sampler; the course's judge
tells the Frechet distance and, where a class can be asked for, its accuracy. The seconds are the
processor's, spent training alone: drawing, and what other programs on the machine take, do not
count. Ours plans its learning rate to reach zero at the end, so each of its rows is a run; theirs
are rows of one run, planned for its longest time. Rows go to training.jsonl as they come, and those
that it holds already are not measured again.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from peers import STEPS, Peer, denoising_diffusion_pytorch, diffusers
from torch import Tensor, nn

from diffusion_lessons import DiffusionModel, DrawSettings, TrainOptions, digits, to_unit
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.measuring.judge import accuracy, features, reference
from diffusion_lessons.measuring.metrics import frechet_distance
from diffusion_lessons.measuring.tables import Table
from diffusion_lessons.networks.cards import machine
from diffusion_lessons.networks.compute import Compute, fastest
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.training.batches import shuffled
from diffusion_lessons.training.recipes import train_on_digits

COUNT = 1000
FORMATS = [
    Compute(torch.device("cpu"), dtype, layout)
    for dtype, layout in product(
        (torch.float32, torch.bfloat16), (torch.contiguous_format, torch.channels_last)
    )
]
now = time.process_time  # of this process alone, so that other programs are not counted


def train_peer(peer: Peer, seconds: list[float]) -> Iterator[dict[str, Any]]:
    """One run, a row at each of the ascending ``seconds``."""
    images, labels = digits()
    batches = shuffled(images, labels, batch_size=peer.batch)

    def update(step: int, compute: Compute) -> None:
        x, label = compute.move(batches(step))
        peer.optimizer.zero_grad()
        with compute.autocast():
            value = peer.loss(to_unit(x), label)
        torch.autograd.backward(value)
        nn.utils.clip_grad_norm_(peer.model.parameters(), 1.0)  # both libraries' trainers do
        peer.optimizer.step()

    start = {key: value.clone() for key, value in peer.model.state_dict().items()}
    compute = min(FORMATS, key=partial(cost, peer.model, update))
    peer.model.load_state_dict(start)
    peer.optimizer.state.clear()
    compute.place(peer.model)
    spent, step = 0.0, 0
    for budget in seconds:
        while spent < budget:
            began = now()
            update(step, compute)
            peer.after(spent / seconds[-1])
            spent, step = spent + now() - began, step + 1
        row: dict[str, Any] = {"updates": step, "batch": peer.batch, "cpu_seconds": round(spent, 1)}
        row |= {"parameters": size(peer.model), "compute": compute.as_dict()}
        yield row | judged(peer.draw, compute, peer.conditional)


def cost(model: nn.Module, update: Callable[[int, Compute], None], compute: Compute) -> float:
    """Seconds of the quickest of a few updates in a number format."""
    compute.place(model)
    seconds = []
    for step in range(4):
        began = now()
        update(step, compute)
        seconds.append(now() - began)
    return min(seconds)


def train_ours(seconds: list[float]) -> Iterator[dict[str, Any]]:
    """The recipe of lesson 02; as many updates as fit into the processor's seconds."""
    for budget in seconds:
        clock = [now() for _ in train_on_digits(our_model(), TrainOptions(steps=40))]
        planned = round(budget * (len(clock) - 10) / (clock[-1] - clock[9]))
        began = now()
        *_, last = train_on_digits(our_model(), TrainOptions(steps=planned))
        spent = now() - began

        draw_ours = partial(draw, last.model, settings=DrawSettings(steps=STEPS))
        row: dict[str, Any] = {"updates": planned, "batch": 64, "cpu_seconds": round(spent, 1)}
        row |= {"parameters": size(last.model), "compute": fastest().as_dict()}
        yield row | judged(draw_ours, FORMATS[0], True)


def size(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def our_model() -> DiffusionModel:
    """Lesson 02's with twice its channels: about as many weights as theirs."""
    torch.manual_seed(0)
    return DiffusionModel(UNet(channels=32, blocks=1, attention_resolutions=()))


@torch.no_grad()
def judged(draw: Callable[[Tensor], Tensor], compute: Compute, conditional: bool) -> dict[str, Any]:
    real = reference(COUNT)
    torch.manual_seed(0)
    with compute.autocast():
        drawn = draw(real.labels)
    seen = features(drawn.float().contiguous())
    row: dict[str, Any] = {"frechet_distance": round(frechet_distance(seen, real.features), 3)}
    return row | ({"class_accuracy": round(accuracy(seen, real.labels), 4)} if conditional else {})


CONTESTANTS: dict[str, Callable[[list[float]], Iterator[dict[str, Any]]]] = {
    "diffusion_lessons": train_ours,
    "diffusers": lambda seconds: train_peer(diffusers(), seconds),
    "diffusers, rate of its MNIST lesson": lambda seconds: train_peer(diffusers(True), seconds),
    "denoising-diffusion-pytorch": lambda s: train_peer(denoising_diffusion_pytorch(), s),
    "denoising-diffusion-pytorch, its default network": lambda s: train_peer(
        denoising_diffusion_pytorch(True), s
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train three libraries on digits, on one thread.")
    parser.add_argument("--ours", type=float, nargs="+", default=[15, 30, 60])
    parser.add_argument("--theirs", type=float, nargs="+", default=[60, 300])
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    options = parser.parse_args()
    head: dict[str, Any] = {
        "command": "taskset -c 1 env OMP_NUM_THREADS=1 python benchmarks/training.py"
    }
    head |= {"samples": COUNT, "ddim_steps": STEPS, "floor": reference(COUNT).floor}
    table = Table(options.out, head, lambda row: (row["who"], row["planned"], row["seconds"]))
    for who in options.only:
        alone = who == "diffusion_lessons"
        for run in [[s] for s in options.ours] if alone else [sorted(options.theirs)]:
            if all((who, run[-1], seconds) in table for seconds in run):
                continue
            for seconds, measured in zip(run, CONTESTANTS[who](run), strict=True):
                row = {"who": who, "seconds": seconds, "planned": run[-1]} | measured
                if (who, run[-1], seconds) not in table:
                    busy = round(os.getloadavg()[0], 1)  # programs that want a core, this one too
                    table.add(row | {"load_average": busy, "machine": machine()})
                print(row, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
