"""The widgets in a real JupyterLab: keys, mouse, kernel, themes, and no kernel at all."""

from typing import Any

import pytest
import torch
from pages import Page, check_names, check_narrow, until

from diffusion_lessons.data import to_bytes
from diffusion_lessons.math.gaussian import forward, posterior
from diffusion_lessons.math.schedule import linear_schedule

SETUP = """
import torch
from diffusion_lessons.data import moons
from diffusion_lessons.math.exact import ring_mixture
from diffusion_lessons.math.sampling import Step
from diffusion_lessons.math.schedule import linear_schedule
from diffusion_lessons.page.widgets import *
from diffusion_lessons.page.kit import ring

g = torch.Generator().manual_seed(3)
schedule = linear_schedule()
images = torch.stack([ring(), ring().transpose(1, 2), -ring(), ring().roll(5, 2)])
dots = moons(400, g)[0]

def walk(x_0):
    noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(4))
    def at(t):
        a = float(schedule.alpha_bar[t])
        # A denoiser's guess is blurred towards the mean at high noise.
        return Step(t, a**0.5 * x_0 + (1 - a) ** 0.5 * noise, a**0.25 * x_0)
    return [at(t) for t in schedule.times(60)]
"""
CELLS = [
    SETUP,
    "forward = ForwardExplorer(images, points=dots)\nforward",
    "explorer = ScheduleExplorer()\nexplorer",
    "pictures = TrajectoryPlayer(walk(images), labels=['a', 'b', 'c', 'd'])\npictures",
    "cloud = TrajectoryPlayer(walk(dots))\ncloud",
    "post = PosteriorExplorer()\npost",
    "hero = TrajectoryPlayer(walk(images)[::6], autoplay=True)\nhero",
    "arrows = VectorExplorer(ring_mixture(3, 0.3), label=1, particles=50, steps=20)\narrows",
    "from diffusion_lessons.networks.checkpoints import load_pretrained\n"
    "net = load_pretrained('digits-adm')\n"
    "boxes = UNetExplorer(net, images, times=range(50, 1000, 50), maps=12)\nboxes",
    "looks = AttentionExplorer(net, images, times=(10, 400))\nlooks",
]
LABELS = {
    "forward": "Forward noising explorer",
    "explorer": "Noise schedule explorer",
    "pictures": "Sampling player",
    "cloud": "Sampling player",
    "post": "Posterior explorer",
    "hero": "Sampling player",
    "arrows": "Guidance arrows explorer",
    "boxes": "U-Net explorer",
    "looks": "Attention explorer",
}
# For each widget a slider, and a canvas that follows it.
MOVING = {
    "forward": ("t", "x_t"),
    "explorer": ("beta_T", "alpha_bar"),
    "pictures": ("frame", "x-0"),
    "cloud": ("frame", "x"),
    "post": ("x_t", "bells"),
    "arrows": ("scale", "plane"),
    "boxes": ("t", "maps"),
    "looks": ("row", "look-0"),
}
# Does any pixel have this colour?
HAS = """(canvas, colour) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const [r, g, b] = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
    for (let i = 0; i < data.length; i += 4)
        if (data[i] === r && data[i + 1] === g && data[i + 2] === b) return true;
    return false;
}"""

# The green in each cell of a grid, measured over the cell.
GREENS = """(canvas, [rows, columns]) => {
    const ctx = canvas.getContext("2d");
    const [down, across] = [canvas.height / rows, canvas.width / columns];
    const cell = (row, column) => {
        const box = [column * across + 3, row * down + 3, across - 6, down - 6].map(Math.round);
        const { data } = ctx.getImageData(...box);
        let sum = 0;
        for (let i = 0; i < data.length; i += 4) sum += data[i + 1] - data[i];
        return sum / (data.length / 4);
    };
    return Array.from({ length: rows * columns },
        (_, i) => cell(Math.floor(i / columns), i % columns));
}"""


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def notebook(open_notebook: Any) -> Page:
    page = Page(open_notebook("widgets.ipynb", CELLS), LABELS)
    for name in ("pictures", "cloud", "hero"):
        page.ready(name)
    return page


