"""``train`` and ``average``."""

import argparse
from contextlib import ExitStack
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from ..files import claimed, expanded
from ..math.prediction import PREDICTIONS
from ..math.schedule import SCHEDULES
from ..networks import cards, checkpoints
from ..networks.compute import best_device
from ..networks.processes import processes
from ..training.loop import TrainOptions, watch
from ..training.recipes import RECIPES
from ..training.states import load_state, read_state
from .options import NETWORK, Commands, network_path, origin, positive, setting


def add_commands(commands: Commands) -> None:
    """The two commands and their options."""
    train = commands.add_parser("train", help="run a recipe; an unfinished run goes on")
    train.add_argument("recipe", choices=sorted(RECIPES))
    train.add_argument("--out", type=Path, default=Path("runs"), help="folder (default: runs)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--steps", type=positive, help="updates (default: the recipe's)")
    train.add_argument(
        "--predict", choices=list(PREDICTIONS), help="what the network predicts (default: noise)"
    )
    train.add_argument("--schedule", choices=list(SCHEDULES), help="default: linear")
    train.add_argument(
        "--start", metavar="NETWORK", help="go on from this network's weights, in a new run"
    )
    train.add_argument(
        "--set",
        type=setting,
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of the recipe, such as T=2 for digits-ddgan",
    )
    train.add_argument("--compile", action="store_true", help="torch.compile; for GPUs")
    train.set_defaults(run=run_train)

    mean = commands.add_parser("average", help="one network whose weights are several's means")
    mean.add_argument("networks", nargs="+", help=f"{NETWORK}, or a .training file of an open run")
    mean.add_argument("--out", type=Path, default=Path("runs/average.safetensors"))
    mean.set_defaults(run=run_average)


@dataclass
class Wanted:
    """What the command line asks of a recipe, and what its card will say of that."""

    command: str
    arguments: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=lambda: {"settings": "", "start": ""})
    origin: dict[str, Any] = field(default_factory=dict)


def run_train(options: argparse.Namespace) -> None:
    """Run a recipe to its end, and save the network with its card."""
    shared, folder = processes(), expanded(options.out)
    state, target = (folder / f"{options.recipe}{ending}" for ending in (".training", cards.ENDING))
    wanted = _wanted(options)
    with ExitStack() as held:  # two runs into one folder would overwrite each other's network
        shared.from_main(lambda: _claim(held, state, target))
        _run_train(options, wanted, state, target)


def _claim(held: ExitStack, state: Path, target: Path) -> None:
    """Try both places before the work, and keep other processes from them."""
    cards.network_outlet(target)
    held.enter_context(claimed(state))


def _run_train(options: argparse.Namespace, wanted: Wanted, state: Path, target: Path) -> None:
    train_options = TrainOptions(
        steps=options.steps,
        seed=options.seed,
        checkpoint=state,
        compile=compiler() if options.compile else None,
        identity=wanted.identity,
    )
    try:
        run = RECIPES[options.recipe](train_options, **wanted.arguments)
    except TypeError as error:  # all else that is given here has been checked
        raise ValueError(f"--set: {error}") from error
    *_, step = watch(run, options.recipe)
    if not processes().main:
        return
    card = {
        "command": wanted.command,
        "steps": step.step,
        "seconds": round(step.seconds),
        "compute": read_state(state)[0]["compute"],
        "machine": cards.machine(),
        "processes": processes().size,
    } | wanted.origin
    checkpoints.save(target, step.model, card)
    print(f"{target}: {step.step} steps in {step.seconds:.0f} s")


def compiler() -> Any:
    """torch.compile, tried on one number. ValueError where it does not work, say for want of a
    C++ compiler.
    """
    number = torch.ones(2, device=best_device())
    try:
        torch.compile(lambda x: x.sin() + x)(number)
    except Exception as error:  # of as many kinds as there are things that can be missing
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(
            f"--compile: torch.compile does not work on this machine ({line}); install what it "
            "misses, or leave --compile out"
        ) from error
    return torch.compile


def _wanted(options: argparse.Namespace) -> Wanted:
    wanted = Wanted(f"diffusion-lessons train {options.recipe} --seed {options.seed}")
    if options.steps is not None:
        wanted.command += f" --steps {options.steps}"
    own = own_arguments(options.recipe)
    for name in ("predict", "schedule"):
        value = getattr(options, name)
        if value is None:
            continue
        if name not in own:
            raise ValueError(f"--{name} is not for {options.recipe}")
        wanted.arguments[name] = value
        wanted.command += f" --{name} {value}"
    if options.start is not None:
        _add_start(options, wanted)
    for name, value in options.set:
        if name not in settable(options.recipe):
            known = ", ".join(settable(options.recipe)) or "nothing"
            raise ValueError(f"--set {name}: {options.recipe} has {known} to set")
        wanted.arguments[name] = value
    if options.set:
        wanted.identity["settings"] = " ".join(f"{name}={value}" for name, value in options.set)
        wanted.command += " --set " + wanted.identity["settings"]
    if options.compile:
        wanted.command += " --compile"
    return wanted


def _add_start(options: argparse.Namespace, wanted: Wanted) -> None:
    if "start" not in own_arguments(options.recipe):
        raise ValueError(f"--start is not for {options.recipe}, which always begins anew")
    for name in ("predict", "schedule"):
        if name in wanted.arguments:
            raise ValueError(f"--{name}: a network that training goes on from keeps its own")
    path = network_path(options.start)
    card = cards.read_card(path)
    wanted.arguments["start"] = checkpoints.load(path)
    wanted.origin = {"start": origin(card)}
    wanted.identity["start"] = card["sha256"]
    wanted.command += f" --start {options.start}"


def own_arguments(recipe: str) -> list[str]:
    """What a recipe takes beside `TrainOptions`."""
    return [name for name in signature(RECIPES[recipe]).parameters if name != "options"]


def settable(recipe: str) -> list[str]:
    """Those of them that have no option of their own."""
    return [name for name in own_arguments(recipe) if name not in ("predict", "schedule", "start")]


def run_average(options: argparse.Namespace) -> None:
    """Save the means of several networks' weights as one network."""
    target = cards.network_outlet(options.out)
    models, origins = [], []
    for name in options.networks:
        if name.endswith(".training"):
            model, metadata = load_state(name)
            kept = {key: metadata[key] for key in ("seconds", "seed")}
            origins.append({"state": name, "steps": metadata["step"], **kept})
            models.append(model)
        else:
            models.append(checkpoints.load(network_path(name)))
            origins.append(origin(cards.read_card(network_path(name))))
    command = " ".join(["diffusion-lessons average", *options.networks])
    card = {"command": command, "averaged": origins}
    checkpoints.save(target, checkpoints.mean_weights(models), card)
    print(target)
