"""Every number in the lessons' prose has a ground: nobody has made it up.

What gives a ground stands in `GROUNDS`, from the strictest on. What none of them covers stands in
prose.toml: the lesson, the number, words of its sentence, and an expression that gives it, or where
that cannot be, why it is true.
"""

import json
import math
import random
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from prose import CITED, INVENTED, Block, Lesson, Number, leaves, lessons, numbers

import diffusion_lessons
from diffusion_lessons.measuring.tables import shipped_table
from diffusion_lessons.networks.cards import pretrained_path, read_card
from diffusion_lessons.networks.mlp import MLP

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "diffusion_lessons" / "assets"
LESSONS = lessons()
DERIVED: list[dict[str, str]] = tomllib.loads((Path(__file__).parent / "prose.toml").read_text())[
    "derived"
]

REFERENCE = (
    r"(?:lessons?|exercises?|eqs?\.|equations?|Tables?|Figures?|Figs?\.|sections?|appendix|steps?"
    r"|version|Python|algorithms?|parts?|DPM-Solver\+\+)[\s\u2060]*"
    r"\(?(?:[\w.]+\)?(?:,| and| or| to|[\u2013-])[\s(]*)*$"
)
QUANTITIES = {
    "class_accuracy": r"\bright\b|classes|accura",
    "frechet_distance": r"distance|Fr[eé]chet",
    "images_per_second": r"a second|per second|faster|slower",
    "network_calls": r"calls?\b",
    "parameters": r"weights",
    "precision": r"precis",
    "samples": r"samples?|digits|pictures",
    "seconds": r"second|minute|hour",
    "steps": r"steps?\b|updates|calls?\b",
    "training_seconds": r"second|minute|hour",
}
"""How prose names what a table names; other names of tables stand in prose as they are."""


def values(text: str) -> Iterator[float]:
    """The numbers that stand in an output."""
    text = re.sub(r"<[^>]*>|0x[0-9a-f]+", " ", text)
    for found in re.finditer(r"(\d[\d,]*\.?\d*(?:e[-+]?\d+)?|\.\d+)(\s?%)?", text):
        value = float(re.sub(r",(?=\d{3})|,$", "", found[1]).replace(",", "") or 0)
        yield value
        if found[2]:
            yield value / 100


@cache
def outputs(lesson: Lesson) -> list[tuple[int, frozenset[float]]]:
    """The numbers that each cell has printed, as it is written now, with its section."""
    found = []
    ran = {cell.source: cell for cell in lesson.executed.cells if cell.cell_type == "code"}
    for source, section in zip(lesson.notebook.cells, lesson.sections, strict=True):
        cell = ran.get(source.source, {})
        texts = [output.get("text", "") for output in cell.get("outputs", [])]
        data = [output.get("data", {}) for output in cell.get("outputs", [])]
        texts += [one.get(kind, "") for one in data for kind in ("text/plain", "text/html")]
        found.append((section, frozenset(value for text in texts for value in values(text))))
    return found


def states(lesson: Lesson) -> list[dict[str, Any]]:
    """What its widgets hold."""
    widgets = lesson.executed.metadata.get("widgets", {})
    parts = widgets.get("application/vnd.jupyter.widget-state+json", {}).get("state", {}).values()
    return [part["state"] for part in parts if part["model_name"] == "AnyModel"]


@cache
def shown(lesson: Lesson) -> frozenset[float]:
    """Where the sliders of its widgets stand."""
    public = [x for s in states(lesson) for name, x in s.items() if not name.startswith("_")]
    return frozenset(float(x) for x in public if isinstance(x, int | float))


@cache
def shipped(lesson: Lesson) -> frozenset[tuple[str, float]]:
    """The numbers of the tables and cards that the lesson names, and what they are of."""
    found: set[tuple[str, float]] = set()
    for path in [*ASSETS.glob("*.json"), *ASSETS.glob("tables/*.jsonl")]:
        if re.search(rf"\b{path.stem}[\"'`]", lesson.source):
            for line in (
                path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
            ):
                found |= set(leaves(json.loads(line)))
    return frozenset(found)


