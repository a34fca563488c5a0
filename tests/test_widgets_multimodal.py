"""The true reverse step of a mixture: Python, the page and plain integration agree."""

import json
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
import traitlets

from diffusion_lessons import GaussianMixture, forward, linear_schedule, posterior, vp_schedule

pytest.importorskip("anywidget")

from matplotlib.text import Text

from diffusion_lessons.page.widgets import MultimodalExplorer

SCHEDULE = linear_schedule()
MIXTURE = GaussianMixture(
    torch.tensor([[-1.5], [0.2], [1.4]]),
    torch.tensor([0.1, 0.2, 0.05]),
    torch.tensor([0.5, 0.2, 0.3]),
)
GRID = torch.linspace(-5, 5, 20_001, dtype=torch.float64)


@pytest.fixture
def explorer() -> MultimodalExplorer:
    return MultimodalExplorer(MIXTURE, SCHEDULE)


@pytest.fixture
def product() -> MultimodalExplorer:
    return MultimodalExplorer(MIXTURE, SCHEDULE, bayes=True)


@pytest.mark.parametrize(("t", "stride"), [(600, 1), (600, 100), (900, 850), (300, 299)])
@pytest.mark.parametrize("x_t", [-1.0, 0.1])
def test_the_bumps_are_bayes_rule(
    explorer: MultimodalExplorer, t: int, stride: int, x_t: float
) -> None:
    explorer.t, explorer.stride, explorer.x_t = t, stride, x_t
    s = explorer.s
    # Bayes on a fine grid: what x_s is like, times how likely it leads to x_t.
    x = GRID[:, None]
    log_q = MIXTURE.log_prob(x, s, SCHEDULE) + forward(x, s, t, SCHEDULE).log_prob(
        torch.full_like(x, x_t)
    )
    wanted = log_q.softmax(0) / (GRID[1] - GRID[0])
    true, gauss = explorer.back().curves(GRID)
    torch.testing.assert_close(true, wanted, atol=2e-3 * float(wanted.max()), rtol=0)
    # DDPM's bell has the true mean, and too little spread.
    mean = torch.trapezoid(true * GRID, GRID)
    torch.testing.assert_close(explorer.back().bell.mean[0, 0], mean, atol=1e-3, rtol=0)
    spread = torch.trapezoid(true * (GRID - mean) ** 2, GRID)
    assert float(explorer.back().bell.std) ** 2 <= float(spread) + 1e-9
    area = torch.trapezoid(torch.minimum(true, gauss), GRID)
    assert explorer.overlap == pytest.approx(float(area), abs=2e-3)


def test_a_small_step_is_a_gaussian_and_a_large_one_is_not(explorer: MultimodalExplorer) -> None:
    explorer.t, explorer.stride, explorer.x_t = 600, 1, 0.1
    assert explorer.overlap > 0.98
    explorer.stride = 500
    assert explorer.overlap < 0.5


@pytest.mark.parametrize("stride", [1, 100, 250, 300, 1000])
def test_the_truth_is_the_product_of_prior_and_likelihood(
    product: MultimodalExplorer, stride: int
) -> None:
    product.t, product.stride, product.x_t = 300, stride, -0.3
    assert product.s == max(0, 300 - stride)
    prior, likelihood = product.back().factors(GRID)
    for factor in (prior, likelihood):
        assert float(torch.trapezoid(factor, GRID)) == pytest.approx(1, abs=1e-3)
    wanted = prior * likelihood / torch.trapezoid(prior * likelihood, GRID)
    true, gauss = product.back().curves(GRID)
    torch.testing.assert_close(true, wanted, atol=2e-3 * float(wanted.max()), rtol=0)
    for power in (1, 2):  # the Gaussian beside it has its mean and its variance
        moments = [torch.trapezoid(density * GRID**power, GRID) for density in (true, gauss)]
        torch.testing.assert_close(*moments, atol=5e-3, rtol=0)


def test_the_nearest_gaussian_fits_a_small_step_and_no_large_one() -> None:
    coin = GaussianMixture(
        torch.tensor([[-1.0], [1.0]]), torch.tensor([0.1, 0.1]), torch.tensor([0.5, 0.5])
    )
    explorer = MultimodalExplorer(coin, SCHEDULE, bayes=True)
    for explorer.t in (120, 300, 600, 1000):
        explorer.stride = 1
        for explorer.x_t in (-1.0, 0.5, 0.1):
            assert explorer.overlap > 0.99
        explorer.stride = 1000  # to s = 0, from between the two
        assert explorer.overlap < 0.6


