"""The plane lab: Python, the page and the package agree, with node for the page."""

import json
import math
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
import traitlets
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("anywidget")

from diffusion_lessons import (
    GaussianMixture,
    classifier_guidance,
    ddim_step,
    linear_schedule,
    moons,
    sample,
)
from diffusion_lessons.math.prediction import NOISE, X0, convert
from diffusion_lessons.math.randomness import RowGenerator
from diffusion_lessons.math.schedule import quadratic
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.page.widgets import PlaneLab
from diffusion_lessons.page.widgets.plane import SHAPES

SCHEDULE = linear_schedule()
POINTS = torch.tensor([[-1.0, 0.5], [0.8, -0.4], [0.3, 1.2], [-1.4, -1.1]])
LABELS = torch.tensor([0, 1, 0, 1])


@pytest.fixture
def lab() -> PlaneLab:
    return PlaneLab(POINTS, LABELS, particles=40)


def settings_of(lab: PlaneLab) -> dict[str, Any]:
    names = ["points", "std", "sampler", "eta", "steps", "label", "scale", "seed"]
    return {name: getattr(lab, name) for name in names} | {"particles": lab._particles}


def in_page(folder: Path, lab: PlaneLab, expression: str, **given: Any) -> Any:
    module = f"""import {{ linearSchedule, uniforms }} from "kit";
        import * as plane from "./_plane.js";
        import {{ MLP }} from "./_mlp.js";
        const settings = {json.dumps(settings_of(lab))};
        const given = {json.dumps(given)};
        const {{ points, std }} = settings;
        const exact = plane.mixtureOf(points, std).denoiser(plane.schedule);
        export default {expression};"""
    return javascript.run(folder, module)


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(-1, 2)


# ------------------------------------------------------------------ the walk


def test_without_width_every_particle_ends_on_a_point(lab: PlaneLab) -> None:
    ends = lab.walk()[-1].x
    assert ends.shape == (40, 2)
    assert lab.share == 1
    assert torch.cdist(ends, POINTS.double()).min(1).values.max() < 0.02
    for name, points in SHAPES.items():
        lab.points = points
        assert lab.share > 0.95, name
    lab.points = SHAPES["a single point"]
    start = lab.walk()[0].x
    assert lab.near(start) < 0.1  # chance


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"std": 0.2, "steps": 10},
        {"eta": 0.7, "seed": 5},
        {"sampler": "ddpm", "steps": 20},
        {"label": 1, "scale": 1.0},
        {"label": 0, "scale": 4.0, "sampler": "ddpm", "std": 0.1},
    ],
    ids=str,
)
def test_the_page_walks_as_python_does(
    lab: PlaneLab, tmp_path: Path, change: dict[str, Any]
) -> None:
    for name, value in change.items():
        setattr(lab, name, value)
    page = in_page(tmp_path, lab, "await plane.walk(exact, settings)")
    walk = lab.walk()
    assert page["calls"] == lab.steps
    assert len(page["frames"]) == len(walk) == lab.steps + 1
    times = in_page(tmp_path, lab, "plane.timesOf(settings.steps)")
    assert times == [step.t for step in walk] == SCHEDULE.times(lab.steps, quadratic)
    for frame, step in zip(page["frames"], walk, strict=True):
        # A particle between two points may fall to either, by the last bits of its place.
        off = (tensor(frame) - step.x).abs().max(1).values
        assert (off < 2e-3).double().mean() > 0.97, f"at t = {step.t}"


def test_the_walk_is_the_packages(lab: PlaneLab) -> None:
    lab.std, lab.label, lab.scale, lab.steps = 0.25, 1, 3.0, 12
    mixture = GaussianMixture(
        POINTS.double(), torch.full((4,), 0.25).double(), torch.full((4,), 0.25).double()
    )

    def log_prob(x_t: torch.Tensor, t: int) -> torch.Tensor:
        return mixture.class_posterior(x_t, t, SCHEDULE)[:, [1, 3]].sum(1).log()

    guided = classifier_guidance(mixture.denoiser(SCHEDULE), log_prob, SCHEDULE, 3.0)
    x_T = RowGenerator(0, torch.arange(40)).normal((40, 2)).double()
    times = SCHEDULE.times(12, quadratic)
    for mine, step in zip(
        lab.walk(), sample(guided, x_T, SCHEDULE, step=ddim_step, times=times), strict=True
    ):
        torch.testing.assert_close(mine.x, step.x, rtol=1e-5, atol=1e-5)


