"""The arrows of guidance in the plane: Python, the page and the package agree."""

import json
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
import traitlets

from diffusion_lessons import (
    GaussianMixture,
    classifier_guidance,
    cosine_schedule,
    ddim_step,
    linear_schedule,
    ring_mixture,
    sample,
)
from diffusion_lessons.math.guidance import log_prob_gradient
from diffusion_lessons.page.widgets import VectorExplorer

SCHEDULE = linear_schedule()
MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.5], [0.8, -0.4], [0.3, 1.2]]),
    torch.tensor([0.3, 0.5, 0.2]),
    torch.tensor([0.5, 0.3, 0.2]),
)
DOUBLE = GaussianMixture(*(x.double() for x in (MIXTURE.means, MIXTURE.stds, MIXTURE.weights)))


def log_prob(label: int) -> Any:
    return lambda x_t, t: DOUBLE.log_joint(x_t, t, SCHEDULE).log_softmax(1)[:, label]


@pytest.fixture
def explorer() -> VectorExplorer:
    return VectorExplorer(MIXTURE, SCHEDULE, particles=40, steps=20, label=1)


@pytest.mark.parametrize("frame", [0, 7, 19])
def test_arrows_are_the_guided_denoiser(explorer: VectorExplorer, frame: int) -> None:
    explorer.frame, explorer.scale = frame, 3.0
    x_t, t = torch.tensor([[0.6, 0.4], [-1.5, 0.2]]).double(), explorer.t
    a_t = SCHEDULE.alpha_bar[t]
    denoiser, classifier = explorer.arrows(x_t)
    plain = DOUBLE.denoise(x_t, t, SCHEDULE)
    torch.testing.assert_close(x_t + denoiser, a_t.sqrt() * plain)
    guided = classifier_guidance(DOUBLE.denoiser(SCHEDULE), log_prob(1), SCHEDULE, 3.0)
    torch.testing.assert_close(x_t + denoiser + classifier, a_t.sqrt() * guided(x_t, t))
    wanted = 3 * (1 - a_t) * log_prob_gradient(log_prob(1), x_t, t)
    torch.testing.assert_close(classifier, wanted)


def test_points_follow_the_sampler(explorer: VectorExplorer) -> None:
    explorer.scale = 2.0
    explorer.frame = 0
    start = explorer.points()
    guided = classifier_guidance(DOUBLE.denoiser(SCHEDULE), log_prob(1), SCHEDULE, 2.0)
    for frame, step in enumerate(sample(guided, start, SCHEDULE, 20, ddim_step)):
        explorer.frame = frame
        torch.testing.assert_close(explorer.points(), step.x, atol=1e-9, rtol=1e-9)
    assert explorer.t == 0


def test_the_page_computes_the_same(explorer: VectorExplorer, tmp_path: Path) -> None:
    explorer.scale, explorer.frame = 2.5, 9
    parts = {"means": explorer._means, "stds": explorer._stds, "weights": explorer._weights}
    start = explorer.points()
    alpha_bar = [1.0, *explorer._alpha_bar]  # any time will do as 0
    module = f"""import {{ GaussianMixture, NoiseSchedule }} from "kit";
        import {{ arrowsAt, stepAll }} from "./vector.js";
        const mixture = new GaussianMixture({json.dumps(parts)});
        const schedule = new NoiseSchedule({{ alphaBar: {alpha_bar} }});
        const points = Float64Array.from({json.dumps(start.flatten().tolist())});
        const {{ denoiser, classifier }} = arrowsAt(mixture, schedule, 10, [0.6, 0.4], 1, 2.5);
        export default [
            [...denoiser], [...classifier], stepAll(points, mixture, schedule, 10, 11, 1, 2.5)
        ];"""
    denoiser, classifier, following_points = map(torch.tensor, javascript.run(tmp_path, module))
    wanted = explorer.arrows(torch.tensor([[0.6, 0.4]]))
    # Node prints all digits; torch.tensor makes float32 of them.
    torch.testing.assert_close(denoiser.double(), wanted[0][0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(classifier.double(), wanted[1][0], atol=1e-6, rtol=1e-5)
    explorer.frame = 10
    moved = following_points.view(-1, 2).double()
    torch.testing.assert_close(moved, explorer.points(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mixture": ring_mixture(13)}, "at most 12 components in 2 dimensions, got 13 in 2"),
        (
            {"mixture": GaussianMixture(torch.zeros(1, 3), torch.ones(1), torch.ones(1))},
            "got 1 in 3",
        ),
        ({"particles": 0}, "particles must lie in 1..2000"),
        ({"steps": 1}, "steps must lie in 2..200"),
        ({"schedule": cosine_schedule(4), "steps": 5}, "steps must lie in 2..4"),
    ],
)
def test_what_cannot_be_shown_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VectorExplorer(**{"mixture": MIXTURE} | change)


def test_values_stay_in_their_range(explorer: VectorExplorer) -> None:
    for name, value in [("label", 3), ("frame", 21), ("scale", 11.0), ("x", 4.0), ("scale", -1.0)]:
        with pytest.raises(traitlets.TraitError):
            setattr(explorer, name, value)
    assert (explorer.label, explorer.frame) == (1, 12)


def test_the_fallback_picture_has_three_arrows(explorer: VectorExplorer) -> None:
    (axes,) = explorer.figure().axes
    arrows = [c for c in axes.collections if type(c).__name__ == "Quiver"]
    assert len(arrows) == 3
    total = arrows[0].U + arrows[1].U - arrows[2].U
    assert abs(total).max() < 1e-9
