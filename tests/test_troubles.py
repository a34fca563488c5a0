"""The page "When it does not work": every number on it was measured, by the run that it names."""

import importlib
import json
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prose import INVENTED, Block, Number, blocks, leaves, numbers

from diffusion_lessons import linear_schedule
from diffusion_lessons.measuring import doctor

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "book" / "when-it-does-not-work.md").read_text("utf-8")
MEASURED: dict[str, Any] = json.loads((ROOT / "benchmarks" / "troubles.json").read_text("utf-8"))
MADE = {"command", "seed"}
"""What the file says of all runs together"""
TOOK = sorted(MEASURED[run]["seconds"] for run in MEASURED.keys() - MADE)
SOON = 4
"""Seconds, of a run for which one need not wait"""
THREAD = r"\[[\w./-]+#\d+\]\(https://github\.com/[\w./-]+/(?:issues|pull)/\d+\)"

DERIVED: dict[str, float] = {
    "twenty": doctor.COUNT,
    "a thousand": linear_schedule().T,
    "sixteen": 16,
}
"""Numbers of the page that no run gave, as they stand there"""


@pytest.fixture
def troubles(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("troubles")
    sys.modules.pop("troubles", None)


@dataclass(frozen=True)
class Section:
    """A part of the page, and the runs that it names."""

    title: str
    text: str

    @property
    def runs(self) -> list[str]:
        return re.findall(r"\*\*A run\*\* \(`(\w+)`", self.text)

    def numbers(self) -> Iterator[Number]:
        for block in blocks(self.text):
            told = re.sub(THREAD, "THREAD", block.source)
            for sentence in Block(told).sentences():
                yield from numbers(sentence)


def sections(page: str = PAGE) -> list[Section]:
    _, *parts = re.split(r"(?m)^##? ", page)
    return [Section(*part.split("\n", 1)) for part in parts]


@cache
def measured(run: str) -> frozenset[float]:
    return frozenset(value for name, value in leaves(MEASURED[run]) if name != "seconds")


def ground(number: Number, section: Section) -> str | None:
    """What a number stands on; None if somebody made it up."""
    after = number.sentence[number.place + len(number.text) :]
    of_a_size = re.match(r"\s?\u00d7\s?\d", after) or re.search(r"\d\s?\u00d7\s?$", number.before)
    if of_a_size or re.search(r"(?:lesson|Table|Algorithm) \d*$", number.before):
        return "a name"
    if number.step == 1 and number.value <= 12 and not number.unit:
        return "a small whole number"
    if any(number.rounds(value) for run in section.runs for value in measured(run)):
        return "a run"
    if not section.runs and number.value in (SOON, *map(round, TOOK)):
        return "how long a run took"
    if "THREAD" in number.sentence:
        return "a thread"
    if number.text.lower() in DERIVED and number.value == DERIVED[number.text.lower()]:
        return "a derivation"
    return None


def unfounded(page: str = PAGE) -> list[str]:
    return [
        f"{section.title}: {number.text!r} in {number.sentence!r}"
        for section in sections(page)
        for number in section.numbers()
        if ground(number, section) is None
    ]


def test_every_number_of_the_page_was_measured() -> None:
    assert not unfounded(), "\n".join(["", *unfounded()])


def test_a_made_up_number_is_found() -> None:
    rng, told = random.Random(0), []
    for section in sections():
        for _ in range(3):
            number = rng.choice(INVENTED)(rng)
            sentence = f"It was {number} in the end."
            new = unfounded(PAGE.replace(section.text, f"{section.text}\n\n{sentence}\n"))
            told.append(any(repr(sentence) in line for line in new))
    assert sum(told) > 0.8 * len(told) > 30


def test_a_number_that_has_moved_is_found() -> None:
    lost = [
        ground(replace(number, value=1.37 * number.value + number.step), section) is None
        for section in sections()
        for number in section.numbers()
        if ground(number, section) == "a run" and number.step < 1
    ]
    assert sum(lost) > 0.55 * len(lost) > 20


def test_every_run_is_told_of_and_says_how_it_was_made(troubles: ModuleType) -> None:
    named = {run for section in sections() for run in section.runs}
    assert named == set(troubles.RUNS) == MEASURED.keys() - MADE
    assert MEASURED["command"] == troubles.COMMAND
    assert MEASURED["seed"] == troubles.SEED
    for run in named:
        assert MEASURED[run]["machine"]["processor"]


def test_the_page_says_how_long_the_runs_took() -> None:
    soon = [seconds for seconds in TOOK if seconds < SOON]
    first, *_, last = TOOK[len(soon) :]
    assert (len(soon), len(TOOK)) == (3, 11)
    said = f"Three of the eleven took less than {SOON} s of one core, the others"
    assert f"{said} {first:.0f} to {last:.0f} s." in PAGE


def test_messages_on_the_page_are_those_that_are_given() -> None:
    (section,) = [section for section in sections() if section.runs == ["sizes"]]
    rows = re.findall(r"\| `(.+?)` \|", section.text)
    assert len(rows) >= 4
    assert set(rows) <= {told for told in MEASURED["sizes"].values() if isinstance(told, str)}


def test_each_section_names_symptom_cause_and_mend() -> None:
    for section in sections()[1:]:
        for part in ("**What one sees.**", "**The cause", "**The mend.**"):
            assert part in section.text, section.title


def test_pictures_are_light_and_shown() -> None:
    pictures = sorted((ROOT / "book" / "images").glob("trouble-*.png"))
    assert len(pictures) == 4
    for picture in pictures:
        assert picture.stat().st_size < 60_000
        assert f"(images/{picture.name})" in PAGE


@pytest.mark.slow
@pytest.mark.parametrize("run", ["sizes", "last_steps", "guidance"])
def test_a_run_gives_again_what_it_gave(run: str, troubles: ModuleType) -> None:
    """Those of some seconds. On another processor a point may fall on the other side."""
    again = list(leaves(troubles.rounded(troubles.RUNS[run]())))
    before = [pair for pair in leaves(MEASURED[run]) if pair[0] != "seconds"]
    assert [name for name, _ in again] == [name for name, _ in before]
    for (name, value), (_, was) in zip(again, before, strict=True):
        assert value == pytest.approx(was, rel=0.02, abs=0.01), name
