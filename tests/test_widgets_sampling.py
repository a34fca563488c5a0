"""The widgets whose pictures a network computes: they show what `sample` makes, and renew it."""

from functools import partial
from typing import Any

import pytest
import torch
import traitlets

from diffusion_lessons import ddim_step, linear_schedule, sample
from diffusion_lessons.widgets import StepsExplorer
from diffusion_lessons.widgets._base import ring, unpack_greys
from diffusion_lessons.widgets._computed import noise_seed

SCHEDULE = linear_schedule()
CLEAN = torch.stack([ring(12), -ring(12)])  # data that are one of two pictures


def denoiser(x_t: torch.Tensor, t: int) -> torch.Tensor:
    a_t = float(SCHEDULE.alpha_bar[t])
    far = (x_t - a_t**0.5 * CLEAN[:, None]).flatten(2).square().sum(2)  # [2, B]
    return torch.einsum("kb,kchw->bchw", torch.softmax(-far / (2 * (1 - a_t)), 0), CLEAN)


def noise(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 1, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def explorer() -> StepsExplorer:
    return StepsExplorer(denoiser, noise(), SCHEDULE, (1, 4, 9), (0, 0.5, 1), labels=["a", "b"])


@pytest.mark.parametrize("steps", [1, 4, 9])
@pytest.mark.parametrize("eta", [0, 0.5, 1])
def test_each_pair_shows_what_sample_makes(explorer: StepsExplorer, steps: int, eta: float) -> None:
    rule = partial(ddim_step, eta=eta)
    generator = torch.Generator().manual_seed(noise_seed(0, use=1))
    *_, last = sample(denoiser, noise(), SCHEDULE, steps, rule, generator)
    level = 1 / 255 + 1e-6  # half a grey
    shown = explorer.pictures(steps, eta)
    torch.testing.assert_close(shown, last.x.clamp(-1, 1), rtol=0, atol=level)
    assert explorer.seconds(steps, eta) >= 0


def test_the_film_holds_the_walk(explorer: StepsExplorer) -> None:
    part = explorer._part(explorer._index(9, 0.5))
    walk = list(explorer.sampled(9, 0.5))
    times = part["times"]
    assert times[0] == 1000
    assert times[-1] == 0
    assert len(times) == 7
    inner = len(times) - 2
    film = unpack_greys(part["film"], [inner + inner + 1, 2, 1, 12, 12], levels=12)
    by_time = {step.t: step for step in walk}
    coarse = 1 / 11 + 1e-6
    for k, t in enumerate(times[1:-1]):
        x = by_time[t].x.clamp(-1, 1)
        torch.testing.assert_close(film[k], x, rtol=0, atol=coarse)
    for k, t in enumerate(times[:-1]):
        guess = by_time[t].x0_hat.clamp(-1, 1)
        torch.testing.assert_close(film[inner + k], guess, rtol=0, atol=coarse)


def test_without_noise_on_the_way_the_start_decides(explorer: StepsExplorer) -> None:
    again = StepsExplorer(denoiser, noise(), SCHEDULE, (4,), (0, 1), seed=5)
    torch.testing.assert_close(again.pictures(4, 0), explorer.pictures(4, 0))


def answers(explorer: StepsExplorer, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(explorer, "send", sent.append)
    return sent


def test_a_page_that_asks_gets_a_new_noise_part_by_part(
    explorer: StepsExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = answers(explorer, monkeypatch)
    explorer._listen(explorer, {"ask": "kernel"}, [])
    assert sent == [{"kernel": True}]
    explorer.seed = 1
    assert (explorer.x_T - noise()).abs().mean() > 0.5
    with pytest.raises(LookupError, match="not computed yet"):
        explorer.pictures(4, 0)
    part = explorer._index(4, 0)
    while sent[-1].get("done") != sent[-1].get("of", -1):
        explorer._listen(explorer, {"ask": "part", "part": part, "seed": 1}, [])
    assert sent[-1] == {"part": part, "seed": 1, "done": 4, "of": 4}
    *_, last = explorer.sampled(4, 0)
    level = 1 / 255 + 1e-6
    torch.testing.assert_close(explorer.pictures(4, 0), last.x.clamp(-1, 1), rtol=0, atol=level)
    explorer.seed = 0
    assert torch.equal(explorer.x_T, noise())


def test_an_older_wish_is_not_worked_on(
    explorer: StepsExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = answers(explorer, monkeypatch)
    explorer.seed = 2
    explorer._listen(explorer, {"ask": "part", "part": 0, "seed": 1}, [])
    assert sent == [{"part": 0, "seed": 1, "done": 1, "of": 1}]
    assert not explorer._has(0)


def test_what_goes_wrong_is_told_to_the_page(
    explorer: StepsExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = answers(explorer, monkeypatch)
    explorer.seed = 1
    with pytest.raises(ValueError, match="part must lie in"):
        explorer._listen(explorer, {"ask": "part", "part": 99, "seed": 1}, [])
    assert "part must lie in" in sent[-1]["error"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_T": torch.zeros(17, 1, 4, 4)}, "x_T must be 1 to 16"),
        ({"x_T": torch.zeros(2, 4)}, "x_T must be 1 to 16"),
        ({"steps": ()}, "steps must hold"),
        ({"steps": (5, 2)}, "steps must hold at least one value and rise"),
        ({"steps": (0, 2)}, "each of steps must lie in 1..1000"),
        ({"steps": (2, 2000)}, "each of steps must lie in 1..1000"),
        ({"etas": (0, 2)}, "each of etas must lie in 0..1"),
        ({"labels": ["a"]}, "labels must be one for each of 2 pictures"),
        ({"denoiser": None}, "denoiser must be a function"),
        ({"denoiser": lambda x, t: x[:1]}, "denoiser must keep the shape"),
        ({"seed": -1}, "seed must lie in"),
    ],
)
def test_what_cannot_be_shown_is_refused(change: dict[str, Any], message: str) -> None:
    wanted: dict[str, Any] = {"denoiser": denoiser, "x_T": noise(), "schedule": SCHEDULE}
    wanted |= {"steps": (1, 2), "etas": (0, 1)} | change
    with pytest.raises(ValueError, match=message):
        StepsExplorer(**wanted)


def test_only_the_given_pairs_can_be_chosen(explorer: StepsExplorer) -> None:
    with pytest.raises(traitlets.TraitError, match="steps must be one of 1, 4, 9"):
        explorer.steps = 5
    with pytest.raises(traitlets.TraitError, match="eta must be one of"):
        explorer.eta = 0.3
    with pytest.raises(ValueError, match="steps must be one of"):
        explorer.pictures(5)


def test_the_fallback_picture_shows_all_steps(explorer: StepsExplorer) -> None:
    figure = explorer.figure()
    assert len(figure.axes) == 2
    texts = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert texts == ["1", "4", "9"]
