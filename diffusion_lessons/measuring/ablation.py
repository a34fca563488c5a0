"""Ablations in our size: the same training with one part changed, measured.

ADM's of the U-Net (`ablate`), DDGAN's of its latent and its number of steps, for digits
(`ablate_gan`) and in the plane (`ablate_plane`), what lesson 02's network learns in its minute if
it predicts something else (`ablate_prediction`), and what it copies if it has few pictures to
learn from (`ablate_memorisation`).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import checks
from ..data import Images, digits, to_unit
from ..math.losses import Weight
from ..math.prediction import PREDICTIONS
from ..math.randomness import BY_ROW, seeded
from ..math.sampling import final
from ..math.schedule import SCHEDULES, linear_schedule
from ..networks.cards import machine
from ..networks.compute import Compute, chosen
from ..networks.diffusion import DiffusionModel
from ..networks.drawing import DrawSettings
from ..networks.unet import UNet
from ..training.loop import TrainOptions, TrainStep, watch
from ..training.recipes import (
    clamped_snr,
    digits_ddgan,
    first_weights,
    train_on,
    train_on_digits,
)
from .drawing import draw
from .evaluation import evaluate
from .judge import MOST_SAMPLES, judged, reference
from .nearest import memorisation
from .plane import PLANE, measure_plane, modes_found, plane_draws, plane_gan
from .tables import Row, Table

BASE: dict[str, Any] = {
    "channels": 32,
    "blocks": 1,
    "heads": 1,
    "attention_resolutions": [7],
    "residual_resampling": False,
    "adaptive_norm": True,
    "rescale_residual": False,
}
"""The U-Net without ADM's changes, but for AdaGN: arguments of `UNet`."""

VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "depth for width": {"channels": 24, "blocks": 2},
    "4 heads": {"heads": 4},
    "attention at 14 and 7": {"attention_resolutions": [14, 7]},
    "BigGAN up and down": {"residual_resampling": True},
    "rescaling": {"rescale_residual": True},
    "all three": {"heads": 4, "attention_resolutions": [14, 7], "residual_resampling": True},
    "addition for AdaGN": {"adaptive_norm": False},
}
"""What each variant changes of `BASE`; "all three" are heads, attention and BigGAN, as in ADM."""

GAN_VARIANTS: dict[str, dict[str, Any]] = {
    "T = 4": {},
    "no z": {"latent": 0},
    "T = 1": {"T": 1},
    "T = 2": {"T": 2},
    "T = 8": {"T": 8},
}
"""What each variant changes of `digits_ddgan`; T = 1 is a plain GAN."""

PLANE_VARIANTS: dict[str, dict[str, Any]] = {
    "T = 4": {},
    "T = 1": {"T": 1},
    "no z": {"latent": 0},
    "D sees x_s alone": {"sees_x_t": False},
}
"""What each variant changes of `plane_gan`."""

SMALL: dict[str, Any] = {"channels": 16, "blocks": 1, "attention_resolutions": []}
"""The U-Net of lesson 02's minute."""

WEIGHTS: dict[str, Weight | None] = {"none": None, "snr 0.3 to 5": clamped_snr}
"""How much a squared error counts by its signal-to-noise ratio."""

PREDICTION_VARIANTS: dict[str, dict[str, str]] = {
    "noise": {"prediction": "noise", "schedule": "linear", "weight": "none"},
    "noise, cosine": {"prediction": "noise", "schedule": "cosine", "weight": "none"},
    "v": {"prediction": "v", "schedule": "linear", "weight": "none"},
    "x0": {"prediction": "x0", "schedule": "linear", "weight": "none"},
    "x0, weighed": {"prediction": "x0", "schedule": "linear", "weight": "snr 0.3 to 5"},
    "x0, weighed, cosine": {"prediction": "x0", "schedule": "cosine", "weight": "snr 0.3 to 5"},
    "velocity": {"prediction": "velocity", "schedule": "linear", "weight": "none"},
    "velocity, straight": {"prediction": "velocity", "schedule": "straight", "weight": "none"},
}
"""What each variant predicts, under which schedule, with which of `WEIGHTS`."""

MEMORY_VARIANTS: dict[str, int] = {str(n): n for n in (20, 50, 200, 1000, 5000)}
"""How many pictures each variant is trained on."""

SMALL_BATCH = 32  # of theirs: more updates in the same time

BATCH = 64
KEPT = ("class_accuracy", "frechet_distance", "precision", "recall", "density", "coverage", "floor")


