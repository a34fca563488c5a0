"""``train`` and ``average``."""

import argparse
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from inspect import signature
from itertools import pairwise, zip_longest
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ..files import claimed, expanded
from ..folders import readable
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
    add_data,
    compute_of,
    compute_words,
    network_path,
    origin,
    pictures_of,
    positive,
    setting,
)


def add_commands(commands: Commands) -> None:
    """The two commands and their options."""
    train = commands.add_parser(
        "train",
        help="run a recipe, with --data on your own pictures; an unfinished run goes on",
    )
    train.add_argument(
        "recipe",
        choices=sorted(RECIPES),
        help="what to train; digits-ddpm and digits-ddgan take pictures of your own (--data)",
    )
    train.add_argument("--out", type=Path, default=Path("runs"), help="folder (default: runs)")
    train.add_argument("--seed", type=int, default=0)
    long = train.add_mutually_exclusive_group()
    long.add_argument("--steps", type=positive, help="updates (default: the recipe's)")
    long.add_argument(
        "--seconds", type=positive, help="of training, instead: as many updates as fit into them"
    )
    train.add_argument(
        "--predict",
        choices=list(PREDICTIONS),
        help="what the network predicts (default: noise, with --data x0)",
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
    add_data(
        train,
        "train on the pictures in this folder (PNG, JPEG, WebP, ...), or in its folders, a class "
        "each; one in ten is held out",
    )
    train.add_argument(
        "--size", type=positive, help="of the pictures: a multiple of 4 in 8..64 (default: 28)"
    )
    train.add_argument(
        "--flip", action="store_true", help="train on the mirror images of the pictures, too"
    )
    train.add_argument("--compile", action="store_true", help="torch.compile; for GPUs")
    add_compute(train)
    train.set_defaults(run=run_train)

    mean = commands.add_parser("average", help="one network whose weights are several's means")
    mean.add_argument("networks", nargs="+", help=f"{NETWORK}, or a .training file of an open run")
    mean.add_argument("--out", type=Path, default=Path("runs/average.safetensors"))
    mean.set_defaults(run=run_average)


BUDGETS = ("steps", "seconds")
"""How the length of a run is said, in options, histories and commands"""


@dataclass
class Wanted:
    """What the command line asks of a recipe, and what its card will say of that."""

    recipe: str
    seed: int
    words: list[str] = field(default_factory=list)  # of the command, after seed and steps
    name: str = ""  # of the file
    arguments: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=lambda: {"settings": "", "start": ""})
    origin: dict[str, Any] = field(default_factory=dict)

    def command(self, budget: Mapping[str, Any], compute: list[str]) -> str:
        """The command that does this for so many steps, or seconds, or for as many as are usual."""
        words = ["diffusion-lessons", "train", self.recipe, "--seed", str(self.seed)]
        for name in BUDGETS:
            words += [] if budget.get(name) is None else [f"--{name}", str(budget[name])]
        return shlex.join([*words, *self.words, *compute])

    def commands(self, history: list[dict[str, Any]], made: int) -> str:
        """The commands, a line each, that make a network of so many updates with such a history."""
        lines = []
        formats = {tuple(part["compute"].items()) for part in history}
        ends = [part["from"] for part in history[1:]]
        ends += [made] if history[-1].get("steps") else []
        for part, end in zip_longest(history, ends):
            if not part.keys() & BUDGETS:
                continue  # a version that kept no history
            words = part["compute"]
            compute = ["--format", words["dtype"]] if len(formats) > 1 else []
            if compute and words["threads"]:
                compute += ["--threads", str(words["threads"])]
            stopped = "" if end in (None, part.get("steps")) else f"  # stopped after {end}"
            lines.append(self.command(part, compute) + stopped)
        return "\n".join(lines)


def run_train(options: argparse.Namespace) -> None:
    """Run a recipe to its end, and save the network with its card."""
    shared, folder = processes(), expanded(options.out)
    wanted = _wanted(options)
    state, target = (folder / f"{wanted.name}{ending}" for ending in (".training", cards.ENDING))
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
        seconds=options.seconds,
        seed=options.seed,
        checkpoint=state,
        compute=_compute(options, state),
        compile=compiler() if options.compile else None,
        identity=wanted.identity,
    )
    _check_pictures(state, wanted)
    try:
        run: Any = RECIPES[options.recipe](train_options, **wanted.arguments)
    except TypeError as error:  # all else that is given here has been checked
        raise ValueError(f"--set: {error}") from error
    if options.data is not None:
        trial = replace(train_options, steps=TRIED, seconds=None, checkpoint=None)
        plan_in_words(run, RECIPES[options.recipe](trial, **wanted.arguments))
    try:
        step = final(watch(run, wanted.name))
    except KeyboardInterrupt:
        if (made := run.save()) and processes().main and sys.stderr is not None:
            print(f"{made:,} updates are saved; the same command goes on", file=sys.stderr)
        raise
    if not processes().main:
        return
    saved = read_state(state)[0]
    card: dict[str, Any] = {
        "command": wanted.command(vars(options), compute_words(options)),
        "steps": step.step,
        "seconds": round(step.seconds),
        "compute": saved["compute"],
        "machine": cards.machine(),
        "processes": processes().size,
    } | wanted.origin
    history = saved["history"]
    if len(history) > 1 or history[-1].get("steps", step.step) != step.step:
        # The last command alone would make another network.
        card |= {"command": wanted.commands(history, step.step), "history": history}
    checkpoints.save(target, step.model, card)
    words = Compute.from_dict(saved["compute"]).in_words()
    print(f"{target}: {step.step} steps in {step.seconds:.0f} s, {words}")


