"""Measuring networks: make samples, let the classifier judge digits, the plane judge points."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import checks
from ..data import digits, moons, to_unit
from ..math.gaussian import forward
from ..math.guidance import (
    class_log_prob,
    classifier_free_guidance,
    classifier_guidance,
    clipped,
    truncated_normal,
)
from ..math.sampling import Denoiser, ddim_step, from_noise_model, sample
from ..math.schedule import NoiseSchedule, quadratic, uniform, vp_schedule
from ..networks.checkpoints import load_pretrained, machine
from ..networks.classifier import Classifier, NoisyClassifier
from ..networks.compute import Compute, best_device, fast, fastest
from ..networks.gan import Gan
from ..networks.mlp import MLP
from ..networks.processes import processes
from ..networks.unet import UNet
from ..networks.vae import VAE
from ..training.batches import step_generator
from ..training.gan import as_denoiser
from .metrics import class_accuracy, density_coverage, frechet_distance, precision_recall
from .tables import Table

DigitNetwork = UNet | VAE | Gan
"""Whatever draws digits of a class"""

SPACINGS: dict[str, Callable[[float], float]] = {"uniform": uniform, "quadratic": quadratic}

Network = Callable[..., Tensor]
"""(x_t [B, ...], t [B], label=None) -> noise [B, ...]"""

Guidance = Callable[[Network, Tensor, NoiseSchedule, float], Denoiser]
"""(network, labels [B], schedule, scale) -> the denoiser that draws those labels"""


def unguided(model: Network, label: Tensor, schedule: NoiseSchedule, scale: float) -> Denoiser:
    """The network is told the label; there is no scale."""
    return from_noise_model(partial(model, label=label), schedule, clip=1)


def by_classifier(model: Network, label: Tensor, schedule: NoiseSchedule, scale: float) -> Denoiser:
    """The network is told nothing, a classifier pushes; scale 0 draws any class."""
    guide = class_log_prob(noisy_classifier(), label)
    return clipped(classifier_guidance(from_noise_model(model, schedule), guide, schedule, scale))


def by_label_and_classifier(
    model: Network, label: Tensor, schedule: NoiseSchedule, scale: float
) -> Denoiser:
    """The network is told the label, and a classifier pushes as well; scale 0 is `unguided`."""
    return by_classifier(partial(model, label=label), label, schedule, scale)


def free_of_classifier(
    model: Network, label: Tensor, schedule: NoiseSchedule, scale: float
) -> Denoiser:
    """The network is asked with the label and without; scale 1 is `unguided`, 0 any class."""
    told = from_noise_model(partial(model, label=label), schedule)
    return clipped(classifier_free_guidance(told, from_noise_model(model, schedule), scale))


GUIDANCES: dict[str, Guidance] = {
    "none": unguided,
    "classifier": by_classifier,
    "label+classifier": by_label_and_classifier,
    "classifier-free": free_of_classifier,
}
TRUNCATION = "truncation"  # of a latent; stands where a guidance stands in tables


@lru_cache
def noisy_classifier() -> NoisyClassifier:
    """The shipped classifier of noisy digits, on the fastest device, in float32."""
    model = load_pretrained("digits-noisy-classifier")
    assert isinstance(model, NoisyClassifier)
    return model.to(fastest().device).requires_grad_(False)


def generate(
    model: UNet,
    labels: Tensor,
    schedule: NoiseSchedule,
    steps: int = 50,
    eta: float = 0.0,
    seed: int = 0,
    batch_size: int = 250,
    compute: Compute | None = None,
    spacing: Callable[[float], float] = uniform,
    guidance: Guidance = unguided,
    scale: float = 1.0,
) -> Iterator[Tensor]:
    """Pictures for labels [N], batch by batch, on the CPU; DDIM with ``eta``, x0_hat clipped to 1.

    ``eta`` = 1 is DDPM. ``spacing`` is `uniform` or `quadratic`, ``guidance`` one of `GUIDANCES`.
    The starting noise depends on the seed alone. Several `processes` share out the batches.
    """
    times = schedule.times(steps, spacing)
    compute = compute or fastest()
    network = fast(model, compute)
    rule = partial(ddim_step, eta=eta)

    def batch(x_T: Tensor, label: Tensor, generator: torch.Generator) -> Tensor:
        denoiser = guidance(network, label.to(compute.device), schedule, scale)
        start = x_T.to(compute.device)
        *_, last = sample(denoiser, start, schedule, None, rule, generator, times)
        return last.x

    shape = (len(labels), model.in_channels, model.size, model.size)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return _in_batches(batch, noise, labels, batch_size, seed)


Batch = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""(noise, labels, the batch's own random numbers) -> pictures"""


