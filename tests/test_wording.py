"""How lessons speak: predictions are answered, names are spelt, terms are explained before use."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prose import NOTEBOOKS, Block, Lesson, lessons, plain, split

BOOK = NOTEBOOKS.parent / "book"
LESSONS = lessons()

# ------------------------------------------------------------------ predictions

ASKED = re.compile(
    r"(?:^|\W)(?:Predict|Guess|First guess|Before you (?:drag|start|press|run|do|look))\b"
    r"|[;,:.] (?:predict|guess) (?:it|which|what|how|whether|the|where|for)\b"
)
ANSWER = re.compile(r"<details><summary>(Answer|Solution)</summary>\n\n.*?\n\n</details>", re.S)


def events(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """What happens in a lesson, in order: "ask", "answer", and "stop" at headings and exercises.

    A question is asked by a paragraph that says predict or guess, or by a question mark at the end
    of a text with code below it: what the code shows answers it, and the text must say how.
    """
    cells = lesson.notebook.cells
    for cell, below in zip(cells, [*cells[1:], None], strict=True):
        if cell.cell_type != "markdown":
            continue
        parts = re.split(
            rf"({ANSWER.pattern.replace('(Answer|Solution)', '(?:Answer|Solution)')})",
            cell.source,
            flags=re.S,
        )
        for part in parts:
            if ANSWER.fullmatch(part):
                yield "answer", part
                continue
            for block in (b for b in re.split(r"\n\s*\n", part) if b.strip()):
                if re.match(r"\s*(#|\*\*\d\. )", block):
                    yield "stop", block.strip()
                is_last = part is parts[-1] and part.rstrip().endswith(block.rstrip())
                opens = is_last and below is not None and below.cell_type == "code"
                sentence = (split(plain(block)) or [""])[-1]
                if ASKED.search(block) or (opens and sentence.rstrip(" *").endswith("?")):
                    yield "ask", block.strip()
    yield "stop", "the end"


def unanswered(lesson: Lesson) -> list[str]:
    """The questions that no answer follows before the next question, heading or exercise."""
    open_question, found = None, []
    for kind, text in events(lesson):
        if kind == "answer":
            open_question = None
        else:
            if open_question:
                found.append(f"{lesson.name}: {open_question[-120:]!r}")
            open_question = text if kind == "ask" else None
    return found


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_every_prediction_is_answered(lesson: Lesson) -> None:
    assert not unanswered(lesson), "\n".join(["", *unanswered(lesson)])


CODE = "```{code-cell} ipython3\n1 + 1\n```"
FOLDED = "<details><summary>Answer</summary>\n\nTwo.\n\n</details>"


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        (["What will it be?", CODE, FOLDED], 0),
        (["What will it be?", CODE, "It is two."], 1),
        (["Predict: what will it be, and why? Then run it.", CODE, "It is two."], 1),
        (["Predict: what will it be?", CODE, FOLDED], 0),
        (["Predict: what will it be?", CODE, "## Next", FOLDED], 1),
        (["What will it be?", CODE, "And now?", CODE, FOLDED], 1),
        (["What will it be?", CODE, FOLDED, "And now?", CODE, FOLDED], 0),
        (["## Exercises\n\n**1. Predict.** What?", CODE, FOLDED.replace("Answer", "Solution")], 0),
        (["## Exercises\n\n**1. Predict.** What?", CODE, "**2. Derive.** It.", CODE, FOLDED], 1),
        (["What is noise? It is what nobody can predict.", CODE, "So it is."], 0),
        (["The network is to predict it. Guess it for T = 5.", CODE, "It is 1."], 1),
        (["What will it be?", CODE, FOLDED.replace("Answer", "Look")], 1),
        (["What will it be?", CODE, FOLDED.replace("\n\n", "\n")], 1),  # its text would stay raw
    ],
)
def test_what_is_a_prediction_without_an_answer(texts: list[str], count: int) -> None:
    assert len(unanswered(Lesson("09_made_up", "\n\n".join(["# Made up", *texts])))) == count


@pytest.mark.parametrize("lab", ["lab", "plane"])
def test_what_a_lab_asks_is_answered(lab: str) -> None:
    """Each thing to try that asks something is followed by its answer, in the same point."""
    text = (BOOK / f"{lab}.md").read_text("utf-8")
    (to_try,) = re.findall(r"(?s)## What to try\n\n(.*?)\n## ", text)
    points = re.findall(r"(?ms)^- .*?(?=^\S|\Z)", to_try)
    assert len(points) >= 6
    for point in points:
        told = re.sub(r"(?m)^  ", "", point)
        asked, *answered = ANSWER.split(told)
        assert answered or "?" not in asked, point


# ------------------------------------------------------------------ spelling

PAGES = [
    *sorted(NOTEBOOKS.glob("*.md")),
    *sorted(BOOK.glob("*.md")),
    *(NOTEBOOKS.parent / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")),
]


def test_a_network_is_no_internet_connection() -> None:
    """A page that needs none runs networks all the same."""
    for page in PAGES[:-1]:  # the changelog tells of older words
        text = plain(page.read_text("utf-8"))
        assert not re.search(
            r"kernel and without a network|no network either|from a folder, without a network", text
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_frechet_has_his_accent_in_prose_and_none_in_names(page: Path) -> None:
    text = re.sub(r"(?s)\A---\n.*?\n---\n", "", page.read_text("utf-8"))
    lesson = page.parent == NOTEBOOKS  # in its figures, and in what it prints, as in its prose
    assert "Frechet" not in (text if lesson else plain(text))
    assert "fr\u00e9chet_" not in text


# ------------------------------------------------------------------ terms

TERMS = {
    "Adam": r"\bAdam\b",
    "attention": r"\battention\b",
    "batch": r"\bbatch(?:es)?\b",
    "bits per dimension": r"\bbits per (?:dimension|pixel)\b",
    "checkpoint": r"\bcheckpoints?\b",
    "class accuracy": r"\bclass accuracy\b",
    "classifier guidance": r"\bclassifier guidance\b",
    "coverage": r"\bcoverage\b",
    "density": r"\bdensity and coverage\b|\bDensity\b",
    "discriminator": r"\bdiscriminators?\b",
    "ELBO": r"\bELBO\b",
    "EMA": r"\bEMA\b|\bexponential moving average\b",
    "entropy": r"\bentropy\b",
    "FID": r"\bFID\b",
    "Fr\u00e9chet distance": r"\bFr\u00e9chet distance\b",
    "GAN": r"\bGANs?\b",
    "generator": r"\bgenerator\b",
    "GroupNorm": r"\bGroupNorm\b|\bgroup normali[sz]ation\b",
    "hierarchical VAE": r"\bhierarchical\W+VAEs?\b",
    "Inception Score": r"\bInception Score\b",
    "Jensen's inequality": r"\bJensen\b",
    "Kullback-Leibler divergence": r"\bKullback\b|\bKL\b",
    "latent": r"\blatents?\b",
    "learning rate": r"\blearning rates?\b",
    "likelihood": r"\blikelihood\b",
    "logits": r"\blogits?\b",
    "mode": r"\bmodes?\b(?! of)",
    "momentum": r"\bmomentum\b",
    "Muon": r"\bMuon\b",
    "posterior": r"\bposterior\b",
    "precision": r"\bprecision\b",
    "prior": r"\bprior\b",
    "R1": r"\bR_?1\b",
    "recall": r"\brecall\b",
    "score": r"\bscore (?:function|network|matching)\b",
    "seed": r"\bseeds?\b",
    "SiLU": r"\bSiLU\b",
    "signal to noise": r"\bsignal[- ]to[- ]noise\b|\bSNR\b",
    "softmax": r"\bsoftmax\b",
    "U-Net": r"\bU-Nets?\b",
    "VAE": r"\bVAEs?\b",
}
"""The words of the field, as the glossary has them, and how they look in a text."""

PREVIEW = re.compile(
    r"#|\*\*(?:The question|Afterwards|Time|Package|Needs)|\||<details>|[-*] .*\]\(https?://"
)
"""What only announces, or names a paper: headings, a lesson's first lines, the map of lessons."""


