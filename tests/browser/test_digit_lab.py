"""The digit lab alone in a page: drawn in, dragged, computed, linked to, and where nothing runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import torch
from pages import Quiet, served, until

pytest.importorskip("anywidget")

from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.networks.checkpoints import load_pretrained
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.drawing import DrawSettings
from diffusion_lessons.page import engine
from diffusion_lessons.page.standalone import standalone
from diffusion_lessons.page.widgets import DigitLab

pytestmark = pytest.mark.usefixtures("quiet")

PARTS = {name: f"engine/{name}.js" for name in engine.PARTS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's page, the engine's parts beside it, and one page whose engine is missing."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "engine").mkdir()
    for name, file in PARTS.items():
        (folder / file).write_text(engine.as_script(name), "utf-8")
    lab = DigitLab()
    (folder / "lab.html").write_text(standalone(lab, "Digit lab", "engine/"), "utf-8")
    (folder / "broken.html").write_text(standalone(lab, "Digit lab", "nowhere/"), "utf-8")
    (folder / "favicon.ico").write_bytes(b"")
    return folder


class Handler(Quiet):
    """With a policy where the address asks for one."""

    def end_headers(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        for policy in query.get("policy", []):
            self.send_header("Content-Security-Policy", policy)
        super().end_headers()


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder, Handler) as address:
        yield address


class Lab:
    """One lab in a page."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        page.goto("about:blank")  # else a hash alone would load nothing
        page.goto(address)
        self.root = page.get_by_role("group", name="Digit lab")
        self.wait("data-ready", "true")

    def wait(self, name: str, value: str) -> None:
        self.page.wait_for_function(
            "([name, value]) => document.querySelector('.dl-widget')?.getAttribute(name) === value",
            arg=[name, value],
        )

    def control(self, name: str) -> Any:
        return self.root.locator(f'[data-name="{name}"]')

    def task(self, title: str) -> None:
        self.root.get_by_text(title, exact=True).click()

    def computed(self) -> None:
        """Until what was asked for last is there."""
        self.wait("data-engine", "ready")
        self.page.evaluate("() => new Promise(r => requestAnimationFrame(() => setTimeout(r)))")

    def compute(self) -> None:
        self.root.locator('[data-action="run"]').click()
        self.computed()

    def slide(self, name: str, value: int) -> None:
        """Set a slider to a position, as a drag does."""
        self.control(name).evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')) }", value
        )

    def greys(self, part: str, lane: int = 0) -> torch.Tensor:
        values = (
            self.root.locator(f'canvas[data-part="{part}"]')
            .nth(lane)
            .evaluate(
                """(canvas) => {
                const ctx = canvas.getContext("2d");
                const unit = canvas.height / 28;
                return Array.from({ length: 784 }, (_, i) => ctx.getImageData(
                    (i % 28 + 0.5) * unit, (Math.floor(i / 28) + 0.5) * unit, 1, 1).data[0]);
            }"""
            )
        )
        return torch.tensor(values).view(28, 28)

    def words(self) -> str:
        return str(self.root.locator('[data-part="note"]').inner_text())


@pytest.fixture
def lab(watched: tuple[Any, Any], address: str) -> Lab:
    return Lab(watched[0], f"{address}/lab.html")


def test_a_page_that_is_only_read_loads_nothing(watched: tuple[Any, Any], address: str) -> None:
    page, _ = watched
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    lab = Lab(page, f"{address}/lab.html")
    assert lab.root.get_attribute("data-engine") == "idle"
    assert not [url for url in asked if "engine/" in url]
    assert "stored with the page" in lab.words()


def test_new_digits_are_those_of_the_command(lab: Lab) -> None:
    lab.task("New digits")
    lab.control("label").select_option("4")
    lab.compute()
    settings = DrawSettings(steps=10)
    numbers = 4000 + torch.arange(6)
    model = load_pretrained("digits-ddpm")
    cpu = Compute(torch.device("cpu"))
    wanted = draw(model, torch.full((6,), 4), settings, 0, numbers, cpu)
    for k in range(6):
        greys = ((wanted[k, 0].clamp(-1, 1) + 1) * 127.5).round()
        assert (lab.greys(f"x-{k}") - greys).abs().max() <= 2
    assert lab.root.get_attribute("data-calls") == "10"
    assert float(lab.root.get_attribute("data-ms")) > 0
    assert "10 network calls" in lab.words()
    lab.control("network").select_option("digits-ddgan")
    lab.wait("data-calls", "4")
    lab.control("network").select_option("digits-vae")
    lab.wait("data-calls", "1")


