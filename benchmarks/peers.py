"""Other libraries' networks for digits, of about as many weights as ours and their own default, and
how their authors train them: what training.py compares with."""

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 25  # of DDIM


class Peer(NamedTuple):
    """Another library's network, and how its authors train it."""

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]  # pictures [B, 1, 28, 28] in -1..1, labels [B]
    draw: Callable[[Tensor], Tensor]  # labels -> pictures, from the averaged weights if any
    optimizer: torch.optim.Optimizer
    batch: int
    after: Callable[[float], None] = lambda progress: None  # after an update: averages, rates
    conditional: bool = True


def diffusers(course: bool = False) -> Peer:
    """A UNet2DModel of about as many weights as ours, with a class told, trained as the library's
    script for pictures without a class does; with ``course``, at the constant rate and under the
    cosine schedule of its authors' lesson on MNIST, without averages."""
    library: Any = import_module("diffusers")
    torch.manual_seed(0)
    net = library.UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(32, 32, 64),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        num_class_embeds=10,
    )
    noising = library.DDPMScheduler(beta_schedule="squaredcos_cap_v2" if course else "linear")
    # These two options draw better with a network that is young: from the last time on, and with
    # the noise that belongs to the clipped picture.
    drawing = library.DDIMScheduler.from_config(noising.config, timestep_spacing="trailing")
    clipped = {"use_clipped_model_output": True}
    drawing.set_timesteps(STEPS)
    averages: Any = import_module("diffusers.training_utils")
    average = averages.EMAModel(net.parameters(), use_ema_warmup=True, inv_gamma=1.0, power=0.75)

    def loss(x: Tensor, label: Tensor) -> Tensor:
        t, noise = torch.randint(1000, (len(x),)), torch.randn_like(x)
        predicted = net(noising.add_noise(x, noise, t), t, class_labels=label).sample
        return F.mse_loss(predicted.float(), noise)

    def draw(labels: Tensor) -> Tensor:
        if not course:
            average.store(net.parameters())
            average.copy_to(net.parameters())
        parts = []
        for label in labels.split(250):
            x = torch.randn(len(label), 1, 28, 28)
            for t in drawing.timesteps:
                noise = net(x, t, class_labels=label).sample.float()
                x = drawing.step(noise, t, x, **clipped).prev_sample
            parts.append(x)
        if not course:
            average.restore(net.parameters())
        return torch.cat(parts)

    if course:
        return Peer(net, loss, draw, torch.optim.Adam(net.parameters(), lr=1e-3), 64)
    adamw = torch.optim.AdamW(net.parameters(), 0.0, (0.95, 0.999), weight_decay=1e-6)

    def after(progress: float) -> None:
        average.step(net.parameters())
        warm = min(1.0, progress / 0.1)  # then half a cosine, as get_cosine_schedule_with_warmup
        falling = 0.5 + 0.5 * math.cos(math.pi * max(0.0, progress - 0.1) / 0.9)
        adamw.param_groups[0]["lr"] = 1e-4 * warm * falling

    return Peer(net, loss, draw, adamw, 16, after)


def denoising_diffusion_pytorch(default: bool = False) -> Peer:
    """Its Unet with about as many weights as ours, and what its README and Trainer do; with
    ``default``, its README's own, of 36 M weights. That one wants a side divisible by eight, so the
    digits get a margin of two pixels, which is cut off again before they are judged."""
    try:
        library: Any = import_module("denoising_diffusion_pytorch")
        averages: Any = import_module("ema_pytorch")  # it comes with it
    except ImportError as error:
        raise ImportError("run: pip install denoising-diffusion-pytorch") from error

    margin = 2 if default else 0
    dim, multipliers = (64, (1, 2, 4, 8)) if default else (16, (1, 2, 4))
    torch.manual_seed(0)
    net = library.GaussianDiffusion(
        library.Unet(dim, dim_mults=multipliers, channels=1),
        image_size=28 + 2 * margin,
        sampling_timesteps=STEPS,
    )
    adam = torch.optim.Adam(net.parameters(), lr=8e-5, betas=(0.9, 0.99))
    average = averages.EMA(net, beta=0.995, update_every=10)

    def draw(labels: Tensor) -> Tensor:
        parts = [average.ema_model.sample(len(part)) for part in labels.split(250)]
        return F.pad(torch.cat(parts) * 2 - 1, 4 * [-margin])

    def loss(x: Tensor, label: Tensor) -> Tensor:
        found: Tensor = net(F.pad((x + 1) / 2, 4 * [margin]))
        return found

    return Peer(net, loss, draw, adam, 32, lambda progress: average.update(), conditional=False)
