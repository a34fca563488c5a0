"""What the lessons say of themselves stands once: pages, the README and notebooks say the same."""

import re
from dataclasses import asdict
from pathlib import Path

import jupytext
import nbformat
import pytest

from diffusion_lessons.course.lessons import (
    BEGIN,
    END,
    FACTS,
    Lesson,
    lesson_table,
    read_lesson,
    read_lessons,
    with_lesson_table,
)

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
LESSONS = read_lessons(NOTEBOOKS)

HEADER = """\
---
kernelspec:
  name: python3
lesson:
  question: What is noise?
  does: "Listen: to it"
  reading_time: 20 minutes
  run_time: 8 seconds
  needs: ears
---

# 09 · Noise: an ear for it

# Another heading
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "09_noise.md"
    path.write_text(text, "utf-8")
    return path


def test_a_lesson_is_read(tmp_path: Path):
    lesson = read_lesson(write(tmp_path, HEADER))
    assert asdict(lesson) == {
        "name": "09_noise",
        "title": "09 · Noise: an ear for it",
        "question": "What is noise?",
        "does": "Listen: to it",
        "reading_time": "20 minutes",
        "run_time": "8 seconds",
        "needs": "ears",
    }
    assert lesson.short_title == "09 · Noise"
    assert read_lessons(tmp_path) == [lesson]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("---\nkernelspec", "kernelspec", "must begin with front matter"),
        ("# 09 · Noise: an ear for it\n\n# A", "A", "has no title"),
        ('"Listen: to it"', "Listen: to it", "is not YAML"),
        ("lesson:", "lessons:", "must have a part `lesson:`"),
        ("lesson:\n", "lesson: yes\nmore:\n", "must have a part `lesson:`"),
        ("  needs: ears\n", "", "lacks needs"),
        ("  needs: ears\n", "  needs: ears\n  level: 3\n", "has level, but should have question"),
        ("8 seconds", "8", "run_time in the front matter of 09_noise.md must be one line, got 8"),
        ("needs: ears", 'needs: " "', "needs in the front matter"),
        ("needs: ears", 'needs: "ears\\nand time"', "must be one line"),
    ],
)
def test_a_lesson_that_says_too_little_is_refused(old: str, new: str, message: str, tmp_path: Path):
    assert old in HEADER
    with pytest.raises(ValueError, match=re.escape(message)):
        read_lesson(write(tmp_path, HEADER.replace(old, new)))


def test_a_folder_without_lessons_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="there are no lessons"):
        read_lessons(tmp_path)


def test_the_table_is_put_between_the_marks():
    lesson = Lesson("01_a", "01 · A: b", "p(a|b)?", "Look", "1 minute", "2 seconds", "nothing")
    table = lesson_table([lesson])
    assert table.splitlines()[1:] == [
        "| --- | --- | --- | --- |",
        r"| [01 · A](notebooks/01_a.ipynb) | p(a\|b)? | Look | 2 seconds |",
    ]
    readme = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = with_lesson_table(readme, [lesson])
    assert new == f"before\n{BEGIN}\n\n{table}\n{END}\nafter\n"
    assert with_lesson_table(new, [lesson]) == new
    for without in (readme.replace(BEGIN, ""), readme.replace(END, ""), f"{END}{BEGIN}"):
        with pytest.raises(ValueError, match="the README must hold the lines"):
            with_lesson_table(without, [lesson])


def test_the_readme_has_the_table_of_today():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert with_lesson_table(readme, LESSONS) == readme, "run: make readme"


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_the_page_says_what_the_front_matter_says(lesson: Lesson):
    text = (NOTEBOOKS / f"{lesson.name}.md").read_text("utf-8")
    assert lesson.title.startswith(f"{lesson.name[:2]} · ")
    question = lesson.question[0].lower() + lesson.question[1:]
    assert f"\n**The question:** {question}\n" in text
    (times,) = re.findall(r"^\*\*Time:\*\* .*", text, re.MULTILINE)
    assert re.fullmatch(
        rf"\*\*Time:\*\* {re.escape(lesson.reading_time)} to (read|answer), "
        rf"{re.escape(lesson.run_time)} to run on two cores\. "
        rf"\*\*Needs:\*\* {re.escape(lesson.needs)}\.",
        times,
    )


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_notebook_and_source_have_the_same_front_matter_and_keep_it(lesson: Lesson):
    source = jupytext.read(NOTEBOOKS / f"{lesson.name}.md")
    notebook = nbformat.read(NOTEBOOKS / f"{lesson.name}.ipynb", as_version=4)
    assert notebook.metadata["lesson"] == {key: getattr(lesson, key) for key in FACTS}
    assert source.metadata.items() <= notebook.metadata.items()
    saved = jupytext.reads(jupytext.writes(notebook, fmt="md:myst"), fmt="md:myst")
    assert saved.metadata["lesson"] == notebook.metadata["lesson"]  # JupyterLab saves both
