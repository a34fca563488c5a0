"""Draw the pictures of the README: python book/figures.py"""

from functools import partial
from pathlib import Path

import torch

from diffusion_lessons import from_noise_model, linear_schedule, load_pretrained, sample
from diffusion_lessons.files import aside, outlet
from diffusion_lessons.networks.compute import fast
from diffusion_lessons.page.viz import show_steps

HERE = Path(__file__).parent


def from_noise_to_digits() -> None:
    """One digit's way out of the noise, at ten moments."""
    target = outlet(HERE / "images" / "from-noise-to-digits.png")
    schedule = linear_schedule()
    model = fast(load_pretrained("digits-ddpm"))
    generator = torch.Generator().manual_seed(3)
    denoiser = from_noise_model(partial(model, label=torch.tensor([2])), schedule, clip=1)
    start = torch.randn(1, 1, 28, 28, generator=generator)
    steps = list(sample(denoiser, start, schedule, steps=250, generator=generator))
    figure = show_steps(steps, columns=10)
    with aside(target) as unfinished:
        figure.savefig(unfinished, format="png", dpi=110, bbox_inches="tight", facecolor="white")
    print(target)


if __name__ == "__main__":
    from_noise_to_digits()
