"""What does diffusion in a latent save, and what is lost?

    python benchmarks/latent.py

One call of the network of digits-latent beside one of digits-ddpm's, and beside the VAE's decoder:
operations (counted by torch, two for a multiplication and an addition) and time, alone and in
batches of 250. Then what the judge says of 5,000 digits that the VAE draws from its prior, that
diffusion draws in its latent, and that are real and went through the VAE alone, as a diffusion that
made no mistake would draw them; and how far the VAE's latents are from its prior. Times are the
quickest of some passes, in seconds of the processor on one thread, so that other programs on the
machine hardly count. Results go to latent.json.
"""

import argparse
import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import quickest, write
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from diffusion_lessons import DiffusionModel, DrawSettings, digits, load_pretrained, to_unit
from diffusion_lessons.data import Images
from diffusion_lessons.math.randomness import BY_ROW, seeded
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.measuring.judge import judged, reference
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.latent import LatentDiffusion

FLOAT32 = Compute(torch.device("cpu"), torch.float32, torch.channels_last, threads=1)
BFLOAT16 = Compute(torch.device("cpu"), torch.bfloat16, torch.channels_last, threads=1)
BATCH = 250
STEPS = (5, 10, 20, 50)


def shipped(name: str) -> Any:
    return load_pretrained(name)


# ------------------------------------------------------------------ what a call costs


def calls() -> dict[str, Any]:
    """Of each network: weights, operations for a picture, milliseconds alone and in a batch."""
    latent, ddpm = shipped("digits-latent"), shipped("digits-ddpm")
    vae = latent.autoencoder
    rows = {
        "digits-latent, float32": cost(partial(asked, latent.model, FLOAT32), latent.model),
        "digits-ddpm, float32": cost(partial(asked, ddpm, FLOAT32), ddpm),
        "digits-ddpm, bfloat16": cost(partial(asked, ddpm, BFLOAT16), ddpm),
        "decoder of digits-vae, float32": cost(partial(decoded, vae), vae.decoder),
    }
    quick = rows["digits-latent, float32"]
    best = {
        name: min(rows[f"digits-ddpm, {dtype}"][name] for dtype in ("float32", "bfloat16"))
        for name in ("operations", "ms_alone", "ms_in_a_batch")
    }
    times = {name: round(best[name] / quick[name], 1) for name in best}
    return {"batch": BATCH, "rows": rows, "digits_ddpm_over_digits_latent": times}


def asked(model: DiffusionModel, compute: Compute, batch: int) -> Callable[[], object]:
    network = compute.fast(model.network)
    x_t, t = torch.randn(batch, *model.shape), torch.full((batch,), 500)
    return partial(network, x_t, t, torch.arange(batch) % 10)


def decoded(vae: Any, batch: int) -> Callable[[], object]:
    return partial(vae.decode, torch.randn(batch, vae.latent), torch.arange(batch) % 10)


@torch.no_grad()
def cost(make: Callable[[int], Callable[[], object]], weights: torch.nn.Module) -> dict[str, Any]:
    alone, together = make(1), make(BATCH)
    with FlopCounterMode(display=False) as counter:
        alone()
    row: dict[str, Any] = {
        "parameters": sum(weight.numel() for weight in weights.parameters()),
        "operations": counter.get_total_flops(),
    }
    for name, call, passes in (("ms_alone", alone, 50), ("ms_in_a_batch", together, 12)):
        call()
        seconds = quickest(call, passes) / (1 if call is alone else BATCH)
        row[name] = round(1000 * seconds, 5)
    return row


# ------------------------------------------------------------------ what the judge says


def quality(count: int, seed: int) -> dict[str, Any]:
    """Of each way to a digit, what the judge says beside ``count`` real test digits."""
    real = reference(count, seed, FLOAT32)
    latent, vae, ddpm = shipped("digits-latent"), shipped("digits-vae"), shipped("digits-ddpm")
    ways: dict[str, Callable[[], Tensor]] = {
        "the VAE, from its prior": lambda: draw(vae, real.labels, seed=seed, compute=FLOAT32)
    }
    for steps in STEPS:
        ways[f"digits-latent, DDIM, {steps} steps"] = partial(
            draw, latent, real.labels, DrawSettings(steps, 0.0), seed, None, FLOAT32
        )
    ways |= {
        "training digits through the VAE": lambda: through(latent, training(real.labels, seed)),
        "test digits through the VAE": lambda: through(latent, test(count, seed)),
        "training digits": lambda: to_unit(training(real.labels, seed).images),
        "digits-ddpm, DDIM, 20 steps": lambda: draw(
            ddpm, real.labels, DrawSettings(20, 0.0), seed, compute=BFLOAT16
        ),
    }
    rows = {}
    for name, way in ways.items():
        rows[name] = judged(way(), real, True, FLOAT32)
        print(name, rows[name], flush=True)
    return {"samples": count, "seed": seed, "random_numbers": BY_ROW, "rows": rows}