def test_guided_particles_end_on_points_of_the_class(lab: PlaneLab) -> None:
    lab.label, lab.scale = 1, 1.0
    ends = lab.walk()[-1].x
    nearest = torch.cdist(ends, POINTS.double()).argmin(1)
    assert set(LABELS[nearest].tolist()) == {1}
    lab.points = [[0.0, 0.0, 0], [1.0, 1.0, 0]]  # nobody there to guide towards
    lab.label = None
    free = lab.walk()[-1].x
    lab.label = 1
    torch.testing.assert_close(lab.walk()[-1].x, free)


def test_shares_of_the_page_are_those_of_python(lab: PlaneLab, tmp_path: Path) -> None:
    x = RowGenerator(3).normal((500, 2)).double()
    near, chance = in_page(
        tmp_path, lab, "[plane.near(given.x, points), plane.chance(points)]", x=x.flatten().tolist()
    )
    assert near == pytest.approx(lab.near(x))
    wanted = lab.near(torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0)))
    assert chance == pytest.approx(wanted, abs=0.01)


# ------------------------------------------------------------------ the network


def test_the_pages_network_answers_as_the_packages(lab: PlaneLab, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = MLP(width=8)
    values = torch.cat([p.data.flatten() for p in network.parameters()])
    x_t = RowGenerator(2).normal((6, 2)).float()
    answers = in_page(
        tmp_path,
        lab,
        """(() => {
            const network = new MLP({ width: 8 });
            network.values.set(given.values);
            const denoiser = plane.denoiserOf(network);
            return [1, 400, 1000].map((t) => denoiser(given.x_t, t));
        })()""",
        values=values.tolist(),
        x_t=x_t.flatten().tolist(),
    )
    for t, answer in zip([1, 400, 1000], answers, strict=True):
        with torch.no_grad():
            noise = network(x_t, torch.full((6,), t))
        wanted = convert(noise, x_t, t, SCHEDULE, NOISE, X0)
        scale = float(SCHEDULE.alpha[t] / SCHEDULE.sigma[t])
        assert float((tensor(answer) - wanted).abs().max()) * scale < 1e-4


def test_training_brings_the_loss_down_towards_the_exact_denoisers(
    lab: PlaneLab, tmp_path: Path
) -> None:
    """And the particles nearer to the points than noise, but not onto them."""
    lab.points = SHAPES["two moons"]
    page = in_page(
        tmp_path,
        lab,
        """await (async () => {
            const training = new plane.Training({ points, std, width: 16, seed: 1 });
            const losses = [];
            while (training.updates < 900) losses.push(training.update());
            const { frames } = await plane.walk(plane.denoiserOf(training.average), settings);
            const again = new plane.Training({ points, std, width: 16, seed: 1 });
            return { losses, share: plane.near(frames.at(-1), points),
                chance: plane.chance(points), least: await plane.leastLoss(points, std),
                same: again.update() === losses[0] };
        })()""",
    )
    losses = torch.tensor(page["losses"])
    assert losses[0] > 0.7
    assert page["least"] - 0.03 < float(losses[-300:].mean()) < 0.4
    assert page["share"] > page["chance"]
    assert page["share"] < 0.8 < lab.share
    assert page["same"]


def test_the_least_loss_is_that_of_the_exact_denoiser(lab: PlaneLab, tmp_path: Path) -> None:
    lab.std = 0.2
    least = in_page(tmp_path, lab, "await plane.leastLoss(points, std)")
    generator = torch.Generator().manual_seed(0)
    x_0 = lab.mixture.sample(40, generator)[0]
    errors = []
    for t in range(1, 1001):
        noise = torch.randn(40, 2, generator=generator, dtype=torch.float64)
        x_t = SCHEDULE.alpha[t] * x_0 + SCHEDULE.sigma[t] * noise
        x0_hat = lab.mixture.denoise(x_t, t, SCHEDULE)
        errors.append((convert(x0_hat, x_t, t, SCHEDULE, X0, NOISE) - noise).square().mean())
    assert least == pytest.approx(float(torch.stack(errors).mean()), abs=0.03)


# ------------------------------------------------------------------ what is refused, and kept


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"particles": 0}, "particles must lie in 1..1000"),
        ({"points": torch.zeros(101, 2)}, "1 to 100 points of the plane"),
        ({"points": torch.zeros(3, 3)}, r"points of the plane \[M, 2\], got shape \[3, 3\]"),
        ({"points": torch.full((2, 2), 3.5)}, "points must lie within -3..3, got 3.5 to 3.5"),
        ({"points": torch.full((2, 2), math.nan)}, "points must be finite"),
        ({"labels": torch.tensor([0, 2, 0, 0])}, "labels"),
        ({"labels": torch.tensor([0, 1])}, "labels"),
        ({"points": None}, "labels belong to points"),
    ],
)
def test_what_cannot_be_shown_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlaneLab(**{"points": POINTS, "labels": LABELS} | change)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("points", [[0.0, 0.0]]),
        ("points", [[0.0, 4.0, 0]]),
        ("points", [[0.0, math.nan, 0]]),
        ("points", [[0.0, 0.0, 2]]),
        ("points", [["0", 0.0, 1]]),
        ("points", [3]),
        ("points", [[0.0, 0.0, 0]] * 101),
        ("denoiser", "net"),
        ("std", 0.4),
        ("std", -0.1),
        ("width", 20),
        ("sampler", "heun"),
        ("eta", 1.5),
        ("steps", 1),
        ("label", 2),
        ("scale", 11.0),
        ("frame", -1),
        ("seed", -1),
    ],
)
def test_values_stay_in_their_range(lab: PlaneLab, name: str, value: Any) -> None:
    before = getattr(lab, name)
    with pytest.raises(traitlets.TraitError):
        setattr(lab, name, value)
    assert getattr(lab, name) == before


