"""The widgets whose pictures a network computes: they show what `sample` makes, and renew it."""

import base64
from functools import partial
from typing import Any

import pytest
import torch
import traitlets
from greys import half_a_level

from diffusion_lessons import ddim_invert, ddim_step, linear_schedule, sample, slerp
from diffusion_lessons.page import kit
from diffusion_lessons.page.kit import generator_for, ring, unpack_greys
from diffusion_lessons.page.widgets import (
    GuidanceExplorer,
    InterpolationExplorer,
    StepsExplorer,
    TruncationExplorer,
)

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
    generator = generator_for(0, use=1)
    *_, last = sample(denoiser, noise(), SCHEDULE, steps, rule, generator)
    level = half_a_level()  # half a grey
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
    film = unpack_greys(part["film"], [inner + inner + 1, 2, 1, 12, 12])
    by_time = {step.t: step for step in walk}
    coarse = half_a_level(12)
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


@pytest.mark.parametrize(
    ("network", "steps", "eta"), [({}, 5, 0.3), ({"name": "digits-ddpm"}, 1001, -0.1)]
)
def test_other_values_are_for_a_page_that_computes(
    explorer: StepsExplorer, network: dict[str, str], steps: int, eta: float
) -> None:
    explorer._network = network
    for name, value in [("steps", steps), ("eta", eta)]:
        with pytest.raises(traitlets.TraitError, match=f"{name} must"):
            setattr(explorer, name, value)
    explorer._network = {"name": "digits-ddpm"}
    explorer.steps, explorer.eta = 7, 0.25
    *_, last = explorer.sampled(7, 0.25)
    assert torch.equal(explorer.pictures(), last.x.clamp(-1, 1))


