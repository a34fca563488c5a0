"""The command ``diffusion-lessons``: train, sample, evaluate, average, ablate, lab and more."""

import argparse
import ast
import contextlib
import json
import os
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import __version__, checks
from .math.schedule import linear_schedule
from .measuring.ablation import GAN_VARIANTS, VARIANTS, ablate, ablate_gan
from .measuring.evaluation import (
    GUIDANCES,
    SPACINGS,
    TRUNCATION,
    DigitNetwork,
    draw,
    evaluate,
    evaluate_all,
    evaluate_classifier,
    evaluate_noisy_classifier,
    evaluate_points,
)
from .measuring.trilemma import METHODS, trilemma
from .networks import checkpoints
from .networks.classifier import Classifier, NoisyClassifier
from .networks.compute import best_device, fastest, measure
from .networks.gan import Gan
from .networks.mlp import MLP
from .networks.processes import processes
from .networks.vae import VAE
from .training.loop import watch
from .training.recipes import RECIPES
from .training.states import load_state, read_state


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        shared = processes()
        with contextlib.redirect_stdout(sys.stdout if shared.main else None):
            options.run(options)
        shared.leave()
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        print(f"diffusion-lessons: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="diffusion-lessons", description="Train, sample and measure the course's networks."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="run a recipe; an unfinished run goes on")
    train.add_argument("recipe", choices=sorted(RECIPES))
    train.add_argument("--out", type=Path, default=Path("runs"), help="folder (default: runs)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--steps", type=_positive, help="updates (default: the recipe's)")
    train.add_argument(
        "--start", metavar="NETWORK", help="go on from this network's weights, in a new run"
    )
    train.add_argument(
        "--set",
        type=_setting,
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of the recipe, such as T=2 for digits-ddgan",
    )
    train.add_argument("--compile", action="store_true", help="torch.compile; for GPUs")
    train.set_defaults(run=_train)

    network = "a pretrained network's name, or a .safetensors file"
    sample = commands.add_parser("sample", help="draw pictures and write them as one PNG")
    sample.add_argument("network", nargs="?", default="digits-ddpm", help=network)
    sample.add_argument("--out", type=Path, default=Path("samples.png"))
    sample.add_argument("--each", type=_positive, default=8, help="pictures of each class")
    sample.add_argument(
        "--labels",
        type=int,
        nargs="+",
        metavar="CLASS",
        help="the classes, a row for each (default: all; of CIFAR-10, 3 is a cat and 5 a dog)",
    )
    sample.set_defaults(run=_sample)

    measured = commands.add_parser("evaluate", help="measure a network; prints JSON")
    measured.add_argument("network", help=network)
    measured.add_argument("--samples", type=_positive, default=10_000)
    measured.add_argument("--write", action="store_true", help="add the result to its card")
    measured.set_defaults(run=_evaluate)

    measured.add_argument(
        "--out",
        type=Path,
        help="measure every combination of steps, eta, spacing, ... into a table",
    )

    for command, several in ((sample, None), (measured, "+")):
        command.add_argument(
            "--steps",
            type=_positive,
            nargs=several,
            help="network calls a picture (default: 50, or what the network was made for)",
        )
        command.add_argument(
            "--eta", type=float, nargs=several, help="0 is DDIM, the default, 1 is DDPM"
        )
        command.add_argument("--spacing", choices=list(SPACINGS), nargs=several, default="uniform")
        command.add_argument(
            "--guidance",
            choices=[*GUIDANCES, TRUNCATION],
            nargs=several,
            default="none",
            help="what steers",
        )
        command.add_argument(
            "--scale",
            type=float,
            nargs=several,
            default=1.0,
            help="of the guidance, or a threshold",
        )
        command.add_argument("--seed", type=int, default=0)

    mean = commands.add_parser("average", help="one network whose weights are several's means")
    mean.add_argument("networks", nargs="+", help=f"{network}, or a .training file of an open run")
    mean.add_argument("--out", type=Path, default=Path("runs/average.safetensors"))
    mean.set_defaults(run=_average)

    ablation = commands.add_parser("ablate", help="a network with each part changed, measured")
    ablation.add_argument(
        "of", nargs="?", choices=["unet", "ddgan"], default="unet", help="default: unet"
    )
    ablation.add_argument("--out", type=Path, help="default: runs/ablation[-ddgan].json")
    ablation.add_argument("--seeds", type=int, nargs="+", help="default: 0 1 2; ddgan: 0")
    ablation.add_argument("--steps", type=_positive, help="updates; default: 1000; ddgan: 1200")
    ablation.add_argument("--samples", type=_positive, help="default: 2000; ddgan: 5000")
    ablation.add_argument(
        "--variants", choices=[*VARIANTS, *GAN_VARIANTS], nargs="+", help="default: all"
    )
    ablation.set_defaults(run=_ablate)

    three = commands.add_parser("trilemma", help="every way to draw a digit, measured in one run")
    three.add_argument("--out", type=Path, default=Path("runs/trilemma.json"))
    three.add_argument("--methods", choices=list(METHODS), nargs="+", default=list(METHODS))
    three.add_argument("--seed", type=int, default=0)
    three.add_argument(
        "--divide", type=_positive, default=1, help="take so many times fewer samples"
    )
    three.set_defaults(run=_trilemma)

    lab = commands.add_parser("lab", help="open JupyterLab at the first lesson")
    lab.add_argument("--folder", type=Path, default=Path("notebooks"))
    lab.add_argument("--port", type=_positive, default=8888)
    lab.add_argument("--no-browser", action="store_true")
    lab.set_defaults(run=_lab)

    commands.add_parser(
        "doctor", help="what is this machine, what is slow on it and why"
    ).set_defaults(run=_doctor)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}") from error