coordinates = st.floats(-3, 3, allow_nan=False)


@settings(max_examples=20, deadline=None)
@given(points=st.lists(st.tuples(coordinates, coordinates, st.sampled_from([0, 1])), max_size=8))
def test_whatever_points_are_set_the_lab_shows_them(points: list[tuple[float, float, int]]) -> None:
    lab = PlaneLab(particles=8)
    lab.points = points
    assert lab.points == [list(point) for point in points]
    lab.steps = 5
    (axes,) = lab.figure().axes
    marks = [c for c in axes.collections if c.get_sizes()[0] > 10]
    assert sum(len(c.get_offsets()) for c in marks) == len(points)


def test_an_empty_plane_has_no_walk(lab: PlaneLab) -> None:
    lab.points = []
    with pytest.raises(ValueError, match="the plane has no points"):
        lab.walk()
    assert "no points" in lab.figure().axes[0].get_title(loc="left")


def test_the_moons_are_those_of_the_data(lab: PlaneLab) -> None:
    dots, which = moons(2000, torch.Generator().manual_seed(0), noise=0)
    for label in (0, 1):
        mine = torch.tensor([row[:2] for row in SHAPES["two moons"] if row[2] == label])
        theirs = dots[which == label]
        assert torch.cdist(mine, theirs).min(1).values.max() < 0.05


def test_the_fallback_picture_shows_where_the_particles_are(lab: PlaneLab) -> None:
    (axes,) = lab.figure().axes
    assert "100% lie on a point" in axes.get_title(loc="left")
    lab.frame = 0
    (axes,) = lab.figure().axes
    assert axes.get_title(loc="left") == "t = 1000"
    shown = axes.collections[0].get_offsets()
    torch.testing.assert_close(torch.tensor(shown), lab.walk()[0].x)
