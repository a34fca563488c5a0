"""Widgets of pictures in colour, neither square nor of the digits' size, and what each shows."""

from typing import Any

import torch

from diffusion_lessons.math.sampling import sample
from diffusion_lessons.math.schedule import linear_schedule
from diffusion_lessons.networks.gan import Discriminator, Gan, Generator
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.page import widgets

H, W = 10, 6
SCHEDULE = linear_schedule()
SIDE = 8  # of the networks' pictures, which are square


def colours(count: int, height: int = H, width: int = W, seed: int = 0) -> torch.Tensor:
    """Pictures [count, 3, H, W] whose three channels are nothing alike."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(count, 3, height, width, generator=generator)
    return (noise * 0.5 + torch.tensor([-1.0, -0.25, 0.5]).view(3, 1, 1)).clamp(-1, 1)


def noise(count: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, H, W, generator=torch.Generator().manual_seed(seed))


def denoiser(x_t: torch.Tensor, t: int) -> torch.Tensor:
    """Its guess is one picture, with a little of x_t in it."""
    return colours(1) * 0.8 + 0.1 * x_t.tanh()


def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(SIDE, 3, channels=8, multipliers=(1,), blocks=1, heads=2, classes=0)


def gan() -> Gan:
    torch.manual_seed(0)
    return Gan(
        Generator(3, size=SIDE, in_channels=3, channels=16, multipliers=(1,), heads=2),
        Discriminator(in_channels=3, channels=8, multipliers=(1,)),
    )


def made() -> dict[str, Any]:
    """By name a widget, its name for readers, and by canvas what it should show, [3, H, W]."""
    steps = list(sample(denoiser, noise(), SCHEDULE, 5))
    walk = widgets.StepsExplorer(denoiser, noise(), SCHEDULE, (1, 4), (0, 1))
    guided = widgets.GuidanceExplorer(
        {"one": lambda label, scale: lambda x, t: denoiser(x, t) * scale / 4},
        *(noise(3), SCHEDULE, (1, 4), (0, 1), 2),
    )
    cut = widgets.TruncationExplorer(
        lambda z, label: colours(2) * z[:, :1, None, None].tanh(), 1, (0.5, 1), (0, 1), 2
    )
    film = widgets.FilmPlayer({"one": torch.stack([colours(2), -colours(2)])}, [1, 0])
    player = widgets.TrajectoryPlayer(steps)
    between = widgets.InterpolationExplorer(
        *(denoiser, noise(1, 2), noise(1, 3), SCHEDULE), steps=2, positions=3
    )
    forward = widgets.ForwardExplorer(colours(2))
    schedule = widgets.ScheduleExplorer(colours(1))
    plane = widgets.LatentExplorer(
        lambda z: colours(len(z)) * (0.6 + z[:, :1, None, None].tanh() / 3), side=3
    )
    pictures = colours(2, SIDE, SIDE)
    looks = {"times": (1, 500)}
    layers = widgets.UNetExplorer(unet(), pictures, **looks)
    looking = widgets.AttentionExplorer(unet(), pictures, **looks)
    stepper = widgets.DDGANStepper(gan(), pictures, latents=2)
    x, x0_hat = player.decoded()
    a_t = schedule.schedule.alpha_bar[schedule.t]
    still = torch.randn(3, H, W, generator=torch.Generator().manual_seed(0))
    return {
        "StepsExplorer": (
            walk,
            "Steps and eta explorer",
            {"x-1": walk.pictures()[1], "finished-1": torch.cat([*walk.pictures()], 1)},
        ),
        "GuidanceExplorer": (
            guided,
            "Guidance explorer",
            {"samples": torch.cat([*guided.pictures()], 2)},
        ),
        "TruncationExplorer": (
            cut,
            "Truncation explorer",
            {"samples": torch.cat([*cut.pictures()], 2)},
        ),
        "FilmPlayer": (film, "Film player", {"film0-1": film.decoded()["one"][0, 1]}),
        "TrajectoryPlayer": (
            player,
            "Sampling player",
            {"x-1": x[0, 1], "x0_hat-0": x0_hat[0, 0]},
        ),
        "InterpolationExplorer": (
            between,
            "Interpolation explorer",
            {
                "picture-on_shell": between.on_shell()[1],
                "picture-mixed": between.mixed()[1],
                "strip-straight": torch.cat([*between.straight()], 2),
            },
        ),
        "ForwardExplorer": (
            forward,
            "Forward noising explorer",
            {"x_0": forward.x_0, "noise": forward.noise, "x_t": forward.x_t},
        ),
        "ScheduleExplorer": (
            schedule,
            "Noise schedule explorer",
            {"x_t": (a_t.sqrt() * colours(1)[0] + (1 - a_t).sqrt() * still).float()},
        ),
        "LatentExplorer": (plane, "Latent explorer", {"picture": plane.picture}),
        "UNetExplorer": (
            layers,
            "U-Net explorer",
            {"x_t": layers.x_t, "x0_hat": layers.x0_hat},
        ),
        "AttentionExplorer": (looking, "Attention explorer", {}),
        "DDGANStepper": (
            stepper,
            "DDGAN stepper",
            {"x_0": stepper.x_0, "x0_drawn": stepper.x0_drawn, "x_t": stepper.x_t},
        ),
    }
