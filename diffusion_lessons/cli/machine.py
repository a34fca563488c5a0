"""``lab`` and ``doctor``."""

import argparse
import errno
import os
import signal
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch

from .. import __version__
from ..files import expanded
from ..networks import cards, checkpoints
from ..networks.compute import best_device, fastest, kept_file, measure
from .options import Commands, port


def add_commands(commands: Commands) -> None:
    """The two commands and their options."""
    lab = commands.add_parser("lab", help="open JupyterLab at the first lesson")
    lab.add_argument("--folder", type=Path, default=Path("notebooks"))
    lab.add_argument("--port", type=port, default=8888)
    lab.add_argument("--no-browser", action="store_true")
    lab.set_defaults(run=run_lab)
    doctor = commands.add_parser("doctor", help="what is this machine, what is slow on it and why")
    doctor.set_defaults(run=run_doctor)


def run_lab(options: argparse.Namespace) -> None:
    """Become JupyterLab, opened at the first lesson."""
    folder = expanded(options.folder)
    lessons = sorted(folder.glob("[0-9]*.ipynb"))
    if not lessons:
        raise ValueError(f"no lessons in {folder}: run this in a clone of the course")
    if find_spec("jupyterlab") is None:
        raise ValueError("JupyterLab is not installed: pip install jupyterlab")
    with socket.socket() as probe:
        if sys.platform != "win32":  # there it would share a port that is busy
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", options.port))
        except PermissionError as error:
            raise ValueError(
                f"port {options.port} may not be used by this account, as few below 1024 may; "
                "choose another: make lab PORT=8889"
            ) from error
        except OSError as error:
            why = "is busy (is the course open already?)"
            if error.errno != errno.EADDRINUSE:
                why = f"cannot be used ({error.strerror})"
            raise ValueError(
                f"port {options.port} {why}; choose another: make lab PORT=8889"
            ) from error
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={folder.resolve()}",
    ]
    command += [f"--LabApp.default_url=/lab/tree/{lessons[0].name}"]  # printed, and opened
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={options.port}"]
    command += ["--ServerApp.port_retries=0"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    if options.no_browser:
        command.append("--no-browser")
    if sys.platform == "win32":  # there a process that is taken over goes on out of its console
        sys.exit(wait_for(command))
    os.execv(sys.executable, command)  # JupyterLab takes this process over: Ctrl-C goes to it


def wait_for(command: list[str]) -> int:
    """Run a command to its end and return its exit status. Ctrl-C is the command's alone."""
    with subprocess.Popen(command) as process:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def run_doctor(options: argparse.Namespace) -> None:
    """Print what this machine is, and whether the shipped networks are whole."""
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
