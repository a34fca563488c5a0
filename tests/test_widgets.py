"""The widgets without a browser: what Python promises, and the pure JavaScript under node."""

import base64
import inspect
import json
import re
import subprocess
import sys
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
import traitlets
from greys import half_a_level
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion_lessons.math.gaussian import forward, posterior
from diffusion_lessons.math.sampling import Step, sample
from diffusion_lessons.math.schedule import cosine_schedule, linear_schedule, vp_schedule

pytest.importorskip("anywidget")

import ipywidgets.embed

from diffusion_lessons.math.sampling import thin
from diffusion_lessons.networks.checkpoints import load_pretrained
from diffusion_lessons.page import kit, widgets
from diffusion_lessons.page.kit import Kit
from diffusion_lessons.page.kit.packing import LEVELS
from diffusion_lessons.page.widgets import (
    ForwardExplorer,
    PosteriorExplorer,
    ScheduleExplorer,
    TrajectoryPlayer,
)
from diffusion_lessons.page.widgets.trajectory import BUDGET

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def pictures(n: int = 3) -> torch.Tensor:
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(1)) * 2 - 1


def trajectory(x_0: torch.Tensor, steps: int = 100) -> list[Step]:
    g = torch.Generator().manual_seed(0)
    x_T = torch.randn(x_0.shape, generator=g)
    return list(sample(lambda x, t: x_0, x_T, linear_schedule(), steps, generator=g))


def each() -> list[Any]:
    points = torch.randn(50, 2, generator=torch.Generator().manual_seed(2))
    return [
        ForwardExplorer(pictures()),
        ForwardExplorer(pictures(), cosine_schedule(50), points, seed=3),
        ScheduleExplorer(),
        ScheduleExplorer(pictures(), "vp", 4),
        TrajectoryPlayer(trajectory(pictures(), 20), labels=[4, 5, 6]),
        TrajectoryPlayer(trajectory(points, 20)),
        PosteriorExplorer(),
        PosteriorExplorer(vp_schedule(4)),
    ]


def state_size(widget: Any) -> int:
    """Bytes of the stored state, binary parts as base64."""
    return sum(
        len(base64.b64encode(value)) if isinstance(value, bytes) else len(json.dumps(value))
        for name, value in widget.get_state().items()
        if name not in ("layout", "tooltip")
    )


# ------------------------------------------------------------------ every widget


@pytest.mark.slow
def test_the_package_itself_loads_no_widgets() -> None:
    code = "import sys, diffusion_lessons; print('anywidget' in sys.modules)"
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_importing_the_widgets_loads_no_matplotlib() -> None:
    code = "import sys, diffusion_lessons.page.widgets; print('matplotlib.figure' in sys.modules)"
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_each_has_a_view_a_picture_and_a_short_text() -> None:
    for widget in each():
        data, _ = widget._repr_mimebundle_()
        assert data[WIDGET_VIEW]["model_id"] == widget.model_id
        png = base64.b64decode(data["image/png"])
        assert png.startswith(b"\x89PNG")
        assert len(png) < 60_000
        assert data["text/plain"] == f"{type(widget).__name__}()"


@pytest.mark.slow
def test_the_picture_follows_the_state() -> None:
    for widget, change in [
        (ForwardExplorer(pictures()), {"t": 900}),
        (ScheduleExplorer(), {"kind": "cosine"}),
        (TrajectoryPlayer(trajectory(pictures(1), 4)), {}),
        (PosteriorExplorer(), {"x_t": 2.0}),
    ]:
        before = widget._repr_mimebundle_()[0]["image/png"]
        for name, value in change.items():
            setattr(widget, name, value)
        assert (widget._repr_mimebundle_()[0]["image/png"] != before) == bool(change)


def test_state_is_small() -> None:
    for widget in each():
        assert state_size(widget) < 300_000
    heaviest = [
        ForwardExplorer(pictures(10), points=torch.randn(1000, 2)),
        TrajectoryPlayer(trajectory(pictures(8), 200)),
        TrajectoryPlayer(trajectory(torch.randn(1500, 2), 200)),
    ]
    for widget in heaviest:
        assert state_size(widget) < 300_000


