"""What is straight and what is not: Python, the page and the package agree."""

import json
import math
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
import traitlets

pytest.importorskip("anywidget")

from diffusion_lessons.math.exact import GaussianMixture, ring_mixture
from diffusion_lessons.math.prediction import SCORE, VELOCITY, convert
from diffusion_lessons.math.sampling import final, sample
from diffusion_lessons.math.schedule import straight_schedule
from diffusion_lessons.math.solvers import heun
from diffusion_lessons.page.widgets import PathsExplorer
from diffusion_lessons.page.widgets.paths import FRAMES, crossings, lines, meetings, stretch

SCHEDULE = straight_schedule()
RING = ring_mixture(6, 0.15, 1.8)
KINDS = ("pairs", "flow", "reflow")


@pytest.fixture(scope="module")
def explorer() -> PathsExplorer:
    return PathsExplorer(RING)


def points(*rows: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_the_flow_ends_where_a_better_solver_does(explorer: PathsExplorer) -> None:
    walk = explorer.walk("flow")
    assert walk.shape == (FRAMES + 1, 60, 2)
    torch.testing.assert_close(walk[0], explorer.noise)
    denoiser = explorer.mixture.denoiser(SCHEDULE)
    fine = final(sample(denoiser, explorer.noise, SCHEDULE, 300, sampler=heun)).x
    assert (walk[-1] - fine).norm(dim=1).median() < 0.02


@pytest.mark.parametrize("t", [1000, 400, 20])
def test_its_velocity_is_the_mean_of_the_lines(explorer: PathsExplorer, t: int) -> None:
    x_t = explorer.noise
    by_score = explorer.mixture.score(x_t, t, SCHEDULE)
    velocity = explorer.velocity(x_t, t)
    if t < SCHEDULE.T:
        wanted = convert(by_score, x_t, t, SCHEDULE, SCORE, VELOCITY)
        torch.testing.assert_close(velocity, wanted, rtol=1e-8, atol=1e-8)
    draws = explorer.mixture.sample_x0(x_t[:3].repeat(10_000, 1), t, SCHEDULE)
    noise = (x_t[:3].repeat(10_000, 1) - SCHEDULE.alpha[t] * draws) / SCHEDULE.sigma[t]
    mean = (noise - draws).view(-1, 3, 2).mean(0)
    spread = (noise - draws).view(-1, 3, 2).std(0)
    assert ((mean - velocity[:3]).abs() < 5 * spread / 100 + 1e-9).all()


def test_who_meets_is_at_one_place_at_one_time_and_goes_on_apart() -> None:
    noise, data = points((-1, 0), (1, 0)), points((1, 0), (-1, 0))
    assert meetings(lines(noise, data)) == [(0, 1)]  # head on
    assert meetings(lines(points((-1, 0), (0, -1)), points((1, 0), (0, 1)))) == [(0, 1)]
    assert meetings(lines(points((-1, 0), (0, -1)), points((1, 0), (0, 3)))) == []  # too late
    together = lines(points((-1, 0), (-1, 0.01)), points((1, 0), (1, 0.01)))
    assert meetings(together) == []


def test_paths_that_cross_in_the_plane() -> None:
    noise = points((-1, 0), (0, -1), (-1, 2))
    data = points((1, 0), (0, 3), (1, 1.5))  # each crosses the second, at some time
    assert crossings(lines(noise, data)) == 2
    assert crossings(lines(noise[[0, 2]], data[[0, 2]])) == 0


def test_stretch_is_the_length_over_the_distance() -> None:
    angle = torch.linspace(0, math.pi, FRAMES + 1, dtype=torch.float64)[:, None]
    arc = torch.stack([angle.cos(), angle.sin()], -1)
    assert stretch(arc) == pytest.approx(math.pi / 2, rel=1e-3)
    assert stretch(lines(points((0, 1)), points((2, 2)))) == pytest.approx(1)


@pytest.mark.parametrize("mixture", [RING, ring_mixture(), ring_mixture(3, 0.2, 1.5)])
def test_pairs_meet_and_what_flows_does_not(mixture: GaussianMixture) -> None:
    made = PathsExplorer(mixture)
    pairs, flow, reflow = (made.walk(kind) for kind in KINDS)
    assert len(meetings(pairs)) > 30
    assert len(meetings(flow)) <= 1 >= len(meetings(reflow))
    assert crossings(pairs) > 20 * crossings(reflow)
    assert stretch(flow) > 1.2
    assert stretch(pairs) == pytest.approx(1)
    assert stretch(reflow) == pytest.approx(1)
    middle = torch.zeros(60, 2, dtype=torch.float64)  # the mean of the data
    torch.testing.assert_close(made.one_step("flow"), middle, atol=1e-6, rtol=0)
    torch.testing.assert_close(made.one_step("reflow"), flow[-1])
    assert made.on_data(made.one_step("flow")) == 0
    assert made.on_data(made.one_step("reflow")) >= 57


def test_the_page_counts_the_same(explorer: PathsExplorer, tmp_path: Path) -> None:
    parts = {"means": explorer._means, "stds": explorer._stds, "weights": explorer._weights}
    noise, data = (x.flatten().tolist() for x in (explorer.noise, explorer.data))
    module = f"""import {{ GaussianMixture }} from "kit";
        import {{ crossings, flowOf, lines, meetings, onData, stretch }} from "./paths.js";
        const mixture = new GaussianMixture({json.dumps(parts)});
        const [noise, data] = {json.dumps([noise, data])}.map((x) => Float32Array.from(x));
        const flow = flowOf(mixture, noise);
        const walks = [lines(noise, data), flow, lines(noise, flow.at(-1))];
        export default walks.map((walk) => [
            walk[77], walk.at(-1), meetings(walk).length, crossings(walk), stretch(walk),
            onData(walk.at(-1), mixture),
        ]);"""
    for kind, found in zip(KINDS, javascript.run(tmp_path, module), strict=True):
        walk = explorer.walk(kind)
        middle, end = (torch.tensor(x, dtype=torch.float64).view(-1, 2) for x in found[:2])
        torch.testing.assert_close(middle, walk[77], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(end, walk[-1], rtol=1e-3, atol=1e-3)
        assert found[2:4] == [len(meetings(walk)), crossings(walk)]
        assert found[4] == pytest.approx(stretch(walk), rel=1e-4)
        assert found[5] == explorer.on_data(walk[-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"mixture": ring_mixture(51)},
            "mixture must have at most 50 components in 2 dimensions, got 51 in 2",
        ),
        (
            {"mixture": GaussianMixture(torch.zeros(1, 3), torch.ones(1), torch.ones(1))},
            "got 1 in 3",
        ),
        ({"points": 1}, "points must lie in 2..100"),
        ({"points": 101}, "points must lie in 2..100"),
        ({"seed": -1}, "seed must lie in"),
    ],
)
def test_what_cannot_be_shown_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PathsExplorer(**{"mixture": RING} | change)


def test_values_stay_in_their_range(explorer: PathsExplorer) -> None:
    for name, value in [("kind", "curved"), ("frame", 201), ("frame", -1)]:
        with pytest.raises(traitlets.TraitError):
            setattr(explorer, name, value)
    with pytest.raises(ValueError, match="kind must be one of flow, reflow"):
        explorer.one_step("pairs")
    assert (explorer.kind, explorer.frame, explorer.t) == ("pairs", 100, 500)


def test_the_fallback_picture_shows_all_three(explorer: PathsExplorer) -> None:
    titles = [axes.get_title(loc="left") for axes in explorer.figure().axes]
    for kind, title in zip(KINDS, titles, strict=True):
        met = len(meetings(explorer.walk(kind)))
        assert title.endswith(f", t = 500: {met} pairs meet")
    assert titles[1].startswith("the flow")
