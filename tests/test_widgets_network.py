"""Widgets that look into the U-Net show what it computed."""

import json
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
import traitlets
from greys import half_a_level

from diffusion_lessons import digits, forward, linear_schedule, noise_to_x0, to_unit
from diffusion_lessons.math.prediction import PREDICTIONS
from diffusion_lessons.networks.diffusion import DiffusionModel
from diffusion_lessons.networks.unet import Attention, UNet, look

pytest.importorskip("anywidget")

from diffusion_lessons.page.widgets import AttentionExplorer, UNetExplorer

SCHEDULE = linear_schedule()
IMAGES = to_unit(digits(train=False).images[:2])
LABEL = torch.tensor([7, 2])
TIMES = (10, 500)


@pytest.fixture(scope="module")
def model() -> UNet:
    """Small, with attention at two resolutions, its weights drawn so that every stage speaks."""
    torch.manual_seed(0)
    made = UNet(channels=16, blocks=1, heads=2, attention_resolutions=(14, 7)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.2)
    return made


@pytest.fixture
def unet(model: UNet) -> UNetExplorer:
    return UNetExplorer(model, IMAGES, SCHEDULE, LABEL, TIMES, maps=3)


@pytest.fixture
def attention(model: UNet) -> AttentionExplorer:
    return AttentionExplorer(model, IMAGES, SCHEDULE, LABEL, TIMES)


def test_a_trace_tells_what_the_forward_pass_does(model: UNet) -> None:
    x_t, t = torch.randn(2, 1, 28, 28), torch.tensor([3, 700])
    stages = model.trace(x_t, t, LABEL)
    assert [stage.kind for stage in stages] == (
        ["input"] + 3 * ["down"] + 2 * ["middle"] + 5 * ["up"] + ["output"]
    )
    with torch.no_grad():
        torch.testing.assert_close(stages[-1].output, model(x_t, t, LABEL))
    # Four activations are saved on the way down, the last is used first on the way up.
    assert [stage.skip for stage in stages if stage.skip is not None] == [3, 2, 1, 0]
    assert [i for i, stage in enumerate(stages) if stage.resamples] == [2, 8]
    # Attention adds to its input what it finds: undone, its weights come from the block's output.
    middle = model.middle[0]
    assert isinstance(middle.attention, Attention)
    seen: list[torch.Tensor] = []
    hook = middle.attention.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        model(x_t, t, LABEL)
    hook.remove()
    queries, keys = stages[4].queries, stages[4].keys
    assert queries is not None
    assert keys is not None
    torch.testing.assert_close(look(queries, keys), middle.attention.weights(seen[0]))
    assert not model.middle[0]._forward_hooks  # nothing stays behind


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("picture", [0, 1])
def test_a_box_shows_the_maps_of_its_stage(
    unet: UNetExplorer, model: UNet, t: int, picture: int
) -> None:
    unet.t, unet.picture = t, picture
    noise = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    q = forward(IMAGES, 0, t, SCHEDULE)
    x_t = q.mean + q.std * noise
    level = {"rtol": 0, "atol": half_a_level()}
    torch.testing.assert_close(unet.x_t, x_t[picture, 0].clamp(-1, 1), **level)
    traced = model.trace(x_t, torch.full((2,), t), LABEL)
    x0_hat = noise_to_x0(x_t, traced[-1].output, t, SCHEDULE)
    torch.testing.assert_close(unet.x0_hat, x0_hat[picture, 0].clamp(-1, 1), **level)
    for i, stage in enumerate(unet._stages):
        unet.stage = i
        shown = traced[i].output[:, stage["shown"]]
        scale = shown.abs().quantile(0.99)
        wanted = (shown / scale)[picture].clamp(-1, 1)
        torch.testing.assert_close(unet.feature_maps(), wanted, **level)


def test_the_channels_shown_are_those_that_vary_most(unet: UNetExplorer) -> None:
    every = torch.stack([p.stages[4].output for p in unet.passes])
    variance = every.transpose(0, 2).flatten(1).var(1)
    shown = unet._stages[4]["shown"]
    assert len(shown) == 3
    rest = [c for c in range(len(variance)) if c not in shown]
    assert variance[shown].min() >= variance[rest].max()
    assert unet._stages[-1]["shown"] == [0]  # the noise has one channel only


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("head", [0, 1, 2])
def test_a_pixel_looks_where_the_network_does(
    attention: AttentionExplorer, head: int, t: int
) -> None:
    attention.t, attention.head, attention.row, attention.column = t, head, 9, 21
    stages = attention.passes[TIMES.index(t)].stages
    # The last stages with attention, on the way up: 10 at 14 x 14, 7 at 7 x 7.
    for panel, (i, side) in enumerate([(10, 14), (7, 7)]):
        place = 9 * side // 28 * side + 21 * side // 28
        weights = look(stages[i].queries, stages[i].keys)[0, :, place]  # [heads, places]
        wanted = (weights.mean(0) if head == 0 else weights[head - 1]).view(side, side)
        shown = attention.weights(panel)
        torch.testing.assert_close(shown.sum(), torch.tensor(1.0))
        assert (shown - wanted).abs().sum() < 0.05  # of 1: eight bits a number


