"""What ``lab`` does: lay the learner's copies, and become JupyterLab."""

import argparse
import errno
import os
import shlex
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from jupyter_core.paths import jupyter_config_dir, jupyter_data_dir, jupyter_runtime_dir

from ..course import copies
from ..files import ASSETS, expanded


def run(options: argparse.Namespace) -> None:
    """Lay what is missing in the learner's folder, and become JupyterLab, opened at a lesson."""
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