def test_after_the_first_time_every_change_is_computed(lab: Lab) -> None:
    lab.compute()
    before = lab.greys("x-0")
    lab.slide("t", 900)
    lab.page.wait_for_function(
        "() => document.querySelector('.dl-widget').dataset.engine !== 'busy'"
    )
    lab.computed()
    assert not torch.equal(lab.greys("x-0"), before)
    # A drag asks for many, and gets the last: what a press computes for it is the same.
    for t in range(100, 1000, 40):
        lab.slide("t", t)
    lab.computed()
    dragged = lab.greys("x-0")
    lab.compute()
    assert torch.equal(lab.greys("x-0"), dragged)


VALUE = "(e, wanted) => e.value === wanted"
TEXT = "(e, wanted) => e.getAttribute('aria-valuetext') === wanted"


@pytest.mark.parametrize(
    ("name", "sampler"), [("digits-consistency", "consistency"), ("digits-reflow", "euler")]
)
def test_a_network_of_few_calls_comes_with_its_own_way(lab: Lab, name: str, sampler: str) -> None:
    """And takes it along, to whichever network or task comes next."""
    lab.task("New digits")
    lab.control("steps").focus()
    lab.page.keyboard.press("End")
    lab.control("network").select_option(name)
    until(lab.control("sampler"), VALUE, sampler)
    until(lab.control("steps"), TEXT, "2")
    lab.control("label").select_option("6")
    lab.compute()
    assert lab.root.get_attribute("data-calls") == "2"
    model, cpu = load_pretrained(name), Compute(torch.device("cpu"))
    wanted = draw(model, torch.full((6,), 6), DrawSettings(), 0, 6000 + torch.arange(6), cpu)
    for k in range(6):
        greys = ((wanted[k, 0].clamp(-1, 1) + 1) * 127.5).round()
        assert (lab.greys(f"x-{k}") - greys).abs().max() <= 2
    lab.task("Restore")
    lab.computed()
    assert lab.root.get_attribute("data-calls") == "10"
    assert "digits-ddpm (" in lab.words()
    lab.task("New digits")
    until(lab.control("network"), VALUE, "digits-ddpm")
    until(lab.control("sampler"), VALUE, "ddim")
    until(lab.control("steps"), TEXT, "10")


def draw_one(lab: Lab) -> None:
    """A one, from above to below, near the left edge."""
    box = lab.root.locator('canvas[data-part="pad"]').bounding_box()
    lab.page.mouse.move(box["x"] + 40, box["y"] + 30)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + 44, box["y"] + 150, steps=8)
    lab.page.mouse.up()


def test_a_drawing_is_centred_and_restored(lab: Lab) -> None:
    lab.control("clear").click()
    assert lab.greys("given").max() == 0
    draw_one(lab)
    given = lab.greys("given").float() / 255
    places = torch.arange(28) + 0.5
    assert float((given.sum(0) * places).sum() / given.sum()) == pytest.approx(14, abs=0.6)
    lab.slide("t", 150)
    lab.compute()
    restored = lab.greys("x-0").float() / 255
    assert (restored - given).abs().mean() < 0.08  # so little noise keeps it
    lab.control("undo").click()
    assert lab.greys("given").max() == 0


def test_a_hole_is_filled_and_the_rest_kept(lab: Lab) -> None:
    lab.task("Fill in")
    lab.control("hole").select_option("lower")
    lab.compute()
    preset = load_preset(3)
    for k in range(6):
        filled = lab.greys(f"x-{k}")
        assert (filled[:13] - preset[:13]).abs().max() <= 2  # the known part
        assert (filled[15:] - preset[15:]).abs().float().mean() > 1
    # Another hole with the mouse: marked on the pad, shown in what the network gets.
    lab.control("hole").select_option("none")
    lab.control("tool").select_option("hole")
    draw_one(lab)
    lab.computed()
    assert (lab.greys("x-1")[:, 20:] - preset[:, 20:]).abs().max() <= 2


def load_preset(k: int) -> torch.Tensor:
    from diffusion_lessons.data import digits

    test = digits(train=False)
    return test.images[test.labels == k][0, 0].long()


