"""Measuring networks: make samples, let a judge look at pictures, the plane at points."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from .. import checks
from ..data import moons, to_unit
from ..math.gaussian import forward
from ..math.randomness import BY_ROW
from ..networks.cards import machine
from ..networks.classifier import Classifier, NoisyClassifier, ResidualClassifier
from ..networks.compute import Compute, chosen, fastest
from ..networks.drawing import Drawer, DrawSettings
from .drawing import USUAL, draw_watched, in_eval_mode, settled
from .judge import CIFAR, DIGITS, FEW, MOST_SAMPLES, Subject, judged, reference, subject_of
from .metrics import class_accuracy, distances, frechet_distance
from .tables import Row, Table


def evaluate(
    model: Drawer,
    settings: DrawSettings = USUAL,
    count: int | None = None,
    seed: int = 0,
    progress: bool = True,
    compute: Compute | None = None,
    spread: bool = False,
) -> dict[str, Any]:
    """Draw ``count`` pictures, of the classes of as many test pictures, and measure them.

    Digits, pictures of CIFAR-10, or its cats and dogs: which, the network's shape and classes say.
    There are 10,000 test pictures, 2,000 of cats and dogs; all are taken unless count is given.
    Returns class accuracy and, in the judge's features against those test pictures, the Frechet
    distance, precision and recall, density and coverage, with the floor for each (``floor``: what
    as many real pictures get), on request the judge's `spread` of each, and what was done. A
    network that knows no classes is not asked for any. Raises as `draw_batches`, and ValueError for
    a network that draws anything else: the judges know nothing of that.
    """
    subject = judged_as(model)
    settings, count = settled(model, settings), _as_many(count, subject)
    seed, compute = checks.whole("seed", seed, 0, 2**63 - 1), chosen(compute)
    real = reference(count, seed, compute, subject)
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


def judged_as(model: Any) -> Subject:
    """What this network draws, for its judge. ValueError for what no judge knows."""
    found = subject_of(model.shape, model.classes) if isinstance(model, Drawer) else None
    if found is None:
        raise ValueError(
            "only networks for digits, CIFAR-10 or its cats and dogs can be measured: the judges "
            "know nothing else"
        )
    return found


def usual_count(model: Any) -> int:
    """How many samples, or test pictures, a network is measured on: as many as there are."""
    shape = getattr(model, "shape", ())
    found = subject_of(shape, model.classes) if len(shape) == 3 else None
    return MOST_SAMPLES if found is None else found.most


def _as_many(count: int | None, subject: Subject) -> int:
    return subject.most if count is None else checks.whole("count", count, 2, subject.most)


def evaluate_all(
    model: Drawer,
    out: Path | str,
    settings: Sequence[DrawSettings],
    count: int | None = None,
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
    count = _as_many(count, judged_as(model))
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
    """Accuracy of a classifier on the 10,000 test digits; of CIFAR-10's, also class by class."""
    compute = usual_compute(model) if compute is None else chosen(compute)
    subject = DIGITS if model.config["in_channels"] == 1 else CIFAR
    test, classifier = subject.data(False), compute.fast(model)
    with torch.no_grad(), in_eval_mode(model):
        logits = torch.cat([classifier(to_unit(part)) for part in test.images.split(FEW)])
    found: dict[str, Any] = {_pictures(subject): len(test.labels)}
    found["accuracy"] = class_accuracy(logits, test.labels)
    if subject != DIGITS:
        parts = [test.labels == label for label in range(subject.classes)]
        each = [round(class_accuracy(logits[part], test.labels[part]), 4) for part in parts]
        found["accuracy_by_class"] = each
    return found | {"compute": compute.as_dict()}


def _pictures(subject: Subject) -> str:
    """What a card calls the number of test pictures."""
    return "test_digits" if subject == DIGITS else "test_pictures"


def evaluate_noisy_classifier(
    model: NoisyClassifier,
    count: int | None = None,
    seed: int = 0,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Accuracy on the first ``count`` test pictures against t: they are noised once for each time.

    All, unless count is given, of the digits or of the cats and dogs, as its shape and classes say.
    """
    subject = subject_of(model.shape, model.classes)
    if subject is None:
        raise ValueError(f"there are no test pictures {model.shape} of {model.classes} classes")
    count = subject.most if count is None else checks.whole("count", count, 1, subject.most)
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    images, labels = (part[:count] for part in subject.data(False))
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
        _pictures(subject): len(labels),
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

    def clean(
        model: Any, _settings: DrawSettings, _count: int, _seed: int, compute: Compute | None
    ) -> dict[str, Any]:
        return evaluate_classifier(model, compute)

    by_kind: dict[str, Measure] = {
        Classifier.kind: clean,
        ResidualClassifier.kind: clean,
        NoisyClassifier.kind: lambda model, _, count, seed, compute: evaluate_noisy_classifier(
            model, count, seed, compute
        ),
    }
    kind = model.about["network"]
    checks.one_of("the kind of network to be measured", kind, by_kind)
    return by_kind[kind]
