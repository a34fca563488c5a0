"""The pins hold wherever the README says that the course runs: uv resolves them for each machine.

Nothing is installed. Wheels alone count, so that a pin which a learner's machine would have to
compile is found as well.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PINS = ROOT / "constraints.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PYTHONS = ["3.11.0", "3.12", "3.13", "3.14"]
PLATFORMS = {
    "Linux": "x86_64-manylinux_2_28",
    "Linux on ARM": "aarch64-manylinux_2_28",
    "macOS 14 on Apple silicon": "aarch64-apple-darwin",
    "Windows": "x86_64-pc-windows-msvc",
}
OF_TORCH = re.compile("nvidia-|cuda-|triton$")  # for NVIDIA's GPUs, in versions that torch chooses

pytestmark = pytest.mark.slow  # a network may be

Resolve = Callable[[str, str, str, Path], subprocess.CompletedProcess[str]]


def resolve(python: str, platform: str, what: str, pins: Path) -> subprocess.CompletedProcess[str]:
    """What pip would install there, as ``name==version`` lines; ``what`` is given on stdin."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-build", "--no-header"]
    command += [
        "--no-annotate",
        "--python",
        sys.executable,
    ]  # it searches for none, and builds none
    command += ["--python-version", python, "--python-platform", PLATFORMS[platform]]
    command += ["--constraints", str(pins), "-"]
    env = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    return subprocess.run(command, input=what, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Resolve:
    """`resolve`, where uv is installed and reaches a package index."""
    pytest.importorskip("uv", reason="the pins are resolved by uv: pip install '.[dev]'")
    nothing = tmp_path_factory.mktemp("pins") / "none.txt"
    nothing.touch()
    if found := resolve("3.12", "Linux", "iniconfig", nothing).stderr:
        pytest.skip(f"uv reaches no package index: {found.strip().splitlines()[-1]}")
    return resolve


@pytest.fixture(scope="module")
def resolved(ask: Resolve) -> dict[tuple[str, str], subprocess.CompletedProcess[str]]:
    """All that pyproject.toml asks for, under the pins, for every machine."""
    extras = PROJECT["optional-dependencies"].values()
    what = "\n".join([*PROJECT["dependencies"], *(line for extra in extras for line in extra)])
    machines = [(python, platform) for python in PYTHONS for platform in PLATFORMS]
    with ThreadPoolExecutor(4) as pool:  # they wait for the network, most of the time
        found = pool.map(lambda machine: ask(*machine, what, PINS), machines)
        return dict(zip(machines, found, strict=True))


def pinned() -> set[str]:
    lines = PINS.read_text("utf-8").splitlines()
    return {canonicalize_name(line.split("==")[0]) for line in lines if not line.startswith("#")}


def names(found: subprocess.CompletedProcess[str]) -> set[str]:
    return {canonicalize_name(line.split("==")[0]) for line in found.stdout.split()}


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_everything_installs_from_wheels_in_the_pinned_versions(
    python: str,
    platform: str,
    resolved: dict[tuple[str, str], subprocess.CompletedProcess[str]],
) -> None:
    found = resolved[python, platform]
    assert found.returncode == 0, found.stderr
    assert "torch==" in found.stdout
    assert {name for name in names(found) - pinned() if not OF_TORCH.match(name)} == set()


def test_no_pin_is_left_of_what_nobody_needs(
    resolved: dict[tuple[str, str], subprocess.CompletedProcess[str]],
) -> None:
    assert pinned() - set().union(*map(names, resolved.values())) == set()


def test_the_oldest_python_that_is_admitted_is_among_them() -> None:
    admitted = SpecifierSet(PROJECT["requires-python"])
    assert [python for python in PYTHONS if python not in admitted] == []
    assert "3.10.99" not in admitted


@pytest.mark.parametrize(
    ("python", "platform", "what"),
    [
        ("3.11.0", "Linux", "soupsieve==4.1.2"),  # wants 3.11.5; once it was pinned
        ("3.14", "Windows", "uvloop==0.21.0"),  # has no wheel for Windows, nor for this Python
    ],
)
def test_a_pin_that_does_not_hold_somewhere_would_be_found(
    python: str, platform: str, what: str, ask: Resolve, tmp_path: Path
) -> None:
    pin = tmp_path / "pins.txt"
    pin.write_text(what)
    name = what.split("==")[0]
    assert ask(python, platform, name, pin).returncode
    assert ask("3.12", "Linux", name, pin).stdout.split() == [what]
