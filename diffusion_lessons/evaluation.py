"""Measuring networks: make samples, let the classifier judge digits, the plane judge points."""

import time
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from .checkpoints import load_pretrained
from .compute import Compute, fast, fastest
from .data import digits, moons, to_unit
from .metrics import class_accuracy, frechet_distance
from .models.classifier import Classifier
from .models.mlp import MLP
from .models.unet import UNet
from .sampling import ddim_step, from_noise_model, sample
from .schedule import NoiseSchedule


def generate(
    model: UNet,
    labels: Tensor,
    schedule: NoiseSchedule,
    steps: int = 50,
    eta: float = 0.0,
    seed: int = 0,
    batch_size: int = 250,
    compute: Compute | None = None,
) -> Iterator[Tensor]:
    """Pictures for labels [N], batch by batch, on the CPU; DDIM with ``eta``, x0_hat clipped to 1.

    ``eta`` = 1 is DDPM. The starting noise depends on the seed alone.
    """
    compute = compute or fastest()
    network = fast(model, compute)
    generator = torch.Generator().manual_seed(seed)
    shape = (model.in_channels, model.size, model.size)
    for chunk in labels.split(batch_size):
        x_T = torch.randn(len(chunk), *shape, generator=generator).to(compute.device)
        labelled = partial(network, label=chunk.to(compute.device))
        denoiser = from_noise_model(labelled, schedule, clip=1)
        rule = partial(ddim_step, eta=eta)
        *_, last = sample(denoiser, x_T, schedule, steps, rule, generator)
        yield last.x.cpu()


@lru_cache
def judge() -> Classifier:
    """The shipped digit classifier, on the fastest device."""
    model = load_pretrained("digits-classifier")
    assert isinstance(model, Classifier)
    return model.to(fastest().device)


@torch.no_grad()
def features(x: Tensor, batch_size: int = 1000) -> Tensor:
    """Pictures [N, 1, 28, 28] in -1..1 -> the judge's features [N, 64], in float32, on the CPU."""
    model = judge()
    device = next(model.parameters()).device
    return torch.cat([model.features(part.to(device)).cpu() for part in x.split(batch_size)])


@torch.no_grad()
def accuracy(found: Tensor, labels: Tensor) -> float:
    """Share of features [N, 64] in which the judge sees the label [N] that was asked for."""
    model = judge()
    logits = model.output(found.to(next(model.parameters()).device)).cpu()
    return class_accuracy(logits, labels)


def reference(count: int, seed: int = 0) -> tuple[Tensor, Tensor, float]:
    """Real test digits to compare ``count`` samples with: features, labels, and the floor.

    The floor is the Frechet distance of as many training digits, of the very same classes, to the
    same test digits: what samples as good as real ones would get. Raises ValueError unless count
    is in 2..10,000.
    """
    test, train = digits(train=False), digits()
    if not 2 <= count <= len(test.labels):
        raise ValueError(f"count must lie in 2..{len(test.labels)}, got {count}")
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(test.labels), generator=generator)[:count]
    found, labels = features(to_unit(test.images[rows])), test.labels[rows]
    like = []  # rows of training digits, class by class as many as were drawn above
    for label, number in zip(*labels.unique(return_counts=True), strict=True):
        candidates = (train.labels == label).nonzero()[:, 0]
        like.append(candidates[torch.randperm(len(candidates), generator=generator)[:number]])
    floor = frechet_distance(features(to_unit(train.images[torch.cat(like)])), found)
    return found, labels, floor


def evaluate(
    model: UNet,
    schedule: NoiseSchedule,
    count: int = 10_000,
    steps: int = 50,
    eta: float = 0.0,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Sample ``count`` digits for the labels of as many test digits, and measure them.

    Returns class accuracy, the Frechet distance in the judge's features to those test digits, its
    floor, and what was done.
    """
    from tqdm.auto import tqdm

    real, labels, floor = reference(count, seed)
    start = time.perf_counter()
    with tqdm(total=count, desc="sampling", unit="img", leave=False, disable=not progress) as bar:
        parts = []
        for part in generate(model, labels, schedule, steps, eta, seed):
            parts.append(part)
            bar.update(len(part))
    seconds = time.perf_counter() - start
    fake = features(torch.cat(parts))
    return {
        "samples": count,
        "steps": steps,
        "eta": eta,
        "seed": seed,
        "class_accuracy": round(accuracy(fake, labels), 4),
        "frechet_distance": round(frechet_distance(fake, real), 4),
        "frechet_floor": round(floor, 4),
        "seconds": round(seconds, 1),
    }


def evaluate_classifier(model: Classifier) -> dict[str, Any]:
    """Accuracy of a classifier on the 10,000 test digits."""
    test = digits(train=False)
    with torch.no_grad():
        logits = torch.cat([model(to_unit(part)) for part in test.images.split(1000)])
    return {"test_digits": len(test.labels), "accuracy": class_accuracy(logits, test.labels)}


def evaluate_points(
    model: MLP,
    schedule: NoiseSchedule,
    count: int = 10_000,
    steps: int = 100,
    eta: float = 1.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Sample ``count`` points from a network for the moons, and measure them.

    Returns the Frechet distance to as many real points, in the plane itself, its floor, and the
    share of samples within 0.1 of one of 20,000 real points.
    """
    generator = torch.Generator().manual_seed(seed)
    real, more = moons(count, generator)[0], moons(20_000, generator)[0]
    start = torch.randn(count, 2, generator=generator)
    rule = partial(ddim_step, eta=eta)
    denoiser = from_noise_model(model, schedule)
    *_, last = sample(denoiser, start, schedule, steps, rule, generator)
    nearest = torch.cat([torch.cdist(part, more).min(1).values for part in last.x.split(1000)])
    return {
        "samples": count,
        "steps": steps,
        "eta": eta,
        "seed": seed,
        "frechet_distance": round(frechet_distance(last.x, real), 5),
        "frechet_floor": round(frechet_distance(more[:count], real), 5),
        "near_data": round((nearest < 0.1).double().mean().item(), 4),
    }
