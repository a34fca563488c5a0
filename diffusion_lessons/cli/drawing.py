"""``sample``, ``evaluate`` and ``export``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import torch

from .. import checks
from ..files import expanded
from ..folders import readable
from ..math.solvers import SAMPLERS
from ..measuring.drawing import draw, draw_walk, settled
from ..measuring.evaluation import (
    combinations,
    evaluate_all,
    measure_for,
    usual_compute,
    usual_count,
)
from ..measuring.judge import DIGITS
from ..measuring.own import evaluate_pictures
from ..networks import cards, checkpoints
from ..networks.classifier import Classifier
from ..networks.compute import Compute
from ..networks.drawing import GUIDANCES, SPACINGS, TRUNCATION, Drawer, DrawSettings
from ..networks.processes import processes
from .options import (
    NETWORK,
    Commands,
    add_compute,
    add_data,
    compute_of,
    compute_words,
    network_path,
    pictures_for,
    positive,
    tell,
)

MOST_OF_A_CLASS = 1000

FEW_SAMPLES = 64
"""As many as there are features of one's own pictures: so many have no covariance of full rank."""


def add_commands(commands: Commands) -> None:
    """The three commands and their options."""
    sample = commands.add_parser("sample", help="draw pictures, as a grid, one by one, or a film")
    sample.add_argument("network", nargs="?", default="digits-ddpm", help=NETWORK)
    sample.add_argument("--out", type=Path, help="default: samples.png, samples.gif, or samples/")
    kind = sample.add_mutually_exclusive_group()
    kind.add_argument(
        "--film", action="store_true", help="the walk out of the noise, a .gif or .webp that moves"
    )
    kind.add_argument(
        "--single", action="store_true", help="each picture a PNG of its own, a folder a class"
    )
    sample.add_argument(
        "--loop", action="store_true", help="the film begins anew when it has ended"
    )
    sample.add_argument(
        "--each",
        type=positive,
        default=8,
        help="pictures of each class, or of all where there are none (default: 8)",
    )
    sample.add_argument("--columns", type=positive, help="of the grid (default: as many as --each)")
    sample.add_argument(
        "--labels",
        nargs="+",
        metavar="CLASS",
        help="the classes by name or number, a row for each (default: all; of CIFAR-10, 3 is a "
        "cat and 5 a dog)",
    )
    sample.set_defaults(run=run_sample)

    measured = commands.add_parser("evaluate", help="measure a network; prints JSON")
    measured.add_argument("network", help=NETWORK)
    measured.add_argument(
        "--samples", type=positive, help="default: as many as there are test pictures"
    )
    measured.add_argument("--write", action="store_true", help="add the result to its card")
    measured.add_argument(
        "--out",
        type=Path,
        help="measure every combination of steps, eta, sampler, ... into a table, a .jsonl",
    )
    add_data(measured, "compare with pictures of this folder that it was not trained on")
    measured.set_defaults(run=run_evaluate)
    for command, several in ((sample, None), (measured, "+")):
        add_settings(command, several)
        add_compute(command)

    exported = commands.add_parser("export", help="write a network as ONNX, checked against torch")
    exported.add_argument("network", help=NETWORK)
    exported.add_argument("--out", type=Path, help="default: its name with .onnx, here")
    exported.set_defaults(run=run_export)


def add_settings(command: argparse.ArgumentParser, several: str | None) -> None:
    """The options that say how to draw."""
    command.add_argument(
        "--steps",
        type=positive,
        nargs=several,
        help="steps of the walk (default: 50, or what the network was made for)",
    )
    command.add_argument(
        "--sampler", choices=list(SAMPLERS), nargs=several, help="default: ddim, a GAN's its own"
    )
    command.add_argument(
        "--eta",
        type=float,
        nargs=several,
        help="of ddim: 0, the default, draws no noise, 1 is DDPM",
    )
    command.add_argument("--spacing", choices=list(SPACINGS), nargs=several)
    command.add_argument(
        "--guidance", choices=[*GUIDANCES, TRUNCATION], nargs=several, help="what steers"
    )
    command.add_argument(
        "--scale", type=float, nargs=several, help="of the guidance, or a threshold"
    )
    command.add_argument("--seed", type=int, help="default: 0")