def code(text: str) -> str:
    """A script or a style without its comments."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def brought() -> dict[str, list[tuple[str, str]]]:
    """Names and texts of the scripts and styles that the kit and each widget bring to a page."""
    every = {"kit": Kit, **{name: getattr(widgets, name) for name in widgets.__all__}}
    return {name: kit.unpack_files(widget._files.default()) for name, widget in every.items()}


def test_scripts_import_what_comes_before_them_and_nothing_else() -> None:
    for owner, files in brought().items():
        known = set() if owner == "kit" else {"kit"}
        for name, text in files:
            assert set(re.findall(r'from "(.+)";$', text, re.MULTILINE)) <= known, name
            loads = name == "loader.js"  # it brings the others into the page
            assert loads or not re.search(r"\bimport\b(?! (\{|\*))|@import", code(text)), name
            known.add(f"./{name}")


def test_nothing_is_fetched() -> None:
    for files in brought().values():
        for name, text in files:
            addresses = re.findall(r"\w+://[\w./]+", text)
            assert set(addresses) <= {"http://www.w3.org/2000/svg"}, name  # a name, not a place


def test_every_widget_is_named_in_the_package() -> None:
    """One line in its ``__init__`` is enough; modules that begin with _ are shared by others."""
    folder = Path(widgets.__file__).parent
    homes = {getattr(widgets, name).__module__.rpartition(".")[2] for name in widgets.__all__}
    assert homes == {path.stem for path in folder.glob("[!_]*.py")}
    assert all(issubclass(getattr(widgets, name), kit.Explorer) for name in widgets.__all__)


def test_the_kit_brings_all_of_its_files() -> None:
    folder = Path(inspect.getfile(Kit)).parent
    there = {path.name for kind in ("*.js", "*.css") for path in folder.glob(kind)}
    brings = [name for name, _ in brought()["kit"]]
    assert there - {"start.js"} == set(brings)
    assert brings[0] == "loader.js"  # where start.js looks for it


def test_style_is_kept_to_the_widgets() -> None:
    styles = [text for files in brought().values() for name, text in files if name.endswith(".css")]
    for style in styles:
        for selectors in re.findall(r"([^{}]+)\{", code(style)):
            for selector in selectors.split(","):
                # Its host may be named before it, or be what holds it; a size or the medium may be
                # asked for around it.
                stays = r"(\[[\w-]+\] )?\.dl-widget|\.[\w-]+:has\(\.dl-widget\)$|@container|@media"
                assert re.match(stays, selector.strip()), selector


def test_a_notebook_carries_the_kit_once() -> None:
    """Whatever a page's widgets refer to, all of it is in the state that a notebook keeps."""
    several = each()
    state = ipywidgets.embed.dependency_state(several)
    text = json.dumps(state, default=str)
    assert text.count(Kit._files.default()) == 1
    (shared,) = {widget.get_state("_kit")["_kit"] for widget in several}
    assert shared.removeprefix("IPY_MODEL_") in state


def test_a_kit_that_was_closed_is_replaced() -> None:
    before = PosteriorExplorer()._kit
    assert PosteriorExplorer()._kit is before
    before.close()
    after = PosteriorExplorer()._kit
    assert after is not before
    assert after.comm is not None


# ------------------------------------------------------------------ forward


