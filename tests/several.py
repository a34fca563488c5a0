"""What `test_processes` does alone and in several processes: ``several.py PART,PART FOLDER``."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from diffusion_lessons import DiffusionModel, DrawSettings, TrainOptions, cli, shuffled, train
from diffusion_lessons.data import Images
from diffusion_lessons.math.losses import vae_loss
from diffusion_lessons.math.schedule import vp_schedule
from diffusion_lessons.measuring.drawing import draw_batches
from diffusion_lessons.measuring.evaluation import evaluate_all
from diffusion_lessons.networks.compute import Compute, fastest
from diffusion_lessons.networks.drawing import Drawer
from diffusion_lessons.networks.gan import Gan, Generator, PointDiscriminator, PointGenerator
from diffusion_lessons.networks.processes import processes
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.networks.vae import VAE
from diffusion_lessons.training import loop, optimizers, recipes
from diffusion_lessons.training.gan import train_gan
from diffusion_lessons.training.loop import TrainStep
from diffusion_lessons.training.optimizers import adamw

FLOAT32 = Compute(torch.device("cpu"))
TINY = {"size": 8, "channels": 8, "blocks": 1, "attention_resolutions": (2,), "classes": 3}


def batches(batch_size: int = 8) -> Callable[[int], Any]:
    g = torch.Generator().manual_seed(5)
    images, labels = torch.randn(64, 1, 8, 8, generator=g), torch.randint(3, (64,), generator=g)
    return shuffled(images.clamp(-1, 1), labels, batch_size=batch_size)


def pictures(model: Any, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
    loss: Tensor = model.loss(batch[0], g, batch[1], drop_label=0.5)
    return loss


def unet(seed: int = 0) -> DiffusionModel:
    torch.manual_seed(seed)
    return DiffusionModel(UNet(**TINY))


def training(seed: int = 0, batch_size: int = 8, **options: Any) -> Iterator[TrainStep]:
    options = {"steps": 8, "compute": FLOAT32, "ema": 0.5, "optimizer": adamw()} | options
    return train(unet(seed), pictures, batches(batch_size), **options)


def vae(steps: int) -> Iterator[TrainStep]:
    torch.manual_seed(0)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        return vae_loss(model, batch[0], g, batch[1])

    model = VAE(size=8, width=16, latent=2, classes=3)
    return train(model, loss, batches(), steps=steps, compute=FLOAT32)


def gan(steps: int) -> Iterator[TrainStep]:
    torch.manual_seed(0)
    points = torch.randn(64, 2, generator=torch.Generator().manual_seed(1))
    nets = PointGenerator(width=16), PointDiscriminator(width=16)
    data = shuffled(points, batch_size=8)
    return train_gan(*nets, data, vp_schedule(4), TrainOptions(steps=steps, compute=FLOAT32))


def in_short(run: Iterator[TrainStep]) -> list[float]:
    """Its losses, and the finished network's weights, some of them."""
    steps: list[TrainStep] = list(run)
    weights = torch.cat([w.flatten() for w in steps[-1].model.parameters()])
    return [*(step.loss.item() for step in steps), *weights[:: max(1, len(weights) // 50)].tolist()]


def train_all(folder: Path) -> dict[str, list[float]]:
    """A few steps of everything that is trained, each process seeding its weights otherwise."""
    saved = {"checkpoint": folder / "whole.training", "save_every": 2}
    with mock.patch.object(loop, "save_state", wraps=loop.save_state) as saving:
        runs = {"unet": in_short(training(seed=processes().rank, **saved))}
    runs |= {"vae": in_short(vae(4)), "gan": in_short(gan(4)), "cifar10": in_short(colours())}
    return runs | {"files written": [saving.call_count]}


def colours() -> Iterator[TrainStep]:
    """The recipe for CIFAR-10, with pictures made here; flips and labels are dropped by chance."""
    g = torch.Generator().manual_seed(3)
    made = Images(torch.randint(256, (16, 3, 32, 32), generator=g).byte(), torch.arange(16) % 10)
    with mock.patch.object(recipes, "cifar10", return_value=made):
        options = TrainOptions(steps=2, compute=FLOAT32, warmup=1, ema=0.5, optimizer=adamw())
        return recipes.cifar10_adm(options, channels=16, batch_size=4)


def muon(folder: Path) -> dict[str, list[float]]:
    """Losses alone: the bfloat16 inside Muon makes more of a rounding than float32 does."""
    run = training(optimizer=optimizers.MuonAdamW)
    return {"muon": [step.loss.item() for step in run]}


def drawn(folder: Path) -> dict[str, list[float]]:
    """Three batches of pictures, so that the last round leaves one process idle; and a table."""
    torch.manual_seed(0)
    labels = torch.arange(3).repeat(200)
    drawers: dict[str, tuple[Drawer, DrawSettings, int]] = {
        "ddpm": (unet().eval(), DrawSettings(steps=2, eta=1.0), 2),
        "heun": (unet().eval(), DrawSettings(steps=2, sampler="heun"), 3),
        "gan": (Gan(Generator(2, **TINY), nn.Identity(), 2).eval(), DrawSettings(), 2),
        "vae": (VAE(size=8, width=8, latent=2, classes=3).eval(), DrawSettings(), 1),
    }
    pictures = {}
    for name, (model, settings, calls) in drawers.items():
        parts = list(draw_batches(model, labels, settings))
        assert [len(part.x) for part in parts] == [250, 250, 100]
        assert {part.calls for part in parts} == {calls}
        pictures[name] = torch.cat([part.x for part in parts]).flatten()[::300].tolist()
    digits = DiffusionModel(UNet(channels=8, blocks=1)).eval()
    rows = evaluate_all(digits, folder / "table.jsonl", [DrawSettings(steps=1)], count=260)
    return pictures | {"table": [row["frechet_distance"] for row in rows]}


def refuse(folder: Path) -> dict[str, Any]:
    """What all must refuse alike, and go on after."""
    shared = processes()
    errors = []
    wrong = folder / "wrong.training"
    wrong.write_text("nothing")
    shared.gather(0)  # it is there for all before one of them reads it
    for make in (
        lambda: list(training(batch_size=7)),
        lambda: list(training(checkpoint=wrong)),
        lambda: list(train(unet(), broken, batches(), steps=1, compute=FLOAT32)),
        lambda: shared.rows({"x": "text"}),
    ):
        try:
            make()
            errors.append("nothing")
        except (ValueError, FloatingPointError) as error:
            errors.append(str(error))
    timed = list(training(steps=None, seconds=0.2))
    return {"errors": errors, "clock": [step.seconds for step in timed]}


def broken(model: nn.Module, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
    """A loss that is no number in the last process alone."""
    loss = pictures(model, batch, g)
    return loss * float("nan") if processes().rank == processes().size - 1 else loss


def resumed(folder: Path, until: int = 8) -> list[float]:
    """The losses of a training with a checkpoint after every second step, left after ``until``."""
    losses = []
    for step in training(checkpoint=folder / "resumed.training", save_every=2):
        losses.append(step.loss.item())
        if step.step == until:
            break
    return losses


def die(folder: Path) -> None:
    """One process of a training is killed; the others wait for it."""
    for step in training(checkpoint=folder / "resumed.training", save_every=2):
        if step.step == 4 and processes().rank == 1:
            time.sleep(1)  # the main process has saved by then
            os.kill(os.getpid(), signal.SIGKILL)


def sample(folder: Path) -> int:
    """The command; it parts the processes, so it comes last."""
    settings = ["--steps", "1", "--each", "2", "--labels", "3", "5"]
    return cli.main(["sample", "digits-vae", *settings, "--out", str(folder / "grid.png")])


PARTS: dict[str, Callable[[Path], Any]] = {
    "train": train_all,
    "muon": muon,
    "draw": drawn,
    "refuse": refuse,
    "compute": lambda folder: fastest().as_dict(),
    "finish": resumed,
    "sample": sample,
    "die": die,
}


if __name__ == "__main__":
    parts, folder = sys.argv[1].split(","), Path(sys.argv[2])
    results = {}
    for part in parts:
        results[part] = PARTS[part](folder)
        (folder / f"{parts[0]}-{processes().rank}.json").write_text(json.dumps(results))
