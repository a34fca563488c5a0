"""Imports point one way, and the math needs torch and numpy alone."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import diffusion_lessons

PACKAGE = Path(diffusion_lessons.__file__).parent

MATH = {"schedule", "gaussian", "sampling", "guidance", "exact"}
PICTURES = MATH | {"data", "palette", "viz", "widgets"}

# What each module may import of the package, `models` and `widgets` standing for all their
# modules. Modules that are not listed may import all but `recipes` and `cli`.
ALLOWED = {
    "schedule": set(),
    "gaussian": {"schedule"},
    "processes": set(),
    "sampling": {"gaussian", "schedule"},
    "guidance": {"sampling", "gaussian", "schedule"},
    "exact": {"sampling", "gaussian", "schedule"},
    "metrics": set(),
    "compute": {"processes"},
    "data": set(),
    "files": set(),
    "checks": set(),
    "models": {"models"},
    "training": MATH | {"compute", "files", "processes"},
    "gan": MATH | {"compute", "models", "training"},
    "viz": PICTURES | {"models"},  # it draws the U-Net's own picture
    "widgets": PICTURES,
}
# They may import everything; only they import one another.
TOP = {"recipes", "ablation", "trilemma", "cli"}
COMMAND_LINE = TOP | {"__main__"}

FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def module_of(path: Path) -> tuple[str, ...]:
    """``models/unet.py`` -> ("models", "unet"); a package's ``__init__`` keeps its name."""
    return path.relative_to(PACKAGE).with_suffix("").parts


def imported(source: str, module: tuple[str, ...]) -> set[str]:
    """First-level names of this package that a module imports, anywhere in its source."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {(n[1:] or ["__init__"])[0] for n in names if n[0] == PACKAGE.name}
        elif isinstance(node, ast.ImportFrom):
            inside = node.module.split(".") if node.module else []
            if node.level:
                base = [*module[: len(module) - node.level], *inside]
            elif inside[0] == PACKAGE.name:
                base = inside[1:]
            else:
                continue
            # `from . import x` imports the module x, or a name of the package itself
            found |= {base[0]} if base else {alias.name for alias in node.names}
    return found


def test_this_reader_of_imports_reads_every_way_to_write_one():
    deep, flat = ("models", "unet"), ("sampling",)
    for source, module, expected in [
        ("from .schedule import NoiseSchedule", flat, {"schedule"}),
        ("from . import schedule, gaussian", flat, {"schedule", "gaussian"}),
        ("from .embedding import TimeEmbedding", deep, {"models"}),
        ("from . import embedding", deep, {"models"}),
        ("from .. import training", deep, {"training"}),
        ("from ..training import train", deep, {"training"}),
        ("import diffusion_lessons.data", flat, {"data"}),
        ("import diffusion_lessons.models.unet as u", flat, {"models"}),
        ("from diffusion_lessons.models.unet import UNet", flat, {"models"}),
        ("from diffusion_lessons import cli", flat, {"cli"}),
        ("def f():\n    from .cli import main", flat, {"cli"}),
        ("import torch\nfrom torch import nn", flat, set()),
    ]:
        assert imported(source, module) == expected, source


@pytest.mark.parametrize("path", FILES, ids=lambda path: ".".join(module_of(path)))
def test_imports_point_one_way(path):
    module = module_of(path)
    found = imported(path.read_text(), module)
    if module[0] not in COMMAND_LINE:
        assert not found & TOP, f"{module[0]} imports {found & TOP}, which only the top may"
    if module[0] in ALLOWED:
        extra = found - ALLOWED[module[0]] - {"checks"}  # anyone may refuse
        assert not extra, f"{'.'.join(module)} must not import {sorted(extra)}"


def test_the_table_above_knows_modules_that_exist():
    """At least those that the math cannot do without, so that a renamed file is noticed."""
    there = {module_of(path)[0] for path in FILES}
    needed = {"schedule", "gaussian", "sampling", "exact", "training", "metrics", "data", "models"}
    assert needed <= there


# What importing loads

HEAVY = ["matplotlib", "ipywidgets", "anywidget", "torchvision", "tqdm", "jupyter", "IPython"]
LIGHT = [module for module in ALLOWED if module not in ("viz", "widgets")]

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


def test_the_package_and_its_math_load_neither_jupyter_nor_pictures():
    names = [PACKAGE.name]
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
