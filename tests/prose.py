"""Lessons as text: paragraphs, sentences, and the numbers in them."""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jupytext
import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"

PAPERS = r"https?://(?:\w+\.)*(?:arxiv|openreview|doi)\.(?:org|net)"
PAPER = "\u2021"
"""Stands where a link leads to a paper."""

HIDDEN = [
    (r"(?s)```.*?```", " "),  # the code of a solution
    (r"(?s)<!--.*?-->", " "),
    (r"(?s)\$\$.*?\$\$", " "),
    (r"\$[-\u2212]?[\d,.]+\$", lambda found: found[0].strip("$")),
    (r"`[^`]*`|\$[^$]*\$", "_"),
    (rf"\]\({PAPERS}[^)\s]*\)", f"] {PAPER} "),
    (r"\]\([^)\s]*\)", "] "),  # where a link leads
    (r"https?://\S+|arXiv:\S+", "_"),
    (r"</?\w+[^>]*>", " "),
]
"""What is no prose: code, formulas, addresses. A number alone between dollars is."""

CITED = re.compile(rf"{PAPER}|\bTables? \d|\bFig(?:ure|\.) \d")

UNITS = (
    r"(?:\w+ )?in a hundred|%|percent|seconds?|minutes?|hours?|days?|ms|s|MB|GB|bits?|nats?|times"
)
NUMBER = re.compile(
    r"(?<![\w.,^_/-])(?P<minus>[-\u2212+])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?P<power>e[-+]?\d+)?"
    rf"(?:[ \u00a0]?(?P<scale>million|thousand|[MK])\b)?(?:[ \u00a0-]?(?P<unit>{UNITS})(?!\w))?"
    r"(?![\w^])"
)
JOINED = "\u2060"
"""Stands where a full stop ends no sentence, and is no space."""

HEDGES = r"(?:about|around|some|nearly|almost|roughly|over|under|than|least|most|to)\W+(?:the )?$"
SCALES = {"K": 1e3, "thousand": 1e3, "M": 1e6, "million": 1e6}

SMALL = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
WORDS = {word: i for i, word in enumerate(SMALL)} | {word: 10 * i for i, word in enumerate(TENS, 2)}
WORDS |= {f"{ten}-{one}": WORDS[ten] + WORDS[one] for ten in TENS for one in SMALL[1:10]}
LARGE = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
COUNT = "|".join(sorted(WORDS, key=len, reverse=True))
WORD = re.compile(
    rf"(?<!\d )\b(?:(?P<count>an?|{COUNT})[ -])?(?P<large>{'|'.join(LARGE)})\b"
    rf"|\b(?P<plain>{COUNT})\b",
    re.IGNORECASE,
)


END = r"(?:(?<=[.!?])|(?<=[.!?][)\"*])|(?<=[.!?]\*\*))\s+(?=[^a-z])"
"""Between two sentences."""


@dataclass(frozen=True)
class Number:
    """One number in a sentence. ``step`` is the worth of its last digit."""

    text: str
    value: float
    step: float
    unit: str
    sentence: str
    place: int  # where it begins in the sentence

    def rounds(self, exact: float) -> bool:
        """Is it the exact number, rounded? A share may be told in percent."""
        shares = [exact, 100 * exact] if re.match(r"%|percent|.*hundred$", self.unit) else [exact]
        room = self.step / 2 * (1 + 1e-6) + 1e-12
        return any(abs(abs(share) - abs(self.value)) <= room for share in shares)

    @property
    def before(self) -> str:
        return self.sentence[: self.place]


def numbers(sentence: str) -> Iterator[Number]:
    """The numbers of a sentence, in digits and in words from thirteen on."""
    for found in NUMBER.finditer(sentence):
        digits = found["digits"].replace(",", "")
        scale = SCALES.get(found["scale"] or "", 1) * float(f"1{found['power'] or ''}")
        step = 10.0 ** -len(digits.partition(".")[2])
        if re.search(HEDGES, sentence[: found.start()], re.IGNORECASE) and step == 1:
            step = 10.0 ** (len(digits) - len(digits.rstrip("0")))
        unit = found["unit"] or ""
        yield Number(
            found[0].strip(), float(digits) * scale, step * scale, unit, sentence, found.start()
        )
    for found in WORD.finditer(sentence):
        if found["plain"]:
            value = WORDS[found["plain"].lower()]
        else:
            count = (found["count"] or "a").lower()
            value = WORDS.get(count, 1) * LARGE[found["large"].lower()]
        hedged = found["large"] and re.search(HEDGES, sentence[: found.start()], re.IGNORECASE)
        step = LARGE[found["large"].lower()] if hedged else 1
        if value > 12:
            yield Number(found[0], value, step, "", sentence, found.start())


