"""The widgets whose pictures a network computes, in a real JupyterLab: with the kernel, without."""

from typing import Any

import pytest
from greys import STORED
from pages import Page, check_names, check_narrow, until

SETUP = """
import time, torch
from diffusion_lessons.math.schedule import linear_schedule
from diffusion_lessons.page.widgets import *
from diffusion_lessons.page.kit import ring

g = torch.Generator().manual_seed(3)
schedule = linear_schedule()
clean = torch.stack([ring(), ring().transpose(1, 2), -ring()])
wait = 0.0

def denoiser(x_t, t):  # for data that are one of three pictures, exactly
    time.sleep(wait)
    a = float(schedule.alpha_bar[t])
    far = (x_t - a**0.5 * clean[:, None]).flatten(2).square().sum(2)  # [3, B]
    weight = torch.softmax(-far / (2 * (1 - a)), 0)
    return torch.einsum("kb,kchw->bchw", weight, clean)

noise = torch.randn(3, 1, 28, 28, generator=g)

def towards(label, scale):  # the exact guess, and so much of the wanted picture
    wanted = clean[label]
    return lambda x_t, t: (1 - scale) * denoiser(x_t, t) + scale * wanted
"""
CELLS = [
    SETUP,
    "walks = StepsExplorer(denoiser, noise, schedule, (1, 2, 5, 10, 20), (0, 0.5, 1))\nwalks",
    "noises = InterpolationExplorer(denoiser, noise[:2], noise[1:], schedule, 10)\nnoises",
    "digits = InterpolationExplorer(denoiser, clean, clean.roll(1, 0), schedule, 10, pairs=2,"
    " invert=True)\ndigits",
    "guided = GuidanceExplorer({'weak': lambda k, s: towards(k, s / 4), 'strong': towards}, noise,"
    " schedule, (0, 0.2, 0.6, 1), (0, 1, 2), 4, {'weak': [(0, .9, .7), (1, .8, .8)],"
    " 'strong': [(0, .9, .7), (0.5, .6, .85), (1, .5, .9)]})\nguided",
    "def decode(z, label):  # bright where the first numbers of the latent are large\n"
    "    return (z[:, :1, None, None] + clean[label]).clamp(-1, 1)\n"
    "cut = TruncationExplorer(decode, 2, (0.5, 1, 2), (0, 2), 4,"
    " {'truncation': [(0.5, .2, .9), (2, .6, .8)], 'other': [(1, .7, .7)]})\ncut",
]
LABELS = {
    "walks": "Steps and eta explorer",
    "noises": "Interpolation explorer",
    "digits": "Interpolation explorer",
    "guided": "Guidance explorer",
    "cut": "Truncation explorer",
}


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def notebook(open_notebook: Any) -> Page:
    page = Page(open_notebook("sampling.ipynb", CELLS), LABELS)
    for name in LABELS:
        page.ready(name)
    return page


def test_steps_and_eta_by_keyboard_show_that_pair(notebook: Page) -> None:
    steps, eta = notebook.slider("walks", "steps"), notebook.slider("walks", "eta")
    steps.focus()
    notebook.page.keyboard.press("Home")
    for _ in range(2):
        notebook.page.keyboard.press("ArrowRight")
    eta.focus()
    notebook.page.keyboard.press("End")
    assert (notebook.said("walks", "steps"), notebook.said("walks", "eta")) == ("5", "1")
    notebook.lab.wait_for_python("(walks.steps, walks.eta)", "(5, 1.0)")
    exact = notebook.python_bytes("list(walks.sampled(5, 1))[-1].x").view(3, 28, 28)
    for i in range(3):
        for part in ("x", "x0_hat"):  # at the walk's end both are the finished picture
            assert (notebook.greys("walks", f"{part}-{i}") - exact[i]).abs().max() <= STORED
    strip = notebook.greys("walks", "finished-2", 3 * 28)
    assert (strip - exact.reshape(3 * 28, 28)).abs().max() <= STORED
    assert "5 network calls" in notebook.words("walks")


