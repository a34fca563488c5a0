"""``train`` and ``average``."""

import argparse
import shlex
from contextlib import ExitStack
from dataclasses import dataclass, field
from inspect import signature
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from ..files import claimed, expanded
from ..math.prediction import PREDICTIONS
from ..math.sampling import final
from ..math.schedule import SCHEDULES
from ..networks import cards, checkpoints
from ..networks.compute import Compute, best_device
from ..networks.processes import processes
from ..training.loop import TrainOptions, watch
from ..training.recipes import RECIPES
from ..training.states import as_before, load_state, read_state
from .options import (
    NETWORK,
    Commands,
    add_compute,
    compute_of,
    compute_words,
    network_path,
    origin,
    positive,
    setting,
)


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
    add_compute(train)
    train.set_defaults(run=run_train)

    mean = commands.add_parser("average", help="one network whose weights are several's means")
    mean.add_argument("networks", nargs="+", help=f"{NETWORK}, or a .training file of an open run")
    mean.add_argument("--out", type=Path, default=Path("runs/average.safetensors"))
    mean.set_defaults(run=run_average)


@dataclass
class Wanted:
    """What the command line asks of a recipe, and what its card will say of that."""

    recipe: str
    seed: int
    words: list[str] = field(default_factory=list)  # of the command, after seed and steps
    arguments: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=lambda: {"settings": "", "start": ""})
    origin: dict[str, Any] = field(default_factory=dict)

    def command(self, steps: int | None, compute: list[str]) -> str:
        """The command that does this for so many steps, or for as many as are usual."""
        words = ["diffusion-lessons", "train", self.recipe, "--seed", str(self.seed)]
        words += [] if steps is None else ["--steps", str(steps)]
        return shlex.join([*words, *self.words, *compute])

    def commands(self, history: list[dict[str, Any]]) -> str:
        """The commands, a line each, that make a network with such a history."""
        lines = []
        formats = {tuple(part["compute"].items()) for part in history}
        ends = [part["from"] for part in history[1:]]
        for part, end in zip_longest(history, ends):
            if (steps := part.get("steps")) is None:
                continue  # a version that kept no history, or seconds: no command says it
            words = part["compute"]
            compute = ["--format", words["dtype"]] if len(formats) > 1 else []
            if compute and words["threads"]:
                compute += ["--threads", str(words["threads"])]
            stopped = "" if end in (None, steps) else f"  # stopped after {end}"
            lines.append(self.command(steps, compute) + stopped)
        return "\n".join(lines)


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
        compute=_compute(options, state),
        compile=compiler() if options.compile else None,
        identity=wanted.identity,
    )
    try:
        run = RECIPES[options.recipe](train_options, **wanted.arguments)
    except TypeError as error:  # all else that is given here has been checked
        raise ValueError(f"--set: {error}") from error
    step = final(watch(run, options.recipe))
    if not processes().main:
        return
    made = read_state(state)[0]
    card: dict[str, Any] = {
        "command": wanted.command(options.steps, compute_words(options)),
        "steps": step.step,
        "seconds": round(step.seconds),
        "compute": made["compute"],
        "machine": cards.machine(),
        "processes": processes().size,
    } | wanted.origin
    if len(made["history"]) > 1:  # the last command alone would make another network
        card |= {"command": wanted.commands(made["history"]), "history": made["history"]}
    checkpoints.save(target, step.model, card)
    words = Compute.from_dict(made["compute"]).in_words()
    print(f"{target}: {step.step} steps in {step.seconds:.0f} s, {words}")


def _compute(options: argparse.Namespace, state: Path) -> Compute | None:
    """As asked; None, if nothing is, for what the run began with, or the recipe's own."""
    if options.format is None and options.threads is None:
        return None
    return compute_of(options, as_before(read_state(state)[0]) if state.exists() else None)


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
    wanted = Wanted(options.recipe, options.seed)
    own = own_arguments(options.recipe)
    for name in ("predict", "schedule"):
        value = getattr(options, name)
        if value is None:
            continue
        if name not in own:
            raise ValueError(f"--{name} is not for {options.recipe}")
        wanted.arguments[name] = value
        wanted.words += [f"--{name}", value]
    if options.start is not None:
        _add_start(options, wanted)
    settings = dict(options.set)
    for name, value in settings.items():
        if name not in settable(options.recipe):
            known = ", ".join(settable(options.recipe)) or "nothing"
            raise ValueError(f"--set {name}: {options.recipe} has {known} to set")
        wanted.arguments[name] = value
    if settings:
        words = [f"{name}={value!r}" for name, value in sorted(settings.items())]
        wanted.identity["settings"] = " ".join(words)
        wanted.words += ["--set", *words]
    if options.compile:
        wanted.words.append("--compile")
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
    wanted.words += ["--start", options.start]


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
            kept = ("seconds", "seed", "history")
            told = {key: metadata[key] for key in kept if key in metadata}
            origins.append({"state": name, "steps": metadata["step"], **told})
            models.append(model)
        else:
            models.append(checkpoints.load(network_path(name)))
            origins.append(origin(cards.read_card(network_path(name))))
    command = shlex.join(["diffusion-lessons", "average", *options.networks])
    card = {"command": command, "averaged": origins}
    checkpoints.save(target, checkpoints.mean_weights(models), card)
    print(target)
