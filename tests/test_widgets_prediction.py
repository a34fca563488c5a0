"""One network by every name: Python, the page and the formulas agree."""

import json
import math
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
import traitlets

pytest.importorskip("anywidget")

from diffusion_lessons.math.prediction import PREDICTIONS, SCORE
from diffusion_lessons.math.schedule import (
    cosine_schedule,
    linear_schedule,
    straight_schedule,
    zero_terminal,
)
from diffusion_lessons.page import kit
from diffusion_lessons.page.widgets import PredictionExplorer

KINDS = {kind.name: kind for kind in (*PREDICTIONS.values(), SCORE)}
X_0 = kit.ring()
NOISE = torch.randn(X_0.shape, generator=torch.Generator().manual_seed(5))


def explorer(**values: Any) -> PredictionExplorer:
    made = PredictionExplorer(X_0, NOISE)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def truth(made: PredictionExplorer, name: str) -> torch.Tensor:
    schedule = made.schedules[made.schedule]
    return KINDS[name].target(X_0[None].double(), NOISE[None].double(), made.t, schedule)[0]


@pytest.mark.parametrize("schedule", ["linear", "straight"])
@pytest.mark.parametrize("predicted", KINDS)
@pytest.mark.parametrize("t", [1, 300, 999])
def test_an_exact_answer_gives_all_five(schedule: str, predicted: str, t: int) -> None:
    made = explorer(schedule=schedule, predicted=predicted, t=t, off=0)
    for name in KINDS:
        read = made.read_off(name)
        assert read is not None
        torch.testing.assert_close(read, truth(made, name), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("predicted", KINDS)
def test_an_error_comes_out_as_large_as_is_said(predicted: str) -> None:
    """Sizes are those of a picture of mean square 1, which the noise nearly has."""
    made = explorer(predicted=predicted, t=600, off=4)
    level = made.schedules["linear"].alpha[600], made.schedules["linear"].sigma[600]
    for name, kind in KINDS.items():
        read = made.read_off(name)
        assert read is not None
        error = (read - truth(made, name)).square().mean().sqrt()
        size = math.hypot(*kind.mixture(*level))
        assert error / size == pytest.approx(0.04 * made.enlarged(name), rel=0.1)


def test_the_enlargement_is_what_the_formulas_say() -> None:
    """x_0 from noise: sigma / alpha. Noise from x_0: alpha / sigma. From v: sigma and alpha."""
    made = explorer()
    for t in (1, 500, 1000):
        made.t = t
        alpha, sigma = (float(x[t]) for x in (linear_schedule().alpha, linear_schedule().sigma))
        for predicted, in_x0, in_noise in [
            ("noise", sigma / alpha, 1),
            ("score", sigma / alpha, 1),
            ("x0", 1, alpha / sigma),
            ("v", sigma, alpha),
            ("velocity", 2**0.5 * sigma / (alpha + sigma), 2**0.5 * alpha / (alpha + sigma)),
        ]:
            made.predicted = predicted
            assert made.enlarged("x0") == pytest.approx(in_x0)
            assert made.enlarged("noise") == pytest.approx(in_noise)


def test_where_nothing_is_left_of_the_picture_noise_says_nothing_of_it() -> None:
    made = explorer(schedule="straight", t=1000)
    for predicted in ("noise", "score"):
        made.predicted = predicted
        for name in ("x0", "v", "velocity"):
            assert made.weights(name) is made.read_off(name) is None
            assert made.enlarged(name) == math.inf
        assert made.enlarged("noise") == made.enlarged("score") == 1
    for predicted in ("x0", "v", "velocity"):
        made.predicted = predicted
        assert all(made.enlarged(name) < 2 for name in KINDS)


@pytest.mark.parametrize("name", ["linear", "straight"])
def test_the_page_computes_the_same(tmp_path: Path, name: str) -> None:
    made = explorer(schedule=name, t=700, off=3)
    answers = {}
    for predicted in KINDS:
        made.predicted = predicted
        answers[predicted] = made.answer.flatten().tolist()
    stored = [kit.unpack(x, "<f4").tolist() for x in (made._x_0, made._noise, made._error)]
    module = f"""import {{ scheduleFrom }} from "kit";
        import {{ answerOf, enlarged }} from "./prediction.js";
        const {{ alpha, sigma }} = scheduleFrom({json.dumps(made._schedules[name])});
        const [x0, noise, error] = {json.dumps(stored)};
        const kinds = {json.dumps(list(KINDS))};
        export default kinds.map((kind) => [
            answerOf(x0, noise, error, alpha[700], sigma[700], kind, 0.03),
            kinds.map((other) => enlarged(alpha[700], sigma[700], kind, other)),
        ]);"""
    for predicted, (answer, factors) in zip(KINDS, javascript.run(tmp_path, module), strict=True):
        assert answer == pytest.approx(answers[predicted], rel=1e-9)
        made.predicted = predicted
        assert factors == pytest.approx([made.enlarged(other) for other in KINDS], rel=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_0": X_0[None].expand(2, 1, 28, 28)}, "x_0 must be one picture"),
        ({"noise": NOISE[:, :20]}, r"shape of x_0, \[1, 28, 28\], got \[1, 20, 28\]"),
        ({"noise": NOISE / 0}, "noise must be finite"),
        ({"schedules": {}}, "schedules must be one or more, all of the same T"),
        (
            {"schedules": {"a": linear_schedule(10), "b": straight_schedule(9)}},
            "schedules must be one or more, all of the same T",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PredictionExplorer(**{"x_0": X_0} | change)


def test_values_stay_in_their_range() -> None:
    made = explorer(t=3)
    for name, value in [
        ("t", 0),
        ("t", 1001),
        ("schedule", "cosine"),
        ("predicted", "y"),
        ("off", 21),
    ]:
        with pytest.raises(traitlets.TraitError):
            setattr(made, name, value)
    assert (made.t, made.schedule, made.predicted, made.off) == (3, "linear", "noise", 1)


def test_any_schedules_can_be_compared() -> None:
    schedules = {"cosine": cosine_schedule(50), "zero": zero_terminal(linear_schedule(50))}
    made = PredictionExplorer(X_0, schedules=schedules)
    made.t = 50
    assert made.enlarged("x0") > 100
    made.schedule = "zero"
    assert made.enlarged("x0") == math.inf


@pytest.mark.parametrize(("schedule", "shown"), [("linear", 6), ("straight", 3)])
def test_the_fallback_picture_leaves_out_what_is_not_determined(schedule: str, shown: int) -> None:
    made = explorer(schedule=schedule, t=1000)
    axes = made.figure().axes
    assert sum(len(panel.images) for panel in axes) == shown
    assert [len(panel.lines) for panel in axes[-2:]] == [6, 6]  # five curves and the time