@pytest.mark.parametrize("name", MOVING)
def test_keys_and_mouse_repaint_and_python_hears(notebook: Page, name: str) -> None:
    trait, part = MOVING[name]
    slider = notebook.slider(name, trait)
    before, value = notebook.read(name, part), notebook.lab.python(f"{name}.{trait}")
    slider.focus()
    for _ in range(5):
        notebook.page.keyboard.press("ArrowRight")
    after_keys = notebook.read(name, part)
    assert after_keys != before
    shown = slider.evaluate("input => input.getAttribute('aria-valuetext')")
    assert shown
    assert notebook.lab.python(f"{name}.{trait}") != value

    notebook.take(slider, 0.5)
    notebook.pull(slider, 0.8)
    during = notebook.read(name, part)
    notebook.page.mouse.up()
    assert during != after_keys  # the drag itself repaints, not only its end
    described = notebook.canvas(name, part).get_attribute("aria-label")
    assert described


def test_forward_shows_the_picture_that_python_computes(notebook: Page) -> None:
    lab = notebook.lab
    from diffusion_lessons.page.kit import ring

    noise = torch.randn(28, 28, generator=torch.Generator().manual_seed(0))
    schedule = linear_schedule()
    for t in (0, 1, 137, 500, 1000):
        lab.python("0", f"forward.image = 0; forward.t = {t}")
        until(notebook.slider("forward", "t"), "(input, t) => input.value === t", str(t))
        a_t = schedule.alpha_bar[t]
        x_t = ring()[0] if t == 0 else a_t.sqrt() * ring()[0] + (1 - a_t).sqrt() * noise
        if t:
            drawn = forward(ring().double(), 0, t, schedule)
            torch.testing.assert_close(x_t.double(), drawn.mean[0] + drawn.std * noise)
        difference = notebook.greys("forward", "x_t") - to_bytes(x_t).int()
        assert difference.abs().max() <= 1, f"at t = {t}"


def test_new_noise_comes_from_the_browser_and_reaches_python(notebook: Page) -> None:
    lab = notebook.lab
    lab.python("0", "forward.t = 700")
    until(notebook.slider("forward", "t"), "input => input.value === '700'")
    before = notebook.greys("forward", "x_t")
    notebook.widget("forward").get_by_role("button", name="New noise").click()
    after = notebook.greys("forward", "x_t")
    assert (before != after).float().mean() > 0.5
    lab.wait_for_python("forward.draw", "1")
    difference = after.flatten() - notebook.python_bytes("forward.x_t")
    assert difference.abs().max() <= 1
    moments = eval(lab.python("[forward.noise.mean().item(), forward.noise.std().item()]"))
    assert abs(moments[0]) < 0.15
    assert abs(moments[1] - 1) < 0.1


def test_pictures_are_chosen_by_keyboard(notebook: Page) -> None:
    before = notebook.read("forward", "x_0")
    choice = notebook.widget("forward").get_by_role("radio")
    choice.first.focus()
    notebook.page.keyboard.press("ArrowRight")
    assert notebook.read("forward", "x_0") != before
    notebook.lab.wait_for_python("forward.image", "1")


def test_python_moves_the_schedule(notebook: Page) -> None:
    notebook.lab.python("0", "explorer.kind = 'cosine'; explorer.T = 137; explorer.t = 60")
    explorer = notebook.widget("explorer")
    until(notebook.slider("explorer", "t"), "input => input.value === '60'")
    notebook.settle()
    assert explorer.locator("select").input_value() == "cosine"
    assert notebook.slider("explorer", "beta_1").is_disabled()
    assert "60 of 137" in explorer.inner_text()
    explorer.locator("select").select_option("linear")
    notebook.lab.wait_for_python("explorer.kind", "'linear'")
    notebook.lab.python("0", "explorer.beta_T = 0.02; explorer.beta_1 = 1e-4; explorer.T = 200")
    # The course's figure: T = 200 with the usual betas leaves a third of the picture.
    explorer.get_by_text("= 0.36 of the picture").wait_for()
    notebook.lab.python("0", "explorer.T = 1000; explorer.t = 250")


def test_t_and_frame_move_together(notebook: Page) -> None:
    notebook.lab.python("0", "pictures.t = 333")
    frame = int(notebook.lab.python("pictures.frame"))
    times = eval(notebook.lab.python("pictures.times"))
    assert abs(times[frame] - 333) == min(abs(t - 333) for t in times)
    slider = notebook.slider("pictures", "frame")
    until(slider, "(input, frame) => input.value === frame", str(frame))
    slider.focus()
    notebook.page.keyboard.press("End")
    notebook.lab.wait_for_python("(pictures.frame, pictures.t)", f"({len(times) - 1}, 0)")
    wanted = notebook.python_bytes("pictures.decoded()[0][-1, 2, 0]")
    difference = notebook.greys("pictures", "x-2").flatten() - wanted
    assert difference.abs().max() <= 1


