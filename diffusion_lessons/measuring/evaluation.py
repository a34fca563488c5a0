"""Measuring networks: make samples, let the judge look at digits, the plane at points."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from .. import checks
from ..data import digits, moons, to_unit
from ..math.gaussian import forward
from ..math.randomness import BY_ROW
from ..networks.cards import machine
from ..networks.classifier import Classifier, NoisyClassifier
from ..networks.compute import Compute, chosen, fastest
from ..networks.drawing import Drawer, DrawSettings
from .drawing import USUAL, draw_watched, in_eval_mode, settled
from .judge import CLASSES, FEW, MOST_SAMPLES, SHAPE, judged, reference
from .metrics import class_accuracy, distances, frechet_distance
from .tables import Row, Table


def evaluate(
    model: Drawer,
    settings: DrawSettings = USUAL,
    count: int = 10_000,
    seed: int = 0,
    progress: bool = True,
    compute: Compute | None = None,
    spread: bool = False,
) -> dict[str, Any]:
    """Draw ``count`` digits, of the classes of as many test digits, and measure them.

    Returns class accuracy and, in the judge's features against those test digits, the Frechet
    distance, precision and recall, density and coverage, with the floor for each (``floor``: what
    as many real digits get), on request the judge's `spread` of each, and what was done. A network
    that knows no classes is not asked for any. Raises as `draw_batches`, and ValueError for a
    network that draws no digits: the judge knows nothing else.
    """
    if not isinstance(model, Drawer) or model.shape != SHAPE or model.classes not in (0, CLASSES):
        raise ValueError("only networks for digits can be measured: the judge knows nothing else")
    settings, count = settled(model, settings), checks.whole("count", count, 2, MOST_SAMPLES)
    seed, compute = checks.whole("seed", seed, 0, 2**63 - 1), chosen(compute)
    real = reference(count, seed, compute)
    labels = real.labels if model.classes else count
    start = time.perf_counter()
    x, calls = draw_watched(model, labels, settings, seed, progress, compute)
    seconds = time.perf_counter() - start
    return {
        "samples": count,
        **settings.as_row(),
        "network_calls": calls,  # for a picture; a classifier's calls are not counted
        "seed": seed,
        "random_numbers": BY_ROW,
        **judged(x, real, bool(model.classes), compute, spread),
        "floor": real.floor,
        "seconds": round(seconds, 1),
        "images_per_second": round(count / seconds, 2),
        "compute": compute.as_dict(),
    }


def evaluate_all(
    model: Drawer,
    out: Path | str,
    settings: Sequence[DrawSettings],
    count: int = 10_000,
    seed: int = 0,
    about: dict[str, Any] | None = None,
    command: str = "",
    compute: Compute | None = None,
) -> Iterator[Row]:
    """`evaluate` with each of the settings into the table ``out``; yields each new row.

    Each row is appended to the file, a .jsonl, and rows that it holds already (of as many samples
    with the same settings) are not measured again, so a run that was cut off goes on. ``about``,
    say the network's checksum, and the seed stand at its head; ValueError if the file there is of
    other ones. Each row names its machine and, after ``command``, what measures it alone.
    """
    count = checks.whole("count", count, 2, MOST_SAMPLES)
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    head = {**(about or {}), "seed": seed, "random_numbers": BY_ROW}
    table = Table(out, head, _key)
    for each in [settled(model, each) for each in settings]:
        if _key({"samples": count, **each.as_row()}) in table:
            continue
        row = evaluate(model, each, count, seed, compute=compute)
        words = f"--samples {count} {each.as_arguments()} --seed {seed}"
        row |= {"command": f"{command} {words}".strip(), "machine": machine()}
        del row["seed"], row["random_numbers"]
        table.add(row)
        yield row


def combinations(
    steps: Sequence[int | None] = (None,),
    etas: Sequence[float | None] = (None,),
    samplers: Sequence[str | None] = (None,),
    spacings: Sequence[str] = ("uniform",),
    guidances: Sequence[str] = ("none",),
    scales: Sequence[float] = (1.0,),
) -> list[DrawSettings]:
    """Settings for every combination; without guidance there is no scale to vary."""
    guides = [
        (name, scale) for name in guidances for scale in ((1.0,) if name == "none" else scales)
    ]
    return [
        DrawSettings(n, eta, sampler, spacing, guidance, scale)
        for n, eta, sampler, spacing, (guidance, scale) in product(
            steps, etas, samplers, spacings, guides
        )
    ]


def _key(row: Row) -> tuple[Any, ...]:
    guidance = (row.get("guidance", "none"), row.get("scale", 1.0))
    sampler = row.get("sampler", "ddim")
    return row["samples"], row["steps"], row["eta"], row["spacing"], *guidance, sampler


def usual_compute(model: Any) -> Compute:
    """How a network is measured: a classifier in float32, one for points on the CPU as well."""
    if isinstance(model, Drawer):
        return Compute(torch.device("cpu")) if model.shape == (2,) else fastest()
    return replace(fastest(), dtype=torch.float32)


def evaluate_classifier(model: Classifier, compute: Compute | None = None) -> dict[str, Any]:
    """Accuracy of a classifier on the 10,000 test digits."""
    compute = usual_compute(model) if compute is None else chosen(compute)
    test, classifier = digits(train=False), compute.fast(model)
    with torch.no_grad(), in_eval_mode(model):
        logits = torch.cat([classifier(to_unit(part)) for part in test.images.split(FEW)])
    accuracy = class_accuracy(logits, test.labels)
    words = compute.as_dict()
    return {"test_digits": len(test.labels), "accuracy": accuracy, "compute": words}


def evaluate_noisy_classifier(
    model: NoisyClassifier, count: int = 10_000, seed: int = 0, compute: Compute | None = None
) -> dict[str, Any]:
    """Accuracy on the first ``count`` test digits against t: they are noised once for each time."""
    count = checks.whole("count", count, 1, 10_000)
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    images, labels = (part[:count] for part in digits(train=False))
    generator = torch.Generator().manual_seed(seed)
    compute = usual_compute(model) if compute is None else chosen(compute)
    classifier = compute.fast(model)
    accuracies = {}
    for t in [1, *range(100, model.schedule.T + 1, 100)]:
        logits = []
        for part in images.split(FEW):
            x_t = forward(to_unit(part), 0, t, model.schedule).sample(generator)
            with torch.no_grad(), in_eval_mode(model):
                logits.append(classifier(x_t, torch.full((len(x_t),), t)))
        accuracies[t] = class_accuracy(torch.cat(logits), labels)
    return {
        "test_digits": len(labels),
        "seed": seed,
        "accuracy_at": accuracies,
        "compute": compute.as_dict(),
    }


def evaluate_points(
    model: Drawer,
    settings: DrawSettings = USUAL,
    count: int = 10_000,
    seed: int = 0,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Sample ``count`` points from a network for the moons, and measure them.

    Returns the Frechet distance to as many real points, in the plane itself, its floor, and the
    share of samples within 0.1 of one of 20,000 real points.
    """
    count = checks.whole("count", count, 2, 10**6)
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    settings = settled(model, settings)
    generator = torch.Generator().manual_seed(seed)
    real, more = moons(count, generator)[0], moons(20_000, generator)[0]
    compute = usual_compute(model) if compute is None else chosen(compute)
    x, calls = draw_watched(model, count, settings, seed, False, compute)
    nearest = torch.cat([distances(part, more).min(1).values for part in x.split(1000)])
    return {
        "samples": count,
        **settings.as_row(),
        "network_calls": calls,
        "seed": seed,
        "random_numbers": BY_ROW,
        "frechet_distance": round(frechet_distance(x, real), 5),
        "frechet_floor": round(frechet_distance(more[:count], real), 5),
        "near_data": round((nearest < 0.1).double().mean().item(), 4),
        "compute": compute.as_dict(),
    }


Measure = Callable[[Any, DrawSettings, int, int, Compute | None], dict[str, Any]]
"""(network, settings, samples, seed, compute) -> what was measured"""


def _evaluated(
    model: Any, settings: DrawSettings, count: int, seed: int, compute: Compute | None
) -> dict[str, Any]:
    return evaluate(model, settings, count, seed, compute=compute)


def measure_for(model: Any) -> Measure:
    """How this network is measured. ValueError for one that nothing here can measure."""
    if isinstance(model, Drawer):
        if model.shape == (2,):
            return evaluate_points
        return _evaluated
    by_kind: dict[str, Measure] = {
        Classifier.kind: lambda model, _settings, _count, _seed, compute: evaluate_classifier(
            model, compute
        ),
        NoisyClassifier.kind: lambda model, _, count, seed, compute: evaluate_noisy_classifier(
            model, count, seed, compute
        ),
    }
    kind = model.about["network"]
    checks.one_of("the kind of network to be measured", kind, by_kind)
    return by_kind[kind]