def test_forward_x_t_is_equation_4() -> None:
    schedule = cosine_schedule(60)
    widget = ForwardExplorer(pictures(), schedule, seed=5)
    widget.image, widget.t = 2, 33
    noise = torch.randn(28, 28, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(widget.noise, noise)
    x_s = forward(pictures()[2:].double(), 0, 33, schedule)
    expected = (x_s.mean + x_s.std * noise)[0, 0].float()
    torch.testing.assert_close(widget.x_t, expected, rtol=0, atol=1e-6)
    widget.t = 0
    torch.testing.assert_close(widget.x_t, pictures()[2, 0], rtol=0, atol=0)
    widget.t = schedule.T  # the last time exists


@pytest.mark.parametrize(
    ("images", "what"),
    [
        (torch.zeros(2, 2, 28, 28), "got shape [2, 2, 28, 28]"),
        (torch.zeros(28, 28), "got shape [28, 28]"),
        (torch.zeros(0, 1, 28, 28), "got shape [0, 1, 28, 28]"),
        (torch.zeros(13, 1, 28, 28), "1 to 12"),
        (torch.zeros(1, 1, 28, 28, dtype=torch.uint8), "must hold floats, got torch.uint8"),
        (torch.full((1, 1, 28, 28), 255.0), "must lie in -1..1, got 255 to 255"),
        (torch.full((1, 1, 28, 28), torch.nan), "must be finite"),
        ("a digit", "must be a tensor"),
    ],
)
def test_forward_refuses_other_images(images: Any, what: str) -> None:
    with pytest.raises(ValueError, match=re.escape(what)):
        ForwardExplorer(images)


def test_forward_refuses_other_points_and_times() -> None:
    with pytest.raises(ValueError, match=re.escape("points of the plane [M, 2], got shape [5, 3]")):
        ForwardExplorer(pictures(), points=torch.zeros(5, 3))
    widget = ForwardExplorer(pictures(), linear_schedule(10))
    for name, value in [("t", 11), ("t", -1), ("image", 3), ("draw", -1)]:
        with pytest.raises(traitlets.TraitError):
            setattr(widget, name, value)


# ------------------------------------------------------------------ schedule


def test_schedule_explorer_gives_the_schedule_shown() -> None:
    widget = ScheduleExplorer(kind="linear", T=50, beta_1=1e-3, beta_T=0.3)
    expected = linear_schedule(50, 1e-3, 0.3).alpha_bar
    torch.testing.assert_close(widget.schedule.alpha_bar, expected, rtol=0, atol=0)
    widget.kind = "vp"
    torch.testing.assert_close(widget.schedule.alpha_bar, vp_schedule(50).alpha_bar)


def test_lowering_T_pulls_t_along() -> None:
    widget = ScheduleExplorer()
    widget.t = 1000
    widget.T = 10
    assert widget.t == 10
    widget.t = 500
    assert widget.t == 10


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"kind": "quadratic"}, "linear, cosine, vp, got 'quadratic'"),
        ({"T": 0}, "T must lie in 1..10000, got 0"),
        ({"T": 2.5}, "T must be an int"),
        ({"beta_1": 0.0}, "beta_1 is a variance"),
        ({"beta_T": 1.0}, "beta_T is a variance"),
        ({"beta_T": float("nan")}, "got nan"),
    ],
)
def test_schedule_explorer_refuses(options: dict[str, Any], what: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(what)):
        ScheduleExplorer(**options)


def test_schedule_traits_refuse_too() -> None:
    widget = ScheduleExplorer()
    for name, value in [("beta_1", 0), ("beta_T", 1.5), ("T", 0), ("kind", "other"), ("t", -1)]:
        with pytest.raises(traitlets.TraitError):
            setattr(widget, name, value)


# ------------------------------------------------------------------ trajectory


@given(st.integers(2, 1500), st.integers(2, 60))
@settings(max_examples=200, deadline=None)
def test_thinning_keeps_the_ends_and_is_even(count: int, frames: int) -> None:
    x = torch.zeros(1, 2)
    steps = [Step(t, x, x) for t in reversed(range(count))]
    kept = [step.t for step in thin(steps, frames)]
    assert len(kept) == min(count, frames)
    assert (kept[0], kept[-1]) == (count - 1, 0)
    gaps = [t - s for t, s in pairwise(kept)]
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


def test_pictures_decode_to_half_a_grey_level() -> None:
    steps = trajectory(pictures(2), 10)
    widget = TrajectoryPlayer(steps)
    x, x0_hat = widget.decoded()
    assert list(x.shape) == [11, 2, 1, 28, 28]
    for i, step in enumerate(steps):
        for kept, exact in [(x[i], step.x), (x0_hat[i], step.x0_hat)]:
            error = (kept - exact.clamp(-1, 1)).abs().max()
            assert error <= half_a_level()
    assert len(set(zlib.decompress(widget._film))) <= LEVELS


