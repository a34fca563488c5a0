"""Pictures in colour in the widgets: their values in Python; tests/browser looks at the pixels."""

from functools import partial
from typing import Any

import coloured
import numpy as np
import pytest
import torch
from greys import half_a_level

pytest.importorskip("anywidget")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffusion_lessons.math.prediction import V
from diffusion_lessons.math.sampling import ddim_step, sample
from diffusion_lessons.math.schedule import cosine_schedule
from diffusion_lessons.networks.diffusion import DiffusionModel
from diffusion_lessons.networks.drawing import GUIDANCES
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.page import kit, widgets

LEVEL = half_a_level()


@pytest.fixture(scope="module")
def every() -> dict[str, Any]:
    return {name: widget for name, (widget, _, _) in coloured.made().items()}


def test_steps_shows_what_sample_makes(every: dict[str, Any]) -> None:
    *_, last = sample(coloured.denoiser, coloured.noise(), coloured.SCHEDULE, 4, ddim_step)
    shown = every["StepsExplorer"].pictures(4, 0)
    torch.testing.assert_close(shown, last.x.clamp(-1, 1), rtol=0, atol=LEVEL)


def test_guidance_shows_what_sample_makes(every: dict[str, Any]) -> None:
    guided = every["GuidanceExplorer"]
    *_, last = guided.sampled("one", 1, 4)
    shown = guided.pictures("one", 1, 4)
    torch.testing.assert_close(shown, last.x.clamp(-1, 1), rtol=0, atol=LEVEL)


def test_a_player_keeps_the_walk(every: dict[str, Any]) -> None:
    steps = list(sample(coloured.denoiser, coloured.noise(), coloured.SCHEDULE, 5))
    x, x0_hat = widgets.TrajectoryPlayer(steps).decoded()
    wanted = torch.stack([step.x for step in steps]).clamp(-1, 1)
    torch.testing.assert_close(x, wanted, rtol=0, atol=LEVEL)
    assert x0_hat.shape == (6, 2, 3, coloured.H, coloured.W)
    film = every["FilmPlayer"].decoded()["one"]
    torch.testing.assert_close(film[1], -coloured.colours(2), rtol=0, atol=LEVEL)


@pytest.mark.parametrize("invert", [False, True])
def test_the_ways_between_two_pictures(invert: bool) -> None:
    ends = coloured.colours(2) if invert else coloured.noise()
    between = widgets.InterpolationExplorer(
        *(coloured.denoiser, ends[:1], ends[1:], coloured.SCHEDULE),
        steps=3,
        positions=3,
        invert=invert,
    )
    a, b = between.noises()
    assert a.shape == (1, 3, coloured.H, coloured.W)
    *_, last = sample(coloured.denoiser, (a + b) / 2, coloured.SCHEDULE, 3, ddim_step)
    torch.testing.assert_close(between.straight()[1:2], last.x.clamp(-1, 1), rtol=0, atol=LEVEL)
    if invert:
        torch.testing.assert_close(between.mixed()[:1], ends[:1], rtol=0, atol=LEVEL)


def test_pictures_that_are_noised(every: dict[str, Any]) -> None:
    forward = every["ForwardExplorer"]
    a_t = forward.schedule.alpha_bar[forward.t]
    wanted = a_t.sqrt() * coloured.colours(2)[0] + (1 - a_t).sqrt() * forward.noise
    torch.testing.assert_close(forward.x_t, wanted.float())
    assert forward.noise.shape == (3, coloured.H, coloured.W)
    looked = every["UNetExplorer"]
    wanted = looked.passes[1].x_t[0].clamp(-1, 1)  # of the second of two times
    torch.testing.assert_close(looked.x_t, wanted, rtol=0, atol=LEVEL)
    weights = every["AttentionExplorer"].weights(0)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-4)


def test_a_decoder_and_a_gan(every: dict[str, Any]) -> None:
    plane = every["LatentExplorer"]
    wanted = coloured.colours(9)[4] * (0.6 + plane.z[0].tanh() / 3)
    torch.testing.assert_close(plane.picture, wanted, rtol=0, atol=LEVEL)
    stepper = every["DDGANStepper"]
    drawn = stepper._drawn(stepper._clean, 1, stepper._z)
    assert drawn.shape == (2, 2, 3, 8, 8)
    assert stepper.x_s_made.shape == (3, 8, 8)