def test_a_page_that_asks_gets_a_new_noise_part_by_part(
    explorer: StepsExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = answers(explorer, monkeypatch)
    explorer._listen(explorer, {"ask": "kernel"}, [])
    assert sent == [{"kernel": True}]
    explorer.seed = 1
    assert (explorer.x_T - noise()).abs().mean() > 0.5
    part = explorer._index(4, 0)
    assert not explorer._has(part)
    while sent[-1].get("done") != sent[-1].get("of", -1):
        explorer._listen(explorer, {"ask": "part", "part": part, "seed": 1}, [])
    assert sent[-1] == {"part": part, "seed": 1, "done": 4, "of": 4}
    assert explorer._part(part)["calls"] == 4
    *_, last = explorer.sampled(4, 0)
    level = half_a_level()
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


def test_an_answer_repeats_the_number_of_its_question(
    explorer: StepsExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page with this widget hears it; the one that asked knows its own."""
    sent = answers(explorer, monkeypatch)
    explorer.seed = 1
    explorer._listen(explorer, {"ask": "part", "part": 0, "seed": 1, "question": "a7"}, [])
    assert sent[-1]["question"] == "a7"


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


def test_the_fallback_picture_has_a_row_for_each_pair_that_is_there() -> None:
    fresh = StepsExplorer(denoiser, noise(), SCHEDULE, (1, 4, 9), (0, 0.5, 1))

    def rows() -> list[str]:
        (axes,) = fresh.figure().axes
        return [label.get_text() for label in axes.get_yticklabels()]

    assert rows() == [r"$\eta$ = 0, 9 steps"]
    fresh.pictures(1, 0.5)
    assert rows() == [r"$\eta$ = 0, 9 steps", r"$\eta$ = 0.5, 1 step"]


# ------------------------------------------------------------------ interpolation


def test_each_has_a_view_a_picture_and_a_short_text(
    explorer: StepsExplorer, between: InterpolationExplorer
) -> None:
    for widget in (explorer, between):
        data, _ = widget._repr_mimebundle_()
        assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
        assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
        assert data["text/plain"] == f"{type(widget).__name__}()"


@pytest.fixture
def between() -> InterpolationExplorer:
    return InterpolationExplorer(denoiser, noise(), -noise().roll(1, 0), SCHEDULE, 5, positions=5)


def test_both_ways_show_what_sample_makes(between: InterpolationExplorer) -> None:
    a, b = noise()[1:], -noise()[:1]
    share = torch.tensor([0, 0.25, 0.5, 0.75, 1]).view(5, 1, 1, 1)
    level = half_a_level()
    for start, shown in [
        ((1 - share) * a + share * b, between.straight(1)),
        (slerp(a, b, share), between.on_shell(1)),
    ]:
        *_, last = sample(denoiser, start, SCHEDULE, 5, ddim_step)
        torch.testing.assert_close(shown, last.x.clamp(-1, 1), rtol=0, atol=level)
    mixed = between.mixed(1)
    ends = between.on_shell(1)[[0, -1]]
    torch.testing.assert_close(mixed[[0, -1]], ends)
    torch.testing.assert_close(mixed[2], ends.mean(0), rtol=0, atol=1e-6)


def test_real_pictures_are_encoded_and_come_back() -> None:
    widget = InterpolationExplorer(
        denoiser, CLEAN[:1], CLEAN[1:], SCHEDULE, 40, positions=3, invert=True
    )
    assert not widget._renewable  # there are no other rows
    torch.testing.assert_close(widget.mixed()[[0, -1]], CLEAN, rtol=0, atol=half_a_level())
    assert (widget.on_shell()[[0, -1]] - CLEAN).abs().max() < 0.1
    generator = generator_for(0, use=1)
    *_, top = ddim_invert(denoiser, CLEAN, SCHEDULE, 40, generator)
    torch.testing.assert_close(torch.cat(widget.noises()), top.x, rtol=0, atol=1e-6)


def test_other_digits_are_the_next_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.stack([CLEAN[i % 2] * (1 - 0.1 * i) for i in range(5)])
    widget = InterpolationExplorer(
        denoiser, rows, rows.flip(0), SCHEDULE, 4, positions=3, pairs=2, invert=True
    )
    assert widget._renewable
    widget.seed = 1
    assert torch.equal(widget.ends(1)[0], rows[3:4])
    widget.seed = 2
    assert torch.equal(widget.ends(1)[0], rows[:1])  # after the last the first
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(widget, "send", sent.append)
    part = widget._index(1)
    while not widget._has(part):
        widget._listen(widget, {"ask": "part", "part": part, "seed": 2}, [])
    torch.testing.assert_close(widget.mixed(1)[:1], rows[:1], rtol=0, atol=half_a_level())


def test_new_noise_is_another_noise_for_each_pair(between: InterpolationExplorer) -> None:
    between.seed = 1
    a, b = between.ends(0)
    assert (a - b).abs().mean() > 0.5
    assert (a - between.ends(1)[0]).abs().mean() > 0.5
    between.figure()  # still draws
    assert torch.equal(torch.cat(between.noises()), torch.cat([a, b]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": noise(3)}, "a and b must have one shape"),
        ({"a": torch.zeros(2, 2, 4, 4)}, "a must be 1 to"),
        ({"a": 2 * noise(), "invert": True}, "must lie in -1..1"),
        ({"steps": 1}, "steps must lie in 2..1000"),
        ({"positions": 2}, "positions must lie in 3..65"),
        ({"pairs": 0}, "pairs must lie in 1..12"),
        ({"seed": 2**40}, "seed must lie in"),
        ({"denoiser": "ddim"}, "denoiser must be a function"),
    ],
)
def test_what_cannot_be_interpolated_is_refused(change: dict[str, Any], message: str) -> None:
    wanted: dict[str, Any] = {"denoiser": denoiser, "a": noise(), "b": noise()}
    wanted |= {"schedule": SCHEDULE} | change
    with pytest.raises(ValueError, match=message):
        InterpolationExplorer(**wanted)


def test_share_and_pair_stay_in_their_range(between: InterpolationExplorer) -> None:
    for name, value in [("share", 1.1), ("share", -0.1), ("pair", 2), ("pair", -1)]:
        with pytest.raises(traitlets.TraitError):
            setattr(between, name, value)


def test_the_fallback_picture_has_the_three_ways(between: InterpolationExplorer) -> None:
    names = [axes.get_ylabel() for axes in between.figure().axes]
    assert names == ["pixels mixed", "straight", "on the shell"]


class Counted:
    """A denoiser that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x_t: torch.Tensor, t: int) -> torch.Tensor:
        self.calls += 1
        return denoiser(x_t, t)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("steps", [2, 6])
def test_each_part_says_how_many_calls_it_takes(invert: bool, steps: int) -> None:
    ends, counted = CLEAN if invert else noise(), Counted()
    explorer = InterpolationExplorer(
        counted, ends[:1], ends[1:], SCHEDULE, steps, positions=3, invert=invert
    )
    for part in range(explorer._count):
        counted.calls = 0
        ticks = sum(1 for _ in explorer._compute(part))
        assert ticks == counted.calls == explorer._calls(part)


CHECKS = 2  # calls that look at what a widget was given


def test_when_made_only_the_chosen_pictures_are_computed() -> None:
    counted = Counted()
    steps = StepsExplorer(counted, noise(1), SCHEDULE, (1, 8, 12, 500), (0, 0.5, 1))
    assert steps.steps in (8, 12)
    assert counted.calls <= steps.steps + CHECKS
    counted.calls = 0
    InterpolationExplorer(counted, noise(), noise(), SCHEDULE, 7)
    assert counted.calls <= 2 * 7 + CHECKS
    counted.calls = 0
    InterpolationExplorer(counted, CLEAN, CLEAN.flip(0), SCHEDULE, 7, invert=True)
    assert counted.calls <= 2 * 7 + CHECKS
    counted.calls = 0
    methods = {name: lambda label, scale: counted for name in "ab"}
    GuidanceExplorer(methods, noise(3), SCHEDULE, (0, 1, 2), range(10), 5)
    assert counted.calls <= 5 + 2 * CHECKS


def test_the_kernel_computes_what_else_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a page without the network: no more than it asks for."""
    counted = Counted()
    explorer = StepsExplorer(counted, noise(), SCHEDULE, (1, 4, 9), (0, 0.5))
    sent = answers(explorer, monkeypatch)
    assert [explorer._has(part) for part in range(6)] == [False, False, True, False, False, False]
    counted.calls, part = 0, explorer._index(4, 0.5)
    while not explorer._has(part):
        explorer._listen(explorer, {"ask": "part", "part": part, "seed": 0}, [])
    assert counted.calls == 4
    assert sent[-1] == {"part": part, "seed": 0, "done": 4, "of": 4}


@pytest.mark.slow
def test_a_notebook_for_the_book_stores_what_its_page_cannot_compute() -> None:
    explorer = StepsExplorer(denoiser, noise(), SCHEDULE, (1, 4, 9), (0, 0.5))
    between = InterpolationExplorer(denoiser, noise(), noise(), SCHEDULE, 3, positions=21)
    guided = GuidanceExplorer({"a": nothing, "b": nothing}, noise(), SCHEDULE, (0, 1), (5, 6), 3)
    kit.store_ahead()
    assert [explorer._has(part) for part in range(6)] == [True] * 3 + [False] * 3
    assert [part for part in range(between._count) if between._has(part)] == [
        *[0, *range(1, 22, 2)],  # the first pair, and every second position
        22,  # the ends of the second
    ]
    assert [part for part in range(8) if guided._has(part)] == [0, 1, 4, 5]


def towards(label: torch.Tensor, scale: float):
    """Guidance in a world of two pictures, where the class is the sign: exact log p(y | x_t)."""
    sign = (1.0 - 2.0 * label)[:, None, None, None]  # 1 for class 0, -1 for class 1

    def guided(x_t: torch.Tensor, t: int) -> torch.Tensor:
        return (1 - scale) * denoiser(x_t, t) + scale * sign * CLEAN[0]

    return guided


def nothing(label: torch.Tensor, scale: float):
    return denoiser


METHODS = {"pull": towards, "none": nothing}


@pytest.fixture
def guided() -> GuidanceExplorer:
    curves = {"pull": [(2, 0.4, 0.95), (0, 0.9, 0.7), (1, 0.8, 0.9)]}
    return GuidanceExplorer(METHODS, noise(3), SCHEDULE, (0, 1, 2.5), (1, 0), 5, curves)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("label", [0, 1])
def test_each_scale_shows_what_sample_makes(
    guided: GuidanceExplorer, method: str, label: int
) -> None:
    for scale in (0, 1, 2.5):
        steered = METHODS[method](torch.full((3,), label), scale)
        *_, last = sample(steered, noise(3), SCHEDULE, 5, ddim_step)
        shown = guided.pictures(method, label, scale)
        torch.testing.assert_close(shown, last.x.clamp(-1, 1), rtol=0, atol=half_a_level())
    assert not torch.equal(guided.pictures("pull", label, 0), guided.pictures("pull", label, 1))


def test_guidance_is_renewed_part_by_part(guided: GuidanceExplorer) -> None:
    sent = []
    guided.send = lambda message, *_: sent.append(message)
    before = guided.pictures("pull", 0, 1)
    guided.seed = 1
    part = 3  # pull, class 0, scale 0
    while not guided._has(part):
        guided._listen(guided, {"ask": "part", "part": part, "seed": 1}, [])
    assert sent[-1] == {"part": part, "seed": 1, "done": 5, "of": 5}
    assert not guided._has(4)  # a scale alone is a part
    *_, last = guided.sampled("pull", 0, 0.0)
    level = half_a_level()
    torch.testing.assert_close(
        guided.pictures("pull", 0, 0.0), last.x.clamp(-1, 1), rtol=0, atol=level
    )
    guided._listen(guided, {"ask": "part", "part": 4, "seed": 1}, [])
    assert torch.allclose(guided.pictures("pull", 0, 1), before)  # the pull alone decides


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scales": ()}, "scales must hold finite values that rise"),
        ({"scales": (1, 0)}, "scales must hold finite values that rise"),
        ({"scales": (0, float("nan"))}, "scales must hold finite values that rise"),
        ({"methods": {}}, "methods must name at least one"),
        ({"classes": (1, 1)}, "classes must be different labels"),
        ({"classes": (-1,)}, "classes must be different labels"),
        ({"classes": ()}, "classes must be different labels"),
        ({"steps": 0}, "steps must lie in 1..1000"),
        ({"x_T": torch.zeros(17, 1, 12, 12)}, "x_T must be 1 to 16 pictures"),
        ({"methods": {"odd": lambda label, scale: lambda x, t: x[:1]}}, "must keep the shape"),
        ({"methods": {"odd": lambda label, scale: 3}}, "must be a function"),
        ({"curves": {"other": [(0, 0.5, 0.5)]}}, "not among the methods"),
        ({"curves": {"pull": [(0, 0.5)]}}, "must hold points"),
        ({"curves": {"pull": [(0, 1.5, 0.5)]}}, "must hold points"),
        ({"seed": -1}, "seed must lie in"),
    ],
)
def test_guidance_that_cannot_be_shown_is_refused(change: dict[str, Any], message: str) -> None:
    arguments = {"methods": METHODS, "x_T": noise(), "schedule": SCHEDULE} | change
    with pytest.raises(ValueError, match=message):
        GuidanceExplorer(**arguments)


def test_only_what_was_given_can_be_chosen(guided: GuidanceExplorer) -> None:
    assert (guided.method, guided.label, guided.scale) == ("pull", 1, 1.0)
    for name, value in [("method", "push"), ("label", 2), ("scale", 0.5)]:
        with pytest.raises(traitlets.TraitError, match=f"{name} must be one of"):
            setattr(guided, name, value)
    with pytest.raises(ValueError, match="there are the methods"):
        guided.pictures(scale=0.5)
    assert guided._curves["pull"] == [[0, 0.9, 0.7], [1, 0.8, 0.9], [2, 0.4, 0.95]]  # by scale


def test_the_fallback_picture_has_a_row_for_each_scale(guided: GuidanceExplorer) -> None:
    axes = guided.figure().axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1"]  # what is computed
    guided.store_ahead()
    axes = guided.figure().axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "1", "2.5"]
    picture = axes.images[0].get_array()
    assert picture.shape == (3 * 12, 3 * 12)
    wanted = guided.pictures(scale=2.5)[1, 0].numpy()
    assert abs(picture[24:, 12:24] - wanted).max() < 1e-6


def decode(z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Pictures whose pixels are the latent's numbers, darker for higher classes."""
    picture = z.view(-1, 1, 2, 2) / (1 + label[:, None, None, None])
    return picture.repeat_interleave(4, 2).repeat_interleave(4, 3) / 4


@pytest.fixture
def truncated() -> TruncationExplorer:
    curves = {"truncation": [(2, 0.7, 0.8), (0.5, 0.2, 0.95)], "guidance": [(1, 0.9, 0.7)]}
    return TruncationExplorer(decode, 4, (0.5, 1, 2), (3, 0), 5, curves)


def test_a_threshold_draws_every_latent_in(truncated: TruncationExplorer) -> None:
    tight, loose = truncated.latents(0.5), truncated.latents(2)
    assert tight.abs().max() <= 0.5
    assert loose.abs().max() <= 2
    assert (tight.abs() <= loose.abs() + 1e-6).all()  # the same uniform numbers
    assert (tight.sign() == loose.sign()).all()
    assert torch.equal(truncated.latents(), truncated.latents(1))  # nearest to 1 at first
    for threshold in (0.5, 1, 2):
        for label in (3, 0):
            wanted = decode(truncated.latents(threshold), torch.full((5,), label)).clamp(-1, 1)
            shown = truncated.pictures("truncation", label, threshold)
            torch.testing.assert_close(shown, wanted, rtol=0, atol=half_a_level())


def test_truncation_is_renewed_class_by_class(truncated: TruncationExplorer) -> None:
    truncated.send = lambda message, *_: None
    before = truncated.latents(2)
    truncated.seed = 1
    assert (truncated.latents(2) - before).abs().mean() > 0.3
    truncated._listen(truncated, {"ask": "part", "part": 5, "seed": 1}, [])  # the last
    wanted = decode(truncated.latents(2), torch.zeros(5).long()).clamp(-1, 1)
    shown = truncated.pictures(label=0, scale=2)
    torch.testing.assert_close(shown, wanted, rtol=0, atol=half_a_level())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": (0, 1)}, "thresholds must be above 0"),
        ({"thresholds": (2, 1)}, "thresholds must hold finite values that rise"),
        ({"thresholds": ()}, "thresholds must hold finite values that rise"),
        ({"classes": (1, 1)}, "classes must be different labels"),
        ({"count": 17}, "count must lie in 1..16"),
        ({"latent": 0}, "latent must lie in"),
        ({"decode": lambda z, label: z}, "decode must make pictures"),
        ({"curves": {"truncation": [(1, 2, 0.5)]}}, "must hold points"),
        ({"seed": -1}, "seed must lie in"),
    ],
)
def test_truncation_that_cannot_be_shown_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TruncationExplorer(**({"decode": decode, "latent": 4} | change))


def test_the_fallback_picture_of_truncation_names_its_scale(truncated: TruncationExplorer) -> None:
    axes, plot = truncated.figure().axes
    assert axes.get_ylabel() == "threshold"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1"]
    # Beside it the measured curves, and on the knob's own a dot where the threshold was measured.
    lines = {line.get_label(): line.get_xydata().tolist() for line in plot.lines}
    assert lines["truncation"] == [[0.2, 0.95], [0.7, 0.8]]
    assert lines["guidance"] == [[0.9, 0.7]]
    assert len(plot.lines) == 2
    truncated.scale = 2
    _, plot = truncated.figure().axes
    assert plot.lines[1].get_xydata().tolist() == [[0.7, 0.8]]
    bare = TruncationExplorer(decode, 4, (0.5, 1, 2), (3, 0), 5)
    assert len(bare.figure().axes) == 1