def test_points_decode_closely() -> None:
    points = 5 * torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    steps = trajectory(points, 10)
    x, x0_hat = TrajectoryPlayer(steps).decoded()
    for i, step in enumerate(steps):
        torch.testing.assert_close(x[i], step.x, rtol=0, atol=1e-3)
        torch.testing.assert_close(x0_hat[i], step.x0_hat, rtol=0, atol=1e-3)


def test_a_long_film_keeps_its_ends_and_its_budget() -> None:
    steps = trajectory(pictures(8), 1000)
    widget = TrajectoryPlayer(steps, frames=40)
    assert len(widget._film) <= BUDGET
    assert 8 <= len(widget.times) <= 40
    assert (widget.times[0], widget.times[-1]) == (1000, 0)
    x, _ = widget.decoded()
    torch.testing.assert_close(x[0], steps[0].x.clamp(-1, 1), rtol=0, atol=half_a_level())
    torch.testing.assert_close(x[-1], steps[-1].x.clamp(-1, 1), rtol=0, atol=half_a_level())


def test_frame_and_t_follow_each_other() -> None:
    widget = TrajectoryPlayer(trajectory(pictures(1), 10))
    assert (widget.frame, widget.t) == (0, 1000)
    widget.frame = 3
    assert widget.t == 700
    widget.t = 0
    assert widget.frame == 10
    widget.t = 420  # between two frames: the nearest is shown, t stays where it was put
    assert (widget.frame, widget.t) == (6, 420)
    with pytest.raises(traitlets.TraitError, match=re.escape("0..10")):
        widget.frame = 11


def test_labels_may_be_a_tensor() -> None:
    widget = TrajectoryPlayer(trajectory(pictures(2), 3), labels=torch.tensor([7, 1]))
    assert widget.labels == ["7", "1"]


def test_steps_that_are_no_walk_have_names_of_their_own() -> None:
    widget = TrajectoryPlayer(trajectory(pictures(1), 3), names=("noised", "where it ends"))
    assert widget.names == ["noised", "where it ends"]
    figure = widget.figure()
    assert figure.get_suptitle() == "above: noised; below: where it ends"
    assert [axes.get_title() for axes in figure.axes[::4]] == ["t = 1000", ""]
    usual = TrajectoryPlayer(trajectory(pictures(1), 3))
    assert usual.names == []
    assert not usual.figure().get_suptitle()


def test_a_way_there_and_back_meets_a_time_twice() -> None:
    x = pictures()
    there = [Step(t, x, x) for t in (0, 500, 1000)]
    back = there[::-1]
    widget = TrajectoryPlayer(there + back)
    assert widget.times == [0, 500, 1000, 1000, 500, 0]
    widget.t = 500
    assert widget.frame == 1
    widget.frame = 5
    assert widget.t == 0
    widget.t = 500  # of the two frames at 500, the one nearer to where we are
    assert widget.frame == 4


def test_trajectory_refuses() -> None:
    good = trajectory(pictures(2), 5)
    wrong_size = [*good[:-1], Step(0, pictures(1), pictures(1))]
    two_channels = [Step(t, torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)) for t in (1, 0)]
    heavy = [Step(t, torch.randn(9000, 2), torch.randn(9000, 2)) for t in range(20, -1, -1)]
    infinite = [
        Step(1, torch.full((3, 2), torch.inf), torch.zeros(3, 2)),
        *trajectory(torch.zeros(3, 2), 5)[-1:],
    ]
    for steps, options, what in [
        (good[:1], {}, "at least 2 steps, got 1"),
        ([], {}, "at least 2 steps, got 0"),
        (wrong_size, {}, "the one at t = 0"),
        (two_channels, {}, "got shape [1, 2, 8, 8]"),
        (heavy, {}, "too heavy"),
        (infinite, {}, "must be finite"),
        (good, {"frames": 1}, "frames must lie in 2..1000, got 1"),
        (good, {"labels": ["one"]}, "one for each of 2 pictures, got 1"),
        (trajectory(torch.zeros(3, 2), 5), {"labels": "abc"}, "left out for points"),
        (good, {"names": ("noisy",)}, "two captions, got ('noisy',)"),
        (good, {"names": "ab"}, "two captions, got 'ab'"),
    ]:
        with pytest.raises(ValueError, match=re.escape(what)):
            TrajectoryPlayer(steps, **options)