def test_the_mouse_moves_along_the_walk(notebook: Page) -> None:
    notebook.lab.python("0", "walks.steps, walks.eta = 5, 0.5")
    slider = notebook.slider("walks", "walk")
    notebook.drag(slider, 0.99, 0.4)
    assert notebook.said("walks", "walk") == "time 600, frame 3 of 6"
    notebook.lab.wait_for_python("walks.walk", "0.4")
    step = "list(walks.sampled(5, 0.5))[2]"
    coarse = 255 / 11 / 2 + 1  # a film has 12 greys
    for part in ("x", "x0_hat"):
        exact = notebook.python_bytes(f"{step}.{part}").view(3, 28, 28)
        assert (notebook.greys("walks", f"{part}-1") - exact[1]).abs().max() <= coarse
    slider.focus()
    notebook.page.keyboard.press("Home")
    exact = notebook.python_bytes("walks.x_T").view(3, 28, 28)
    assert (notebook.greys("walks", "x-0") - exact[0]).abs().max() <= coarse


def test_a_click_on_a_strip_chooses_it(notebook: Page) -> None:
    notebook.canvas("walks", "finished-3").click()
    notebook.lab.wait_for_python("walks.steps", "10")


def test_play_walks_to_the_finished_pictures(notebook: Page) -> None:
    notebook.lab.python("0", "walks.walk = 0.0")
    notebook.widget("walks").get_by_role("button", name="Play").click()
    notebook.lab.wait_for_python("walks.walk", "1.0")


def test_new_noise_starts_with_the_chosen_pair_and_a_newer_one_supersedes(notebook: Page) -> None:
    lab, widget = notebook.lab, notebook.widget("walks")
    lab.python("0", "walks.steps, walks.eta, walks.walk, wait = 20, 0.0, 1.0, 0.05")
    lab.wait_for_python("(walks.steps, walks.seed)", "(20, 0)")
    again = widget.get_by_role("button", name="New noise")
    again.click()
    progress = widget.get_by_role("progressbar")
    progress.wait_for()  # a walk takes a second
    until(progress, "bar => bar.value > 0 && bar.value < 1")
    assert widget.get_by_text("not computed yet for this noise").is_visible()
    again.click()
    lab.wait_for_python("walks.seed", "2")
    notebook.ready("walks")
    have = "[walks._part(k)['times'] and k for k in range(15) if walks._has(k)]"
    assert eval(lab.python(have))[0] == 4  # 20 steps, eta 0, before the others
    exact = notebook.python_bytes("list(walks.sampled(20, 0))[-1].x").view(3, 28, 28)
    shown = notebook.greys("walks", "x-0")
    assert (shown - exact[0]).abs().max() <= STORED
    lab.python("0", "wait = 0.0")
    lab.wait_for_python("sum(walks._has(k) for k in range(15))", "15")
    widget.get_by_role("progressbar").wait_for(state="hidden")
    lab.python("0", "walks.seed = 0")
    lab.wait_for_python("sum(walks._has(k) for k in range(15))", "15")
    notebook.ready("walks")


def test_what_goes_wrong_in_the_kernel_is_said(notebook: Page) -> None:
    notebook.lab.python("0", "kept = walks.denoiser; walks.denoiser = None; walks.seed = 5")
    widget = notebook.widget("walks")
    widget.get_by_text("The kernel could not do it").wait_for()
    notebook.lab.python("0", "walks.denoiser = kept; walks.seed = 0")
    notebook.ready("walks")


@pytest.mark.parametrize("name", ["noises", "digits"])
def test_the_share_shows_that_place_of_each_way(notebook: Page, name: str) -> None:
    slider = notebook.slider(name, "share")
    slider.focus()
    notebook.page.keyboard.press("Home")
    for _ in range(7):
        notebook.page.keyboard.press("ArrowRight")
    assert notebook.said(name, "share") == "share 0.35 of the second"
    notebook.lab.wait_for_python(f"round({name}.share * 20)", "7")
    for way in ("mixed", "straight", "on_shell"):
        exact = notebook.python_bytes(f"{name}.{way}()[7]").view(28, 28)
        assert (notebook.greys(name, f"picture-{way}") - exact).abs().max() <= 1, way
        places = notebook.python_bytes(f"{name}.{way}()[::2, 0].transpose(0, 1)").view(28, 11 * 28)
        strip = notebook.greys(name, f"strip-{way}", 28, 11 * 28)
        different = (strip - places).abs().max(0).values > 1  # columns: the frame covers some
        assert not different[: 2 * 28].any(), way
        assert not different[5 * 28 :].any(), way
    notebook.lab.python("0", f"a, b = {name}.noises(); from diffusion_lessons import slerp")
    ways = "[0.65 * a + 0.35 * b, slerp(a, b, 0.35)]"
    for std in eval(notebook.lab.python(f"[float(way.std()) for way in {ways}]")):
        assert f"{std:.2f}" in notebook.words(name)


