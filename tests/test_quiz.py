"""The final test asks what it should, its answers are right, and the page grades as Python does."""

import base64
import json
import math
import re
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
import traitlets

pytest.importorskip("anywidget")

from diffusion_lessons.course.exercises import reading
from diffusion_lessons.course.exercises.registry import Hint
from diffusion_lessons.course.quiz import bugs, final_test, numbers
from diffusion_lessons.course.quiz.item import LESSONS
from diffusion_lessons.course.quiz.plots import exact_width, step_back
from diffusion_lessons.math.exact import GaussianMixture
from diffusion_lessons.math.gaussian import forward, forward_variance, posterior_variance
from diffusion_lessons.math.schedule import linear_schedule
from diffusion_lessons.page.widgets import FinalTest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


pytestmark = pytest.mark.slow  # every item runs what it asks about


@pytest.fixture(scope="module")
def items() -> list[dict[str, Any]]:
    return final_test(variants=3)


def of(items: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [item for item in items if item["kind"] == kind]


def test_there_are_as_many_items_of_each_kind_as_promised(items: list[dict[str, Any]]) -> None:
    (match,) = of(items, "match")
    assert len(match["pairs"]) == 7
    assert len({pair["meaning"] for pair in match["pairs"]}) == 7
    assert len(of(items, "number")) == 20
    assert len(of(items, "bug")) == 6
    assert len(of(items, "plot")) == 8
    widget = FinalTest(items)
    assert widget.score == (0, 41)


def test_the_page_tells_of_as_many(items: list[dict[str, Any]]) -> None:
    text = (NOTEBOOKS / "08_final_test.md").read_text("utf-8")
    assert f'does: "{len(items)} items:' in text
    assert f"There are {len(items)} items, worth 41 points" in text
    for words in ("seven formulas", "twenty questions", "six pieces of code", "eight plots"):
        assert f"**{words}" in text
    # Who finds no bug at all could not teach this.
    assert f"Above {41 - len(of(items, 'bug'))}:" in text


def test_each_answer_has_a_reason_and_a_lesson_that_exists(items: list[dict[str, Any]]) -> None:
    for item in items:
        for part in item.get("pairs", [item]):
            assert len(part["reason"]) > 10
            assert part["lesson"] in LESSONS.values()


def test_the_lessons_that_answers_lead_back_to_are_those_of_the_folder(
    items: list[dict[str, Any]],
) -> None:
    files = {path.stem[:2]: path.stem for path in NOTEBOOKS.glob("[0-9]*.md")}
    assert LESSONS.items() <= files.items()
    parts = [part for item in items for part in item.get("pairs", [item])]
    assert {part["lesson"] for part in parts} == set(LESSONS.values())


def values(text: str) -> list[float]:
    """The numbers of a question, in order."""
    plain = text.replace("\N{MINUS SIGN}", "-")
    return [float(number) for number in re.findall(r"(?<![_\w.])-?\d+(?:\.\d+)?(?![\w.]*_)", plain)]


# How a learner would work each of them out, from the numbers in its text.
def nearby(*points: float) -> tuple[float, float]:
    """Precision and recall of five real points and five samples, with k = 1."""

    def share(asked: tuple[float, ...], others: tuple[float, ...]) -> float:
        reach = [min(abs(x - y) for y in others if y != x) for x in others]
        within = [any(abs(a - x) <= r for x, r in zip(others, reach, strict=True)) for a in asked]
        return sum(within) / len(asked)

    real, fake = points[:5], points[5:]
    return share(fake, real), share(real, fake)


BY_HAND = [
    lambda explained, far: explained - far,
    lambda t, a: math.sqrt(1 - a),
    lambda a: math.sqrt(a),
    lambda V, b: (1 - b) * V + b,
    lambda b, c, d: (1 - b) * (1 - c) * (1 - d),
    lambda a, x, e: math.sqrt(a) * x + math.sqrt(1 - a) * e,
    lambda a, x, e: (x - math.sqrt(1 - a) * e) / math.sqrt(a),
    lambda s, t: (1 - s) / (1 - t) * (1 - t / s),
    lambda a, d: d * math.sqrt((1 - a) / a),
    lambda decay, n: 1 - decay**n,
    lambda side, same, nats: nats / side**2 / math.log(2),
    lambda eta, x, e, t, s: math.sqrt(s) * x + math.sqrt(1 - s) * e,
    lambda h, scale, shift: scale * h + shift,
    lambda side, same, heads: heads * side**4,
    lambda n, steps, scale: 2 * n * steps,
    lambda a, e, g, s: e - s * math.sqrt(1 - a) * g,
    lambda labelled, unlabelled, w: (1 + w) * labelled - w * unlabelled,
    lambda t, s, x_t, x_0: (
        (math.sqrt(s) * (1 - t / s) * x_0 + math.sqrt(t / s) * (1 - s) * x_t) / (1 - t)
    ),
    lambda T, a_s, s, a_t, t: 1 - a_t / a_s,
    nearby,
]


@pytest.mark.parametrize("number", range(20))
def test_numbers_are_right_and_drawn_anew(number: int) -> None:
    item = numbers.items(seed=5, variants=20)[number]
    for variant in item["variants"]:
        text, answer = variant["text"], variant["answer"]
        # Subscripts and the letters' own digits are no numbers of the question.
        plain = re.sub(r"_\{[^}]*\}|_\w", "", text).replace("x_0", "")
        found = BY_HAND[number](*values(plain))
        if isinstance(found, tuple):
            found = found["recall" in text]
        assert found == pytest.approx(answer, abs=2e-3), text
        assert "-" not in text.replace("Classifier-free", "").replace("classifier-free", "")
        assert math.isfinite(answer)
    assert len({variant["text"] for variant in item["variants"]}) == 20


# What people compute who have the idea, but not the formula: nobody is right by such a slip.
SLIPS: dict[int, list[Any]] = {
    0: [lambda explained, far: explained + far],
    1: [lambda t, a: 1 - a, lambda t, a: math.sqrt(a)],
    2: [lambda a: a, lambda a: math.sqrt(1 - a)],
    3: [lambda V, b: V, lambda V, b: (1 - b) * V, lambda V, b: b * V + 1 - b],
    4: [lambda b, c, d: 1 - b - c - d],
    5: [lambda a, x, e: a * x + (1 - a) * e, lambda a, x, e: math.sqrt(a) * x],
    6: [
        lambda a, x, e: x - math.sqrt(1 - a) * e,
        lambda a, x, e: (x + math.sqrt(1 - a) * e) / math.sqrt(a),
        lambda a, x, e: x / math.sqrt(a),
    ],
    7: [lambda s, t: 1 - t / s, lambda s, t: math.sqrt((1 - s) / (1 - t) * (1 - t / s))],
    8: [lambda a, d: d / math.sqrt(a), lambda a, d: d, lambda a, d: d * (1 - a) / a],
    9: [lambda decay, n: decay**n, lambda decay, n: n * (1 - decay)],
    10: [lambda side, same, nats: nats / side**2],
    11: [
        lambda eta, x, e, t, s: math.sqrt(t) * x + math.sqrt(1 - t) * e,
        lambda eta, x, e, t, s: math.sqrt(s) * x,
        lambda eta, x, e, t, s: math.sqrt(1 - s) * e,
    ],
    12: [lambda h, scale, shift: h + shift, lambda h, scale, shift: scale * (h + shift)],
    13: [lambda side, same, heads: side**4],
    14: [lambda n, steps, scale: n * steps, lambda n, steps, scale: scale * n * steps],
    15: [
        lambda a, e, g, s: e - math.sqrt(1 - a) * g,
        lambda a, e, g, s: e + s * math.sqrt(1 - a) * g,
    ],
    16: [
        lambda labelled, unlabelled, w: unlabelled + w * (labelled - unlabelled),
        lambda labelled, unlabelled, w: labelled,
    ],
    17: [
        lambda t, s, x_t, x_0: (
            (math.sqrt(s) * (1 - t / s) * x_t + math.sqrt(t / s) * (1 - s) * x_0) / (1 - t)
        )
    ],
    18: [lambda T, a_s, s, a_t, t: a_t / a_s, lambda T, a_s, s, a_t, t: a_s - a_t],
}


@pytest.mark.parametrize("seed", [0, 1])
def test_no_set_of_numbers_takes_a_slip_for_the_answer(seed: int) -> None:
    for number, item in enumerate(numbers.items(seed)):
        for variant in item["variants"]:
            plain = re.sub(r"_\{[^}]*\}|_\w", "", variant["text"]).replace("x_0", "")
            answer, given = variant["answer"], values(plain)
            found = [slip(*given) for slip in SLIPS.get(number, [])]
            if number == 19:  # the other share, and what would need no thought
                found = [nearby(*given)["recall" not in plain], 0, 1]
            for value in found:
                assert abs(value - answer) > max(0.011, 0.02 * abs(answer)), variant["text"]


def test_where_a_share_is_asked_the_item_says_so() -> None:
    for item in numbers.items():
        answers = [variant["answer"] for variant in item["variants"]]
        asked = re.search(r"share|precision|recall", item["variants"][0]["text"])
        assert item["share"] == bool(asked)
        assert not item["share"] or all(0 <= answer <= 1 for answer in answers)


def test_the_faulty_line_is_one_of_those_shown_and_its_picture_is_there(
    items: list[dict[str, Any]],
) -> None:
    for item in of(items, "bug"):
        assert 0 < len(item["lines"]) <= 8
        assert 0 <= item["right"] < len(item["lines"])
        assert base64.b64decode(item["picture"])[8:12] == b"WEBP"
        assert len(item["alt"]) > 20
    for item in of(items, "plot"):
        assert len(item["pictures"]) == len(item["alts"]) == len(set(item["pictures"])) == 3
        assert 0 <= item["right"] < 3
    assert len({item["right"] for item in of(items, "plot")}) > 1  # not always the same place


def test_a_fix_changes_one_place(items: list[dict[str, Any]]) -> None:
    for bug, item in zip(bugs.BUGS, of(items, "bug"), strict=True):
        before, after = bug.fix
        assert bug.code.count(before) == 1
        assert before in item["lines"][item["right"]]  # one line, and so no other is right
        assert "\n" not in before + after
        assert before != after


def test_few_steps_make_the_samples_too_narrow(items: list[dict[str, Any]]) -> None:
    """What one of the plots shows; the figures are those of lesson 03's recursion.

    With the other variance some of them are too wide, so the question names the one that it means.
    """
    assert exact_width(1000) == pytest.approx(0.496, abs=0.001)
    assert exact_width(4) == pytest.approx(0.210, abs=0.001)
    (asked,) = (item for item in of(items, "plot") if "width 0.5" in item["question"])
    assert "variance β̃" in asked["question"]
    assert asked["alts"][asked["right"]] == "too narrow with few steps"


def test_of_a_large_step_the_two_variances_are_on_both_sides() -> None:
    """As the reason says: one bell of DDPM's step is narrower than a bump, the other wider than all
    bumps together.
    """
    bumps = GaussianMixture(
        torch.tensor([[-1.0], [0.0], [1.0]]), torch.full((3,), 0.1), torch.full((3,), 1 / 3)
    )
    schedule = linear_schedule()
    a_t, a_s = schedule.alpha_bar[600], schedule.alpha_bar[10]
    bump = (a_s * 0.1**2 + 1 - a_s).sqrt()
    at = torch.linspace(-2.2, 2.2, 400, dtype=torch.float64)[:, None]
    p = step_back(bumps, at, 600, 10)[:, None]
    all_of_them = ((p * at**2).sum() - (p * at).sum() ** 2).sqrt()
    assert posterior_variance(a_t, a_s).sqrt() < bump / 2
    assert forward_variance(a_t, a_s).sqrt() > all_of_them > bump


def test_a_large_step_back_has_many_bumps_and_a_small_one_has_one() -> None:
    """What another plot shows: against the mixture's own samples, noised and sorted by x_t."""
    bumps = GaussianMixture(
        torch.tensor([[-1.0], [0.0], [1.0]]), torch.full((3,), 0.1), torch.full((3,), 1 / 3)
    )
    schedule, g = linear_schedule(), torch.Generator().manual_seed(0)
    x_s = torch.linspace(-2.2, 2.2, 400, dtype=torch.float64)[:, None]
    x_0, _ = bumps.sample(400_000, g)
    for s, peaks in ((580, 1), (10, 3)):
        p = step_back(bumps, x_s, 600, s)
        assert int(((p[1:-1] > p[:-2]) & (p[1:-1] > p[2:])).sum()) == peaks
        noised = forward(x_0, 0, s, schedule).sample(g)
        x_t = forward(noised, s, 600, schedule).sample(g)
        near = noised[(x_t - 0.25).abs() < 0.05]
        assert near.mean().item() == pytest.approx((p * x_s[:, 0]).sum().item(), abs=0.03)
        wide = ((p * x_s[:, 0] ** 2).sum() - (p * x_s[:, 0]).sum() ** 2).sqrt().item()
        assert near.std().item() == pytest.approx(wide, rel=0.05)


# As people write numbers, and what that may mean, the likelier first.
WRITTEN: dict[str, list[float]] = {
    "0.36": [0.36],
    ".36": [0.36],
    "0,36": [0.36],
    "5.": [5],
    " -1.5 ": [-1.5],
    "+2": [2],
    "\N{MINUS SIGN}1.5": [-1.5],
    "\N{EN DASH}1.5": [-1.5],
    "2e-3": [0.002],
    "2.0e+5": [200000],
    "2.0E\N{MINUS SIGN}5": [2e-5],
    "2 x 10^5": [200000],
    "2,5\N{MULTIPLICATION SIGN}10^-1": [0.25],
    "202500": [202500],
    "230,496": [230.496, 230496],
    "1,920": [1.92, 1920],
    "1.920": [1.92, 1920],
    "-1,920": [-1.92, -1920],
    "0,920": [0.92],
    "0.920": [0.92],
    "1,9205": [1.9205],
    "1234,567": [1234.567],
    "9 604": [9604],
    "9\N{NO-BREAK SPACE}604": [9604],
    "9\N{NARROW NO-BREAK SPACE}604,5": [9604.5],
    "9'604": [9604],
    "9\N{RIGHT SINGLE QUOTATION MARK}604.25": [9604.25],
    "1,234,567": [1234567],
    "1.234.567": [1234567],
    "1,234,567.5": [1234567.5],
    "1.234,5": [1234.5],
    "2,02,500": [202500],
    "12 34": [],
    "1 2": [],
    "1,2,3": [],
    "1.2.3": [],
    "1,234.567.8": [],
    "1..5": [],
    "": [],
    ".": [],
    "-": [],
    "x": [],
    "a quarter": [],
    "1/4": [0.25],
    "-3 / 4": [-0.75],
    "1/0": [],
    "1/2/3": [],
    "1.5/2": [],
    "1,000/2": [],
    "25 %": [0.25],
    "25%": [0.25],
    "62,5 percent": [0.625],
    "4 per cent": [0.04],
    "1/4 %": [0.0025],
    "1,920 %": [0.0192, 19.2],
    "% 25": [],
    "%": [],
    "~0.36": [0.36],
    "\N{ALMOST EQUAL TO} 36 %": [0.36],
    "0x10": [],
    "Infinity": [],
    "1e999": [],
    "NaN": [],
    "--1": [],
}


def test_the_page_reads_and_grades_numbers(tmp_path: Path) -> None:
    module = f"""import {{ isRight, readings, shuffled }} from "./final_test.js";
        const texts = {json.dumps(list(WRITTEN))};
        const pairs = [[0.36, 0.3648], [0.36, 0.366], [-0.36, 0.36], [1000, 1009], [1000, 1011]];
        const mixed = () => shuffled([0, 1, 2, 3, 4, 5, 6], 7);
        export default [
            texts.map(readings), pairs.map(([a, b]) => isRight(a, b)), mixed(), mixed()
        ];"""
    read, right, order, again = javascript.run(tmp_path, module)
    assert dict(zip(WRITTEN, read, strict=True)) == WRITTEN
    assert right == [True, False, False, True, False]
    assert sorted(order) == list(range(7))
    assert order == again


def test_fractions_and_percent_are_read_as_the_exercises_read_them() -> None:
    """What means one number here means the same there."""
    forms = [form for form in WRITTEN if re.search(r"[/%~\N{ALMOST EQUAL TO}]|cent", form)]
    assert len(forms) > 12
    for form in forms:
        if len(WRITTEN[form]) == 1:
            assert reading.number(form) == pytest.approx(WRITTEN[form][0]), form
        else:
            with pytest.raises(Hint):
                reading.number(form)


def test_every_answer_that_is_shown_is_right_when_it_is_typed_in(tmp_path: Path) -> None:
    """As it is shown, and as people part thousands; all sets of numbers, of several seeds."""
    answers = [
        variant["answer"]
        for seed in (0, 1, 2)
        for item in numbers.items(seed)
        for variant in item["variants"]
    ]
    assert max(answers) > 1e5
    assert min(answers) < 0
    module = f"""import {{ isRight, readings, written }} from "./final_test.js";
        const parted = (text, mark) => text.replace(/\\B(?=(\\d{{3}})+$)/g, mark);
        const wrong = [];
        for (const answer of {json.dumps(answers)}) {{
            const shown = written(answer);
            const ways = [shown, ` ${{shown}} `, shown.replace(".", ",")];
            if (Number.isInteger(answer)) {{
                for (const mark of [",", ".", " ", "'", "\\u202f"]) ways.push(parted(shown, mark));
            }}
            for (const way of ways) {{
                const right = readings(way).some((value) => isRight(value, answer));
                if (!right) wrong.push([answer, way]);
            }}
        }}
        export default wrong;"""
    assert javascript.run(tmp_path, module) == []


def test_the_score_counts_the_first_answers(items: list[dict[str, Any]]) -> None:
    widget = FinalTest(items)
    widget.answers = {"match": {"first": 5, "now": 7}, "bug-1": {"first": 0, "now": 1}}
    assert widget.score == (5, 41)
    widget.item = len(items)  # the score's own place
    with pytest.raises(traitlets.TraitError, match="item must lie in"):
        widget.item = len(items) + 1


@pytest.mark.parametrize("kind", ["match", "number", "bug", "plot"])
def test_the_fallback_picture_shows_the_question(items: list[dict[str, Any]], kind: str) -> None:
    widget = FinalTest(items)
    widget.item = next(i for i, item in enumerate(items) if item["kind"] == kind)
    axes = widget.figure().axes
    assert axes[0].get_title(loc="left") == "0 of 41 points"
    assert len(axes) == (2 if kind == "bug" else 1)
    item = items[widget.item]
    question = item["variants"][0]["text"] if kind == "number" else item["question"]
    assert axes[0].texts[0].get_text().startswith(question)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([], "items must hold at least one"),
        ([{"id": "a", "kind": "essay"}], "kind must be one of"),
        ([{"id": "a", "kind": "match", "question": "?"}], "lacks pairs"),
        ([{"id": "a", "kind": "match", "question": "?", "pairs": []}] * 2, "different ids"),
    ],
)
def test_what_is_no_test_is_refused(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FinalTest(change)