def _train(options: argparse.Namespace) -> None:
    state = options.out / f"{options.recipe}.training"
    target = options.out / f"{options.recipe}.safetensors"
    options.out.mkdir(parents=True, exist_ok=True)
    wanted: dict[str, Any] = {"seed": options.seed, "checkpoint": state}
    command = f"diffusion-lessons train {options.recipe} --seed {options.seed}"
    if options.steps is not None:
        wanted["steps"] = options.steps
        command += f" --steps {options.steps}"
    origin, identity = {}, {"settings": "", "start": ""}
    if options.start is not None:
        if "start" not in signature(RECIPES[options.recipe]).parameters:
            raise ValueError(f"--start is not for {options.recipe}, which always begins anew")
        path = _path(options.start)
        wanted["start"] = checkpoints.load(path)
        origin = {"start": _origin(checkpoints.read_card(path))}
        identity["start"] = origin["start"]["sha256"]
        command += f" --start {options.start}"
    for name, value in options.set:
        known = _own_arguments(options.recipe)
        if name not in known:
            raise ValueError(
                f"--set {name}: {options.recipe} has {', '.join(known) or 'nothing'} to set"
            )
        wanted[name] = value
    if options.set:
        identity["settings"] = " ".join(f"{name}={value}" for name, value in options.set)
        command += " --set " + identity["settings"]
    if options.compile:
        wanted["compile"] = torch.compile
        command += " --compile"
    try:
        run = RECIPES[options.recipe](**wanted, identity=identity)
    except TypeError as error:  # all else that is given here has been checked
        raise ValueError(f"--set: {error}") from error
    *_, step = watch(run, options.recipe)
    if not processes().main:
        return
    card = {
        "command": command,
        "steps": step.step,
        "seconds": round(step.seconds),
        "compute": read_state(state)[0]["compute"],
        "machine": checkpoints.machine(),
        "processes": processes().size,
    } | origin
    checkpoints.save(target, step.model, card)
    print(f"{target}: {step.step} steps in {step.seconds:.0f} s")


def _own_arguments(recipe: str) -> list[str]:
    """What a recipe takes beside what every recipe takes."""
    common = {"seed", "steps", "start", "options"}
    return [name for name in signature(RECIPES[recipe]).parameters if name not in common]


def _origin(card: dict[str, Any]) -> dict[str, Any]:
    """What a network's card tells of how it was made."""
    kept = ("command", "steps", "seconds", "sha256", "averaged", "start")
    return {key: card[key] for key in kept if key in card}


def _average(options: argparse.Namespace) -> None:
    models, origins = [], []
    for name in options.networks:
        if name.endswith(".training"):
            model, told = load_state(name)
            origins.append({"state": name, "steps": told["step"]})
            origins[-1] |= {key: told[key] for key in ("seconds", "seed")}
            models.append(model)
        else:
            models.append(checkpoints.load(_path(name)))
            origins.append(_origin(checkpoints.read_card(_path(name))))
    command = " ".join(["diffusion-lessons average", *options.networks])
    card = {"command": command, "averaged": origins}
    checkpoints.save(options.out, checkpoints.mean_weights(models), card)
    print(options.out)