def glossary() -> dict[str, str]:
    """Each entry's head, and what it says."""
    text = (BOOK / "glossary.md").read_text("utf-8")
    return dict(re.findall(r"(?m)^(\S.*)\n: (.*)$", text))


def first_use(term: str, course: list[Lesson]) -> tuple[Lesson, Block] | None:
    for lesson in course:
        for block in lesson.blocks:
            if not PREVIEW.match(block.source) and re.search(TERMS[term], block.text):
                return lesson, block
    return None


EXPLAINS = [
    r"glossary|\blessons? \d\d",  # elsewhere
    r"(?<!\*)\*{1,2}(?![\s*])(?:[^*]*TERM[^*]*\*{1,2}|TERM)",  # the **seed** is ...
    r"\*\*[^*]+\*\*\W+(?:\w+\W+)?TERM",  # a **variational autoencoder** (VAE)
    r"\((?:\w+ )?TERM[^)]{0,20}\)",  # what was just told has this name (Jensen's inequality)
    r"TERM[^.;:]{0,40}, (?:which (?:is|says|means)|that is)\b",
]
"""How a sentence explains a term, or says where it is explained."""


def is_explained(term: str, block: Block) -> bool:
    """In one of the sentences of the block that use it."""
    ways = [way.replace("TERM", f"(?:{TERMS[term]})") for way in EXPLAINS]
    sentences = [*split(block.source), *split(block.text)]
    told = [sentence for sentence in sentences if re.search(TERMS[term], sentence)]
    return any(re.search(way, sentence) for way in ways for sentence in told)