# ------------------------------------------------------------------ posterior


def test_posterior_explorer_is_equation_7() -> None:
    widget = PosteriorExplorer()
    widget.t, widget.stride, widget.x_0, widget.x_t = 500, 100, 1.0, -0.5
    assert widget.s == 400
    x_t, x_0 = (torch.tensor([x], dtype=torch.float64) for x in (-0.5, 1.0))
    exact = posterior(x_t, x_0, 500, 400, linear_schedule())
    torch.testing.assert_close(widget.posterior.mean, exact.mean)
    widget.t = 50
    assert widget.s == 1  # never the clean picture itself, whose posterior has no width


def test_posterior_explorer_refuses() -> None:
    with pytest.raises(ValueError, match=re.escape("at least 2 steps, got T = 1")):
        PosteriorExplorer(linear_schedule(1))
    widget = PosteriorExplorer(linear_schedule(10))
    for name, value in [("t", 1), ("t", 11), ("stride", 0), ("stride", 10), ("x_0", 4.0)]:
        with pytest.raises(traitlets.TraitError):
            setattr(widget, name, value)


# ------------------------------------------------------------------ the JavaScript, under node


@pytest.mark.parametrize("T", [1, 2, 4, 10, 137, 1000, 4000])
@pytest.mark.parametrize("kind", ["linear", "cosine", "vp"])
def test_js_schedules_are_pythons(tmp_path: Path, kind: str, T: int) -> None:
    beta_1, beta_T = 2e-4, 0.013
    schedule = ScheduleExplorer(kind=kind, T=T, beta_1=beta_1, beta_T=beta_T).schedule
    settings = [T, beta_1, beta_T] if kind == "linear" else [T]
    module = f"""import {{ SCHEDULES }} from "kit";
        const {{ alphaBar, beta, logSnr }} = SCHEDULES.{kind}(...{settings});
        export default {{ a: alphaBar, beta, snr: logSnr.slice(1) }};"""
    curves = {
        name: torch.tensor(values, dtype=torch.float64)
        for name, values in javascript.run(tmp_path, module).items()
    }
    torch.testing.assert_close(curves["a"], schedule.alpha_bar, rtol=1e-9, atol=0)
    torch.testing.assert_close(curves["beta"], schedule.beta, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(curves["snr"], schedule.snr.log()[1:], rtol=1e-9, atol=1e-9)


def test_js_schedule_survives_running_out_of_signal(tmp_path: Path) -> None:
    module = """import { linearSchedule } from "kit";
        const { alphaBar, beta, logSnr } = linearSchedule(4000, 0.9, 0.99);
        export default [alphaBar[4000], beta[4000], logSnr[4000] === -Infinity];"""
    assert javascript.run(tmp_path, module) == [0, 1, True]


def test_a_film_knows_whether_its_page_can_walk_anew() -> None:
    schedule, model = linear_schedule(), load_pretrained("digits-ddpm")
    denoiser, x_T = model.denoiser(clip=1), torch.randn(1, 1, 28, 28)
    steps = list(sample(denoiser, x_T, schedule, 3))
    film = TrajectoryPlayer(steps, denoiser=denoiser, schedule=schedule)
    assert film._network == {"name": "digits-ddpm", "labels": None, "clip": True}
    assert film._walked == [step.t for step in steps]
    other = TrajectoryPlayer(steps, denoiser=lambda x, t: x / 2, schedule=schedule)
    assert (other._network, other._walked) == ({}, [])
    for wrong in (steps[1:], [*steps, *steps]):
        with pytest.raises(ValueError, match="must be a walk of pictures from 1000 to 0"):
            TrajectoryPlayer(wrong, denoiser=denoiser, schedule=schedule)
    with pytest.raises(ValueError, match="must be given together"):
        TrajectoryPlayer(steps, denoiser=denoiser)


def test_js_posterior_is_pythons_and_the_product(tmp_path: Path) -> None:
    schedule = linear_schedule()
    module = f"""import {{ linearSchedule }} from "kit";
        import {{ threeBells }} from "./posterior.js";
        const schedule = linearSchedule();
        const steps = {json.dumps([[1, 2], [100, 101], [1, 1000], [400, 700]])};
        export default steps.map(([s, t]) => [s, t, threeBells(1.3, -0.7, s, t, schedule)]);"""
    for s, t, bells in javascript.run(tmp_path, module):
        x_t, x_0 = (torch.tensor([x], dtype=torch.float64) for x in (-0.7, 1.3))
        exact = posterior(x_t, x_0, t, s, schedule)
        mean, std = bells["posterior"]
        assert mean == pytest.approx(float(exact.mean), rel=1e-9)
        assert std == pytest.approx(float(exact.std), rel=1e-9)
        (m1, s1), (m2, s2) = bells["prior"], bells["likelihood"]
        precision = 1 / s1**2 + 1 / s2**2  # of two bells multiplied
        assert std == pytest.approx(precision**-0.5, rel=1e-7)
        assert mean == pytest.approx((m1 / s1**2 + m2 / s2**2) / precision, rel=1e-7)


def test_js_decodes_a_film(tmp_path: Path) -> None:
    widget = TrajectoryPlayer(trajectory(pictures(1), 3))
    film = base64.b64encode(widget._film).decode()
    module = f'import {{ inflate }} from "kit";\nexport default await inflate("{film}");'
    assert bytes(javascript.run(tmp_path, module)) == zlib.decompress(widget._film)


def test_js_decodes_numbers_from_a_misaligned_view(tmp_path: Path) -> None:
    module = """import { decode } from "kit";
        const whole = new Uint8Array(13);
        new DataView(whole.buffer).setFloat32(1, 1.5, true);
        new DataView(whole.buffer).setFloat32(5, -2.25, true);
        export default decode(new DataView(whole.buffer, 1, 8), Float32Array);"""
    assert javascript.run(tmp_path, module) == [1.5, -2.25]


def test_js_noise_is_normal_and_repeatable(tmp_path: Path) -> None:
    module = """import { normals } from "kit";
        export default [normals(20001, 7), normals(20001, 7), normals(20001, 8)];"""
    first, again, other = (torch.tensor(x) for x in javascript.run(tmp_path, module))
    assert torch.equal(first, again)
    for x in (first, other):
        assert abs(x.mean()) < 4 / 20001**0.5
        assert abs(x.std() - 1) < 4 / (2 * 20001) ** 0.5
        assert abs((x**4).mean() - 3) < 0.3
        assert abs((x[1:] * x[:-1]).mean()) < 4 / 20001**0.5
    assert abs((first * other).mean()) < 4 / 20001**0.5


def test_js_histogram_is_a_density(tmp_path: Path) -> None:
    module = """import { histogram } from "kit";
        export default histogram([-3.99, 0, 0.01, 1, 4, 9], -4, 4, 8);"""
    density = javascript.run(tmp_path, module)
    assert density == pytest.approx([1 / 6, 0, 0, 0, 2 / 6, 1 / 6, 0, 0])


def test_js_slider_values_and_numbers(tmp_path: Path) -> None:
    module = """import { niceTicks, niceValues, short } from "kit";
        const numbers = [0, 0.0063, 0.73, 1e-5, 12.345, -0.5];
        export default [niceValues(1, 30, true), niceValues(1e-6, 0.9), niceTicks(0, 1000, 4),
            numbers.map((x) => short(x, 2))];"""
    whole, small, ticks, texts = javascript.run(tmp_path, module)
    assert whole == list(range(1, 31))
    assert (small[0], small[-1]) == (1e-6, 0.9)
    assert 1e-4 in small
    assert small == sorted(set(small))
    assert ticks == [0, 500, 1000]
    assert texts == ["0", "0.0063", "0.73", "1e−5", "12", "−0.50"]  # noqa: RUF001
