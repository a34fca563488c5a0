"""JupyterLab as the lessons want it, for the server that `diffusion-lessons lab` starts.

It asks nobody about news, and saves the state of widgets (labconfig/). By itself it would save that
of the widgets whose cells were run since the kernel started, and drop that of all others.
"""

import json
import re
from pathlib import Path
from typing import Any

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"


def keep_widgets(model: dict[str, Any], path: str, contents_manager: Any, **more: Any) -> None:
    """Before a notebook is saved: of each widget it shows the state is there, and no other.

    What is not among what is saved now is taken from the file as it is. A widget that no output
    shows, as of a cell that was run again, goes.
    """
    if model.get("type") != "notebook" or "cells" not in (notebook := model.get("content") or {}):
        return
    known = _stored(json.loads(_read(Path(contents_manager.root_dir, path.strip("/")))))
    known |= _stored(notebook)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    wanted = [output.get("data", {}).get(VIEW, {}).get("model_id") for output in outputs]
    kept: dict[str, Any] = {}
    while wanted:
        name = wanted.pop()
        if name in known and name not in kept:
            kept[name] = known[name]
            wanted += re.findall(r'"IPY_MODEL_([^"]+)"', json.dumps(known[name]))
    if kept:
        saved = {"version_major": 2, "version_minor": 0, "state": kept}
        notebook["metadata"]["widgets"] = {STATE: saved}


def _stored(notebook: dict[str, Any]) -> dict[str, Any]:
    """The widgets' states in a notebook, by their models' names."""
    states: dict[str, Any] = (
        notebook.get("metadata", {}).get("widgets", {}).get(STATE, {}).get("state", {})
    )
    return dict(states)


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else "{}"


c = get_config()  # type: ignore[name-defined]  # noqa: F821  # of the server, which reads this file
c.ContentsManager.pre_save_hook = keep_widgets