def settings_of(options: argparse.Namespace) -> list[DrawSettings]:
    """All combinations of what is given."""
    if options.scale is not None and options.guidance in (None, "none", ["none"]):
        raise ValueError("--scale belongs to a --guidance, and none is named")

    def listed(name: str, usual: Any) -> Sequence[Any]:
        value = getattr(options, name)
        if value is None:
            return (usual,)
        return value if isinstance(value, list) else (value,)

    return combinations(
        listed("steps", None),
        listed("eta", None),
        listed("sampler", None),
        listed("spacing", "uniform"),
        listed("guidance", "none"),
        listed("scale", 1.0),
    )


def run_sample(options: argparse.Namespace) -> None:
    """Draw pictures of each class, and write them as they are asked for."""
    path = network_path(options.network)
    model = checkpoints.load(path)
    if not isinstance(model, Drawer) or len(model.shape) != 3:
        kind = getattr(model, "about", {}).get("network", type(model).__name__)
        raise ValueError(f"{path} holds a {kind}, which draws no pictures")
    checks.whole("--each", options.each, 1, MOST_OF_A_CLASS)
    if options.loop and not options.film:
        raise ValueError("--loop belongs to --film")
    if options.columns and options.single:
        raise ValueError("--columns belongs to a grid or a film, not to --single")
    names = _names(path)
    wanted = _classes(model, options.labels, names)
    labels, numbers = _rows(model, wanted, options.each)
    (settings,) = settings_of(options)
    write = _film if options.film else _single if options.single else _grid
    settings, compute = settled(model, settings), compute_of(options)
    asked = Asked(model, labels, settings, options.seed or 0, numbers, compute)
    out = write(options, asked)
    tell(compute)
    _tell_rows(names, wanted)
    print(out)


class Asked(NamedTuple):
    """What is to be drawn: the arguments of `draw` and `draw_walk`."""

    model: Drawer
    labels: torch.Tensor | int
    settings: DrawSettings
    seed: int
    numbers: torch.Tensor
    compute: Compute


def _grid(options: argparse.Namespace, asked: Asked) -> Path:
    """All pictures as one: where it lies."""
    from ..page.viz import picture_outlet, save_grid

    columns, place = options.columns or options.each, options.out or "samples.png"
    size, shared = (len(asked.numbers), asked.model.shape, columns), processes()
    out = shared.from_main(lambda: picture_outlet(place, *size))
    x = draw(*asked)
    if shared.main:
        save_grid(out, x, columns)
    return out


def _film(options: argparse.Namespace, asked: Asked) -> Path:
    """Their walk as a film: where it lies."""
    from ..page.viz import FRAMES, film_outlet, save_film

    columns, place = options.columns or options.each, options.out or "samples.gif"
    size, shared = (len(asked.numbers), asked.model.shape, columns), processes()
    out = shared.from_main(lambda: film_outlet(place, *size))
    walk = draw_walk(*asked, moments=FRAMES)
    if shared.main:
        save_film(out, walk, columns, loop=options.loop)
    return out


def _single(options: argparse.Namespace, asked: Asked) -> Path:
    """Each as a picture of its own, in a folder of its class if there are any: the whole folder."""
    from ..page.viz import ENDINGS, picture_outlet, save_grid

    folder, shared = expanded(options.out or "samples"), processes()
    if folder.suffix.lower() in ENDINGS:
        raise ValueError(f"--single fills a folder, and {folder} is the name of one picture")
    classes = [""] * len(asked.numbers)
    if isinstance(asked.labels, torch.Tensor):
        names = _names(network_path(options.network))
        if any(Path(name).name != name or name.startswith(".") for name in names):
            names = []  # they would lead elsewhere
        classes = [names[i] if names else str(i) for i in asked.labels.tolist()]
    files = [f"{number % MOST_OF_A_CLASS:03}.png" for number in asked.numbers.tolist()]
    places = [folder / each / file for each, file in zip(classes, files, strict=True)]
    firsts = {place.parent: place for place in places}.values()
    shared.from_main(lambda: [picture_outlet(place, 1, asked.model.shape) for place in firsts])
    x = draw(*asked)
    if shared.main:
        for place, picture in zip(places, x.split(1), strict=True):
            save_grid(place, picture, zoom=1)
    return folder


