"""Solvers at equal calls: what Python computes, what the page computes, and what they show."""

import json
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
import traitlets

from diffusion_lessons import GaussianMixture, even_in_log_snr, linear_schedule, ring_mixture

pytest.importorskip("anywidget")

from diffusion_lessons.page import kit
from diffusion_lessons.page.widgets import SolverExplorer
from diffusion_lessons.page.widgets.solvers import SOLVERS, SPREADS

MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.6], [1.1, 0.5], [0.1, -1.1]]),
    torch.tensor([0.35, 0.45, 0.3]),
    torch.tensor([0.3, 0.4, 0.3]),
)
NOISE = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))


def explorer(**traits: Any) -> SolverExplorer:
    made = SolverExplorer(MIXTURE, NOISE)
    for name, value in traits.items():
        setattr(made, name, value)
    return made


def test_nothing_is_stored_but_the_mixture_and_the_points() -> None:
    shown = explorer()
    own = {"_means", "_stds", "_weights", "_noise", "calls", "sampler", "spacing"}
    state = {name: shown.get_state()[name] for name in own}
    anywidgets = {"_anywidget_id", "_esm", "_css"}
    others = {*kit.Explorer.class_trait_names(sync=True), *anywidgets}
    assert {*shown.trait_names(sync=True)} - others == own
    assert torch.equal(torch.tensor(state["_means"]).float(), MIXTURE.means)
    noise = torch.from_numpy(kit.unpack(state["_noise"], "<f4").copy()).view(-1, 2)
    assert torch.equal(noise, NOISE)


@pytest.mark.parametrize("spacing", SPREADS)
def test_the_page_walks_as_python_does(spacing: str, tmp_path: Path) -> None:
    shown = explorer(spacing=spacing)
    counts = [1, 2, 5, 8, 30]
    page = javascript.run(
        tmp_path,
        f"""import {{ GaussianMixture, linearSchedule }} from "kit";
        import {{ looksOf, measured, timesOf, truthOf }} from "./solvers.js";
        const mixture = new GaussianMixture({{ means: {shown._means}, stds: {shown._stds},
            weights: {shown._weights} }});
        const noise = Float32Array.from({json.dumps(NOISE.flatten().tolist())});
        const denoiser = mixture.denoiser(linearSchedule());
        const truth = await truthOf(denoiser, noise);
        const found = [];
        for (const name of {list(SOLVERS)}) for (const calls of {counts}) found.push({{
            times: timesOf(name, calls, "{spacing}"), steps: looksOf(calls, "{spacing}"),
            ...await measured(name, calls, "{spacing}", {{ denoiser, noise, ends: truth.ends }}),
        }});
        export default {{ ends: truth.ends, found }};""",
    )
    ends = torch.tensor(page["ends"]).double().view(-1, 2)
    torch.testing.assert_close(ends, shown.truth()[-1].x, rtol=0, atol=2e-5)
    found = iter(page["found"])
    for name in SOLVERS:
        for calls in counts:
            there, walk = next(found), shown.walk(name, calls)
            assert there["times"] == shown.times(name, calls) == [step.t for step in walk]
            assert there["error"] == pytest.approx(shown.error(name, calls), rel=1e-3, abs=1e-4)
            paths = torch.tensor(there["paths"]).double()  # [5, steps + 1, 2]
            wanted = torch.stack([step.x[:5] for step in walk], 1)
            torch.testing.assert_close(paths, wanted, rtol=1e-4, atol=1e-4)
            shown.calls = calls
            for step, look in zip(there["steps"], shown.looks(), strict=True):
                assert list(step.values()) == pytest.approx(look)
            assert len(there["news"]) == (len(shown.looks()) if name == "heun" else 0)


def test_all_are_given_no_more_calls_than_is_said() -> None:
    shown = explorer()
    for calls in (1, 2, 3, 8, 40):
        made = {name: shown.walk(name, calls)[-1].calls for name in SOLVERS}
        assert made == {"ddim": calls, "heun": calls - (calls + 1) % 2, "dpm++": calls}


@pytest.mark.slow
def test_half_the_steps_are_twice_the_error_of_ddim_and_four_times_that_of_2m() -> None:
    shown = explorer(spacing="log-snr")
    for name, factor in (("ddim", 2), ("dpm++", 4)):
        found = shown.error(name, 20) / shown.error(name, 40)
        assert found == pytest.approx(factor, rel=0.15), name
    assert shown.error("heun", 20) / shown.error("heun", 40) > 3.5


def test_on_times_even_in_log_snr_heun_is_useless_at_few_calls() -> None:
    """Its second look there counts many times, and where it does so the guess changes most."""
    shown = explorer(calls=5)
    assert shown.error("heun") < 1.3 * shown.error("ddim")
    shown.spacing = "log-snr"
    assert shown.error("heun") > 5 * shown.error("ddim")
    schedule = linear_schedule()
    assert shown.times("heun") == schedule.times(3, even_in_log_snr(schedule))
    assert [round(weight, 1) for *_, weight in shown.looks()] == [12.5, 12.5]
    shown.calls = 39
    assert all(weight < 1 for *_, weight in shown.looks())
    shown.calls = 2
    assert shown.looks() == []


@pytest.mark.parametrize("sampler", SOLVERS)
def test_the_figure_shows_what_is_chosen(sampler: str) -> None:
    figure = explorer(sampler=sampler, calls=4).figure()
    ways, errors = figure.axes
    assert ways.get_title(loc="left").startswith(SOLVERS[sampler])
    assert [line.get_label() for line in errors.lines][:3] == list(SOLVERS.values())


@pytest.mark.parametrize(
    ("mixture", "noise", "words"),
    [
        (GaussianMixture(torch.zeros(1, 1), torch.ones(1), torch.ones(1)), NOISE, "got 1 in 1"),
        (ring_mixture(13), NOISE, "1 to 12 components in the plane, got 13 in 2"),
        (MIXTURE, NOISE[:0], "noise must be 1 to 200 points"),
        (MIXTURE, torch.zeros(201, 2), "noise must be 1 to 200 points"),
        (MIXTURE, NOISE[:, :1], "noise must be 1 to 200 points"),
        (MIXTURE, NOISE / 0, "noise must be finite"),
    ],
)
def test_what_cannot_be_shown_is_refused(mixture: Any, noise: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SolverExplorer(mixture, noise)


@pytest.mark.parametrize(
    ("name", "value"), [("calls", 0), ("calls", 41), ("sampler", "ddpm"), ("spacing", "quadratic")]
)
def test_values_stay_in_their_range(name: str, value: Any) -> None:
    with pytest.raises(traitlets.TraitError):
        setattr(explorer(), name, value)
