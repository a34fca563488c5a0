"""Imports point one way, and the math needs torch and numpy alone."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import diffusion_lessons

PACKAGE = Path(diffusion_lessons.__file__).parent

# The rooms, lowest first: a room may import itself and the rooms that it names here.
LEAVES = {"checks", "files", "data", "folders"}
ROOMS: dict[str, set[str]] = {
    "checks": set(),
    "files": set(),
    "data": {"files"},
    "folders": {"files", "data"},
    "math": set(),
    "networks": {"math", "files"},
    "training": {"math", "networks", "files", "data", "folders"},
    "measuring": {"math", "networks", "training", "files", "data", "folders"},
    "page": {"math", "networks", "files", "data"},
    "course": {"math", "networks", "training", "measuring", "page", "files", "data"},
}
"""`cli` and `__main__` may import everything, and nothing imports them."""

# Inside the math each module stands on those before it.
MATH = ["randomness", "schedule", "gaussian", "prediction", "sampling", "losses"]
MATH += ["solvers", "guidance", "editing", "exact"]

# What Jupyter's server reads among the assets is no module of the package.
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "assets" not in path.parts)


def module_of(path: Path) -> tuple[str, ...]:
    """``models/unet.py`` -> ("models", "unet"); a package's ``__init__`` keeps its name."""
    return path.relative_to(PACKAGE).with_suffix("").parts


def imported(source: str, module: tuple[str, ...]) -> set[str]:
    """What a module imports of this package, as in ``math.schedule``, ``data``."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {".".join(n[1:3]) or "__init__" for n in names if n[0] == PACKAGE.name}
        elif isinstance(node, ast.ImportFrom):
            inside = node.module.split(".") if node.module else []
            if node.level:
                base = [*module[: len(module) - node.level], *inside]
            elif inside[0] == PACKAGE.name:
                base = inside[1:]
            else:
                continue
            # `from . import x` imports the module x, or a name of the package itself
            inner = {".".join([*base, alias.name]) for alias in node.names}
            found |= {".".join(base)} if len(base) > 1 or is_leaf(base) else inner
    return found


def is_leaf(base: list[str]) -> bool:
    return bool(base) and (PACKAGE / f"{base[0]}.py").exists()


def test_this_reader_of_imports_reads_every_way_to_write_one():
    deep, top = ("networks", "unet"), ("cli",)
    for source, module, expected in [
        ("from .schedule import NoiseSchedule", ("math", "gaussian"), {"math.schedule"}),
        ("from . import data, files", top, {"data", "files"}),
        ("from .embedding import TimeEmbedding", deep, {"networks.embedding"}),
        ("from . import embedding", deep, {"networks.embedding"}),
        ("from .. import checks", deep, {"checks"}),
        ("from ..checks import floats", deep, {"checks"}),
        ("from ..math.schedule import Time", deep, {"math.schedule"}),
        ("from ..math import schedule", deep, {"math.schedule"}),
        ("import diffusion_lessons.data", top, {"data"}),
        ("import diffusion_lessons.networks.unet as u", top, {"networks.unet"}),
        ("from diffusion_lessons.networks.unet import UNet", top, {"networks.unet"}),
        ("from diffusion_lessons import cli", deep, {"cli"}),
        ("def f():\n    from ..cli import main", deep, {"cli.main"}),
        ("import torch\nfrom torch import nn", deep, set()),
    ]:
        assert imported(source, module) == expected, source


@pytest.mark.parametrize("path", FILES, ids=lambda path: ".".join(module_of(path)))
def test_imports_point_one_way(path):
    room, *inside = module_of(path)
    if room in ("__init__", "__main__", "cli"):
        return
    found = imported(path.read_text(), module_of(path))
    rooms = {name.split(".")[0] for name in found}
    extra = rooms - ROOMS[room] - {room, "checks"}  # anyone may refuse
    assert not extra, f"{'.'.join([room, *inside])} must not import {sorted(extra)}"
    if room == "math" and inside[0] in MATH:
        before = {f"math.{name}" for name in MATH[: MATH.index(inside[0])]}
        assert not {name for name in found if name.startswith("math.")} - before


def test_every_module_stands_in_a_room():
    there = {module_of(path)[0] for path in FILES} - {"__init__", "__main__", "cli"}
    assert there == set(ROOMS)
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == there - LEAVES | {"assets", "cli"}
    assert {path.stem for path in (PACKAGE / "math").glob("*.py")} == {*MATH, "__init__"}


# What importing loads

HEAVY = [
    "matplotlib",
    "PIL",
    "ipywidgets",
    "anywidget",
    "torchvision",
    "tqdm",
    "jupyter",
    "jupyter_core",
    "nbformat",
    "IPython",
]
LIGHT = ROOMS.keys() - {"page", "course"}

# Run in a fresh process: which heavy packages does each import add?
PROBE = """
import importlib, json, sys
import numpy, safetensors.torch, torch, torch.optim
heavy, names = json.loads(sys.argv[1])
before = {name for name in heavy if name in sys.modules}  # torch itself looks for tqdm
added = {}
for name in names:
    importlib.import_module(name)
    added[name] = sorted({h for h in heavy if h in sys.modules} - before)
print(json.dumps(added))
"""


@pytest.mark.slow
def test_the_package_and_its_math_load_neither_jupyter_nor_pictures():
    names = [PACKAGE.name, f"{PACKAGE.name}.cli"]  # a server that only trains has no Jupyter
    for path in FILES:
        module = module_of(path)
        if module[0] in LIGHT:
            names.append(".".join([PACKAGE.name, *module]).removesuffix(".__init__"))
    result = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps([HEAVY, names])],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    added = json.loads(result.stdout)
    assert set(added) == set(names)
    assert {name: found for name, found in added.items() if found} == {}