def test_inversion_rebuilds_and_blending_ends_at_both_seeds(lab: Lab) -> None:
    lab.task("Invert")
    lab.slide("steps", 49)
    lab.compute()
    difference = (lab.greys("x-0") - load_preset(3)).abs().float().mean()
    assert difference < 25  # of 255, in fifty steps up and fifty down
    lab.task("Blend")
    lab.computed()
    first, last = lab.greys("x-0"), lab.greys("x-6")
    assert not torch.equal(first, last)
    lab.control("seed").fill("1")
    lab.control("seed").press("Enter")
    lab.control("other").fill("0")
    lab.control("other").press("Enter")
    lab.page.wait_for_timeout(100)
    lab.computed()
    assert (lab.greys("x-0") - last).abs().max() <= 1
    assert (lab.greys("x-6") - first).abs().max() <= 1


def test_six_ways_side_by_side_and_the_walk_scrubbed(lab: Lab) -> None:
    asked: list[str] = []
    lab.page.on("request", lambda request: asked.append(request.url.split("/")[-1]))
    lab.task("Compare")
    lab.control("label").select_option("7")
    lab.compute()
    lanes = lab.root.locator('[data-part="lane"]').all_inner_texts()
    assert [lane.split(" network")[0] for lane in lanes] == [  # and the time, t = 0
        "VAE 1",
        "Consistency 2",
        "Reflow 2",
        "Denoising diffusion GAN 4",
        "DDIM 10",
        "DDPM 100",
    ]
    assert lab.root.get_attribute("data-calls") == "119"
    # Each network comes when its turn has come, and once.
    names = ["vae", "consistency", "reflow", "ddgan", "ddpm"]
    assert [name for name in asked if "digits-" in name] == [f"digits-{k}.js" for k in names]
    lab.page.wait_for_timeout(300)
    canvas = lab.root.locator('canvas[data-part="x-0"]').nth(5)
    read = "canvas => canvas.toDataURL()"
    last = canvas.evaluate(read)
    lab.slide("walk", 0)
    lab.page.wait_for_timeout(150)
    assert canvas.evaluate(read) != last
    assert "t = 1000" in lab.root.locator('[data-part="lane"]').nth(5).inner_text()


@pytest.mark.parametrize("calls", [1, 4])
def test_as_many_calls_as_are_asked_for(lab: Lab, calls: int) -> None:
    """By keyboard; the other ways keep theirs."""
    lab.task("Compare")
    lab.control("label").select_option("7")
    lab.control("calls").and_(lab.page.locator("[value='2']")).focus()
    lab.page.keyboard.press("ArrowLeft" if calls == 1 else "ArrowRight")
    lab.compute()
    assert lab.root.get_attribute("data-calls") == str(115 + 2 * calls)
    words = "1 network call," if calls == 1 else "4 network calls,"
    cpu = Compute(torch.device("cpu"))
    for lane, name in enumerate(["digits-consistency", "digits-reflow"], 1):
        title = lab.root.locator('[data-part="lane"]').nth(lane)
        assert words in title.inner_text()
        model, settings = load_pretrained(name), DrawSettings(calls)
        wanted = draw(model, torch.full((3,), 7), settings, 0, 7000 + torch.arange(3), cpu)
        for k in range(3):
            seen = lab.greys(f"x-{k}", lane)
            greys = ((wanted[k, 0].clamp(-1, 1) + 1) * 127.5).round()
            assert (seen - greys).abs().max() <= 2
    lab.control("link").click()
    lab.page.wait_for_function("() => location.hash.startsWith('#lab?')")
    again = Lab(lab.page, lab.page.url)
    assert again.control("calls").and_(again.page.locator(f"[value='{calls}']")).is_checked()


def test_by_keyboard_alone(lab: Lab) -> None:
    lab.page.keyboard.press("Tab")
    lab.page.keyboard.press("ArrowRight")
    assert lab.control("task-fill").is_checked()
    lab.page.keyboard.press("Tab")  # the presets
    lab.page.keyboard.press("ArrowRight")
    before = lab.greys("given")
    lab.page.keyboard.press("ArrowRight")
    lab.page.wait_for_timeout(100)
    assert not torch.equal(lab.greys("given"), before)
    lab.root.locator('[data-action="run"]').focus()
    lab.page.keyboard.press("Enter")
    lab.computed()


def test_a_link_carries_the_settings_the_drawing_and_its_hole(lab: Lab) -> None:
    lab.control("clear").click()
    draw_one(lab)
    lab.task("Fill in")
    lab.control("hole").select_option("left")
    lab.control("label").select_option("1")
    given = lab.greys("given")
    lab.control("link").click()
    lab.page.wait_for_function("() => location.hash.startsWith('#lab?')")
    again = Lab(lab.page, lab.page.url)
    assert again.control("task-fill").is_checked()
    assert again.control("label").input_value() == "1"
    assert (again.greys("given") - given).abs().max() <= 1
    # Another one, while the page is open.
    lab.page.evaluate("() => { location.hash = '#lab?task=draw&steps=3&label=5'; }")
    lab.page.wait_for_function("() => document.querySelector('[data-name=\"task-draw\"]').checked")
    assert again.control("label").input_value() == "5"


