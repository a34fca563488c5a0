"""``lab`` and ``doctor``."""

import argparse
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from .. import __version__
from ..checks import PAGE
from ..files import expanded
from ..measuring.doctor import examine
from ..networks import cards, checkpoints
from ..networks.compute import best_device, fastest, kept_file, measure
from .options import NETWORK, Commands, network_path, port


def add_commands(commands: Commands) -> None:
    """The two commands and their options."""
    lab = commands.add_parser("lab", help="open JupyterLab at your own copies of the lessons")
    lab.add_argument(
        "--folder",
        type=Path,
        help="where your copies lie (default: my-lessons); the lessons' own is opened as it is",
    )
    lab.add_argument(
        "--again",
        nargs="+",
        metavar="LESSON",
        default=[],
        help="lay a lesson anew, as --again 03; a copy that you have worked in keeps another name",
    )
    lab.add_argument("--port", type=port, default=8888)
    lab.add_argument("--no-browser", action="store_true")
    lab.add_argument(
        "--no-server", action="store_true", help="lay the copies and end, as for VS Code"
    )
    lab.set_defaults(run=run_lab)
    doctor = commands.add_parser(
        "doctor",
        help="what is this machine, and what is slow on it; or what is wrong with a network",
    )
    doctor.add_argument(
        "network",
        nargs="?",
        help=f"{NETWORK}, or a .training file: what looks wrong with it",
    )
    doctor.set_defaults(run=run_doctor)


def run_lab(options: argparse.Namespace) -> None:
    """Open the lessons, where Jupyter is installed: a server that only trains may lack it."""
    from .lab import run

    run(options)


def run_doctor(options: argparse.Namespace) -> None:
    """Print what this machine is, and whether the shipped networks are whole; or, of one that is
    named, what looks wrong with it.
    """
    if options.network is None:
        _tell_machine()
    else:
        _examine(options.network)


def _tell_machine() -> None:
    about = cards.machine()
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
    print("A small convolution, there and back, now:")
    for choice, times in measure(device).items():
        print(f"  {median(times) * 1e3:7.2f} ms  {choice.in_words()}")
    print(f"Networks run in {fastest().in_words()}.")
    if (path := kept_file(device)) is not None and os.path.exists(path):
        print(f"That was chosen once and is kept in {path}; delete it to choose anew.")
    for line in _slow(about, device):
        print(line)
    for name in cards.pretrained_names():
        checkpoints.load_pretrained(name)
        print(f"Network {name}: whole")


def _examine(network: str) -> None:
    path = expanded(network)
    if path.suffix != ".training":
        path = network_path(network)
    found = examine(path)
    if not found:
        print(f"{network}: nothing wrong is seen")
        return
    print(f'{network}: see the book\'s page "{PAGE}", under what stands in brackets')
    for finding in found:
        print(f"  {finding.words} ({finding.section})")


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
