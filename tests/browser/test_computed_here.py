"""Network widgets on a page without a kernel: what was not stored, the page computes itself."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from greys import STORED
from pages import Widgets, served, until
from test_colour import COLOURS
from test_no_kernel import show

pytest.importorskip("anywidget")

from diffusion_lessons.data import digits, to_unit
from diffusion_lessons.math.sampling import ddim_step, final, from_noise_model, sample
from diffusion_lessons.math.schedule import linear_schedule
from diffusion_lessons.networks.checkpoints import load_pretrained
from diffusion_lessons.networks.drawing import GUIDANCES
from diffusion_lessons.page import engine, kit, widgets

pytestmark = pytest.mark.usefixtures("quiet")

SCHEDULE = linear_schedule()
LABELS = torch.tensor([2, 7])
CLOSE = 255 * 1e-2 / 2 + 1  # pictures equal to 1e-2, in greys, and their rounding


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty page that has the engine's parts beside it, as the book has."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "engine").mkdir()
    for name in engine.PARTS:
        (folder / "engine" / f"{name}.js").write_text(engine.as_script(name), "utf-8")
    (folder / "index.html").write_text(
        '<!doctype html><html lang=en data-dl-engine="engine/"><meta charset=utf-8>'
        "<title>widgets</title><body></body></html>",
        "utf-8",
    )
    (folder / "favicon.ico").write_bytes(b"")
    with served(folder) as address:
        yield f"{address}/index.html"


@pytest.fixture(scope="module")
def model() -> Any:
    return load_pretrained("digits-ddpm")


def noise(rows: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


class Shown(Widgets):
    """One widget in the page, and its Python half, which never hears of it."""

    def __init__(self, page: Any, label: str, widget: Any, address: str) -> None:
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        show(page, widget, address=address)
        super().__init__(page, {"it": label})
        self.root = self.widget("it")
        self.ready("it")

    def data(self, name: str) -> str | None:
        value = self.root.get_attribute(f"data-{name}")
        return None if value is None else str(value)

    def computed(self, calls: int) -> None:
        """Until the answer at hand took so many calls."""
        until(
            self.root,
            """(e, calls) => e.dataset.ready === "true"
                && e.querySelector('[data-part="source"]').textContent.includes(calls)""",
            f": {calls} network call",
        )
        self.settle()

    def source(self) -> str:
        self.settle()
        return str(self.root.locator('[data-part="source"]').inner_text())

    def choose_value(self, name: str, wanted: str) -> None:
        """Move a slider by keyboard until it says so."""
        slider = self.slider("it", name)
        slider.focus()
        self.page.keyboard.press("Home")
        for _ in range(300):
            if slider.get_attribute("aria-valuetext") == wanted:
                return
            self.page.keyboard.press("ArrowRight")
            self.settle()
        raise AssertionError(f"{name} never says {wanted}")

    def digits(self, part: str, count: int) -> torch.Tensor:
        greys = torch.stack([self.greys("it", f"{part}-{i}") for i in range(count)])
        return greys[:, None].float()


def as_greys(x: torch.Tensor) -> torch.Tensor:
    return (x.clamp(-1, 1) + 1) * 127.5


@pytest.fixture(scope="module")
def page(watched: tuple[Any, Any]) -> Any:
    return watched[0]


@pytest.fixture(scope="module")
def walks(model: Any) -> widgets.StepsExplorer:
    denoiser = from_noise_model(partial(model, label=LABELS), SCHEDULE, clip=1)
    return widgets.StepsExplorer(denoiser, noise(), SCHEDULE, (1, 4, 9), (0, 0.5))


def test_a_page_that_is_only_read_fetches_nothing(page: Any, walks: Any, address: str) -> None:
    shown = Shown(page, "Steps and eta explorer", walks, address)
    page.wait_for_timeout(300)
    assert shown.data("engine") == "idle"
    assert shown.source().startswith("Stored: 9 network calls, ")
    wanted = as_greys(walks.pictures(9, 0))
    assert (shown.digits("x", 2) - wanted).abs().max() <= 1
    assert not [url for url in shown.asked if "engine/" in url]
    assert shown.root.get_by_role("button", name="New noise").is_visible()


def test_steps_and_eta_between_the_stored_ones(page: Any, walks: Any, address: str) -> None:
    shown = Shown(page, "Steps and eta explorer", walks, address)
    shown.choose_value("steps", "6")
    shown.computed(6)
    assert shown.source().startswith("Computed here by digits-ddpm: 6 network calls, ")
    *_, last = walks.sampled(6, 0)
    assert (shown.digits("x", 2) - as_greys(last.x)).abs().max() <= CLOSE
    shown.choose_value("eta", "0.35")  # whose noise is drawn row by row
    shown.computed(6)
    *_, last = walks.sampled(6, 0.35)
    assert (shown.digits("x", 2) - as_greys(last.x)).abs().max() <= CLOSE
    shown.slider("it", "walk").focus()
    page.keyboard.press("Home")
    assert (shown.digits("x", 2) - as_greys(noise())).abs().max() <= 1
    page.keyboard.press("ArrowRight")
    steps = list(walks.sampled(6, 0.35))
    assert (shown.digits("x", 2) - as_greys(steps[1].x)).abs().max() <= CLOSE
    assert (shown.digits("x0_hat", 2) - as_greys(steps[1].x0_hat)).abs().max() <= CLOSE
    assert int(shown.data("calls")) > 0
    assert int(shown.data("ms")) > 0


def test_new_noise_is_the_kernels(page: Any, walks: Any, address: str) -> None:
    shown = Shown(page, "Steps and eta explorer", walks, address)
    again = shown.root.get_by_role("button", name="New noise")
    assert again.get_attribute("data-action") == "run"
    again.click()
    shown.computed(9)
    walks.seed = 1
    try:
        *_, last = walks.sampled(9, 0)
    finally:
        walks.seed = 0
    assert (shown.digits("x", 2) - as_greys(last.x)).abs().max() <= CLOSE
    # What else is in sight follows.
    until(shown.root, "e => e.dataset.engine === 'ready'")
    strip = shown.greys("it", "finished-1", 2 * 28)
    walks.seed = 1
    try:
        *_, last = walks.sampled(4, 0)
    finally:
        walks.seed = 0
    assert (strip - as_greys(last.x).reshape(56, 28)).abs().max() <= CLOSE


def test_a_drag_ends_at_the_newest_wish(page: Any, walks: Any, address: str) -> None:
    shown = Shown(page, "Steps and eta explorer", walks, address)
    shown.choose_value("steps", "2")
    shown.computed(2)
    shown.drag(shown.slider("it", "steps"), 0.05, 0.5)
    steps = int(shown.said("it", "steps"))
    shown.computed(steps)
    *_, last = walks.sampled(steps, 0)
    assert (shown.digits("x", 2) - as_greys(last.x)).abs().max() <= CLOSE


@pytest.fixture(scope="module")
def guided(model: Any) -> widgets.GuidanceExplorer:
    methods = {name: partial(GUIDANCES[name], model) for name in ("classifier-free", "classifier")}
    return widgets.GuidanceExplorer(methods, noise(), SCHEDULE, (0, 1, 4), (0, 7), 6)


def side_by_side(x: torch.Tensor) -> torch.Tensor:
    return as_greys(x[:, 0]).transpose(0, 1).reshape(28, -1)


def test_guidance_at_a_scale_between(page: Any, guided: Any, address: str) -> None:
    shown = Shown(page, "Guidance explorer", guided, address)
    shown.choose_value("scale", "2.6")
    shown.computed(2 * 6)  # with the label and without
    *_, last = guided.sampled("classifier-free", 0, 2.6)
    greys = shown.greys("it", "samples", 28, 2 * 28)
    assert (greys - side_by_side(last.x)).abs().max() <= CLOSE
    shown.slider("it", "label").select_option("7")
    shown.computed(2 * 6)
    *_, last = guided.sampled("classifier-free", 7, 2.6)
    greys = shown.greys("it", "samples", 28, 2 * 28)
    assert (greys - side_by_side(last.x)).abs().max() <= CLOSE


@pytest.fixture(scope="module")
def animals() -> widgets.GuidanceExplorer:
    model: Any = load_pretrained("cats-dogs-ddpm")
    methods = {"classifier-free": partial(GUIDANCES["classifier-free"], model)}
    x_T = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(0))
    return widgets.GuidanceExplorer(methods, x_T, model.schedule, (0, 1, 4, 8), (0, 1, 2), 5)


def check_colours(shown: Shown, x: torch.Tensor) -> None:
    """The samples, side by side on one canvas, are these."""
    wanted = torch.cat([*as_greys(x)], 2)  # [3, H, N W]
    rows, columns = wanted.shape[1:]
    seen = torch.tensor(shown.canvas("it", "samples").evaluate(COLOURS, [rows, columns]))
    assert (seen.view(rows, columns, 3).movedim(-1, 0) - wanted).abs().max() <= CLOSE
    assert wanted.std() > 10  # it is no flat colour


def test_cats_and_dogs(page: Any, animals: Any, address: str) -> None:
    shown = Shown(page, "Guidance explorer", animals, address)
    check_colours(shown, animals.pictures())
    label = shown.slider("it", "label")
    assert label.locator("option").all_inner_texts() == ["cat", "dog", "nothing"]
    shown.choose_value("scale", "2.64")
    shown.computed(2 * 5)
    assert shown.source().startswith("Computed here by cats-dogs-ddpm: 10 network calls, ")
    *_, last = animals.sampled("classifier-free", 0, 2.64)
    check_colours(shown, last.x)
    for k, name in enumerate(["cat", "dog", "nothing"]):
        label.select_option(name)
        shown.computed(2 * 5)
        *_, last = animals.sampled("classifier-free", k, 2.64)
        check_colours(shown, last.x)
        words = f"2 samples, asked for {name}, classifier-free, scale 2.64"
        assert shown.canvas("it", "samples").get_attribute("aria-label") == words


def test_cats_and_dogs_of_new_noise(page: Any, animals: Any, address: str) -> None:
    shown = Shown(page, "Guidance explorer", animals, address)
    before = shown.read("it", "samples")
    shown.root.get_by_role("button", name="New noise").click()
    shown.changed("it", "samples", before)
    shown.computed(5)  # at scale 1 the label alone is asked
    noise = kit.draw_noise(animals.x_T, 1, use=0)
    denoiser = animals.methods["classifier-free"](torch.tensor([0, 0]), 1.0)
    *_, last = sample(denoiser, noise, animals.schedule, 5, ddim_step)
    check_colours(shown, last.x)


def test_what_the_page_cannot_compute_is_said(page: Any, guided: Any, address: str) -> None:
    shown = Shown(page, "Guidance explorer", guided, address)
    shown.slider("it", "method").select_option("classifier")
    assert shown.source() == "Not stored, and this page has no network for it: run the notebook."
    assert not [url for url in shown.asked if "engine/" in url]


def test_truncated_latents(page: Any, address: str) -> None:
    vae = load_pretrained("digits-vae")
    cut = widgets.TruncationExplorer(vae.decode, vae.latent, (0.5, 1, 2), (3, 5), 2)
    shown = Shown(page, "Truncation explorer", cut, address)
    shown.choose_value("scale", "0.755")
    shown.computed(1)
    with torch.no_grad():
        wanted = vae.decode(cut.latents(0.755), torch.tensor([3, 3]))
    assert (shown.greys("it", "samples", 28, 56) - side_by_side(wanted)).abs().max() <= CLOSE


def test_truncated_noise(page: Any, address: str, model: Any) -> None:
    def walk(z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return final(
            sample(model.denoiser(label, 1), z.view(-1, 1, 28, 28), SCHEDULE, 4, ddim_step)
        ).x

    cut = widgets.TruncationExplorer(walk, 784, (0.5, 1, 2), (3, 5), 2)
    shown = Shown(page, "Truncation explorer", cut, address)
    shown.choose_value("scale", "0.755")
    shown.computed(4)
    wanted = walk(cut.latents(0.755), torch.tensor([3, 3]))
    assert (shown.greys("it", "samples", 28, 56) - side_by_side(wanted)).abs().max() <= CLOSE


@pytest.mark.parametrize("invert", [False, True])
def test_between_two_pictures(page: Any, address: str, model: Any, invert: bool) -> None:
    test = to_unit(digits(train=False).images[:4])
    a, b = (test[:2], test[2:]) if invert else (noise(2, 1), noise(2, 2))
    denoiser = from_noise_model(model, SCHEDULE, clip=1)
    between = widgets.InterpolationExplorer(
        *(denoiser, a, b, SCHEDULE), steps=6, positions=5, pairs=1, invert=invert
    )
    shown = Shown(page, "Interpolation explorer", between, address)
    shown.choose_value("share", "share 0.25 of the second")
    shown.computed(6)
    for way in ("mixed", "straight", "on_shell"):
        exact = as_greys(getattr(between, way)()[1, 0])
        assert (shown.greys("it", f"picture-{way}") - exact).abs().max() <= CLOSE + STORED, way
    shown.root.get_by_role("button", name="Other digits" if invert else "New noise").click()
    until(shown.root, """e => e.dataset.engine === "ready" && e.dataset.ready === "true" """)
    between.seed = 1
    for way in ("mixed", "straight", "on_shell"):
        exact = as_greys(getattr(between, way)()[1, 0])
        assert (shown.greys("it", f"picture-{way}") - exact).abs().max() <= CLOSE + STORED, way


def test_without_the_engine_the_stored_pictures_stay(page: Any, walks: Any, address: str) -> None:
    def none(route: Any) -> None:
        route.abort()

    page.route("**/engine/*", none)
    try:
        shown = Shown(page, "Steps and eta explorer", walks, address)
        shown.slider("it", "steps").press("Home")
        until(shown.root, "e => e.dataset.engine === 'none'")
        assert "this page cannot compute it: a script of this page could" in shown.source()
        assert shown.root.get_by_role("button", name="New noise").count() == 0
        shown.choose_value("steps", "9")  # the sliders now know the given values alone
        assert shown.source().startswith("Stored")
    finally:
        page.unroute("**/engine/*", none)


def test_a_step_of_a_gan_with_other_noise(page: Any, address: str) -> None:
    test = digits(train=False)
    gan = load_pretrained("digits-ddgan")
    steps = widgets.DDGANStepper(gan, to_unit(test.images[:2]), test.labels[:2], latents=3)
    shown = Shown(page, "DDGAN stepper", steps, address)
    assert shown.source().startswith("Stored: 1 network call")
    again = shown.root.get_by_role("button", name="New noise")
    again.click()
    shown.computed(1)
    steps.seed, steps.z = 1, 2
    shown.slider("it", "z").press("End")
    for part in ("x0_drawn", "x_t", "x_s_made", "x_s_true"):
        coarse = 0 if part == "x0_drawn" else 255 / 23 / 2  # what is stored has few greys
        exact = as_greys(getattr(steps, part))
        assert (shown.greys("it", part) - exact).abs().max() <= CLOSE + coarse + STORED, part
    assert shown.root.locator('[data-part="judged"]').inner_text() == "\N{EN DASH}"
    shown.choose(shown.root.get_by_role("radio", name="box 7 of 8"))
    assert "not in this page" in shown.words("it")
    shown.slider("it", "mode").select_option("sampling")
    shown.computed(2)  # from pure noise, by way of t = 4
    steps.mode = "sampling"
    for part in ("x0_drawn", "x_s_made"):
        exact = as_greys(getattr(steps, part))
        assert (shown.greys("it", part) - exact).abs().max() <= CLOSE + STORED + 255 / 23 / 2, part


def test_a_film_of_other_noise(page: Any, address: str, model: Any) -> None:
    denoiser = from_noise_model(partial(model, label=LABELS), SCHEDULE, clip=1)
    steps = list(sample(denoiser, noise(), SCHEDULE, 12, generator=kit.generator_for(0, 1)))
    film = widgets.TrajectoryPlayer(steps, frames=8, denoiser=denoiser, schedule=SCHEDULE)
    shown = Shown(page, "Sampling player", film, address)
    shown.root.get_by_role("button", name="New noise").click()
    shown.computed(12)
    x_T = kit.draw_noise(noise(), 1, 0)
    again = list(sample(denoiser, x_T, SCHEDULE, 12, generator=kit.generator_for(1, 1)))
    by_time = {step.t: step for step in again}
    slider = shown.slider("it", "frame")
    for frame, key in [(0, "Home"), (1, "ArrowRight"), (7, "End")]:
        slider.press(key)
        step = by_time[film.times[frame]]
        for part, exact in [("x", step.x), ("x0_hat", step.x0_hat)]:
            assert (shown.digits(part, 2) - as_greys(exact)).abs().max() <= CLOSE, (frame, part)