@cache
def written(lesson: Lesson) -> frozenset[float]:
    """The numbers that stand in its code, but for those that say how a picture looks."""
    looks = r"\b(?:alpha|lw|ms|mew|size|fontsize|figsize|scale|[xy]lim|atol|rtol|width_ratios)="
    code = re.sub(looks + r"(?:\([^)]*\)|[\d.e-]+)", "", lesson.code)
    literals = re.findall(r"(?<![\w.])(\d[\d_]*\.?\d*(?:e[-+]?\d+)?|\.\d+)(?![\w.])", code)
    return frozenset(float(literal.replace("_", "")) for literal in literals)


# ------------------------------------------------------------------ what a number can stand on


def is_small(number: Number, lesson: Lesson, block: Block) -> bool:
    """Two bumps, 10 classes: to be counted, not measured."""
    return number.step == 1 and abs(number.value) <= 12 and not number.unit


def is_a_name(number: Number, lesson: Lesson, block: Block) -> bool:
    """Lesson 02, eq. 7, 2020, 28 x 28, 90 degrees."""
    after = number.sentence[number.place + len(number.text) :]
    sides = re.match(r"\s?[\u00d7x]\s?\d|\u00b0", after) or re.search(
        r"\d\s?[\u00d7x]\s?$", number.before
    )
    year = re.fullmatch(r"(19|20)\d\d", number.text)
    lesson_number = re.fullmatch(r"0\d(\.\d)?", number.text)
    return bool(
        sides or year or lesson_number or re.search(REFERENCE, number.before, re.IGNORECASE)
    )


def is_the_header_s(number: Number, lesson: Lesson, block: Block) -> bool:
    """The times at the top, which another test holds to the front matter."""
    return block.source.startswith("**Time:**")


def is_in_code(number: Number, lesson: Lesson, block: Block) -> bool:
    return any(math.isclose(number.value, value) for value in written(lesson))


def is_in_an_output(number: Number, lesson: Lesson, block: Block) -> bool:
    """Of its own section or the one before; what looks back may look everywhere."""
    near = [block.section - 1, block.section]
    said = (found for at, found in outputs(lesson) if at in near or block.section >= lesson.last)
    return any(number.rounds(value) for found in (*said, shown(lesson)) for value in found)


def is_shipped(number: Number, lesson: Lesson, block: Block) -> bool:
    """Of a quantity that the paragraph or one beside it speaks of."""
    of = {name for name, value in shipped(lesson) if number.rounds(value)}
    words = (QUANTITIES.get(name, name.replace("_", " ")) for name in of)
    spoken = " ".join(other.text for other in beside(block, lesson))
    return any(re.search(word, spoken, re.IGNORECASE) for word in words)


def beside(block: Block, lesson: Lesson) -> list[Block]:
    at = lesson.blocks.index(block)
    return lesson.blocks[max(at - 1, 0) : at + 2]


def is_cited(number: Number, lesson: Lesson, block: Block) -> bool:
    """It stands beside a table's name or a link to a paper: in a sentence, or in a table below one,
    where its column is not "ours". Or a sentence speaks of the paper, and the number is cited in
    its paragraph, or has been in another.
    """
    if block.is_table:
        cited = any(CITED.search(other.text) for other in beside(block, lesson))
        return cited and not is_ours(number, block)
    if CITED.search(number.sentence) or is_of_the_paper(block, lesson):
        return True
    speaks = re.search(r"\bpapers?\b", number.sentence)
    return bool(speaks and (CITED.search(block.text) or number.value in cited_before()))


@cache
def cited_before() -> frozenset[float]:
    """The numbers of cited tables and of sections on a paper, which may be quoted elsewhere."""
    return frozenset(
        number.value
        for lesson in LESSONS
        for block in lesson.blocks
        if block.is_table or is_of_the_paper(block, lesson)
        for sentence in block.sentences()
        for number in numbers(sentence)
        if number.step < 1 and is_cited(number, lesson, block)
    )