def unexplained(course: list[Lesson]) -> list[str]:
    found = []
    for term in TERMS:
        use = first_use(term, course)
        if use and not is_explained(term, use[1]):
            sentence = next(s for s in split(use[1].text) if re.search(TERMS[term], s))
            found.append(f"{use[0].name}: {term} in {sentence.strip()[:160]!r}")
    return found


def test_every_term_is_explained_where_it_is_used_first() -> None:
    assert not unexplained(LESSONS), "\n".join(["", *unexplained(LESSONS)])


def test_every_term_stands_in_the_glossary() -> None:
    """As the head of an entry, or as a word in italics within one."""
    names = [head.rpartition(" (")[0] for head in glossary()]
    names += re.findall(r"\*([^*]+)\*", " ".join(glossary().values()))
    known = re.sub(r"[-\u2013]", " ", " | ".join(names)).lower()
    assert [term for term in TERMS if term.replace("-", " ").lower() not in known] == []


def test_the_glossary_is_in_order_has_nothing_twice_and_is_korean_too() -> None:
    heads = list(glossary())
    keys = [re.sub(r"\W+", " ", head.partition(" (")[0]).casefold() for head in heads]
    keys = [key.replace("\u00e9", "e") for key in keys]
    assert keys == sorted(keys)
    firsts = [
        re.split(r",| and ", head.partition(" (")[0])[0].rstrip("s").casefold() for head in heads
    ]
    assert len(set(firsts)) == len(firsts)
    assert [head for head in heads if not re.search(r"\(.*[\uac00-\ud7a3].*\)$", head)] == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("The **seed** is the number with which it begins.", 0),
        ("Every *seed* gives other numbers.", 0),
        ("A [seed](../book/glossary.md) is a number.", 0),
        ("Take another seed (lesson 00).", 0),
        ("A **variational autoencoder** (VAE) draws in one go.", 0),
        ("The log of the mean is above the mean of the logs (Jensen's inequality).", 0),
        ("Its entropy, which says how many places there are, grows.", 0),
        ("Its entropy grows.", 1),
        ("Take another seed.", 1),
        ("Take another seed. The *batch* is [here](../book/glossary.md).", 1),
        ("# The seed\n\nNothing of it.", 0),
        ("Use `seed` and $seed$.", 0),
    ],
)
def test_what_is_a_term_without_an_explanation(text: str, missing: int) -> None:
    assert len(unexplained([Lesson("09_made_up", text)])) == missing