def test_the_page_computes_the_same(explorer: MultimodalExplorer, tmp_path: Path) -> None:
    explorer.t, explorer.stride, explorer.x_t = 700, 400, -0.4
    mixture = {"means": explorer._means, "stds": explorer._stds, "weights": explorer._weights}
    module = f"""import {{ linearSchedule }} from "kit";
        import {{ bumps, given, meanOf, priorAt, shared, stdOf }} from "./multimodal.js";
        const schedule = linearSchedule();
        const parts = bumps({json.dumps(mixture)}, -0.4, 300, 700, schedule);
        export default [parts.map(p => [p.weight, p.mean, p.std]), meanOf(parts),
            given(1.4, -0.4, 300, 700, schedule), shared([1, 0.5], [0.25, 1], 2), stdOf(parts),
            [...priorAt(Float64Array.of(-1, 0.1, 2), {json.dumps(mixture)}, 300, schedule)]];"""
    parts, mean, known, area, std, prior = javascript.run(tmp_path, module)
    torch.testing.assert_close(
        torch.tensor(parts).double(), torch.stack(explorer.back().exact(), 1), atol=1e-6, rtol=1e-6
    )
    assert mean == pytest.approx(float(explorer.back().bell.mean), abs=1e-6)
    x = torch.tensor([[-0.4]]).double()
    q = posterior(x, torch.tensor([[1.4]]).double(), 700, 300, SCHEDULE)
    assert known == pytest.approx([float(q.mean), float(q.std)], abs=1e-6)
    assert area == 1.5
    nearest = MultimodalExplorer(MIXTURE, SCHEDULE, bayes=True)
    nearest.t, nearest.stride, nearest.x_t = 700, 400, -0.4
    assert std == pytest.approx(float(nearest.back().bell.std), abs=1e-6)
    wanted, _ = nearest.back().factors(torch.tensor([-1, 0.1, 2], dtype=torch.float64))
    assert prior == pytest.approx(wanted.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mixture": GaussianMixture(torch.zeros(2, 2), torch.ones(2), torch.ones(2) / 2)}, "in 2"),
        ({"mixture": GaussianMixture(torch.zeros(1, 1), torch.ones(1), torch.ones(1))}, "got 1 in"),
        ({"schedule": vp_schedule(1)}, "at least 2 steps"),
    ],
)
def test_what_cannot_be_shown_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultimodalExplorer(**({"mixture": MIXTURE, "schedule": SCHEDULE} | change))


def test_values_stay_in_their_range(
    explorer: MultimodalExplorer, product: MultimodalExplorer
) -> None:
    for name, value in [("t", 1), ("t", 1001), ("stride", 0), ("stride", 1000), ("component", 3)]:
        with pytest.raises(traitlets.TraitError):
            setattr(explorer, name, value)
    explorer.t, explorer.stride = 10, 500
    assert explorer.s == 1
    product.t = product.stride = 1000
    assert product.s == 0
    with pytest.raises(traitlets.TraitError):
        product.stride = 1001


def titles(explorer: MultimodalExplorer) -> list[str]:
    return [axes.get_title(loc="left") for axes in explorer.figure().axes]


def test_the_fallback_picture_shows_three_steps(explorer: MultimodalExplorer) -> None:
    explorer.t, explorer.stride = 600, 20  # shown in the place of a step of 1
    assert titles(explorer) == [
        f"600 to {s}: they share {100 * explorer.back(s).overlap:.0f} %" for s in (580, 300, 100)
    ]
    drawn = [text for text in explorer.figure().findobj(Text) if "they share" in text.get_text()]
    assert [text.get_fontweight() for text in drawn] == ["bold", "normal", "normal"]
    assert (explorer.t, explorer.stride) == (600, 20)
    explorer.stride = 280
    assert [title[:10] for title in titles(explorer)] == ["600 to 599", "600 to 320", "600 to 100"]
    explorer.t = 2  # there is one step alone
    assert len(titles(explorer)) == 1


def test_the_fallback_picture_names_its_curves(
    explorer: MultimodalExplorer, product: MultimodalExplorer
) -> None:
    wanted = {
        explorer: ["$q(x_s | x_t)$", "DDPM's step", "$q(x_s | x_t, x_0)$"],
        product: ["$q(x_s | x_t)$", "prior", "likelihood", "nearest Gaussian"],
    }
    for widget, names in wanted.items():
        (legend,) = widget.figure().legends
        shown = [text.get_text() for text in legend.get_texts()]
        assert [text.partition(" $")[0] for text in shown] == names
        assert all(len(axes.lines) == len(names) + 1 for axes in widget.figure().axes)  # and x_t


def test_a_known_clean_value_leaves_one_bump(explorer: MultimodalExplorer) -> None:
    explorer.t, explorer.stride, explorer.component = 600, 300, 2
    *_, known, _ = explorer.figure().axes[1].lines
    density = torch.tensor(known.get_ydata())
    steps = density.diff().sign()
    assert int((steps.diff() < -1).sum()) == 1
