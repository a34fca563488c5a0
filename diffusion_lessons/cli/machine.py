"""``lab`` and ``doctor``."""

import argparse
import errno
import os
import shlex
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
from ..checks import PAGE
from ..files import ASSETS, expanded
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
    """Lay what is missing in the learner's folder, and become JupyterLab, opened at a lesson."""
    from ..course import copies  # it needs Jupyter, which a server that only trains may lack

    again = copies.named(options.again)
    folder = (expanded(options.folder) if options.folder else copies.usual_folder()).absolute()
    _settle_jupyter(folder)
    if options.folder and copies.is_workshop(folder):
        if again:
            raise ValueError(f"{folder} holds the lessons themselves; --again is for copies")
        first = copies.lessons(folder)[0].name
    else:
        _lay_copies(folder, again, options)
        first = f"{again[0]}.ipynb" if again else copies.lessons(copies.originals())[0].name
    if not options.no_server:
        _become_jupyterlab(folder, first, options)


def _lay_copies(folder: Path, again: list[str], options: argparse.Namespace) -> None:
    from ..course import copies

    place = f"--folder {shlex.quote(str(options.folder))} " if options.folder else ""
    fetch = f"diffusion-lessons lab {place}--again "
    if "MAKELEVEL" in os.environ and not place:
        fetch = "make lab AGAIN="
    new = not (folder / copies.HIDDEN).exists()
    try:
        told = copies.lay(folder, again, fetch)
    except OSError as error:
        raise type(error)(
            f"{error}; another place is named by: diffusion-lessons lab --folder FOLDER"
        ) from error
    yours = "; what you do in them is yours, and no update overwrites it" if new else ""
    print(f"Your copies of the lessons are in {folder}{yours}")
    for line in told:
        print(line)


def _settle_jupyter(folder: Path) -> None:
    """Where Jupyter cannot write in the user's home, give it a place beside the copies.

    Raises OSError if that cannot be written either.
    """
    from jupyter_core.paths import jupyter_config_dir, jupyter_data_dir, jupyter_runtime_dir

    from ..course import copies

    homes = map(Path, (jupyter_data_dir(), jupyter_config_dir(), jupyter_runtime_dir()))
    if all(_writable(path) for path in homes):
        return
    place = folder / copies.HIDDEN
    if not _writable(place):
        raise PermissionError(
            f"neither your home nor {folder} can be written, and JupyterLab needs one of them: "
            "name a folder of yours by --folder"
        )
    print(f"Your home cannot be written: Jupyter's own files go to {place}")
    for name in ("CONFIG", "DATA", "RUNTIME"):
        os.environ[f"JUPYTER_{name}_DIR"] = str(place / f"jupyter-{name.lower()}")
    os.environ["IPYTHONDIR"] = str(place / "ipython")


def _writable(folder: Path) -> bool:
    """Whether a folder can be written, or made."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _become_jupyterlab(folder: Path, first: str, options: argparse.Namespace) -> None:
    from ..course import copies

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
    command = [sys.executable, "-m", "jupyterlab"]
    command += [f"--ServerApp.root_dir={folder}"]
    command += [f"--LabApp.default_url=/lab/tree/{first}"]  # printed, and opened
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={options.port}"]
    command += ["--ServerApp.port_retries=0"]
    if (folder / copies.HIDDEN).exists():  # which tabs are open here is no matter of other folders
        command += [f"--LabApp.workspaces_dir={folder / copies.HIDDEN / 'workspaces'}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    if options.no_browser:
        command.append("--no-browser")
    # What the course wants of JupyterLab is a layer of defaults, and not written to its settings.
    layers = [str(ASSETS / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, layers))
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