def is_of_the_paper(block: Block, lesson: Lesson) -> bool:
    """Does it stand in a section that is headed so, cites, and speaks of nothing of ours here?"""
    section = [other for other in lesson.blocks if other.section == block.section]
    headed = any(re.match(r"## .*\bpaper's figures", other.source) for other in section)
    own = re.search(r"\b(ours?|here|we)\b", block.text, re.IGNORECASE)
    return headed and not own and any(CITED.search(other.text) for other in section)


def is_ours(number: Number, block: Block) -> bool:
    """Does it stand in a column of a table whose head says so?"""
    head = block.text.splitlines()[0].split("|")
    column = block.text[: number.place].splitlines()[-1].count("|")
    return bool(re.search(r"\b(ours|here)\b", head[column]))


def is_derived(number: Number, lesson: Lesson, block: Block) -> bool:
    return any(entry_holds(entry, number, lesson) for entry in DERIVED)


def entry_holds(entry: dict[str, str], number: Number, lesson: Lesson) -> bool:
    return (
        entry["lesson"] in ("any", lesson.name[:2])
        and entry["number"] == number.text.lower()
        and bool(re.search(entry["words"], number.sentence))
    )


Ground = Callable[[Number, Lesson, Block], bool]
GROUNDS: dict[str, Ground] = {
    "a small whole number": is_small,
    "a name": is_a_name,
    "the header": is_the_header_s,
    "the lesson's code": is_in_code,
    "a stored output": is_in_an_output,
    "a shipped table or card": is_shipped,
    "a citation": is_cited,
    "a derivation": is_derived,
}


def ground(number: Number, lesson: Lesson, block: Block) -> str | None:
    return next((name for name, holds in GROUNDS.items() if holds(number, lesson, block)), None)


def judged(lesson: Lesson) -> Iterator[tuple[Number, Block, str | None]]:
    for block in lesson.blocks:
        for sentence in block.sentences():
            for number in numbers(sentence):
                yield number, block, ground(number, lesson, block)


def unfounded(lesson: Lesson) -> list[str]:
    return [
        f"{lesson.name}: {number.text!r} in {number.sentence!r}"
        for number, _, reason in judged(lesson)
        if reason is None
    ]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_every_number_has_a_ground(lesson: Lesson) -> None:
    assert not unfounded(lesson), "\n".join(["", *unfounded(lesson)])


# ------------------------------------------------------------------ what a test of texts must see


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_a_made_up_number_is_found(lesson: Lesson) -> None:
    """In a copy of each lesson, in sentences all over it. A few meet a real number by chance."""
    rng = random.Random(lesson.name)
    source, made = lesson.source, []
    paragraphs = [b for b in lesson.blocks if re.match(r"[A-Z].*[.]$", b.source) and b.section]
    for block in rng.sample(paragraphs, min(len(paragraphs), 24)):
        number = rng.choice(INVENTED)(rng)
        made.append(number)
        source = source.replace(block.source, f"{block.source} It was {number} in the end.")
    copy = replace(lesson, source=source)
    new = set(unfounded(copy)) - set(unfounded(lesson))
    told = [n for n in made if f"{lesson.name}: {n!r} in 'It was {n} in the end.'" in new]
    assert len(told) >= 0.8 * len(made) > 0


def test_a_number_that_has_moved_is_found() -> None:
    """As after a new execution, where the outputs say another number than the text. With two
    digits it may well meet a third number; most do not."""
    told = {"a stored output", "a shipped table or card"}
    lost = []
    for lesson in LESSONS:
        for number, block, reason in judged(lesson):
            if reason in told and number.step < 1:
                moved = replace(number, value=1.37 * number.value + number.step)
                lost.append(ground(moved, lesson, block) is None)
    assert sum(lost) > 0.55 * len(lost) > 10