def _in_batches(
    batch: Batch, noise: Tensor, labels: Tensor, batch_size: int, seed: int
) -> Iterator[Tensor]:
    """All pictures in order, on the CPU; each process draws every ``size``-th batch."""
    shared = processes()
    parts = list(zip(noise.split(batch_size), labels.split(batch_size), strict=True))
    for first in range(0, len(parts), shared.size):
        mine, found = first + shared.rank, None
        if mine < len(parts):
            # From 1 on: number 0 is what the noise itself was drawn with.
            found = batch(*parts[mine], step_generator(seed, 1 + mine)).cpu()
        yield from (pictures for pictures in shared.gather(found) if pictures is not None)


def decoded(
    model: VAE, labels: Tensor, threshold: float = math.inf, seed: int = 0, batch_size: int = 250
) -> Iterator[Tensor]:
    """Pictures that a VAE draws for labels [N], batch by batch, on the CPU.

    Its latent is normal, truncated at ``threshold`` (`truncated_normal`).
    """
    network = model.to(fastest().device)
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    z = truncated_normal([len(labels), model.latent], threshold, generator)

    @torch.no_grad()
    def batch(z: Tensor, label: Tensor, _: torch.Generator) -> Tensor:
        return network.decode(z.to(device), label.to(device))

    return _in_batches(batch, z, labels, batch_size, seed)


def adversarial(
    model: Gan,
    labels: Tensor,
    seed: int = 0,
    batch_size: int = 250,
    compute: Compute | None = None,
) -> Iterator[Tensor]:
    """Pictures that a denoising diffusion GAN draws for labels [N], batch by batch, on the CPU.

    In its T steps, under the variance-preserving schedule that it was trained with.
    """
    compute = compute or fastest()
    network: Any = compute.place(model.generator_net)
    schedule = vp_schedule(model.T)

    def batch(x_T: Tensor, label: Tensor, generator: torch.Generator) -> Tensor:
        denoiser = as_denoiser(network, compute.move(label), generator)
        with compute.autocast():
            *_, last = sample(denoiser, compute.move(x_T), schedule, generator=generator)
        return last.x

    shape = (len(labels), network.in_channels, network.size, network.size)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return _in_batches(batch, noise, labels, batch_size, seed)


@lru_cache
def judge() -> Classifier:
    """The shipped digit classifier, on the fastest device, in its layout."""
    model = load_pretrained("digits-classifier")
    assert isinstance(model, Classifier)
    fastest().place(model)
    return model


FEW = 100  # pictures for a classifier at a time: 1,000 took half as long again to twice as long


@torch.no_grad()
def features(x: Tensor, batch_size: int = FEW) -> Tensor:
    """Pictures [N, 1, 28, 28] in -1..1 -> the judge's features [N, 64], in float32, on the CPU."""
    model, compute = judge(), fastest()
    return torch.cat([model.features(compute.move(part)).cpu() for part in x.split(batch_size)])


@torch.no_grad()
def accuracy(found: Tensor, labels: Tensor) -> float:
    """Share of features [N, 64] in which the judge sees the label [N] that was asked for."""
    model = judge()
    logits = model.output(found.to(next(model.parameters()).device)).cpu()
    return class_accuracy(logits, labels)


class Reference(NamedTuple):
    """Real digits to compare samples with."""

    features: Tensor  # of test digits, [N, 64]
    labels: Tensor  # their classes, [N]
    floor: dict[str, float]  # `scores` of as many training digits of the very same classes