def _names(path: Path) -> list[str]:
    """What the classes of the network at ``path`` are called, if its card says so."""
    names: list[str] = cards.read_card(path).get("data", {}).get("classes", [])
    return names


def _classes(model: Drawer, asked: list[str] | None, names: list[str]) -> list[int]:
    """The classes that are asked for by name or, where no name is meant, by number; else all."""
    if not model.classes and asked:
        raise ValueError("--labels: this network knows no classes")
    labels = []
    for word in asked or []:
        label = names.index(word) if word in names else -1
        if label < 0 and word.isdecimal():
            label = int(word)
        if not 0 <= label < model.classes:
            known = f" ({', '.join(map(readable, names))})" if names else ""
            raise ValueError(f"--labels must lie in 0..{model.classes - 1}{known}, got {word!r}")
        labels.append(label)
    return labels or list(range(model.classes))


def _rows(model: Drawer, wanted: list[int], each: int) -> tuple[torch.Tensor | int, torch.Tensor]:
    """Labels, and numbers that a class's pictures keep whatever other classes stand beside it."""
    if not model.classes:
        return each, torch.arange(each)
    labels = torch.tensor(wanted).repeat_interleave(each)
    return labels, labels * MOST_OF_A_CLASS + torch.arange(each).repeat(len(wanted))


def run_evaluate(options: argparse.Namespace) -> None:
    """Measure one network, with one choice of settings or with many."""
    path = network_path(options.network)
    model = checkpoints.load(path)
    if not isinstance(model, Drawer):
        _refuse_settings(path, model, options)
    if options.data is not None:
        _evaluate_own(path, model, options)
        return
    card = cards.read_card(path)
    own = "folder" in card.get("data", {})  # of others it tells the classes' names alone
    if own and isinstance(model, Drawer) and model.shape != DIGITS.shape:
        raise ValueError(f"{path} was trained on pictures of your own: name them with --data")
    options.samples = usual_count(model) if options.samples is None else options.samples
    options.seed = 0 if options.seed is None else options.seed
    settings = settings_of(options)
    if options.out is not None:
        _evaluate_all(path, model, options, settings)
        return
    if len(settings) > 1:
        raise ValueError("several steps, etas, ... make a table: say where with --out FILE")
    shared = processes()
    sha256 = card["sha256"]
    if options.write:
        shared.from_main(lambda: cards.network_outlet(path))
    measure = measure_for(model)
    compute = compute_of(options, usual_compute(model))
    result = measure(model, settings[0], options.samples, options.seed, compute)
    command = f"diffusion-lessons evaluate {quote(options.network)}"
    if "seed" in result:  # a classifier of clean pictures is measured on all test pictures
        command += f" --samples {options.samples}"
        if isinstance(model, Drawer):
            command += f" {model.settled(settings[0]).as_arguments()}"
        command += f" --seed {options.seed}"
    command = " ".join([command, *compute_words(options)])
    result |= {"command": command, "machine": cards.machine()}
    print(json.dumps(result, indent=2), flush=True)  # first: the disk may refuse it now
    tell(compute)
    if options.write and shared.main:
        cards.add_measured(path, sha256, result)


