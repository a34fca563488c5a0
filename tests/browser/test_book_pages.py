"""The published book in a real browser: its widgets without a kernel, page by page.

What holds for every page, its looks and its accessibility, is in test_every_page.py: a file of its
own, so that two workers share the long walk through all pages.
"""

import base64
import math
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from pages import Widgets, settle, until

from diffusion_lessons import digits, to_unit
from diffusion_lessons.data import to_bytes
from diffusion_lessons.math.gaussian import posterior
from diffusion_lessons.math.schedule import linear_schedule

pytest.importorskip("anywidget")

from diffusion_lessons.page import widgets

ROOT = Path(__file__).parents[2]
STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
# Names for the widgets of each page, in the order in which they stand there.
PAGES = {
    "index": ["player"],
    "notebooks/00_start": ["player", "latent"],
    "notebooks/01_forward": ["forward", "schedule", "back"],
    "notebooks/02_ddpm": ["posterior", "task", "still", "spots", "field", "bound"],
    "notebooks/03_ddim": ["steps", "late_points", "late_digits", "digits", "noises"],
    "notebooks/04_unet": ["boxes", "looks"],
    "notebooks/05_guidance": ["guided", "arrows", "pets", "cut", "noise_cut"],
    "notebooks/06_ddgan": ["bumps", "judge", "stepper"],
    "notebooks/07_trilemma": ["room"],
    "notebooks/08_final_test": ["test"],
    "notebooks/09_since": ["names", "paths", "solvers", "everyone"],
}
LABELS = {
    "player": "Sampling player",
    "forward": "Forward noising explorer",
    "schedule": "Noise schedule explorer",
    "back": "Multimodal explorer",
    "posterior": "Posterior explorer",
    "task": "Film player",
    "still": "Film player",
    "spots": "Film player",
    "field": "Film player",
    "bound": "Bound explorer",
    "steps": "Steps and eta explorer",
    "late_points": "Sampling player",
    "late_digits": "Sampling player",
    "digits": "Interpolation explorer",
    "noises": "Interpolation explorer",
    "latent": "Latent explorer",
    "boxes": "U-Net explorer",
    "looks": "Attention explorer",
    "guided": "Guidance explorer",
    "arrows": "Guidance arrows explorer",
    "pets": "Guidance explorer",
    "judge": "Discriminator explorer",
    "cut": "Truncation explorer",
    "noise_cut": "Truncation explorer",
    "bumps": "Multimodal explorer",
    "stepper": "DDGAN stepper",
    "room": "Trilemma explorer",
    "test": "Final test",
    "names": "Prediction explorer",
    "paths": "Paths explorer",
    "solvers": "Solver explorer",
    "everyone": "Trilemma explorer",
}


pytestmark = pytest.mark.usefixtures("quiet")


# All pages, by their sources, and two that Sphinx adds.
EVERY = [
    *sorted(
        {
            str(source.relative_to(folder).with_suffix(""))
            for folder, patterns in [
                (ROOT / "book", ("*.ipynb", "*.md", "reference/*.md")),
                (ROOT, ("notebooks/[0-9]*.ipynb",)),
            ]
            for pattern in patterns
            for source in folder.glob(pattern)
        }
    ),
    *("genindex", "search"),
]


def opened(watched: tuple[Any, Any], site: str, name: str, anew: bool = False) -> Widgets:
    """A page and its widgets. Tests of one page that follow each other share it, for a browser
    takes seconds to lay it out; each is of another widget. It is loaded ``anew`` for one that would
    have to wait until the page has computed what a test before has asked it for.
    """
    page, _ = watched
    page.set_viewport_size({"width": 1280, "height": 900})
    if anew or page.url != f"{site}/{name}.html":
        page.goto(f"{site}/{name}.html")
    return Widgets(page, {widget: LABELS[widget] for widget in PAGES[name]})


def dressed(page: Any, theme: str) -> None:
    """The page in a theme, once its colours have faded over and its widgets are painted anew."""
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    page.wait_for_function(
        """() => !document.getAnimations().some(
            one => one instanceof CSSTransition && one.playState === "running")"""
    )
    settle(page)