def test_the_noise_shown_is_the_one_walked_from(notebook: Page) -> None:
    notebook.lab.python("0", "noises.share, noises.pair = 0.5, 1")
    until(notebook.slider("noises", "share"), "input => input.value === '10'")
    code = "from diffusion_lessons import slerp; a, b = noises.ends(1)"
    notebook.lab.python("0", code)
    for way, mixed in [("straight", "(a + b) / 2"), ("on_shell", "slerp(a, b, 0.5)")]:
        exact = notebook.python_bytes(f"({mixed}) / 2.5").view(28, 28)
        assert (notebook.greys("noises", f"noise-{way}") - exact).abs().max() <= 4, way


def test_a_drag_a_click_on_a_strip_and_play(notebook: Page) -> None:
    slider = notebook.slider("digits", "share")
    notebook.take(slider, 0.3)
    before = notebook.read("digits", "picture-mixed")
    notebook.pull(slider, 0.7)
    assert notebook.read("digits", "picture-mixed") != before  # the drag itself repaints
    notebook.page.mouse.up()
    strip = notebook.canvas("digits", "strip-on_shell")
    size = strip.bounding_box()
    strip.click(position={"x": 2.5 / 11 * size["width"], "y": size["height"] / 2})
    notebook.lab.wait_for_python("round(digits.share * 20)", "4")
    notebook.widget("digits").get_by_role("button", name="Play").click()
    notebook.lab.wait_for_python("digits.share", "1.0")


def test_pairs_are_chosen_and_renewed(notebook: Page) -> None:
    choice = notebook.widget("digits").get_by_role("radio")
    choice.first.focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.lab.wait_for_python("digits.pair", "1")
    notebook.widget("digits").get_by_role("button", name="Other digits").click()
    notebook.lab.wait_for_python(
        "(digits.seed, digits._has(0), digits._has(22))", "(1, True, True)"
    )
    notebook.ready("digits")
    # Rows 2 and 0 come after rows 0 and 1: the second pair starts from the first row again.
    notebook.lab.python("0", "digits.share = 0.0")
    until(notebook.slider("digits", "share"), "input => input.value === '0'")
    exact = notebook.python_bytes("clean[0]").view(28, 28)
    assert (notebook.greys("digits", "picture-mixed") - exact).abs().max() <= STORED
    notebook.lab.python("0", "digits.seed, digits.share = 0, 0.5")
    notebook.lab.wait_for_python("digits._has(22)", "True")
    notebook.ready("digits")


def samples(notebook: Page) -> Any:
    """Three digits side by side in one canvas."""
    return notebook.greys("guided", "samples", 28, 3 * 28)


def side_by_side(notebook: Page, choice: str) -> Any:
    exact = notebook.python_bytes(f"guided.pictures({choice})").view(3, 28, 28)
    return exact.transpose(0, 1).reshape(28, 3 * 28)


def test_guidance_shows_the_chosen_class_method_and_scale(notebook: Page) -> None:
    slider = notebook.slider("guided", "scale")
    slider.focus()
    notebook.page.keyboard.press("Home")
    notebook.page.keyboard.press("ArrowRight")
    notebook.lab.wait_for_python("guided.scale", "0.2")
    assert (samples(notebook) - side_by_side(notebook, "'weak', 0, 0.2")).abs().max() <= 1
    notebook.slider("guided", "method").select_option("strong")
    notebook.slider("guided", "label").select_option("2")
    notebook.lab.wait_for_python("(guided.method, guided.label)", "('strong', 2)")
    assert (samples(notebook) - side_by_side(notebook, "'strong', 2, 0.2")).abs().max() <= 1
    # Between the measured 0 and 0.5, in proportion: 0.7 + 0.4 * 0.15 and 0.9 - 0.4 * 0.3.
    assert "precision 0.76, recall 0.78" in notebook.words("guided")
    before = notebook.read("guided", "curves")
    notebook.drag(slider, 1 / 3, 0.99)
    notebook.lab.wait_for_python("guided.scale", "1.0")
    assert (samples(notebook) - side_by_side(notebook, "'strong', 2, 1.0")).abs().max() <= 1
    assert notebook.read("guided", "curves") != before
    notebook.slider("guided", "method").select_option("weak")
    notebook.lab.python("0", "guided.scale = 1.0")
    assert "At scale 1: precision 0.80, recall 0.80." in notebook.words("guided")