def ablate(
    out: Path | str,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 1000,
    samples: int = 2000,
    sampling_steps: int = 20,
    variants: Sequence[str] = tuple(VARIANTS),
    compute: Compute | None = None,
) -> Iterator[Row]:
    """Train every variant with every seed for as many updates, measure it; yields each new row.

    A row is what `evaluate` finds in ``samples`` digits, drawn by DDIM in
    ``sampling_steps`` steps, with the loss on the test digits. The table is the .jsonl file
    ``out``; a run that was cut off goes on after the last row, in the number format in which it
    began. Raises ValueError for a variant that does not exist, or a file of another budget.
    """
    seeds, steps, samples = _checked(variants, VARIANTS, seeds, steps, samples)
    sampling_steps = checks.whole("sampling_steps", sampling_steps, 1, linear_schedule().T)
    head = {"base": BASE, "batch_size": BATCH, "steps": steps}
    head |= {"samples": samples, "sampling_steps": sampling_steps, "random_numbers": BY_ROW}
    settings = DrawSettings(sampling_steps)

    def run(variant: str, seed: int, compute: Compute) -> Iterator[TrainStep]:
        with first_weights(seed):
            model = DiffusionModel(UNet(**BASE | VARIANTS[variant]))
        options = TrainOptions(steps, seed=seed, ema=0.995, compute=compute)
        return train_on_digits(model, options, BATCH)

    def measured(model: Any, compute: Compute) -> dict[str, Any]:
        result = evaluate(model, settings, samples, progress=False, compute=compute)
        return {"test_loss": round(held_out_loss(model), 6), **_kept(result)}

    yield from _rows(Table(out, head, _settings), seeds, variants, run, measured, compute)


def ablate_gan(
    out: Path | str,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 1200,
    samples: int = 5000,
    variants: Sequence[str] = tuple(GAN_VARIANTS),
    compute: Compute | None = None,
) -> Iterator[Row]:
    """The same for the denoising diffusion GAN of digits: without z, and with other T.

    Each draws in as many steps as it was trained for.
    """
    seeds, steps, samples = _checked(variants, GAN_VARIANTS, seeds, steps, samples)
    head = {"base": "digits-ddgan", "batch_size": BATCH, "steps": steps, "samples": samples}
    head |= {"random_numbers": BY_ROW}

    def run(variant: str, seed: int, compute: Compute) -> Iterator[TrainStep]:
        options = TrainOptions(steps, seed=seed, compute=compute)
        return digits_ddgan(options, **GAN_VARIANTS[variant])

    def measured(model: Any, compute: Compute) -> dict[str, Any]:
        return _kept(evaluate(model, count=samples, progress=False, compute=compute))

    yield from _rows(Table(out, head, _settings), seeds, variants, run, measured, compute)


def ablate_plane(
    out: Path | str,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 3000,
    variants: Sequence[str] = tuple(PLANE_VARIANTS),
    compute: Compute | None = None,
) -> Iterator[Row]:
    """The same in the plane, where what should be drawn is known: 25 Gaussians.

    A row is what `measure_plane` finds, and ``course``, the Gaussians found in 2,000 draws after
    each 100 updates. One thread and float32 are usual: the layers are tiny.
    """
    seeds, steps, _ = _checked(variants, PLANE_VARIANTS, seeds, steps, MOST_SAMPLES)
    head = {"base": "plane_gan", "steps": steps}
    course: list[int] = []

    def run(variant: str, seed: int, compute: Compute) -> Iterator[TrainStep]:
        course.clear()
        g = seeded(seed)
        options = TrainOptions(steps, seed=seed, compute=compute)
        for step in plane_gan(options, **PLANE_VARIANTS[variant]):
            if step.step % 100 == 0:
                drawn = plane_draws(step.model, torch.randn(2000, 2, generator=g), g)  # type: ignore[arg-type]
                course.append(modes_found(drawn, PLANE.means)[0])
            yield step

    def measured(model: Any, compute: Compute) -> dict[str, Any]:
        return {**measure_plane(model), "course": list(course)}

    compute = compute or Compute(torch.device("cpu"), threads=1)
    yield from _rows(Table(out, head, _settings), seeds, variants, run, measured, compute)


def ablate_prediction(
    out: Path | str,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 700,
    samples: int = 2000,
    sampling_steps: int = 10,
    variants: Sequence[str] = tuple(PREDICTION_VARIANTS),
    compute: Compute | None = None,
) -> Iterator[Row]:
    """The same for lesson 02's small network, which predicts noise, v, x_0 or the velocity.

    All have as many updates, about those of a minute on two cores, the same weights to begin with,
    and the same noise.
    """
    seeds, steps, samples = _checked(variants, PREDICTION_VARIANTS, seeds, steps, samples)
    sampling_steps = checks.whole("sampling_steps", sampling_steps, 1, linear_schedule().T)
    head = {"base": SMALL, "batch_size": BATCH, "steps": steps}
    head |= {"samples": samples, "sampling_steps": sampling_steps, "random_numbers": BY_ROW}
    settings = DrawSettings(sampling_steps)

    def run(variant: str, seed: int, compute: Compute) -> Iterator[TrainStep]:
        about = PREDICTION_VARIANTS[variant]
        schedule, prediction = SCHEDULES[about["schedule"]](), PREDICTIONS[about["prediction"]]
        with first_weights(seed):
            model = DiffusionModel(UNet(**SMALL), schedule, prediction)
        options = TrainOptions(steps, seed=seed, ema=0.99, compute=compute)
        return train_on_digits(model, options, BATCH, WEIGHTS[about["weight"]])

    def measured(model: Any, compute: Compute) -> dict[str, Any]:
        return _kept(evaluate(model, settings, samples, progress=False, compute=compute))

    yield from _rows(Table(out, head, _settings), seeds, variants, run, measured, compute)