def _evaluate_own(path: Path, model: Any, options: argparse.Namespace) -> None:
    """Measure a network for one's own pictures, beside those that were held out."""
    if options.out is not None:
        raise ValueError("--out: of your own pictures there is one measurement, and no table")
    settings = settings_of(options)
    if len(settings) > 1:
        raise ValueError("of your own pictures there is one measurement: give one of each setting")
    shared, seed = processes(), options.seed or 0
    sha256 = cards.read_card(path)["sha256"]
    data, compute = pictures_for(path, model, options.data), compute_of(options)
    if options.write:
        shared.from_main(lambda: cards.network_outlet(path))
    result = evaluate_pictures(
        model, data, settings[0], options.samples, seed, shared.main, compute
    )
    command = f"diffusion-lessons evaluate {quote(options.network)} "
    command += f"--data {quote(str(options.data))} --samples {result['samples']} "
    command += f"{model.settled(settings[0]).as_arguments()} --seed {seed}"
    command = " ".join([command, *compute_words(options)])
    result |= {"command": command, "machine": cards.machine()}
    print(json.dumps(result, indent=2), flush=True)  # first: the disk may refuse it now
    tell(compute)
    if (few := result["samples"]) <= FEW_SAMPLES and shared.main and sys.stderr is not None:
        print(
            f"{few} samples have no covariance of 64 features: such figures say hardly anything; "
            "from some thousand pictures on there are more to compare with",
            file=sys.stderr,
        )
    if options.write and shared.main:
        cards.add_measured(path, sha256, result)


def _refuse_settings(path: Path, model: Any, options: argparse.Namespace) -> None:
    """A classifier draws nothing, so that there is nothing to set."""
    names = ["steps", "sampler", "eta", "spacing", "guidance", "scale"]
    why = "draws nothing"
    if isinstance(model, Classifier):
        names, why = [*names, "samples", "seed"], "is measured on all test pictures"
    if given := [name for name in names if getattr(options, name) is not None]:
        kind = model.about["network"]
        raise ValueError(f"--{given[0]}: {path} holds a {kind}, which {why}")


def _evaluate_all(
    path: Path, model: Any, options: argparse.Namespace, settings: list[DrawSettings]
) -> None:
    if not isinstance(model, Drawer) or len(model.shape) != 3:
        kind = model.about["network"]
        raise ValueError(f"{path} holds a {kind}; a table needs a network that draws pictures")
    if options.write:
        raise ValueError("--write is for one measurement, --out for a table: give one of them")
    about = {"network": path.stem, "sha256": cards.read_card(path)["sha256"]}
    words = ["evaluate", quote(options.network), *compute_words(options)]
    command, compute = " ".join(["diffusion-lessons", *words]), compute_of(options)
    rows = evaluate_all(
        model, options.out, settings, options.samples, options.seed, about, command, compute
    )
    for row in rows:
        guided = f", {row['guidance']} {row['scale']:g}" if "guidance" in row else ""
        sampler = row.get("sampler", f"eta {row['eta']:g}")
        right = f"class accuracy {row['class_accuracy']:.1%}, " if "class_accuracy" in row else ""
        calls = f" of {row['network_calls']} calls" * (row["network_calls"] != row["steps"])
        print(
            f"{row['steps']:5d} steps{calls}, {sampler}, {row['spacing']}{guided}: "
            f"Frechet distance {row['frechet_distance']:.3f} "
            f"(floor {row['floor']['frechet_distance']:.3f}), "
            f"{right}{row['seconds']} s",
            flush=True,
        )
    tell(compute)
    print(expanded(options.out))


def run_export(options: argparse.Namespace) -> None:
    """Write one network as ONNX, and say how far its answers are from torch's."""
    from ..networks.export import export

    path = network_path(options.network)
    out = expanded(options.out or f"{path.stem}.onnx")
    difference = export(checkpoints.load(path), out)
    print(f"{out}: its answers are torch's to {difference:.1e}")


def _tell_rows(names: list[str], wanted: list[int]) -> None:
    """Where classes have names, which of them each row shows, for whoever looks on."""
    if names and processes().main and sys.stderr is not None:
        print(f"rows: {', '.join(readable(names[label]) for label in wanted)}", file=sys.stderr)