def _check_pictures(state: Path, wanted: Wanted) -> None:
    """ValueError if the run that is there has learnt from other pictures, or of another size."""
    now = wanted.identity.get("data")
    saved = read_state(state)[0].get("identity", {}) if now and state.exists() else {}
    before = saved.get("data", now)
    if now and before and before != now:
        first, second = (text.rpartition(", ")[0] for text in (before, now))
        than = f"there are now ({second})" if first != second else "lie there now"
        raise ValueError(
            f"{state} is a training on other pictures ({first}) than {than}: begin anew in another "
            "folder (--out), or go on with the pictures and the --size that it began with"
        )


TRIED = 8
"""Updates that are made, and thrown away, to tell how long a run will take."""


def plan_in_words(run: Any, trial: Any) -> None:
    """Say how many updates a run has left, how many passes that is, and how long it will take."""
    plan = run.plan
    if not (plan.steps - plan.done if plan.seconds is None else plan.seconds):
        return
    ends = [step.seconds for step in trial]
    each = median(later - earlier for earlier, later in pairwise(ends))  # the first one is slow
    known = plan.seconds is None  # how many updates there will be, or how long they may take
    left = plan.steps - plan.done if known else max(1, round(plan.seconds / each))
    duration = _duration(left * each if known else plan.seconds)
    passes = left * plan.batch_size / plan.rows
    print(
        f"{'' if known else 'about '}{left:,} update{'s' * (left > 1)} of "
        f"{plan.batch_size} pictures, "
        f"{passes:.1f} passes over {plan.rows:,}: {'about ' if known else ''}{duration} on this "
        f"machine ({each:.2f} s an update); can be interrupted",
        flush=True,
    )


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{int(seconds < 10 * size and unit != 'minutes')}f} {unit}"
    return "a second" if seconds < 1.5 else f"{seconds:.0f} seconds"


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
    wanted = Wanted(options.recipe, options.seed, name=options.recipe)
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
    if options.data is not None:
        _add_data(options, wanted)
    elif options.flip or options.size is not None:
        raise ValueError("--size and --flip are for the pictures of a folder: name it with --data")
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


def _add_data(options: argparse.Namespace, wanted: Wanted) -> None:
    if "data" not in own_arguments(options.recipe):
        raise ValueError(f"--data is not for {options.recipe}, which has data of its own")
    data = pictures_of(options.data, options.size or 28)
    print(data.in_words(), flush=True)
    if data.classes:
        print(f"classes: {', '.join(map(readable, data.classes))}", flush=True)
    about = data.about | {"size": data.shape[-1], "flip": options.flip}
    wanted.arguments |= {"data": data, "flip": options.flip}
    wanted.identity["data"] = f"{data.in_words()}, {about['sha256']}"
    wanted.origin["data"] = about
    own = data.folder.resolve().name or "pictures"
    wanted.name = options.recipe.replace("digits", own)
    wanted.words += ["--data", str(options.data)]
    wanted.words += [] if options.size is None else ["--size", str(options.size)]
    wanted.words += ["--flip"] if options.flip else []


def _add_start(options: argparse.Namespace, wanted: Wanted) -> None:
    if "start" not in own_arguments(options.recipe):
        raise ValueError(f"--start is not for {options.recipe}, which always begins anew")
    for name in ("predict", "schedule"):
        if name in wanted.arguments:
            raise ValueError(f"--{name}: a network that training goes on from keeps its own")
    path = network_path(options.start)
    card = cards.read_card(path)
    wanted.arguments["start"] = checkpoints.load(path)
    wanted.origin["start"] = origin(card)
    wanted.identity["start"] = card["sha256"]
    wanted.words += ["--start", options.start]


def own_arguments(recipe: str) -> list[str]:
    """What a recipe takes beside `TrainOptions`."""
    return [name for name in signature(RECIPES[recipe]).parameters if name != "options"]


def settable(recipe: str) -> list[str]:
    """Those of them that have no option of their own."""
    return [name for name in own_arguments(recipe) if name not in WITH_OPTIONS]


WITH_OPTIONS = ("predict", "schedule", "start", "data", "flip")


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