def stored(name: str) -> list[Any]:
    """The widgets of a page's notebook, as Python objects made from their stored state alone."""
    path = ROOT / ("book" if name == "index" else "") / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    state = notebook.metadata.widgets[STATE]["state"]
    shown = [
        output.data[VIEW]["model_id"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if VIEW in output.get("data", {})
    ]
    return [revived(state[model]) for model in shown]


def revived(model: Any) -> Any:
    kind = getattr(widgets, model["state"]["_anywidget_id"].rpartition(".")[2])
    values = dict(model["state"])
    for buffer in model.get("buffers", []):
        *path, last = buffer["path"]
        place = values
        for step in path:
            place = place[step]
        place[last] = base64.b64decode(buffer["data"])
    widget = kind.__new__(kind)  # __init__ would compute everything anew
    for name, value in values.items():
        if name in widget.traits():
            widget._trait_values[name] = value
        else:
            setattr(widget, name, value)  # the parts of a computed widget are traits of their own
    return widget


def greys(x: torch.Tensor) -> torch.Tensor:
    return to_bytes(x.clamp(-1, 1)).int()


def press(page: Widgets, *keys: str) -> None:
    for key in keys:
        page.page.keyboard.press(key)


def first_number(said: str) -> float:
    (number, *_) = re.findall(r"-?\d+(?:\.\d+)?", said.replace("\N{MINUS SIGN}", "-"))
    return float(number)


def first_zero() -> torch.Tensor:
    """The first picture that lesson 01 shows."""
    images, labels = digits()
    return to_unit(images[int((labels == 0).nonzero()[0])])[0]


def test_every_page_is_walked_through(book: Path) -> None:
    found = [str(path.relative_to(book).with_suffix("")) for path in book.rglob("*.html")]
    apart = ("_static/", "_modules/", "embed/")  # embedded are the widgets of these pages, alone
    assert sorted(EVERY) == sorted(name for name in found if not name.startswith(apart))


def test_each_widget_of_the_course_is_tried_here(book: Path) -> None:
    lessons = {f"notebooks/{p.stem}" for p in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    assert lessons | {"index"} == set(PAGES)
    kinds = {type(widget).__name__ for name in PAGES for widget in stored(name)}
    labs = {"DigitLab", "PlaneLab"}  # pages of their own, with tests of their own
    assert kinds == set(widgets.__all__) - labs
    for name in PAGES:
        assert len(stored(name)) == len(PAGES[name])


def test_the_latent_is_decoded_at_the_chosen_place(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/00_start")
    widget = stored("notebooks/00_start")[1]
    page.ready("latent")
    slider = page.slider("latent", "across")
    slider.focus()
    press(page, "Home", *["ArrowRight"] * 3)
    page.slider("latent", "up").focus()
    press(page, "End", "ArrowLeft")
    widget._trait_values |= {"across": 3, "up": widget._side - 2}
    assert first_number(page.said("latent", "across")) == pytest.approx(
        float(widget.z[0]), abs=0.01
    )
    assert (page.greys("latent", "picture") - greys(widget.picture)).abs().max() <= 1
    plane = page.canvas("latent", "plane")
    plane.scroll_into_view_if_needed()
    size = plane.bounding_box()
    plane.click(position={"x": size["width"] - 3, "y": size["height"] - 3})  # the lower right
    widget._trait_values |= {"across": widget._side - 1, "up": 0}
    assert (page.greys("latent", "picture") - greys(widget.picture)).abs().max() <= 1
    slider.focus()
    press(page, "Home")
    before = page.read("latent", "plane")
    page.drag(slider, 0, 0.5)
    assert page.read("latent", "plane") != before  # the frame moves along


@pytest.mark.parametrize("name", ["notebooks/00_start", "index", "notebooks/03_ddim"])
def test_a_film_shows_the_frame_that_was_stored(watched: Any, site: str, name: str) -> None:
    page = opened(watched, site, name)
    for player, widget in zip(PAGES[name], stored(name), strict=True):
        if not isinstance(widget, widgets.TrajectoryPlayer):
            continue
        page.ready(player)
        slider = page.slider(player, "frame")
        slider.focus()
        press(page, "Home", *["ArrowRight"] * 5)  # a key also ends what plays by itself
        if len(widget._shape) == 2:
            assert page.said(player, "frame").startswith(f"time {widget.times[5]},")
            continue
        x, x0_hat = widget.decoded()
        for k in range(len(x[0])):
            assert (page.greys(player, f"x-{k}") - greys(x[5, k, 0])).abs().max() <= 1
            assert (page.greys(player, f"x0_hat-{k}") - greys(x0_hat[5, k, 0])).abs().max() <= 1
        slider.focus()
        press(page, "Home")
        page.drag(slider, 0, 0.999)
        assert (page.greys(player, "x-0") - greys(x[-1, 0, 0])).abs().max() <= 1


def test_films_side_by_side_show_the_frames_that_were_stored(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/02_ddpm")
    for player, widget in zip(PAGES["notebooks/02_ddpm"], stored("notebooks/02_ddpm"), strict=True):
        if not isinstance(widget, widgets.FilmPlayer):
            continue
        page.ready(player)
        page.slider(player, "frame").focus()
        press(page, "Home", "ArrowRight", "ArrowRight")
        assert page.said(player, "frame").startswith(f"time {widget.times[2]}, frame 3 of")
        for i, film in enumerate(widget.decoded().values()):
            for k in range(film.shape[1] if film.ndim == 4 else 0):
                assert (page.greys(player, f"film{i}-{k}") - greys(film[2, k])).abs().max() <= 1


def test_the_bound_closes_at_the_posterior(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/02_ddpm")
    (widget,) = [w for w in stored("notebooks/02_ddpm") if isinstance(w, widgets.BoundExplorer)]
    assert f"gap {widget.gap:.3f} nats" in page.words("bound")
    page.slider("bound", "mean").focus()
    press(page, *["ArrowRight"] * 22)  # to 1.10
    page.slider("bound", "std").focus()
    press(page, *["ArrowLeft"] * 10)  # to 0.50
    widget.mean, widget.std = 1.1, 0.5
    assert widget.gap < 0.001
    assert f"gap {widget.gap:.3f} nats" in page.words("bound")


def test_the_posterior_is_equation_7(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/02_ddpm")
    before = page.read("posterior", "bells")
    for trait in ("x_0", "x_t", "t", "stride"):
        page.slider("posterior", trait).focus()
        press(page, *["ArrowRight"] * 3)
    page.slider("posterior", "x_t").focus()
    press(page, "End")
    assert page.read("posterior", "bells") != before
    x_0, x_t, t, stride = (
        first_number(page.said("posterior", trait)) for trait in ("x_0", "x_t", "t", "stride")
    )
    times = (int(t), int(t - stride))
    exact = posterior(torch.tensor([x_t]), torch.tensor([x_0]), *times, linear_schedule())
    text = f"= {float(exact.mean):.3f}, standard deviation".replace("-", "\N{MINUS SIGN}")
    page.widget("posterior").get_by_text(text).wait_for()
    assert f"{float(exact.std):.3f}" in page.words("posterior")
    # The top of the green bell, found in the canvas: the highest of the three, below 1 / 1.12.
    canvas = page.canvas("posterior", "bells")
    box = canvas.evaluate("e => [e.clientWidth, e.clientHeight]")
    left, right, top, bottom = 46, box[0] - 20, 30, box[1] - 42  # the plot's margins, kit.js
    place = [
        left + (float(exact.mean) + 4) / 8 * (right - left),
        bottom - (bottom - top) / 1.12,
    ]
    colour = canvas.evaluate(
        "(e, [x, y]) => [...e.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3)", place
    )
    assert colour == [0x00, 0x7A, 0x5A]


def test_the_forward_process_is_the_formula(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/01_forward")
    widget = stored("notebooks/01_forward")[0]
    zero = first_zero()
    alpha_bar = linear_schedule().alpha_bar
    slider = page.slider("forward", "t")
    slider.focus()
    press(page, "Home")
    assert (page.greys("forward", "x_t") - greys(zero)).abs().max() <= 1
    press(page, *["ArrowRight"] * 7)
    assert page.said("forward", "t").startswith("7")
    wanted = alpha_bar[7].sqrt() * zero + (1 - alpha_bar[7]).sqrt() * widget.noise
    assert (page.greys("forward", "x_t") - greys(wanted)).abs().max() <= 1
    press(page, "Home")
    page.drag(slider, 0, 0.5)
    t = int(slider.input_value())
    assert 400 < t < 600
    wanted = alpha_bar[t].sqrt() * zero + (1 - alpha_bar[t]).sqrt() * widget.noise
    assert (page.greys("forward", "x_t") - greys(wanted)).abs().max() <= 1
    page.widget("forward").get_by_role("button", name="New noise").click()
    assert (page.greys("forward", "x_t") - greys(wanted)).abs().max() > 100


def test_the_schedule_is_the_formula(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/01_forward")
    explorer = page.widget("schedule")
    before = page.read("schedule", "alpha_bar")
    slider = page.slider("schedule", "T")
    slider.focus()
    press(page, "Home", *["ArrowRight"] * 3)
    steps = int(first_number(page.said("schedule", "T")))
    t = page.slider("schedule", "t")
    t.focus()
    press(page, "End")
    press(page, "Home")  # before the first step the picture is still whole
    assert (page.greys("schedule", "x_t") - greys(first_zero())).abs().max() <= 1
    left = float(linear_schedule(steps).alpha_bar[-1].sqrt())
    explorer.get_by_text(f"= {left:.2g} of the picture").wait_for()
    assert page.read("schedule", "alpha_bar") != before
    before = page.read("schedule", "alpha_bar")
    explorer.locator("select").select_option("cosine")
    assert page.read("schedule", "alpha_bar") != before


def test_the_last_of_many_steps_back_is_two_bumps(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/01_forward")
    widget = stored("notebooks/01_forward")[2]
    widget.schedule = linear_schedule()
    for key, stride in [("Home", 1), ("End", widget.t)]:
        page.slider("back", "stride").press(key)
        widget._trait_values |= {"stride": stride}
        shared = f"share {100 * widget.overlap:.0f}\N{NO-BREAK SPACE}% of their area"
        page.widget("back").get_by_text(shared).wait_for()


def test_steps_and_eta_show_the_digits_that_were_stored(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/03_ddim")
    widget = stored("notebooks/03_ddim")[0]
    page.ready("steps")
    exact = widget.pictures()
    for i in range(6):
        assert (page.greys("steps", f"x-{i}") - greys(exact[i, 0])).abs().max() <= 1
    for k, steps in enumerate(widget._all_steps):
        if not widget._has(k):
            continue
        page.canvas("steps", f"finished-{k}").click()
        assert page.said("steps", "steps") == str(steps)
        exact = widget.pictures(steps, 0.0)
        assert (page.greys("steps", "x-3") - greys(exact[3, 0])).abs().max() <= 1
    assert widget._has(widget._known(10, 0.0))


@pytest.mark.parametrize("name", ["digits", "noises"])
def test_interpolation_shows_that_place_of_each_way(watched: Any, site: str, name: str) -> None:
    page = opened(watched, site, "notebooks/03_ddim")
    widget = stored("notebooks/03_ddim")[PAGES["notebooks/03_ddim"].index(name)]
    page.ready(name)
    slider = page.slider(name, "share")
    slider.focus()
    press(page, "Home")
    page.drag(slider, 0, 0.3)
    place = round(float(page.said(name, "share").split()[1]) * 20)
    press(page, *["ArrowRight"] * (place % 2))  # every second place is in the strips
    straight, on_shell = widget._along(0, [place + place % 2])[0]
    mixed = widget.mixed(0)[place + place % 2]
    for way, exact in [("mixed", mixed), ("straight", straight), ("on_shell", on_shell)]:
        shown = page.greys(name, f"picture-{way}")
        assert (shown - greys(exact[0])).abs().max() <= 1, way
    press(page, "Home")
    page.widget(name).get_by_role("radio").first.focus()
    press(page, "ArrowRight")  # of which the two pictures are stored
    page.ready(name)
    shown = page.greys(name, "picture-mixed")
    assert (shown - greys(widget.mixed(1)[0, 0])).abs().max() <= 1


def test_the_boxes_of_the_unet_show_what_it_computed(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/04_unet")
    widget = stored("notebooks/04_unet")[0]
    page.ready("boxes")
    box = page.widget("boxes").get_by_role("radiogroup", name="stage of the network")
    page.choose(box.get_by_role("radio").first)
    slider = page.slider("boxes", "t")
    slider.focus()
    press(page, "Home", *["ArrowRight"] * 2)
    widget._trait_values |= {"stage": 0, "t": widget._times[2]}
    assert page.said("boxes", "t") == str(widget.t)
    maps = greys(widget.feature_maps())
    down = math.ceil(len(maps) / 6)
    across = math.ceil(len(maps) / down)
    shown = page.greys("boxes", "maps", down * 15 - 1, across * 15 - 1)
    for k in range(len(maps)):
        y, x = 15 * (k // across), 15 * (k % across)
        assert (shown[y : y + 14, x : x + 14] - maps[k]).abs().max() <= 1
    assert (page.greys("boxes", "x0_hat") - greys(widget.x0_hat)).abs().max() <= 1
    press(page, "Home")
    page.drag(slider, 0, 0.999)
    widget._trait_values["t"] = widget._times[-1]
    assert (page.greys("boxes", "x_t") - greys(widget.x_t)).abs().max() <= 1


def test_attention_spreads_as_the_weights_do(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/04_unet")
    widget = stored("notebooks/04_unet")[1]
    page.ready("looks")
    page.slider("looks", "row").focus()
    press(page, "Home", *["ArrowRight"] * 8)
    page.slider("looks", "column").focus()
    press(page, "Home", *["ArrowRight"] * 12)
    page.slider("looks", "head").select_option("0")
    widget._trait_values |= {"row": 8, "column": 12, "head": 0}
    for i in (0, 1):
        weights = widget.weights(i)
        wide = float((-weights * weights.clamp(min=1e-30).log()).sum().exp())
        page.settle()
        words = page.widget("looks").locator(f'[data-part="spread-{i}"]').inner_text()
        assert abs(float(words.split()[3]) - wide) <= (0.06 if wide < 9.9 else 0.51)
    before = page.read("looks", "look-0")
    page.drag(page.slider("looks", "t"), 0, 0.999)
    assert page.read("looks", "look-0") != before


def test_guidance_shows_the_samples_of_each_scale(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/05_guidance")
    widget = stored("notebooks/05_guidance")[0]
    page.ready("guided")
    slider = page.slider("guided", "scale")
    slider.focus()
    press(page, "Home", *["ArrowRight"] * 2)

    def exact(scale: float) -> torch.Tensor:
        pictures = widget.pictures("classifier", 0, scale)  # whose gradient no page has
        return greys(pictures[:, 0].transpose(0, 1).reshape(28, -1))

    page.ready("guided")
    scales, wide = widget._scales, 28 * widget._shape[0]
    assert (page.greys("guided", "samples", 28, wide) - exact(scales[2])).abs().max() <= 1
    press(page, "Home")
    page.drag(slider, 0, 0.999)
    page.ready("guided")
    assert (page.greys("guided", "samples", 28, wide) - exact(scales[-1])).abs().max() <= 1


def test_the_arrows_end_where_the_formulas_say(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/05_guidance")
    before = page.read("arrows", "plane")
    for trait in ("x", "y", "scale", "frame"):
        page.slider("arrows", trait).focus()
        press(page, *["ArrowRight"] * 2)
        assert page.read("arrows", "plane") != before
        before = page.read("arrows", "plane")
    page.drag(page.slider("arrows", "scale"), 0, 0.999)
    assert page.read("arrows", "plane") != before


def test_truncation_shows_the_samples_that_were_stored(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/05_guidance")
    widget = stored("notebooks/05_guidance")[3]
    page.ready("cut")
    pictures = widget.pictures()[:, 0].view(4, 4, 28, 28)
    exact = greys(pictures.permute(0, 2, 1, 3).reshape(112, 112))
    assert (page.greys("cut", "samples", 112, 112) - exact).abs().max() <= 1
    before = page.read("cut", "input")
    page.drag(page.slider("cut", "scale"), 0.5, 0.1)
    assert page.read("cut", "input") != before


def test_cats_and_dogs_are_asked_for_by_name(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/05_guidance", anew=True)
    page.ready("pets")
    label = page.slider("pets", "label")
    assert label.locator("option").all_inner_texts() == ["cat", "dog", "nothing"]
    before = page.read("pets", "samples")
    label.select_option("1")
    page.drag(page.slider("pets", "scale"), 0, 0.999)
    page.ready("pets")
    assert page.read("pets", "samples") != before


def test_the_true_step_and_ddpms_share_what_the_formulas_say(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/06_ddgan")
    widget = stored("notebooks/06_ddgan")[0]
    before = page.read("bumps", "curves")
    stride = page.slider("bumps", "stride")
    stride.focus()
    press(page, "End", *["ArrowLeft"] * 4)
    assert page.read("bumps", "curves") != before
    page.slider("bumps", "x_t").focus()
    press(page, *["ArrowRight"] * 6)
    steps, s, x_t = (
        int(re.findall(r"\d+", page.said("bumps", "stride"))[0]),
        int(re.findall(r"\d+", page.said("bumps", "stride"))[-1]),
        first_number(page.said("bumps", "x_t")),
    )
    widget.schedule = linear_schedule()
    widget._trait_values |= {"t": steps + s, "stride": steps, "x_t": x_t}
    shared = f"share {100 * widget.overlap:.0f}\N{NO-BREAK SPACE}% of their area"
    page.widget("bumps").get_by_text(shared).wait_for()
    before = page.read("bumps", "curves")
    page.drag(page.slider("bumps", "t"), 0, 0.999)
    assert page.read("bumps", "curves") != before


def test_what_the_discriminator_says_is_seen_to_change(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/06_ddgan")
    widget = stored("notebooks/06_ddgan")[1]
    counts, right = widget._counts, widget._right
    after = page.read("judge", "plane")
    page.slider("judge", "moment").focus()
    press(page, "Home")
    assert page.read("judge", "plane") != after
    page.slider("judge", "t").focus()
    press(page, "End")
    share = f"{100 * right[0][counts['t'] - 1]:.0f}\N{NO-BREAK SPACE}% of all pairs"
    page.widget("judge").get_by_text(share).wait_for()
    before = page.read("judge", "plane")
    page.slider("judge", "point").select_option(index=1)  # a text would be taken for a label, too
    assert page.read("judge", "plane") != before


def test_another_latent_draws_another_digit_of_the_same_x_t(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/06_ddgan")
    widget, group = stored("notebooks/06_ddgan")[2], page.widget("stepper")
    page.ready("stepper")
    before = page.read("stepper", "x_t")
    page.slider("stepper", "t").focus()
    press(page, "End")
    page.ready("stepper")
    assert page.read("stepper", "x_t") != before
    noisy = page.read("stepper", "x_t")
    page.slider("stepper", "z").focus()
    press(page, "Home", "ArrowRight", "ArrowRight")
    page.choose(group.get_by_role("radio", name="picture 2 of 4"))
    widget._trait_values |= {"t": 4, "z": 2, "picture": 1}
    assert (page.greys("stepper", "x0_drawn") - greys(widget.x0_drawn)).abs().max() <= 1
    assert (page.greys("stepper", "x_s_made") - greys(widget.x_s_made)).abs().max() <= 1
    true, made = widget.judged
    judged = group.locator('[data-part="judged"]').inner_text()
    assert [int(n) for n in re.findall(r"\d+", judged)] == [round(100 * true), round(100 * made)]
    page.choose(group.get_by_role("radio", name="box 8 of 8"))
    loss_d, loss_g = widget.losses
    note = group.locator('[data-part="note"]')
    note.get_by_text(f"= {loss_d:.2f} small; G wants").wait_for()
    assert f"= {loss_g:.2f} small" in note.inner_text()
    # A step of sampling: four boxes, from pure noise, another x_t.
    page.slider("stepper", "mode").select_option("sampling")
    group.get_by_role("radio", name=re.compile(r"^box 4 of 4:")).wait_for(state="attached")
    assert group.get_by_role("radio", name=re.compile(r"^box \d of 4:")).count() == 4
    assert page.read("stepper", "x_t") != noisy
    page.ready("stepper")  # computed by the page
    page.choose(group.get_by_role("radio", name="latent 7 of 8"))
    assert page.said("stepper", "z") == "7 of 8"
    group.get_by_role("button", name="Play").click()
    note.filter(has_text="The next step starts").wait_for()


def test_a_point_in_the_room_opens_its_samples(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/07_trilemma")
    widget, group = stored("notebooks/07_trilemma")[0], page.widget("room")
    page.ready("room")
    for row in widget._rows:
        page.slider("room", "method").select_option(row["method"])
        said = f"{row['method']}: precision {row['precision']:.2f}, recall {row['recall']:.2f}"
        group.locator('[data-part="note"]', has_text=said).wait_for()
    before = page.read("room", "room")
    for name in ("turn", "tilt"):
        page.slider("room", name).focus()
        press(page, "Home")
    assert page.said("room", "turn") == "0°"
    assert page.read("room", "room") != before
    before, first = page.read("room", "room"), page.read("room", "samples")
    page.drag(page.slider("room", "turn"), 0, 0.999)
    assert page.said("room", "turn") == "90°"
    assert page.read("room", "room") != before
    # Far right is the fastest.
    canvas = page.canvas("room", "room")
    box = canvas.bounding_box()
    fastest = max(widget._rows, key=lambda row: row["images_per_second"])
    wide = box["width"] - min(220, 0.4 * box["width"])
    speeds = [math.log10(row["images_per_second"]) for row in widget._rows]
    heights = [row["precision"] for row in widget._rows]

    def share(value: float, values: list[float]) -> float:
        room = 0.08 * (max(values) - min(values))
        return (value - min(values) + room) / (max(values) - min(values) + 2 * room) - 0.5

    x = box["width"] / 2 + wide * share(math.log10(fastest["images_per_second"]), speeds)
    y = box["height"] / 2 - 8 - (box["height"] - 90) * share(fastest["precision"], heights)
    canvas.click(position={"x": x, "y": y})
    said = f"{fastest['method']}: precision"
    group.locator('[data-part="note"]', has_text=said).wait_for()
    assert page.read("room", "samples") != first


@pytest.mark.parametrize(
    ("widget", "slider", "first", "last"),
    [("names", "t", "1", "1000"), ("solvers", "calls", "1", "40"), ("paths", "frame", "1000", "0")],
)
def test_what_came_later_moves(
    watched: Any, site: str, widget: str, slider: str, first: str, last: str
) -> None:
    """What the pictures show is held to Python's in tests of each of the three."""
    page = opened(watched, site, "notebooks/09_since")
    page.settle()
    before = page.said(widget, slider)
    page.slider(widget, slider).focus()
    press(page, "End")
    assert re.search(rf"\b{last}\b", page.said(widget, slider))
    press(page, "Home")
    assert re.search(rf"\b{first}\b", page.said(widget, slider))
    assert page.said(widget, slider) != before


def test_all_methods_are_in_the_room_of_lesson_09(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/09_since")
    page.ready("everyone")
    (widget,) = (w for w in stored("notebooks/09_since") if isinstance(w, widgets.TrilemmaExplorer))
    for row in widget._rows:
        page.slider("everyone", "method").select_option(row["method"])
        said = f"{row['method']}: precision {row['precision']:.2f}, recall {row['recall']:.2f}"
        group = page.widget("everyone")
        group.locator('[data-part="note"]', has_text=said).wait_for()


def test_the_final_test_is_graded_without_a_kernel(watched: Any, site: str) -> None:
    page = opened(watched, site, "notebooks/08_final_test")
    widget, group = stored("notebooks/08_final_test")[0], page.widget("test")
    for i, item in enumerate(widget._items):
        group.locator(".dl-dot").nth(i).click()
        card = group.locator(f'section[data-part="{item["id"]}"]')
        card.wait_for()
        if item["kind"] == "match":
            for k in range(7):
                card.get_by_role("combobox").nth(k).select_option(str(k))
        elif item["kind"] == "number":
            # Which numbers were drawn is told by the text alone, subscripts as people read them.
            text = card.locator("label").inner_text()
            (answer,) = {
                variant["answer"]
                for variant in item["variants"]
                if re.sub(r"_\{([^}]*)\}|_(\w)", r"\1\2", variant["text"]) == text
            }
            card.get_by_role("textbox").fill(f"{answer:.2f}" if abs(answer) < 100 else str(answer))
        else:
            card.get_by_role("radio").nth(item["right"]).check()
        card.get_by_role("button", name="Check").click()
        assert card.get_by_role("status").inner_text().startswith("Right."), item["id"]
    group.locator(".dl-dot").last.click()
    group.get_by_text("Your score").wait_for()
    most = sum(len(item.get("pairs", "1")) for item in widget._items)
    assert f"{most} of {most} points at the first try" in group.inner_text()
    card = group.locator('section[data-part="number-1"]')
    group.locator(".dl-dot").nth(1).click()
    before = card.locator("label").inner_text()
    card.get_by_role("button", name="Other numbers").click()
    assert card.locator("label").inner_text() != before
    link = group.locator('section[data-part="bug-1"] a')
    group.locator(".dl-dot").nth([item["id"] for item in widget._items].index("bug-1")).click()
    assert link.get_attribute("href") == "01_forward.html"


def test_the_first_page_plays_pauses_and_rests_for_who_wants_less_motion(
    watched: Any, site: str
) -> None:
    page = opened(watched, site, "index", anew=True)
    slider = page.slider("player", "frame")
    until(slider, "e => Number(e.value) >= 2")
    page.widget("player").get_by_role("button", name="Pause").click()
    page.settle()
    resting = slider.input_value()
    page.page.wait_for_timeout(900)
    assert slider.input_value() == resting
    page.page.emulate_media(reduced_motion="reduce")
    page = opened(watched, site, "index", anew=True)
    page.ready("player")
    page.page.wait_for_timeout(900)
    assert page.slider("player", "frame").input_value() == slider.get_attribute("max")


def test_search_finds_a_lesson(watched: Any, site: str) -> None:
    page, _ = watched
    page.goto(f"{site}/search.html?q=posterior")
    page.locator('#search-results a[href*="02_ddpm"]').first.wait_for()


def test_it_works_from_a_folder_without_a_server(book: Path, watched: Any) -> None:
    """Opened as files: nothing but the folder and a browser."""
    page, _ = watched
    page.goto((book / "notebooks" / "03_ddim.html").as_uri())
    widgets_in_page = Widgets(page, {"steps": LABELS["steps"]})
    widgets_in_page.ready("steps")
    widgets_in_page.slider("steps", "steps").focus()
    press(widgets_in_page, "Home")
    exact = stored("notebooks/03_ddim")[0].pictures(1, 0.0)
    assert (widgets_in_page.greys("steps", "x-0") - greys(exact[0, 0])).abs().max() <= 1
    page.locator("mjx-container:visible").first.wait_for()  # the formulas too