@pytest.mark.parametrize(
    "link",
    [
        "task=constructor",
        "task=fly&t=no&sampler=x&drawing=zz&hole=1",
        "label=99&steps=0&t=-4&seed=1e300&scale=Infinity",
        "label=3.7&t=&seed=-1&eta=2&other=1.5&calls=3",
    ],
)
def test_a_link_that_makes_no_sense_changes_nothing(lab: Lab, address: str, link: str) -> None:
    odd = Lab(lab.page, f"{address}/lab.html#lab?{link}")
    assert odd.control("task-restore").is_checked()
    settings = {"label": "-1", "t": "500", "steps": "9", "seed": "0", "other": "1", "eta": "0"}
    assert {name: odd.control(name).input_value() for name in settings} == settings
    odd.task("Compare")
    assert odd.root.locator('[data-name="calls"]:checked').input_value() == "2"


def test_a_sampler_that_cannot_fill_in_is_left(lab: Lab, address: str) -> None:
    filling = Lab(lab.page, f"{address}/lab.html#lab?task=fill&sampler=heun")
    assert filling.control("sampler").input_value() == "ddim"
    filling.task("Restore")
    filling.control("sampler").select_option("dpm++")
    filling.task("Fill in")
    filling.page.wait_for_timeout(100)
    assert filling.control("sampler").input_value() == "ddim"


def test_undo_takes_back_what_is_seen_and_what_was_cleared(lab: Lab) -> None:
    preset = lab.greys("given")
    lab.control("clear").click()
    draw_one(lab)
    drawn = lab.greys("given")
    lab.control("clear").click()
    assert lab.greys("given").max() == 0
    lab.control("undo").click()
    assert torch.equal(lab.greys("given"), drawn)
    for _ in range(2):
        lab.control("undo").click()
    assert torch.equal(lab.greys("given"), preset)
    assert lab.control("undo").is_disabled()
    # A hole of the list stays where it is, whatever lies below, until another is chosen.
    lab.task("Fill in")
    lab.control("hole").select_option("upper")
    assert lab.control("undo").is_disabled()
    lab.control("clear").click()
    lab.page.wait_for_timeout(50)
    assert lab.greys("given")[:13].min() > 0
    assert lab.control("hole").input_value() == "upper"


def test_seeds_end_where_they_end(lab: Lab) -> None:
    lab.control("seed").fill("9999999")
    lab.control("seed").press("Enter")
    assert lab.control("seed").input_value() == "999999"
    lab.control("noise").click()
    lab.control("noise").focus()
    lab.page.wait_for_timeout(50)
    assert lab.control("seed").input_value() == "0"


def test_what_died_or_did_not_come_is_made_again(watched: tuple[Any, Any], address: str) -> None:
    page, watch = watched
    page.add_init_script(
        """window.workers = [];
        window.Worker = class extends Worker {
            constructor(...given) { super(...given); window.workers.push(this); }
        };"""
    )
    page.route("**/examples.js", lambda route: route.abort())
    lab = Lab(page, f"{address}/lab.html")
    lab.compute()
    page.wait_for_function(
        "() => document.querySelector('[data-part=note]').textContent.includes('did not come')"
    )
    assert lab.root.get_attribute("data-engine") == "ready"
    page.unroute("**/examples.js")
    page.evaluate(
        """() => {
            for (const worker of window.workers) {
                worker.terminate();
                worker.dispatchEvent(new ErrorEvent("error", { message: "out of memory" }));
            }
        }"""
    )
    lab.compute()
    lab.root.locator('[data-part="nearest-5"][aria-label^="nearest"]').wait_for()
    watch.problems.clear()  # of the missing script


def test_pictures_are_saved(lab: Lab) -> None:
    with lab.page.expect_download() as download:
        lab.control("save").click()
    assert download.value.suggested_filename == "digits.png"
    lab.compute()
    lab.task("Compare")  # and while some are still to come
    with lab.page.expect_download() as download:
        lab.control("save").click()
    assert download.value.suggested_filename == "digits.png"