def test_posterior_shows_equation_7(notebook: Page) -> None:
    notebook.lab.python("0", "post.x_0 = 1.5; post.x_t = -0.5; post.t = 400; post.stride = 150")
    exact = posterior(torch.tensor([-0.5]), torch.tensor([1.5]), 400, 250, linear_schedule())
    text = f"= {float(exact.mean):.3f}, standard deviation"
    notebook.widget("post").get_by_text(text.replace("-", "\N{MINUS SIGN}")).wait_for()
    assert f"{float(exact.std):.3f}" in notebook.words("post")


def test_arrows_end_where_python_says(notebook: Page) -> None:
    notebook.lab.python("0", "arrows.label, arrows.scale, arrows.frame = 2, 2.5, 9")
    widget, page = notebook.widget("arrows"), notebook.page
    canvas = notebook.canvas("arrows", "plane")
    box = canvas.bounding_box()
    canvas.click(position={"x": 0.7 * box["width"], "y": 0.3 * box["height"]})
    x, y = (float(notebook.lab.python(f"arrows.{name}")) for name in "xy")
    assert x > 0.5
    assert y > 0.5
    notebook.slider("arrows", "x").focus()
    page.keyboard.press("ArrowLeft")
    notebook.lab.wait_for_python("round(arrows.x, 1)", f"{round(x - 0.1, 1)}")
    code = "end = torch.tensor([arrows.x, arrows.y]) + sum(arrows.arrows())[0]"
    notebook.lab.python("0", code)
    ends = eval(notebook.lab.python("end.tolist()"))
    text = f"({ends[0]:.2f}, {ends[1]:.2f})".replace("-", "\N{MINUS SIGN}")
    widget.get_by_text(text).wait_for()
    share = float(
        notebook.lab.python(
            "float(arrows.mixture.class_posterior(torch.tensor([[arrows.x, arrows.y]]),"
            " arrows.t, schedule)[0, 2])"
        )
    )
    assert f"the probability {share:.2f}" in widget.inner_text()


def test_play_runs_and_pauses(notebook: Page) -> None:
    slider = notebook.slider("cloud", "frame")
    slider.focus()
    notebook.page.keyboard.press("Home")
    play = notebook.widget("cloud").get_by_role("button", name="Play")
    play.focus()
    notebook.page.keyboard.press("Space")
    until(slider, "input => Number(input.value) >= 4")
    pause = notebook.widget("cloud").get_by_role("button", name="Pause")
    pause.click()
    notebook.settle()
    stopped = slider.input_value()
    notebook.page.wait_for_timeout(400)
    assert slider.input_value() == stopped
    assert int(stopped) < 39


def test_less_motion_means_a_few_jumps(notebook: Page) -> None:
    slider = notebook.slider("pictures", "frame")
    slider.focus()
    notebook.page.keyboard.press("Home")
    notebook.page.emulate_media(reduced_motion="reduce")
    notebook.widget("pictures").get_by_role("button", name="Play").click()
    values = slider.evaluate(
        """async input => {
            const seen = new Set();
            for (const end = performance.now() + 1600; performance.now() < end; ) {
                await new Promise(r => requestAnimationFrame(r));
                seen.add(input.value);
            }
            return [...seen];
        }"""
    )
    notebook.widget("pictures").get_by_role("button", name="Pause").click()
    assert 2 <= len(values) <= 4


def test_autoplay_loops_pauses_and_rests_out_of_sight(notebook: Page) -> None:
    slider = notebook.slider("hero", "frame")
    look = "(input, test) => new Function('v', `return ${test}`)(Number(input.value))"

    def wait(test: str) -> None:
        until(slider, look, test)

    for test in ("v > 3", "v === 10", "v < 3"):  # it moves, arrives, and begins again
        wait(test)
    root = notebook.widget("hero")
    root.evaluate("e => Object.assign(e.style, { position: 'fixed', top: '-5000px' })")
    notebook.page.wait_for_timeout(200)
    resting = slider.input_value()
    notebook.page.wait_for_timeout(800)
    assert slider.input_value() == resting
    root.evaluate("e => Object.assign(e.style, { position: '', top: '' })")
    wait(f"v > {resting}")

    root.get_by_role("button", name="Pause").click()
    notebook.settle()
    resting = slider.input_value()
    notebook.page.wait_for_timeout(800)
    assert slider.input_value() == resting
    assert notebook.lab.python("hero.frame") == "0"  # what moves by itself is not told
    slider.focus()
    notebook.page.keyboard.press("Home")
    notebook.page.keyboard.press("ArrowRight")
    notebook.lab.wait_for_python("hero.frame", "1")