@lru_cache
def reference(count: int, seed: int = 0) -> Reference:
    """``count`` real test digits, and the floor: what samples as good as real ones would score.

    Raises ValueError unless count is in 2..10,000.
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
    floor = scores(features(to_unit(train.images[torch.cat(like)])), found)
    return Reference(found, labels, floor)


def scores(fake: Tensor, real: Tensor) -> dict[str, float]:
    """All distances between two sets of features [N, 64]; no precision or recall below 10 rows."""
    fake, real = fake.to(best_device()), real.to(best_device())
    found = {"frechet_distance": frechet_distance(fake, real)}
    if min(len(fake), len(real)) >= 10:
        found |= precision_recall(real, fake)._asdict() | density_coverage(real, fake)._asdict()
    return {name: round(value, 4) for name, value in found.items()}


def draws_digits(model: DigitNetwork) -> bool:
    """Whether its pictures are of the digits' size, [1, 28, 28], in ten classes."""
    net: Any = model.generator_net if isinstance(model, Gan) else model
    return bool((net.in_channels, net.size, getattr(net, "classes", 10)) == (1, 28, 10))


def draw(
    model: DigitNetwork,
    labels: Tensor,
    schedule: NoiseSchedule,
    steps: int = 50,
    eta: float = 0.0,
    seed: int = 0,
    spacing: str = "uniform",
    guidance: str = "none",
    scale: float = 1.0,
) -> Iterator[Tensor]:
    """Pictures for labels [N], batch by batch, on the CPU, from any network that draws pictures.

    Of several `processes` each draws some of the batches, and all get all: loop to the end in each.

    ``spacing`` is a key of `SPACINGS`, ``guidance`` one of `GUIDANCES`, with its ``scale``. A VAE
    draws in 1 step, and its "guidance" may be "truncation", whose scale is the threshold; a `Gan`
    of T steps draws in T, with eta 1. The classifiers know digits alone. Anything else is a
    ValueError.
    """
    checks.rows("labels", labels, len(labels))
    checks.share("eta", eta)
    checks.whole("seed", seed, 0, 2**63 - 1)
    checks.real("scale", scale)
    if spacing not in SPACINGS:
        raise ValueError(f"spacing must be one of {', '.join(SPACINGS)}, got {spacing!r}")
    kind = type(model).__name__
    allowed = {"VAE": ["none", TRUNCATION], "Gan": ["none"]}.get(kind, list(GUIDANCES))
    if guidance not in allowed:
        raise ValueError(f"guidance of a {kind} must be one of {', '.join(allowed)}: {guidance!r}")
    if guidance.endswith("classifier") and not draws_digits(model):
        raise ValueError(
            f"guidance {guidance!r} is by a classifier of digits, which this network does not draw"
        )
    if isinstance(model, VAE):
        if (steps, eta) != (1, 0):
            raise ValueError(f"a VAE draws in 1 step without eta, got {steps} steps and eta {eta}")
        return decoded(model, labels, math.inf if guidance == "none" else scale, seed)
    if isinstance(model, Gan):
        if (steps, eta) != (model.T, 1):
            raise ValueError(
                f"this Gan draws in {model.T} steps with eta 1, got {steps} steps and eta {eta}"
            )
        return adversarial(model, labels, seed)
    return generate(
        *(model, labels, schedule, steps, eta, seed),
        spacing=SPACINGS[spacing],
        guidance=GUIDANCES[guidance],
        scale=scale,
    )


def evaluate(
    model: DigitNetwork,
    schedule: NoiseSchedule,
    count: int = 10_000,
    steps: int = 50,
    eta: float = 0.0,
    seed: int = 0,
    spacing: str = "uniform",
    progress: bool = True,
    guidance: str = "none",
    scale: float = 1.0,
) -> dict[str, Any]:
    """Sample ``count`` digits for the labels of as many test digits, and measure them.

    Returns class accuracy and, in the judge's features against those test digits, the Frechet
    distance, precision and recall, density and coverage, with the floor for each (``floor``: what
    as many real digits get), and what was done. The other arguments, and the errors, are
    `draw`'s.
    """
    from tqdm.auto import tqdm

    if not draws_digits(model):
        raise ValueError("only networks for digits can be measured: the judge knows nothing else")
    real = reference(count, seed)
    how = (schedule, steps, eta, seed, spacing, guidance, scale)
    drawn = draw(model, real.labels, *how)
    start = time.perf_counter()
    what = f"{steps} steps, eta {eta:g}, {spacing}"
    if guidance != "none":
        what += f", {guidance} {scale:g}"
    silent = not (progress and processes().main)
    with tqdm(total=count, desc=what, unit="img", leave=False, disable=silent) as bar:
        parts = []
        for part in drawn:
            parts.append(part)
            bar.update(len(part))
    seconds = time.perf_counter() - start
    fake = features(torch.cat(parts))
    return {
        "samples": count,
        "steps": steps,
        # For a picture; a classifier's calls are not counted.
        "network_calls": steps * (2 if guidance == "classifier-free" and scale != 1 else 1),
        "eta": eta,
        "spacing": spacing,
        **({} if guidance == "none" else {"guidance": guidance, "scale": scale}),
        "seed": seed,
        "class_accuracy": round(accuracy(fake, real.labels), 4),
        **scores(fake, real.features),
        "floor": real.floor,
        "seconds": round(seconds, 1),
        "images_per_second": round(count / seconds, 2),
    }