def _path(network: str) -> Path:
    path = Path(network)
    return path if path.suffix == ".safetensors" else checkpoints.pretrained_path(network)


def _sample(options: argparse.Namespace) -> None:
    from .page.viz import save_grid

    path = _path(options.network)
    model = checkpoints.load(path)
    if not isinstance(model, DigitNetwork):
        raise ValueError(f"{path} holds a {type(model).__name__}, which draws no pictures")
    classes: Any = (model.generator_net if isinstance(model, Gan) else model).classes
    asked = options.labels or list(range(classes))
    if not all(0 <= label < classes for label in asked):
        raise ValueError(f"labels must lie in 0..{classes - 1}, got {asked}")
    checks.amount("--each", options.each, len(asked), 28 * 28)
    labels = torch.tensor(asked).repeat_interleave(options.each)
    steps, eta = _usual(model, options)
    how = (steps, eta, options.seed, options.spacing)
    steered = (options.guidance, options.scale)
    images = draw(model, labels, linear_schedule(), *how, *steered)
    drawn = torch.cat(list(images))
    if processes().main:
        save_grid(options.out, drawn, columns=options.each)
    print(options.out)


def _usual(model: nn.Module, options: argparse.Namespace) -> tuple[Any, Any]:
    """Steps and eta: those asked for, or the network's own."""
    steps, eta = {VAE: (1, 0.0), Gan: (getattr(model, "T", 0), 1.0)}.get(type(model), (50, 0.0))
    return (
        steps if options.steps is None else options.steps,
        eta if options.eta is None else options.eta,
    )


def _evaluate(options: argparse.Namespace) -> None:
    path = _path(options.network)
    model = checkpoints.load(path)
    # One of each unless told otherwise.
    names = ("steps", "eta", "spacing", "guidance", "scale")
    options.steps, options.eta = _usual(model, options)
    several = {name: getattr(options, name) for name in names}
    several = {k: value if isinstance(value, list) else [value] for k, value in several.items()}
    if options.out is not None:
        _evaluate_all(path, model, options, several)
        return
    if any(len(values) > 1 for values in several.values()):
        raise ValueError("several steps, etas, ... make a table: say where with --out FILE")
    steps, eta, spacing, guidance, scale = (several[name][0] for name in names)
    command = f"diffusion-lessons evaluate {options.network}"
    if isinstance(model, Classifier):
        result = evaluate_classifier(model)
    elif isinstance(model, NoisyClassifier):
        command += f" --seed {options.seed}"
        result = evaluate_noisy_classifier(model, linear_schedule(), seed=options.seed)
    else:
        command += f" --samples {options.samples} --steps {steps} --eta {eta}"
        if spacing != "uniform":
            command += f" --spacing {spacing}"
        if guidance != "none":
            command += f" --guidance {guidance} --scale {scale}"
        command += f" --seed {options.seed}"
        how = (linear_schedule(), options.samples, steps, eta, options.seed)
        if isinstance(model, DigitNetwork):
            result = evaluate(model, *how, spacing=spacing, guidance=guidance, scale=scale)
        elif spacing != "uniform" or guidance != "none":
            raise ValueError(f"{path} draws points: it has no --spacing and no --guidance")
        else:
            assert isinstance(model, MLP)
            result = evaluate_points(model, *how)
    result |= {"command": command, "machine": checkpoints.machine()}
    if options.write and processes().main:
        card = checkpoints.read_card(path)
        others = [m for m in card.get("measured", []) if m.get("command") != command]
        checkpoints.write_card(path, card | {"measured": [*others, result]})
    print(json.dumps(result, indent=2))


def _evaluate_all(
    path: Path, model: nn.Module, options: argparse.Namespace, several: dict[str, Any]
) -> None:
    if not isinstance(model, DigitNetwork):
        raise ValueError(f"{path} holds a {type(model).__name__}; a table needs one for digits")
    if options.write:
        raise ValueError("--write is for one measurement, --out for a table: give one of them")
    about = {"network": path.stem, "sha256": checkpoints.read_card(path)["sha256"]}
    for row in evaluate_all(
        model,
        linear_schedule(),
        options.out,
        several["steps"],
        several["eta"],
        several["spacing"],
        options.samples,
        options.seed,
        about,
        f"diffusion-lessons evaluate {options.network}",
        several["guidance"],
        several["scale"],
    ):
        guided = f", {row['guidance']} {row['scale']:g}" if "guidance" in row else ""
        print(
            f"{row['steps']:5d} steps, eta {row['eta']:g}, {row['spacing']}{guided}: "
            f"Frechet distance {row['frechet_distance']:.3f} "
            f"(floor {row['floor']['frechet_distance']:.3f}), "
            f"class accuracy {row['class_accuracy']:.1%}, {row['seconds']} s",
            flush=True,
        )
    print(options.out)