def ablate_memorisation(
    out: Path | str,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 1000,
    samples: int = 500,
    sampling_steps: int = 20,
    variants: Sequence[str] = tuple(MEMORY_VARIANTS),
    compute: Compute | None = None,
) -> Iterator[Row]:
    """The same for lesson 02's small network, which predicts x_0, trained on few digits or many.

    A row is what `memorisation` finds in the samples, beside as many digits that were held out as
    were trained on, and what the judge says of them. The seed also decides which digits these are.
    All have as many updates, with batches of the same size: few digits are repeated to fill one.
    """
    seeds, steps, samples = _checked(variants, MEMORY_VARIANTS, seeds, steps, samples)
    sampling_steps = checks.whole("sampling_steps", sampling_steps, 1, linear_schedule().T)
    weight = "snr 0.3 to 5"
    head = {"base": SMALL, "prediction": "x0", "weight": weight, "batch_size": SMALL_BATCH}
    head |= {"steps": steps, "samples": samples, "sampling_steps": sampling_steps}
    head |= {"random_numbers": BY_ROW}
    settings = DrawSettings(sampling_steps)
    parts: dict[str, Images] = {}

    def run(variant: str, seed: int, compute: Compute) -> Iterator[TrainStep]:
        count, every = MEMORY_VARIANTS[variant], digits()
        rows = torch.randperm(len(every.labels), generator=seeded(seed))
        for name, some in (("train", rows[:count]), ("held out", rows[-count:])):
            parts[name] = Images(every.images[some], every.labels[some])
        again = torch.arange(max(count, SMALL_BATCH)) % count
        few = Images(parts["train"].images[again], parts["train"].labels[again])
        with first_weights(seed):
            model = DiffusionModel(UNet(**SMALL), prediction=PREDICTIONS["x0"])
        options = TrainOptions(steps, seed=seed, ema=0.99, compute=compute)
        return train_on(few, model, options, SMALL_BATCH, WEIGHTS[weight])

    def measured(model: Any, compute: Compute) -> dict[str, Any]:
        real = reference(samples, compute=compute)
        x = draw(model, real.labels, settings, compute=compute)
        found = memorisation(x, parts["train"].images, parts["held out"].images)
        pictures = {"pictures": len(parts["train"].labels), **found._asdict()}
        return {**pictures, **judged(x, real, True, compute), "floor": real.floor}

    yield from _rows(Table(out, head, _settings), seeds, variants, run, measured, compute)


def _checked(
    variants: Sequence[str], known: dict[str, Any], seeds: Sequence[int], steps: int, samples: int
) -> tuple[list[int], int, int]:
    """Seeds, steps and samples; refused before the first training if the last would stumble."""
    if unknown := set(variants) - set(known):
        raise ValueError(f"variants must be of {list(known)}, got {sorted(unknown)}")
    return (
        [checks.whole("each of seeds", seed, 0, 2**63 - 1) for seed in seeds],
        checks.whole("steps", steps, 1),
        checks.whole("samples", samples, 10, MOST_SAMPLES),
    )


def _rows(
    table: Table,
    seeds: Sequence[int],
    variants: Sequence[str],
    run: Callable[[str, int, Compute], Iterator[TrainStep]],
    measured: Callable[[nn.Module, Compute], dict[str, Any]],
    compute: Compute | None,
) -> Iterator[Row]:
    if compute is None and table.rows:  # all rows alike
        begun = Compute.from_dict(table.rows[0]["compute"])
        compute = begun if begun.possible() else None
    compute = chosen(compute)
    for seed in seeds:
        for variant in variants:
            if (seed, variant) in table:
                continue
            last = final(watch(run(variant, seed, compute), f"{variant}, seed {seed}"))
            result = measured(last.model, compute)
            row = {
                "variant": variant,
                "seed": seed,
                "parameters": sum(p.numel() for p in last.model.parameters()),
                "training_seconds": round(last.seconds, 1),
                **result,
                "compute": compute.as_dict(),
                "machine": machine(),
            }
            table.add(row)
            yield row


@torch.no_grad()
def held_out_loss(model: DiffusionModel) -> float:
    """The loss on 2,500 test digits, each at one time, with the same noise for every model."""
    test = digits(train=False)
    device = next(model.parameters()).device
    losses = []
    parts = zip(test.images[:2500].split(500), test.labels[:2500].split(500), strict=True)
    for i, (images, label) in enumerate(parts):
        generator = seeded(0, i, device=device)
        loss = model.loss(to_unit(images).to(device), generator, label.to(device), drop_label=0)
        losses.append(loss)
    return torch.stack(losses).mean().item()


def _kept(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in KEPT if name in result}


def _settings(row: Row) -> tuple[int, str]:
    return row["seed"], row["variant"]
