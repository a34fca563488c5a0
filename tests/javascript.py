"""The widgets' JavaScript under node, for what needs no page."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import diffusion_lessons

PAGE = Path(diffusion_lessons.__file__).parent / "page"


def run(folder: Path, module: str) -> Any:
    """What a module exports as its default; it may import "kit" and, as "./steps.js", the widgets.

    Numbers that JSON does not know come as None. ``folder`` is an empty one to work in.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the path: the JavaScript is only tested in the browser")
    shutil.copytree(PAGE / "widgets", folder, dirs_exist_ok=True)
    kit = shutil.copytree(PAGE / "kit", folder / "node_modules" / "kit", dirs_exist_ok=True)
    (folder / "package.json").write_text('{"type": "module"}')
    (kit / "package.json").write_text('{"type": "module", "main": "kit.js"}')
    (folder / "module.js").write_text(module, "utf-8")
    (folder / "main.js").write_text(
        'import value from "./module.js";\n'
        "const plain = (key, value) => ArrayBuffer.isView(value) ? [...value] : value;\n"
        "console.log(JSON.stringify(value, plain));"
    )
    done = subprocess.run(
        [node, "main.js"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