def evaluate_all(
    model: DigitNetwork,
    schedule: NoiseSchedule,
    out: Path | str,
    steps: Sequence[int],
    etas: Sequence[float],
    spacings: Sequence[str] = ("uniform",),
    count: int = 10_000,
    seed: int = 0,
    about: dict[str, Any] | None = None,
    command: str = "",
    guidances: Sequence[str] = ("none",),
    scales: Sequence[float] = (1.0,),
) -> Iterator[dict[str, Any]]:
    """`evaluate` every combination into a table, the JSON file ``out``; yields each new row.

    The file is written after every row, and rows that it holds already (of the same samples,
    steps, eta, spacing, guidance and scale) are not measured again, so a run that was cut off goes
    on. ``about``, say the network's checksum, and the seed stand at its head; ValueError if the
    file there is of other ones. Each row names its machine and, after ``command``, what measures it
    alone.
    """
    table = Table(out, {**(about or {}), "seed": seed}, _settings)
    guides = [
        (name, scale) for name in guidances for scale in ((1.0,) if name == "none" else scales)
    ]
    for n, eta, spacing, (guidance, scale) in product(steps, etas, spacings, guides):
        if (count, n, eta, spacing, guidance, scale) in table:
            continue
        row = evaluate(
            model, schedule, count, n, eta, seed, spacing, guidance=guidance, scale=scale
        )
        settings = f"--samples {count} --steps {n} --eta {eta} --spacing {spacing} --seed {seed}"
        if guidance != "none":
            settings += f" --guidance {guidance} --scale {scale}"
        row |= {"command": f"{command} {settings}".strip(), "machine": machine()}
        del row["seed"]
        table.add(row)
        yield row


def _settings(row: dict[str, Any]) -> tuple[int, int, float, str, str, float]:
    guidance = (row.get("guidance", "none"), row.get("scale", 1.0))
    return row["samples"], row["steps"], row["eta"], row["spacing"], *guidance


def evaluate_classifier(model: Classifier) -> dict[str, Any]:
    """Accuracy of a classifier on the 10,000 test digits."""
    test = digits(train=False)
    with torch.no_grad():
        logits = torch.cat([model(to_unit(part)) for part in test.images.split(FEW)])
    return {"test_digits": len(test.labels), "accuracy": class_accuracy(logits, test.labels)}


def evaluate_noisy_classifier(
    model: NoisyClassifier, schedule: NoiseSchedule, count: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """Accuracy on the first ``count`` test digits against t: they are noised once for each time."""
    checks.whole("count", count, 1, 10_000)
    checks.whole("seed", seed, 0, 2**63 - 1)
    images, labels = (part[:count] for part in digits(train=False))
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for t in [1, *range(100, schedule.T + 1, 100)]:
        logits = []
        for part in images.split(FEW):
            x_t = forward(to_unit(part), 0, t, schedule).sample(generator)
            with torch.no_grad():
                logits.append(model(x_t, torch.full((len(x_t),), t)))
        found[t] = class_accuracy(torch.cat(logits), labels)
    return {"test_digits": len(labels), "seed": seed, "accuracy_at": found}


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
    checks.whole("count", count, 2, 10**6)
    checks.whole("seed", seed, 0, 2**63 - 1)
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