def test_the_page_makes_the_same_weights(attention: AttentionExplorer, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    q, k = torch.randn(8, generator=generator), torch.randn(49, 8, generator=generator)
    module = f"""import {{ looks, spread }} from "./attention.js";
        const weights = looks({q.tolist()}, {k.flatten().tolist()}, 49, 8);
        export default [weights, spread(weights), spread([0.25, 0.25, 0.5, 0])];"""
    weights, wide, known = javascript.run(tmp_path, module)
    exact = look(q[None], k)[0].double()
    torch.testing.assert_close(torch.tensor(weights).double(), exact, atol=1e-6, rtol=0)
    entropy = -(exact * exact.log()).sum()
    assert wide == pytest.approx(float(entropy.exp()), rel=1e-5)
    assert known == pytest.approx(2**1.5)  # half a bit more than one of two


@pytest.mark.parametrize(
    ("name", "words"),
    [("noise", "noise"), ("x0", "x₀"), ("v", "v"), ("velocity", "velocity")],
)
def test_the_last_box_is_what_the_network_predicts(
    model: UNet, tmp_path: Path, name: str, words: str
) -> None:
    whole = DiffusionModel(model, SCHEDULE, PREDICTIONS[name])
    unet = UNetExplorer(whole, IMAGES, SCHEDULE, LABEL, TIMES, maps=3)
    last = {**unet._stages[-1], "prediction": unet._prediction}
    module = f"""
        import {{ sayStage }} from "./unet.js";
        const last = {json.dumps(last)};
        export default sayStage(last, last.prediction);
    """
    said = f"The predicted {words}, 28 \N{MULTIPLICATION SIGN} 28, at the picture's own size."
    assert javascript.run(tmp_path, module) == said


@pytest.mark.parametrize("kind", [UNetExplorer, AttentionExplorer])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(7, 1, 28, 28)}, "images must be 1 to 6 pictures"),
        ({"images": 3 * IMAGES}, "images must lie in -1..1"),
        ({"times": ()}, "times must rise"),
        ({"times": (0, 5)}, "times must rise, from 1 on"),
        ({"times": (5, 5)}, "times must rise"),
        ({"times": (5, 1001)}, "times must lie in 1..1000"),
        ({"model": torch.nn.Identity()}, "model must be a U-Net that can trace its stages"),
        ({"seed": -1}, "seed must lie in"),
    ],
)
def test_what_cannot_be_looked_into_is_refused(
    kind: Any, model: UNet, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**({"model": model, "images": IMAGES, "schedule": SCHEDULE, "times": (5,)} | change))


def test_maps_and_stages_are_checked(model: UNet) -> None:
    with pytest.raises(ValueError, match=r"maps must lie in 1\.\.16"):
        UNetExplorer(model, IMAGES, maps=17, times=(5,))
    with pytest.raises(ValueError, match=r"stages must be of \[1, 3, 4, 6, 7, 9, 10\]"):
        AttentionExplorer(model, IMAGES, stages=[2], times=(5,))
    plain = UNet(channels=16, blocks=1, attention_resolutions=())
    plain.middle[0].attention = torch.nn.Identity()
    with pytest.raises(ValueError, match="no attention"):
        AttentionExplorer(plain, IMAGES, times=(5,))


def test_only_what_there_is_can_be_chosen(unet: UNetExplorer, attention: AttentionExplorer) -> None:
    for widget, name, value in [
        (unet, "stage", 12),
        (unet, "t", 11),
        (unet, "picture", 2),
        (attention, "head", 3),
        (attention, "row", 28),
        (attention, "column", 28),
        (attention, "t", 11),
    ]:
        with pytest.raises(traitlets.TraitError, match=f"{name} must"):
            setattr(widget, name, value)


def test_the_fallback_pictures_say_what_they_show(
    unet: UNetExplorer, attention: AttentionExplorer
) -> None:
    def rows() -> list[str]:
        titles = [axes.get_title("left") for axes in unet.figure().axes]
        return [title for title in titles if title]

    down, middle, up = "box 4, on the way down", "box 6, in the middle", "box 11, on the way up"
    assert rows() == [down, middle, "box 7, on the way up"]
    unet.stage = 1
    assert rows() == ["box 2, on the way down", middle, up]
    unet.stage = 0
    assert rows() == ["box 1, the way in", down, middle, up]
    axes = unet.figure().axes
    assert "$x_t$, t = 500" in [one.get_title() for one in axes]
    assert sum(bool(one.images) for one in axes) == 4 * 3 + 2  # maps, x_t and x0_hat
    titles = [axes.get_title() for axes in attention.figure().axes]
    assert titles == ["$x_t$, t = 500", "14 x 14: where it looks", "7 x 7: where it looks"]
