"""Make the .ipynb that people open from the .md that people edit, by running it.

    python notebooks/execute.py            every lesson, and the book's first page
    python notebooks/execute.py 02_ddpm    this one

Outputs and widget state are kept, times of execution are not.
"""

import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
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
    notebook.metadata.pop("language_info", None)  # names the Python of whoever ran it
    target = source.with_suffix(".ipynb")
    nbformat.write(notebook, target)
    return target


def is_progress_bar(output: nbformat.NotebookNode) -> bool:
    """tqdm's bar in a notebook, whose text would stay when the bar itself has gone."""
    data = output.get("data", {})
    return "application/vnd.jupyter.widget-view+json" in data and "image/png" not in data


if __name__ == "__main__":
    for source in [*sorted(HERE.glob("[0-9]*.md")), HERE.parent / "book" / "index.md"]:
        if len(sys.argv) == 1 or source.stem in sys.argv[1:]:
            start = time.perf_counter()
            target = execute(source)
            size = target.stat().st_size / 1e6
            print(f"{target.name}: {time.perf_counter() - start:.0f} s, {size:.2f} MB", flush=True)