def _ablate(options: argparse.Namespace) -> None:
    gan = options.of == "ddgan"
    out = options.out or Path("runs") / ("ablation-ddgan.json" if gan else "ablation.json")
    names = ("seeds", "steps", "samples", "variants")
    wanted = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    for row in (ablate_gan if gan else ablate)(out, **wanted):
        loss = f"loss {row['test_loss']:.5f}, " if "test_loss" in row else ""
        print(
            f"{row['variant']}, seed {row['seed']}: {loss}"
            f"Frechet distance {row['frechet_distance']:.2f} "
            f"(floor {row['floor']['frechet_distance']:.2f}), recall {row['recall']:.2f}, "
            f"class accuracy {row['class_accuracy']:.1%}, {row['training_seconds']} s",
            flush=True,
        )
    print(out)


def _trilemma(options: argparse.Namespace) -> None:
    for row in trilemma(options.out, options.methods, options.seed, options.divide):
        print(
            f"{row['method']}: {row['samples']} samples, precision {row['precision']:.3f}, "
            f"recall {row['recall']:.3f}, Frechet distance {row['frechet_distance']:.2f} "
            f"(floor {row['floor']['frechet_distance']:.2f}), "
            f"{row['images_per_second']:.1f} images/s",
            flush=True,
        )
    print(options.out)


def _lab(options: argparse.Namespace) -> None:
    lessons = sorted(options.folder.glob("[0-9]*.ipynb"))
    if not lessons:
        raise ValueError(f"no lessons in {options.folder}: run this in a clone of the course")
    if find_spec("jupyterlab") is None:
        raise ValueError("JupyterLab is not installed: pip install jupyterlab")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", options.port))
        except OSError as error:
            raise ValueError(
                f"port {options.port} is busy (is the course open already?); "
                "choose another: make lab PORT=8889"
            ) from error
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={options.folder.resolve()}",
    ]
    command += [f"--LabApp.default_url=/lab/tree/{lessons[0].name}"]  # printed, and opened
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={options.port}"]
    command += ["--ServerApp.port_retries=0"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    if options.no_browser:
        command.append("--no-browser")
    os.execv(sys.executable, command)  # JupyterLab takes this process over: Ctrl-C goes to it


def _doctor(options: argparse.Namespace) -> None:
    about = checkpoints.machine()
    print(f"diffusion-lessons {__version__}")
    for name in ("torch", "numpy", "jupyterlab", "ipywidgets", "anywidget", "matplotlib"):
        try:
            print(f"  {name} {version(name)}")
        except PackageNotFoundError:
            print(f"  {name} is missing: pip install {name}")
    print(f"Python {about['python']}, {about['processor']}")
    device = best_device()
    print(
        f"Device {about['gpu'] or device.type}, {about['threads']} threads, {about['cores']} cores"
    )
    print("A small convolution, there and back:")
    seconds = measure(device)
    for choice, time in sorted(seconds.items(), key=lambda item: item[1]):
        mark = "<- used" if choice == fastest() else ""
        words = choice.as_dict()
        threads = f", {words['threads']} threads" if words["threads"] else ""
        print(f"  {time * 1e3:7.2f} ms  {words['dtype']}, {words['memory_format']}{threads} {mark}")
    for line in _slow(about, device):
        print(line)
    for name in checkpoints.pretrained_names():
        checkpoints.load_pretrained(name)
        print(f"Network {name}: whole")


def _slow(about: dict[str, Any], device: torch.device) -> list[str]:
    lines = []
    if device.type == "cpu":
        lines.append("No GPU: live training takes its minute on the CPU, as the lessons expect.")
        if fastest().dtype == torch.float32:
            lines.append(
                "This processor is not faster in bfloat16 (no AMX or AVX512-BF16 units), so live "
                "training sees fewer pictures in its minute, and samples are rougher."
            )
    if about["threads"] < (about["cores"] or 1) // 2:
        lines.append(
            f"Only {about['threads']} of {about['cores']} cores are used: "
            "unset OMP_NUM_THREADS or raise it."
        )
    return lines
