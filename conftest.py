"""What the lessons' cells share when they run as tests (`make nbval`)."""

import re
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A cell that has ended may take a minute to deliver its outputs, and the longest come first.

    nbval waits five seconds from one message to the next, which was once too short in CI. Of two
    workers that take a lesson each, neither is to begin the longest when the other is at its end.
    Trainings that last for so many seconds are cut short (`hurried`).
    """
    for item in items:
        if hasattr(item, "output_timeout"):
            item.output_timeout = 60
            item.cell.source = hurried(item.cell.source)
    if items and all(item.path.suffix == ".ipynb" for item in items):
        seconds = {path: run_time(path) for path in {item.path for item in items}}
        items.sort(key=lambda item: -seconds[item.path])


def hurried(source: str) -> str:
    """A cell in which every training of so many seconds gets a tenth of them.

    How far it comes in its whole time is for people to see, and for notebooks/execute.py to keep.
    """
    return re.sub(r"\bseconds=([\d.]+)", lambda found: f"seconds={float(found[1]) / 10:g}", source)


def run_time(notebook: Path) -> float:
    """How many seconds a notebook says in its source that it runs; 0 for one that does not say."""
    source = notebook.with_suffix(".md")
    text = source.read_text("utf-8") if source.exists() else ""
    said = re.search(r"^  run_time: ([\d.]+) (second|minute)", text, re.MULTILINE)
    return float(said[1]) * {"second": 1, "minute": 60}[said[2]] if said else 0