@dataclass(frozen=True, eq=False)
class Block:
    """A paragraph, a heading, an item of a list, or a table, as it stands in the source."""

    source: str
    section: int = 0

    @cached_property
    def is_table(self) -> bool:
        return self.source.startswith("|")

    @cached_property
    def text(self) -> str:
        return plain(self.source)

    def sentences(self) -> list[str]:
        return [self.text] if self.is_table else split(self.text)


def plain(text: str) -> str:
    """Prose without code, formulas, addresses and tags."""
    for pattern, other in HIDDEN:
        text = re.sub(pattern, other, text)
    return text


def split(text: str) -> list[str]:
    """Into sentences."""
    text = re.sub(r"\b(eqs?|Figs?|Sec|App|e\.g|i\.e|vs|cf|et al)\.\s", rf"\1.{JOINED}", text)
    text = re.sub(r"\s*\n\s*", " ", text)
    return [part for part in re.split(END, text) if part.strip()]


def blocks(markdown: str, section: int = 0) -> Iterator[Block]:
    """The blocks of a cell of text."""
    markdown = re.sub(r"(?s)```.*?```", "", markdown)
    for part in re.split(r"\n\s*\n|\n(?=[*-] |\d+\. |\|(?!.*\n?\|)|#)", markdown):
        if part.strip():
            yield Block(part.strip(), section)


@dataclass(frozen=True, eq=False)
class Lesson:
    """A lesson's source, and what is stored of its execution."""

    name: str
    source: str
    executed: Any = None

    @cached_property
    def notebook(self) -> Any:
        return jupytext.reads(self.source, "md:myst")

    @cached_property
    def sections(self) -> list[int]:
        """The number of the section of each cell, in the order of the cells."""
        number, found = 0, []
        for cell in self.notebook.cells:
            number += cell.cell_type == "markdown" and bool(re.search(r"(?m)^## ", cell.source))
            found.append(number)
        return found

    @cached_property
    def blocks(self) -> list[Block]:
        return [
            block
            for cell, section in zip(self.notebook.cells, self.sections, strict=True)
            if cell.cell_type == "markdown"
            for block in blocks(cell.source, section)
        ]

    @cached_property
    def last(self) -> int:
        """The section from which on a lesson looks back: "In short", its exercises, its sources."""
        heads = [b for b in self.blocks if re.match(r"## (In short|Exercises)", b.source)]
        return min((head.section for head in heads), default=max(self.sections) + 1)

    @cached_property
    def code(self) -> str:
        """What is run, and what solutions would run."""
        cells = self.notebook.cells
        run = [cell.source for cell in cells if cell.cell_type == "code"]
        told = [cell.source for cell in cells if cell.cell_type == "markdown"]
        return "\n".join([*run, *re.findall(r"(?s)```\w*\n(.*?)```", "\n".join(told))])


def lessons() -> list[Lesson]:
    """All of them, in the order of the course."""
    sources = sorted(NOTEBOOKS.glob("[0-9]*.md"))
    return [
        Lesson(
            source.stem,
            source.read_text("utf-8"),
            nbformat.read(source.with_suffix(".ipynb"), as_version=4),
        )
        for source in sources
    ]


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a JSON tree, each with the name it is under."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key not in ("machine", "compute", "config", "schedule"):
                yield from leaves(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from leaves(value, name)
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield name, float(tree)


INVENTED: list[Callable[[random.Random], str]] = [
    lambda rng: f"0.{rng.randint(101, 999)}",
    lambda rng: f".{rng.randint(101, 999)}",
    lambda rng: f"{rng.randint(13, 99)}.{rng.randint(1, 9)} %",
    lambda rng: f"{rng.randint(2, 9)}.{rng.randint(11, 99)}",
    lambda rng: f"{rng.randint(2, 9)},{rng.randint(101, 999)}",
    lambda rng: f"{rng.randint(113, 899)}",
]
"""Numbers that nobody measured, for a test to find"""