@pytest.mark.parametrize("how", ["Home", "thumb"])
def test_who_takes_the_thumb_ends_what_plays(notebook: Page, how: str) -> None:
    root, slider = notebook.widget("hero"), notebook.slider("hero", "frame")
    slider.focus()
    notebook.page.keyboard.press("Home")
    slider.hover(position={"x": 6, "y": slider.bounding_box()["height"] / 2})
    root.get_by_role("button", name="Play").evaluate("e => e.click()")  # the mouse stays
    root.get_by_role("button", name="Pause").wait_for()
    if how == "thumb":
        notebook.page.mouse.down()
        notebook.page.mouse.up()
    else:
        notebook.page.keyboard.press("Home")
    root.get_by_role("button", name="Play").wait_for(timeout=2000)
    assert slider.input_value() == "0"


def test_autoplay_stands_at_its_end_for_who_wants_less_motion(notebook: Page) -> None:
    slider = notebook.slider("hero", "frame")
    notebook.page.emulate_media(reduced_motion="reduce")
    notebook.settle()
    notebook.page.wait_for_timeout(900)
    assert slider.input_value() == "10"
    shown = notebook.greys("hero", "x-0")
    assert (shown - notebook.greys("hero", "x0_hat-0")).abs().max() == 0  # the finished pictures
    notebook.widget("hero").get_by_role("button", name="Play").click()
    until(slider, "input => 0 < Number(input.value) && Number(input.value) < 6")
    notebook.widget("hero").get_by_role("button", name="Pause").click()
    notebook.page.emulate_media(reduced_motion="no-preference")
    notebook.widget("hero").get_by_role("button", name="Pause").click()


def test_jslink_joins_two_widgets(notebook: Page) -> None:
    link = "import ipywidgets; link = ipywidgets.jslink((forward, 't'), (explorer, 't'))"
    notebook.lab.python("0", link)
    notebook.page.wait_for_timeout(500)
    slider = notebook.slider("forward", "t")
    slider.focus()
    notebook.page.keyboard.press("Home")
    for _ in range(3):
        notebook.page.keyboard.press("ArrowRight")
    notebook.settle()
    assert slider.input_value() == "3"
    assert notebook.slider("explorer", "t").input_value() == "3"
    notebook.lab.python("0", "link.unlink(); explorer.t = 250")