def test_a_network_trained_on_a_folder_goes_into_the_widgets() -> None:
    """In colour, of a size and with classes of its own: the kernel computes, not the page."""
    torch.manual_seed(0)
    net = UNet(16, 3, channels=8, multipliers=(1,), blocks=1, heads=2, classes=3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model = DiffusionModel(net.eval(), cosine_schedule(200), V, names=["ant", "bee", "fly"])
    x_T = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 2])
    walk = widgets.StepsExplorer(model.denoiser(labels, clip=1), x_T, model.schedule, (1, 3), (0,))
    denoiser = model.denoiser(labels, clip=1)
    *_, last = sample(denoiser, x_T, model.schedule, 3, ddim_step)
    torch.testing.assert_close(walk.pictures(3, 0), last.x.clamp(-1, 1), rtol=0, atol=LEVEL)
    methods = {"free": partial(GUIDANCES["classifier-free"], model)}
    guided = widgets.GuidanceExplorer(methods, x_T, model.schedule, (1, 3), steps=3)
    assert guided._classes == [0, 1, 2]  # all that it knows
    assert guided._names == ["ant", "bee", "fly", "nothing"]
    denoiser = GUIDANCES["classifier-free"](model, torch.tensor([2, 2]), 3.0)
    *_, last = sample(denoiser, x_T, model.schedule, 3, ddim_step)
    shown = guided.pictures("free", 2, 3)
    torch.testing.assert_close(shown, last.x.clamp(-1, 1), rtol=0, atol=LEVEL)
    assert walk._network == guided._network == {}
    (axes,) = guided.figure().axes
    assert axes.get_title() == "ant, free"
    nothing = widgets.GuidanceExplorer(methods, x_T, model.schedule, (1,), classes=(3,), steps=3)
    *_, last = sample(model.denoiser(clip=1), x_T, model.schedule, 3, ddim_step)
    torch.testing.assert_close(nothing.pictures(), last.x.clamp(-1, 1), rtol=0, atol=LEVEL)
    assert nothing.figure().axes[0].get_title() == "nothing, free"
    with pytest.raises(ValueError, match="knows labels up to 3"):
        widgets.GuidanceExplorer(methods, x_T, model.schedule, (1,), classes=(0, 4), steps=3)
    player = widgets.TrajectoryPlayer(
        list(sample(model.denoiser(clip=1), x_T, model.schedule, 3)),
        denoiser=model.denoiser(clip=1),
        schedule=model.schedule,
    )
    assert player.decoded()[0].shape == (4, 2, 3, 16, 16)


def test_the_fallback_picture_is_in_colour(every: dict[str, Any]) -> None:
    for name, widget in every.items():
        figure = widget.figure()
        assert isinstance(figure, Figure), name
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = torch.tensor(np.asarray(canvas.buffer_rgba())[..., :3].astype(int))
        picture = [axes for axes in figure.axes if axes.images]
        shown = picture[0].images[0].get_array()
        if name not in ("AttentionExplorer", "UNetExplorer"):
            assert shown.ndim == 3, name
            assert (pixels.max(-1).values - pixels.min(-1).values).max() > 50, name


def test_pictures_side_by_side_have_their_own_place() -> None:
    pictures = coloured.colours(5)
    for each in (pictures, pictures[:, 0]):
        whole = kit.tiled(each, 2)
        assert whole.shape[-2:] == (3 * coloured.H, 2 * coloured.W)
        for k, picture in enumerate(each):
            row, column = divmod(k, 2)
            place = whole[..., row * coloured.H :, column * coloured.W :]
            assert torch.equal(place[..., : coloured.H, : coloured.W], picture)
        assert torch.all(whole[..., -coloured.H :, -coloured.W :] == -1)  # none is left


def test_what_is_kept_of_a_grey_picture_is_what_it_was() -> None:
    grey = coloured.colours(2)[:, :1]
    assert kit.check_pictures(grey).shape == (2, coloured.H, coloured.W)
    assert torch.equal(kit.check_pictures(grey), kit.check_pictures(grey[:, 0]))
    assert kit.with_channel(kit.check_pictures(grey).shape[1:]) == [1, coloured.H, coloured.W]
    walk = widgets.StepsExplorer(lambda x_t, t: 0.5 * x_t, grey, coloured.SCHEDULE, (1, 2), (0,))
    assert walk._shape == [2, coloured.H, coloured.W]


@pytest.mark.parametrize("shape", [(1, 2, 8, 8), (1, 4, 8, 8), (1, 3, 65, 8), (1, 3, 8, 0)])
def test_other_channels_and_larger_pictures_are_refused(shape: tuple[int, ...]) -> None:
    for check in (kit.check_pictures, lambda x: kit.check_batch(x, "images", 12)):
        with pytest.raises(
            ValueError, match=r"grey ones \[N, 1, H, W\] or in colour \[N, 3, H, W\]"
        ):
            check(torch.zeros(shape))


def test_the_largest_pictures_are_shown() -> None:
    large = coloured.colours(2, 64, 64)
    forward = widgets.ForwardExplorer(large)
    assert torch.equal(forward.x_0, large[0])
