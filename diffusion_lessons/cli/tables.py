"""``ablate`` and ``trilemma``."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from ..files import expanded
from ..math.solvers import SAMPLERS
from ..measuring.ablation import (
    GAN_VARIANTS,
    MEMORY_VARIANTS,
    PLANE_VARIANTS,
    PREDICTION_VARIANTS,
    VARIANTS,
    ablate,
    ablate_gan,
    ablate_memorisation,
    ablate_plane,
    ablate_prediction,
)
from ..measuring.tables import Row
from ..measuring.trilemma import FEW_CALLS, METHODS, solver_methods, time_again, trilemma
from ..networks.compute import Compute
from .options import Commands, add_compute, compute_of, positive, tell

ABLATIONS: dict[str, Callable[..., Iterator[Row]]] = {
    "unet": ablate,
    "ddgan": ablate_gan,
    "plane": ablate_plane,
    "prediction": ablate_prediction,
    "memorisation": ablate_memorisation,
}


def add_commands(commands: Commands) -> None:
    """The two commands and their options."""
    ablation = commands.add_parser("ablate", help="a network with each part changed, measured")
    ablation.add_argument(
        "of", nargs="?", choices=list(ABLATIONS), default="unet", help="default: unet"
    )
    ablation.add_argument("--out", type=Path, help="default: runs/ablation[-OF].jsonl")
    ablation.add_argument("--seeds", type=int, nargs="+", help="default: 0 1 2")
    ablation.add_argument(
        "--steps",
        type=positive,
        help="updates; default: 1000; ddgan: 1200; plane: 3000; prediction: 700",
    )
    ablation.add_argument(
        "--samples",
        type=positive,
        help="default: 2000; ddgan: 5000; memorisation: 500; not for plane",
    )
    every = dict.fromkeys(
        [*VARIANTS, *GAN_VARIANTS, *PLANE_VARIANTS, *PREDICTION_VARIANTS, *MEMORY_VARIANTS]
    )
    ablation.add_argument("--variants", choices=list(every), nargs="+", help="default: all")
    ablation.set_defaults(run=run_ablate)

    three = commands.add_parser("trilemma", help="every way to draw a digit, measured in one run")
    three.add_argument("--out", type=Path, default=Path("runs/trilemma.jsonl"))
    three.add_argument(
        "--methods",
        choices=[*METHODS, *FEW_CALLS],
        nargs="+",
        help="default: those of the papers up to 2022",
    )
    three.add_argument(
        "--sampler",
        choices=list(SAMPLERS),
        nargs="+",
        default=[],
        help="digits-ddpm by these samplers, too, in 5, 10 and 20 steps; without --methods alone",
    )
    three.add_argument("--seed", type=int, default=0)
    three.add_argument(
        "--divide", type=positive, default=1, help="take so many times fewer samples"
    )
    three.add_argument(
        "--times-of",
        type=Path,
        metavar="TABLE",
        help="draw no samples: copy this table into --out, and take the times again",
    )
    three.set_defaults(run=run_trilemma)
    for command in (ablation, three):
        add_compute(command)


def run_ablate(options: argparse.Namespace) -> None:
    """Train and measure a network with each part changed."""
    which = "" if options.of == "unet" else f"-{options.of}"
    out = options.out or Path("runs") / f"ablation{which}.jsonl"
    if options.of == "plane" and options.samples is not None:
        raise ValueError("the plane is measured with samples of its own: leave --samples out")
    names = ("seeds", "steps", "samples", "variants")
    wanted = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.format or options.threads:  # else as the table began
        wanted["compute"] = compute_of(options)
    for row in ABLATIONS[options.of](out, **wanted):
        print(
            f"{row['variant']}, seed {row['seed']}: {_in_words(row)}, {row['training_seconds']} s, "
            f"{Compute.from_dict(row['compute']).in_words()}",
            flush=True,
        )
    print(expanded(out))


def _in_words(row: Row) -> str:
    if "found" in row:
        return f"{row['found']} of 25 found, {row['close']:.0%} of the points close to one"
    loss = f"loss {row['test_loss']:.5f}, " if "test_loss" in row else ""
    if "copies" in row:
        loss = f"{row['nearer']:.1%} nearest to a training picture, {row['copies']:.1%} copies, "
    return (
        f"{loss}Frechet distance {row['frechet_distance']:.2f} "
        f"(floor {row['floor']['frechet_distance']:.2f}), recall {row['recall']:.2f}, "
        f"class accuracy {row['class_accuracy']:.1%}"
    )


def run_trilemma(options: argparse.Namespace) -> None:
    """Measure every way to draw a digit."""
    usual = [] if options.sampler else list(METHODS)
    methods = [*(options.methods or usual), *solver_methods(options.sampler)]
    compute = compute_of(options)
    if options.times_of:
        measured = time_again(options.times_of, options.out, compute)
    else:
        measured = trilemma(options.out, methods, options.seed, options.divide, compute)
    for row in measured:
        print(
            f"{row['method']}: {row['samples']} samples, precision {row['precision']:.3f}, "
            f"recall {row['recall']:.3f}, Frechet distance {row['frechet_distance']:.2f} "
            f"(floor {row['floor']['frechet_distance']:.2f}), "
            f"{row['images_per_second']:.1f} images/s, alone {1000 * row['seconds_alone']:.1f} ms",
            flush=True,
        )
    tell(compute)
    print(expanded(options.out))