def test(count: int, seed: int) -> Images:
    """The test digits that all is compared with: those of `reference`."""
    images = digits(train=False)
    rows = torch.randperm(len(images.labels), generator=torch.Generator().manual_seed(seed))
    return Images(*(part[rows[:count]] for part in images))


def training(labels: Tensor, seed: int) -> Images:
    """A training digit for each label."""
    images, generator = digits(), torch.Generator().manual_seed(seed)
    rows = torch.empty_like(labels)
    for label in range(10):
        wanted, there = labels == label, (images.labels == label).nonzero()[:, 0]
        order = torch.randperm(len(there), generator=generator)
        rows[wanted] = there[order[: int(wanted.sum())]]
    return Images(images.images[rows], labels)


def through(latent: LatentDiffusion, real: Images) -> Tensor:
    """Real digits, encoded (a draw from q(z | x)) and decoded."""
    z = latent.encode(to_unit(real.images), real.labels, seeded(0))
    return latent.decode(z, real.labels)


# ------------------------------------------------------------------ how far from the prior


@torch.no_grad()
def from_the_prior(of_a_class: int) -> dict[str, float]:
    """How far the latents of a class's digits are from the standard normal at least, in nats.

    No density gives latents a larger log on the average than their own. So whatever density is
    fitted to those of the training digits, its log at those of test digits, less the prior's, is at
    most KL(q(z), p). Here one Gaussian, and a smooth one of kernels; beside them what the ELBO
    pays, the mean of KL(q(z | x), p). Means over ten classes.
    """
    vae, g = shipped("digits-vae"), seeded(0)
    found: dict[str, list[float]] = {"of_a_gaussian": [], "of_kernels": [], "paid_by_the_elbo": []}
    for label in range(10):
        mean, std = encoded(vae, digits(), label)
        paid = ((mean.square() + std.square() - 1) / 2 - std.log()).sum(1).mean()
        found["paid_by_the_elbo"].append(float(paid))
        seen = mean + std * torch.randn(mean.shape, generator=g)
        mean, std = (part[:of_a_class] for part in encoded(vae, digits(train=False), label))
        z = mean + std * torch.randn(mean.shape, generator=g)
        prior = -z.square().sum(1) / 2 - z.shape[1] / 2 * math.log(2 * math.pi)
        scott = len(seen) ** (-1 / (seen.shape[1] + 4))  # Scott's rule for the kernels' width
        for name, width in (("of_a_gaussian", 1.0), ("of_kernels", scott)):
            found[name].append(float((log_density(z, seen, width) - prior).mean()))
    return {name: round(sum(values) / len(values), 2) for name, values in found.items()}


def encoded(vae: Any, images: Images, label: int) -> tuple[Tensor, Tensor]:
    some = images.images[images.labels == label]
    mean, std = vae.encode(to_unit(some), torch.full((len(some),), label))
    return mean.double(), std.double()


def log_density(z: Tensor, seen: Tensor, width: float) -> Tensor:
    """log r(z) [N] of a density with the mean and the covariance of seen [M, D].

    It is a mixture of Gaussians around the rows of ``seen``, each of them moved towards the mean,
    whose covariance is ``width``^2 times that of all; of width 1 it is one Gaussian.
    """
    middle, root = seen.mean(0), torch.linalg.cholesky(torch.cov(seen.T))
    z, seen = ((root.inverse() @ (x - middle).T).T for x in (z, seen))  # whitened
    far = torch.cdist(z, (1 - width**2) ** 0.5 * seen).square() / (2 * width**2)
    volume = root.diagonal().log().sum() + z.shape[1] * math.log(width * (2 * math.pi) ** 0.5)
    return (-far).logsumexp(1) - math.log(len(seen)) - volume


def main() -> None:
    parser = argparse.ArgumentParser(description="Diffusion in the latent of digits-vae.")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        "command": f"python benchmarks/latent.py --samples {options.samples} --seed {options.seed}",
        "calls": calls(),
        "nats_from_the_prior_at_least": from_the_prior(500),
        "quality": quality(options.samples, options.seed),
    }
    print(json.dumps(result, indent=2))
    write(__file__, result)


if __name__ == "__main__":
    main()
