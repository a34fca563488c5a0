"""Make the .ipynb that people open from the .md that people edit, by running it.

    python notebooks/execute.py            every lesson, and the book's first page
    python notebooks/execute.py 02_ddpm    this one

Who edits lessons opens them themselves, and no copies: diffusion-lessons lab --folder notebooks

Outputs and widget state are kept, times of execution are not.
"""

import json
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
# After the last cell: who only reads the notebook has no kernel to ask.
STORE = "from diffusion_lessons.page import kit\n\nkit.store_ahead()"


def execute(source: Path) -> Path:
    """Run one notebook in a fresh kernel and write it beside its source; returns the .ipynb."""
    notebook = jupytext.read(source)
    notebook.metadata["jupytext"]["formats"] = "ipynb,md:myst"
    notebook.cells.append(nbformat.v4.new_code_cell(STORE))
    NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(HERE)}},
    ).execute()
    notebook.cells.pop()
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i}"  # the same at every run, so that changes stay readable
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if not is_progress_bar(out)]
    keep_what_is_shown(notebook)
    notebook.metadata.pop("language_info", None)  # names the Python of whoever ran it
    target = source.with_suffix(".ipynb")
    nbformat.write(notebook, target)
    return target


def is_progress_bar(output: nbformat.NotebookNode) -> bool:
    """tqdm's bar in a notebook, whose text would stay when the bar itself has gone."""
    data = output.get("data", {})
    return VIEW in data and "image/png" not in data


def keep_what_is_shown(notebook: nbformat.NotebookNode) -> None:
    """Leave out the stored models that no output shows, such as those of progress bars."""
    widgets = notebook.metadata.get("widgets")
    if not widgets:
        return
    models = widgets[STATE]["state"]
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    waiting = [out["data"][VIEW]["model_id"] for out in outputs if VIEW in out.get("data", {})]
    shown: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in shown:
            shown.add(name)
            waiting += re.findall(r"IPY_MODEL_(\w+)", json.dumps(models[name]["state"]))
    widgets[STATE]["state"] = {name: model for name, model in models.items() if name in shown}


if __name__ == "__main__":
    for source in [*sorted(HERE.glob("[0-9]*.md")), HERE.parent / "book" / "index.md"]:
        if len(sys.argv) == 1 or source.stem in sys.argv[1:]:
            start = time.perf_counter()
            target = execute(source)
            size = target.stat().st_size / 1e6
            print(f"{target.name}: {time.perf_counter() - start:.0f} s, {size:.2f} MB", flush=True)
