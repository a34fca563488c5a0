"""What each lesson says of itself: its title, and the facts in its front matter.

The README's table, the book's first page and the tests read them here. They stand in the lessons'
sources, ``notebooks/NN_name.md``, so this is for a clone of the course: an installed package has
no notebooks.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml  # comes with JupyterLab

BEGIN = "<!-- lessons: `make readme` writes this table from the notebooks -->"
END = "<!-- end of lessons -->"


@dataclass(frozen=True)
class Lesson:
    """One lesson. ``name`` is its file's, without ending; ``title`` is its first heading.

    The others are the front matter's ``lesson``: the question it asks, what one does in it, how
    long it takes to read, and to run on two cores, and what it needs.
    """

    name: str
    title: str
    question: str
    does: str
    reading_time: str
    run_time: str
    needs: str

    @property
    def short_title(self) -> str:
        """``02 · DDPM: learning the way back`` is ``02 · DDPM``."""
        return self.title.partition(":")[0]


FACTS = [field.name for field in fields(Lesson)][2:]


def read_lessons(folder: Path) -> list[Lesson]:
    """All lessons of a folder, in order. Raises ValueError if there are none, or for a bad one."""
    lessons = [read_lesson(path) for path in sorted(folder.glob("[0-9]*.md"))]
    if not lessons:
        raise ValueError(f"there are no lessons (NN_name.md) in {folder}")
    return lessons


def read_lesson(path: Path) -> Lesson:
    """The lesson in a ``.md``. Raises ValueError that says what its front matter or title lacks."""
    parts = re.fullmatch(r"---\n(.*?\n)---\n(.*)", path.read_text("utf-8"), re.DOTALL)
    if parts is None:
        raise ValueError(f"{path.name} must begin with front matter, between two lines of ---")
    header, body = parts.groups()
    title = re.search(r"^# (.+)", body, re.MULTILINE)
    if title is None:
        raise ValueError(f"{path.name} has no title, a line that begins with #")
    return Lesson(path.stem, title[1].strip(), **_facts(header, path.name))


def _facts(header: str, name: str) -> dict[str, str]:
    try:
        front_matter: Any = yaml.safe_load(header)
    except yaml.YAMLError as error:
        raise ValueError(f"the front matter of {name} is not YAML: {error}") from error
    facts = front_matter.get("lesson") if isinstance(front_matter, dict) else None
    if not isinstance(facts, dict):
        raise ValueError(f"the front matter of {name} must have a part `lesson:`")
    if missing := [key for key in FACTS if key not in facts]:
        raise ValueError(f"the lesson in the front matter of {name} lacks {', '.join(missing)}")
    if unknown := [str(key) for key in facts if key not in FACTS]:
        raise ValueError(
            f"the lesson in the front matter of {name} has {', '.join(unknown)}, "
            f"but should have {', '.join(FACTS)} alone"
        )
    for key, value in facts.items():
        if not isinstance(value, str) or not value.strip() or "\n" in value:
            raise ValueError(f"{key} in the front matter of {name} must be one line, got {value!r}")
    return facts


# ------------------------------------------------------------------ the README


def with_lesson_table(readme: str, lessons: Sequence[Lesson]) -> str:
    """The README with a new table between its two marks. Raises ValueError if they are missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the README must hold the lines {BEGIN} and {END}, in this order")
    return f"{before}{begin}\n\n{lesson_table(lessons)}\n{end}{after}"


def lesson_table(lessons: Sequence[Lesson]) -> str:
    """A Markdown table, a row a lesson; its links start from the folder above ``notebooks``."""
    rows = [("Lesson", "Question", "What you do", "Runs in"), ("---",) * 4]
    for lesson in lessons:
        link = f"[{lesson.short_title}](notebooks/{lesson.name}.ipynb)"
        rows.append((link, lesson.question, lesson.does, lesson.run_time))
    lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)