def test_new_noise_for_guidance_begins_with_the_chosen_pictures(notebook: Page) -> None:
    lab, widget = notebook.lab, notebook.widget("guided")
    lab.python("0", "guided.label, guided.scale, wait = 1, 0.2, 0.5")
    widget.get_by_role("button", name="New noise").click()
    lab.wait_for_python("guided.seed", "1")
    notebook.ready("guided")
    have = "[k for k in range(24) if guided._has(k)]"
    assert eval(lab.python(have)) == [5]  # weak, class 1, scale 0.2: one part in 24
    assert (samples(notebook) - side_by_side(notebook, "'weak', 1, 0.2")).abs().max() <= 1
    lab.python("0", "wait = 0.0")
    lab.wait_for_python(f"len({have})", "24")
    lab.python("0", "guided.seed = 0")
    lab.wait_for_python(f"len({have})", "24")
    notebook.ready("guided")


def test_truncation_shows_the_chosen_class_and_threshold_and_draws_anew(notebook: Page) -> None:
    def shown() -> Any:
        """Four pictures side by side in one canvas."""
        return notebook.greys("cut", "samples", 28, 4 * 28)

    def exact() -> Any:
        row = "cut.pictures().permute(1, 2, 0, 3).reshape(28, 4 * 28)"
        return notebook.python_bytes(row).view(28, 4 * 28)

    slider = notebook.slider("cut", "scale")
    slider.focus()
    notebook.page.keyboard.press("End")
    notebook.slider("cut", "label").select_option("2")
    notebook.lab.wait_for_python("(cut.scale, cut.label)", "(2.0, 2)")
    assert (shown() - exact()).abs().max() <= 1
    text = notebook.words("cut")
    assert "At threshold 2: precision 0.80, recall 0.60." in text
    assert "keeps 95\N{NO-BREAK SPACE}% of a normal's draws" in text
    before = notebook.read("cut", "input")
    notebook.page.keyboard.press("Tab")
    slider.focus()
    notebook.page.keyboard.press("ArrowLeft")
    notebook.lab.wait_for_python("cut.scale", "1.0")
    assert notebook.read("cut", "input") != before
    # Between the measured 0.5 and 2, in proportion.
    assert "precision 0.87, recall 0.33" in notebook.words("cut")
    old = shown()
    notebook.widget("cut").get_by_role("button", name="New noise").click()
    notebook.lab.wait_for_python("(cut.seed, sum(map(cut._has, range(6))))", "(1, 6)")
    notebook.ready("cut")
    assert (shown() - exact()).abs().max() <= 1
    assert (shown() - old).abs().max() > 20
    assert notebook.widget("cut").locator('[data-name="method"]').count() == 0  # only one


def test_names_and_narrow_screens(notebook: Page) -> None:
    check_names(notebook)
    check_narrow(notebook)


def test_dark_and_light(notebook: Page) -> None:
    notebook.shots("light")
    notebook.lab.command("apputils:change-theme", theme="JupyterLab Dark")
    until(notebook.widget("walks"), "e => e.dataset.dlTheme === 'dark'")
    notebook.page.wait_for_timeout(500)  # the theme's style sheet follows the attribute
    notebook.shots("dark")
    notebook.lab.command("apputils:change-theme", theme="JupyterLab Light")
    until(notebook.widget("walks"), "e => e.dataset.dlTheme === 'light'")


def test_goes_on_without_a_kernel(notebook: Page) -> None:
    lab, page = notebook.lab, notebook.page
    lab.python("0", "walks.steps, walks.eta, walks.walk = 5, 0.0, 1.0")
    five = notebook.python_bytes("walks.pictures(5, 0)").view(3, 28, 28)
    one = notebook.python_bytes("walks.pictures(1, 0)").view(3, 28, 28)
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    assert (notebook.greys("walks", "x-0") - five[0]).abs().max() <= 1
    notebook.slider("walks", "steps").focus()
    page.keyboard.press("Home")
    assert (notebook.greys("walks", "x-0") - one[0]).abs().max() <= 1