def test_two_labs_share_the_engine(watched: tuple[Any, Any], address: str) -> None:
    page, _ = watched
    asked: list[str] = []
    Lab(page, f"{address}/lab.html")
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(
        """async () => {
            const el = document.createElement("main");
            document.body.append(el);
            // The page's own host, a second time.
            const [host] = [...document.scripts].filter(({ text }) => text.includes("modelOf"));
            const view = document.querySelector("script[type$='widget-view+json']");
            el.append(view.cloneNode(true));
            view.remove();
            const again = document.createElement("script");
            again.text = host.text;
            document.body.append(again);
            while (document.querySelectorAll(".dl-widget").length < 2) {
                await new Promise(r => setTimeout(r, 20));
            }
        }"""
    )
    roots = page.locator(".dl-widget")
    assert roots.count() == 2
    for k in range(2):
        roots.nth(k).locator('[data-action="run"]').click()
    for k in range(2):
        roots.nth(k).evaluate(
            """async (root) => {
                while (root.dataset.engine !== "ready") await new Promise(r => setTimeout(r, 50));
            }"""
        )
    assert sum(url.endswith(PARTS["runtime"]) for url in asked) == 1


def test_where_nothing_can_run_the_stored_pictures_stay(
    watched: tuple[Any, Any], address: str
) -> None:
    page, watch = watched
    for url in [
        f"{address}/broken.html",
        f"{address}/lab.html?policy=script-src 'unsafe-inline' blob: 'self'",  # no WebAssembly
        f"{address}/lab.html?policy=worker-src 'none'",
    ]:
        lab = Lab(page, url)
        pictures = lab.greys("x-0")
        lab.root.locator('[data-action="run"]').click()
        lab.wait("data-engine", "none")
        page.wait_for_timeout(100)
        assert "The networks cannot run here: " in lab.words(), url
        assert "stored" in lab.words()
        assert torch.equal(lab.greys("x-0"), pictures)
    watch.problems.clear()  # of the missing scripts


def test_from_a_folder(watched: tuple[Any, Any], folder: Path) -> None:
    lab = Lab(watched[0], (folder / "lab.html").as_uri())
    lab.compute()
    assert lab.root.get_attribute("data-calls") == "10"


def test_without_scripts_a_picture_and_a_line(watched: tuple[Any, Any], address: str) -> None:
    context = watched[0].context.browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/lab.html")
    assert page.get_by_text("A stored picture, since the widget has not started").is_visible()
    assert page.get_by_role("img", name="Stored picture of Digit lab").is_visible()
    context.close()


def test_with_a_finger_on_a_phone(watched: tuple[Any, Any], address: str) -> None:
    context = watched[0].context.browser.new_context(
        viewport={"width": 320, "height": 700}, has_touch=True
    )
    page = context.new_page()
    lab = Lab(page, f"{address}/lab.html")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320
    before = lab.greys("given")
    lab.root.locator('canvas[data-part="pad"]').tap()
    page.wait_for_timeout(100)
    assert not torch.equal(lab.greys("given"), before)
    context.close()


def test_accessible(lab: Lab) -> None:
    from axe_playwright_python.sync_playwright import Axe

    for title in ("Restore", "Fill in", "New digits", "Compare"):
        lab.task(title)
        lab.page.wait_for_timeout(100)
        found = Axe().run(lab.page).response["violations"]
        assert found == [], title


def test_in_a_tab_that_is_hidden_it_computes_on(lab: Lab) -> None:
    """There are no animation frames then."""
    lab.page.evaluate("() => { window.requestAnimationFrame = () => 0; }")
    lab.root.locator('[data-action="run"]').click()
    lab.wait("data-engine", "ready")
    assert lab.root.get_attribute("data-calls") == "10"


def test_memory_does_not_grow(lab: Lab) -> None:
    """After two hundred runs of the smallest network, and after leaving in mid-work."""
    lab.task("New digits")
    lab.control("network").select_option("digits-vae")
    lab.compute()
    session = lab.page.context.new_cdp_session(lab.page)

    def used() -> float:
        session.send("HeapProfiler.collectGarbage")
        return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6

    before = used()
    lab.page.evaluate(
        """async () => {
            const root = document.querySelector(".dl-widget");
            const button = root.querySelector('[data-action="run"]');
            for (let k = 0; k < 200; k++) {
                button.click();
                while (root.dataset.engine !== "ready") await new Promise(r => setTimeout(r, 5));
            }
        }"""
    )
    assert used() - before < 5
    lab.root.locator('[data-action="run"]').click()
    lab.page.goto("about:blank")