def test_a_box_of_the_unet_shows_its_maps(notebook: Page) -> None:
    boxes = notebook.widget("boxes")
    notebook.lab.python("0", "boxes.stage, boxes.t, boxes.picture = 0, 50, 0")
    radios = boxes.get_by_role("radiogroup", name="stage of the network").get_by_role("radio")
    assert radios.count() == 12
    radios.first.focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.lab.wait_for_python("boxes.stage", "1")
    boxes.get_by_text("attention with 4 heads").wait_for()
    # Twelve maps of 14 x 14, six in a row, a line of paper between them.
    maps = notebook.python_bytes("boxes.feature_maps()").view(12, 14, 14)
    shown = notebook.greys("boxes", "maps", 2 * 15 - 1, 6 * 15 - 1)
    for k in range(12):
        y, x = 15 * (k // 6), 15 * (k % 6)
        assert (shown[y : y + 14, x : x + 14] - maps[k]).abs().max() <= 1
    boxes.locator(".dl-stages label").nth(11).click()
    notebook.lab.wait_for_python("boxes.stage", "11")
    noise = notebook.python_bytes("boxes.feature_maps()").view(28, 28)
    assert (notebook.greys("boxes", "maps") - noise).abs().max() <= 1
    boxes.get_by_role("radiogroup", name="picture").get_by_role("radio").first.focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.lab.wait_for_python("boxes.picture", "1")
    for part in ("x_t", "x0_hat"):
        exact = notebook.python_bytes(f"boxes.{part}").view(28, 28)
        assert (notebook.greys("boxes", part) - exact).abs().max() <= 1


def test_a_pixel_is_chosen_by_mouse_and_its_look_is_the_networks(notebook: Page) -> None:
    widget, canvas = notebook.widget("looks"), notebook.canvas("looks", "x_t")
    size = canvas.bounding_box()
    canvas.click(position={"x": 20.5 / 28 * size["width"], "y": 9.5 / 28 * size["height"]})
    notebook.lab.wait_for_python("(looks.row, looks.column)", "(9, 20)")
    before = notebook.read("looks", "look-1")
    notebook.slider("looks", "head").select_option("3")
    notebook.lab.wait_for_python("looks.head", "3")
    assert notebook.read("looks", "look-1") != before
    for i, places in enumerate([196, 49]):
        code = f"w = looks.weights({i}); e = float((-w * w.clamp(min=1e-30).log()).sum().exp())"
        wide = float(notebook.lab.python("e", code))
        words = widget.locator(f'[data-part="spread-{i}"]').inner_text()
        assert f"of {places} places" in words
        assert abs(float(words.split()[3]) - wide) <= (0.06 if wide < 9.9 else 0.51)
        brightest = int(notebook.lab.python("int(w.argmax())", code))
        side = round(places**0.5)
        cells = notebook.canvas("looks", f"look-{i}").evaluate(GREENS, [side, side])
        place = 9 * side // 28 * side + 20 * side // 28  # its frame may cover it
        if brightest != place:
            assert max(range(places), key=lambda k: cells[k] if k != place else -1) == brightest


def test_names_and_narrow_screens(notebook: Page) -> None:
    check_names(notebook)
    check_narrow(notebook)


def test_follows_the_theme(notebook: Page) -> None:
    notebook.lab.python("0", "pictures.frame, cloud.frame, forward.t = 26, 30, 300")
    notebook.shots("light")
    light = notebook.read("post", "bells")
    notebook.lab.command("apputils:change-theme", theme="JupyterLab Dark")
    until(notebook.widget("post"), "e => e.dataset.dlTheme === 'dark'")
    notebook.page.wait_for_timeout(500)  # the theme's style sheet follows the attribute
    assert notebook.read("post", "bells") != light
    # The canvases must follow too, not only the page around them.
    for name, part in [("explorer", "beta"), ("forward", "histogram"), ("cloud", "x")]:
        assert notebook.canvas(name, part).evaluate(HAS, "#a3adb8"), name
        assert not notebook.canvas(name, part).evaluate(HAS, "#5c6570"), name
    dark = notebook.widget("post").evaluate("e => getComputedStyle(e).backgroundColor")
    assert sum(map(int, dark.removeprefix("rgb(").rstrip(")").split(","))) < 150
    notebook.shots("dark")
    notebook.lab.command("apputils:change-theme", theme="JupyterLab Light")
    until(notebook.widget("post"), "e => e.dataset.dlTheme === 'light'")
    notebook.page.wait_for_timeout(500)


def test_a_drag_repaints_in_a_frame(notebook: Page, capsys: pytest.CaptureFixture[str]) -> None:
    """Measured and printed, not asserted: the figure belongs to the machine."""
    figures = {}
    for name, (trait, _) in MOVING.items():
        figures[name] = notebook.slider(name, trait).evaluate(
            """async input => {
                const whole = [], painting = [];
                const frame = () => new Promise(r => requestAnimationFrame(r));
                for (let i = 0; i < 20; i++) {
                    await frame();
                    const low = Number(input.min), high = Number(input.max);
                    input.value = low + (high - low) * (i + 1) / 21;
                    const begun = performance.now();
                    let opened, closed;
                    // The widget's own repaint is asked for between these two, and runs there.
                    requestAnimationFrame(() => { opened = performance.now(); });
                    input.dispatchEvent(new Event("input", { bubbles: true }));
                    requestAnimationFrame(() => { closed = performance.now(); });
                    await frame();
                    whole.push(closed - begun);
                    painting.push(closed - opened);
                }
                const median = list => list.sort((a, b) => a - b)[10].toFixed(1);
                return `${median(whole)} (painting ${median(painting)})`;
            }"""
        )
    with capsys.disabled():
        print("\ninput to repaint, median ms:", figures)


def test_goes_on_without_a_kernel(notebook: Page) -> None:
    notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    for name, (trait, part) in MOVING.items():
        before = notebook.read(name, part)
        for key in ("Home", "ArrowRight", "ArrowRight"):
            notebook.slider(name, trait).press(key)  # takes the focus each time
        notebook.changed(name, part, before)
    before = notebook.read("forward", "noise")
    notebook.widget("forward").get_by_role("button", name="New noise").click()
    notebook.changed("forward", "noise", before)