def items() -> list[dict[str, Any]]:
    """Of the final test, as its lesson shows them; test_quiz.py says how many the code makes."""
    (found,) = (s["_items"] for lesson in LESSONS for s in states(lesson) if "_items" in s)
    return list(found)


def test_what_is_derived_is_what_its_expression_gives() -> None:
    names = {"torch": torch, "math": math, "d": diffusion_lessons} | {
        "MLP": MLP,
        "items": items,
        "alpha_bar": diffusion_lessons.linear_schedule().alpha_bar,
        "card": lambda name: read_card(pretrained_path(name)),
        "rows": lambda name: shipped_table(name)["rows"],
    }
    for entry in DERIVED:
        if "value" in entry:
            (number,) = (
                n for n in numbers(f"It is {entry['number']}.") if n.text == entry["number"]
            )
            assert number.rounds(float(eval(entry["value"], names))), entry
        else:
            assert len(entry["why"].split()) >= 4, entry


def test_the_list_of_derivations_is_short_and_has_nothing_to_spare() -> None:
    used: Counter[int] = Counter()
    total = 0
    for lesson in LESSONS:
        for number, _, reason in judged(lesson):
            total += 1
            if reason == "a derivation":
                used.update(i for i, e in enumerate(DERIVED) if entry_holds(e, number, lesson))
    assert [entry for i, entry in enumerate(DERIVED) if not used[i]] == []
    assert len(DERIVED) < 0.12 * total
    assert sum("value" not in entry for entry in DERIVED) < 0.04 * total


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("From .64 to 0.77, or 84 %.", [(0.64, 0.01), (0.77, 0.01), (84, 1)]),
        ("Some 1,700 of 70,000, and 0.9 million.", [(1700, 100), (70_000, 1), (900_000, 100_000)]),
        ("A step of 1e-4, not 10.", [(1e-4, 1e-4), (10, 1)]),
        ("Twenty-five of two hundred, a thousand, three.", [(25, 1), (200, 1), (1000, 1)]),
        ("x_0, CIFAR-10, float16, U-Net2, digits-2 and v0.2.", []),
        ("It is \u22120.54, and +2.02 (15.08).", [(0.54, 0.01), (2.02, 0.01), (15.08, 0.01)]),
        ("Right 59 times in a hundred.", [(59, 1), (100, 1)]),
    ],
)
def test_numbers_are_read(sentence: str, found: list[tuple[float, float]]) -> None:
    read = [(number.value, number.step) for number in numbers(sentence)]
    assert read == [pytest.approx(pair) for pair in found]


@pytest.mark.parametrize(
    ("text", "exact", "right"),
    [
        *((".84", 0.8377, True), ("84 %", 0.8377, True), ("83 %", 0.8377, False)),
        *(("1,000", 1000, True), ("1,000", 1004, False), ("about 1,000", 1004, True)),
        *(("3.1", 3.149, True), ("3.1", 3.151, False), ("\u22120.5", -0.5, True)),
        *(("1.9 M", 1_861_876, True), ("1.8 M", 1_861_876, False), ("8", 7.6, True)),
    ],
)
def test_rounding_is_understood(text: str, exact: float, right: bool) -> None:
    (number,) = numbers(f"It is {text}.")
    assert number.rounds(exact) is right


@pytest.mark.parametrize(
    "hidden",
    [
        *("$\\bar\\alpha_{300} = 0.396$", "`steps=730`", "$$x = 0.123$$", "[page](a/730.md)"),
        *("<img width=731>", "```python\nx = 731\n```", "https://example.org/731"),
    ],
)
def test_formulas_code_and_addresses_are_no_prose(hidden: str) -> None:
    assert list(numbers(Block(f"Here is {hidden} for you.").text)) == []


def test_a_number_alone_in_a_formula_is_prose() -> None:
    for text in ("$0.37$", "$\u22120.37$"):
        assert [n.value for n in numbers(Block(f"It falls to {text} here.").text)] == [0.37]
