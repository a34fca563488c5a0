"""A bound with one latent: Python, the page and plain integration agree."""

import json
import math
from pathlib import Path

import javascript
import pytest
import torch
import traitlets

pytest.importorskip("anywidget")

from diffusion_lessons.page.widgets import BoundExplorer

Z = torch.linspace(-12, 12, 48_001, dtype=torch.float64)


def normal(mean: float, std: float) -> torch.distributions.Normal:
    return torch.distributions.Normal(torch.tensor(mean).double(), torch.tensor(std).double())


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.2, 0.4), (-0.5, 1.6)])
def test_bound_and_gap_are_integrals(mean: float, std: float) -> None:
    explorer = BoundExplorer(1.5, 0.6)
    explorer.mean, explorer.std = mean, std
    log_q = normal(mean, std).log_prob(Z)
    log_joint = normal(0, 1).log_prob(Z) + normal(0, 0.6).log_prob(1.5 - Z)
    log_p = float(torch.trapezoid(log_joint.exp(), Z).log())
    elbo = float(torch.trapezoid(log_q.exp() * (log_joint - log_q), Z))
    assert explorer.log_p == pytest.approx(log_p, abs=1e-6)
    assert explorer.elbo == pytest.approx(elbo, abs=1e-6)
    assert explorer.gap == pytest.approx(log_p - elbo, abs=1e-6)
    assert explorer.gap > 0


def test_the_gap_closes_where_all_ratios_are_equal() -> None:
    explorer = BoundExplorer(1.5, 0.6)
    assert explorer.log_ratios().std() > 0.5
    explorer.mean, explorer.std = 1.5 / 1.36, 0.6 / math.sqrt(1.36)
    assert explorer.gap == pytest.approx(0, abs=1e-12)
    wanted = torch.full((15,), explorer.log_p).double()
    torch.testing.assert_close(explorer.log_ratios(), wanted)


def test_the_page_computes_the_same(tmp_path: Path) -> None:
    explorer = BoundExplorer(-0.8, 0.5)
    explorer.mean, explorer.std = 0.3, 0.7
    module = f"""import {{ boundOf }} from "./bound.js";
        export default boundOf(-0.8, 0.5, 0.3, 0.7, {json.dumps(explorer._places)});"""
    bound = javascript.run(tmp_path, module)
    assert bound["logP"] == pytest.approx(explorer.log_p)
    assert bound["elbo"] == pytest.approx(explorer.elbo)
    assert bound["gap"] == pytest.approx(explorer.gap)
    assert bound["posterior"]["mean"] == pytest.approx(float(explorer.posterior.mean))
    assert bound["logRatios"] == pytest.approx(explorer.log_ratios().tolist())


def test_values_stay_in_their_range() -> None:
    explorer = BoundExplorer()
    for name, value in [("mean", 2.1), ("std", 0.0), ("std", 3.0)]:
        with pytest.raises(traitlets.TraitError):
            setattr(explorer, name, value)
    for wrong in ({"x": 4}, {"noise": 0.1}):
        with pytest.raises(ValueError, match="must lie in"):
            BoundExplorer(**wrong)


def test_the_fallback_picture_shows_the_gap() -> None:
    explorer = BoundExplorer()
    _, right = explorer.figure().axes
    assert f"{explorer.gap:.3f}" in right.get_title(loc="left")
    (bar,) = [line for line in right.lines if line.get_linewidth() == 3]
    low, high = bar.get_ydata()
    assert high - low == pytest.approx(explorer.gap)
