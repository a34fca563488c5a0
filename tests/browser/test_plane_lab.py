"""The plane lab in a page without a kernel: mouse, finger, pen, keyboard, and a network trained."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")

from test_no_kernel import show

from diffusion_lessons.page import widgets

pytestmark = pytest.mark.usefixtures("quiet")


class Lab:
    """One lab in the page."""

    def __init__(self, page: Any, number: int = 0) -> None:
        self.page = page
        self.root = page.get_by_role("group", name="Plane lab").nth(number)
        self.canvas = self.part("plane")
        self.is_ready()

    def part(self, name: str) -> Any:
        return self.root.locator(f'[data-part="{name}"]')

    def control(self, name: str) -> Any:
        return self.root.locator(f'[data-name="{name}"]')

    def action(self, name: str) -> Any:
        return self.root.locator(f'[data-action="{name}"]')

    def data(self, name: str) -> str:
        return str(self.root.evaluate("(e, name) => e.dataset[name]", name))

    def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.root.evaluate("e => ({ ...e.dataset })")
            self.page.wait_for_timeout(50)

    def is_ready(self) -> None:
        self.until(lambda: self.data("engine") == "ready")
        self.settle()

    def settle(self) -> None:
        """Until what was asked for is painted, arrows too, which come a frame later."""
        frame = "new Promise(r => requestAnimationFrame(() => setTimeout(r)))"
        for _ in range(3):
            self.page.evaluate(f"() => {frame}")

    def read(self) -> str:
        self.settle()
        return str(self.canvas.evaluate("canvas => canvas.toDataURL()"))

    def share(self, who: str) -> float:
        return float(self.part(f"share-{who}").evaluate("e => e.dataset.share || 'nan'"))

    def updates(self) -> int:
        return int(self.data("updates"))

    def points(self) -> int:
        """How many there are, by what a screen reader hears of the plane."""
        self.settle()
        return int(str(self.canvas.get_attribute("aria-label")).split(" point")[0].split()[-1])

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A place of the plane on the screen."""
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        return box["x"] + box["width"] * (x + 3) / 6, box["y"] + box["height"] * (3 - y) / 6

    def start(self, name: str) -> None:
        self.control("shape").select_option(name)
        self.settle()

    def heard(self) -> str:
        self.settle()
        return str(self.root.locator(".dl-unseen").inner_text())

    def cross(self) -> str:
        """Where the keyboard's cross is."""
        self.settle()
        said = str(self.canvas.get_attribute("aria-label"))
        return said.rpartition("the cross is at ")[2].replace("\u2212", "-")


@pytest.fixture
def page(watched: tuple[Any, Any]) -> Iterator[Any]:
    page, _ = watched
    page.set_viewport_size({"width": 1240, "height": 1100})
    yield page
    page.goto("about:blank")


@pytest.fixture
def lab(page: Any) -> Lab:
    show(page, widgets.PlaneLab())
    return Lab(page)


def test_it_is_alive_at_once_and_says_what_it_did(lab: Lab) -> None:
    assert lab.data("calls") == "50"
    assert float(lab.data("ms")) > 0
    assert lab.share("exact") == 1
    assert lab.share("chance") < 0.1
    assert "memorised" in lab.part("note").inner_text()
    assert "50 calls of the exact denoiser for 300 particles" in lab.part("account").inner_text()
    before = lab.read()
    lab.action("run").click()
    lab.until(lambda: lab.read() != before)
    lab.is_ready()
    assert lab.share("exact") == 1


def test_the_timeline_walks_from_noise_to_the_points(lab: Lab) -> None:
    frame = lab.control("frame")
    frame.focus()
    seen = {lab.read()}
    frame.press("Home")
    seen.add(lab.read())
    assert "Noise." in lab.part("note").inner_text()
    for _ in range(20):
        frame.press("ArrowRight")
    seen.add(lab.read())
    assert "Each arrow points to where" in lab.part("note").inner_text()
    lab.control("arrows").uncheck()
    seen.add(lab.read())
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [("sampler", "ddpm"), ("label", "1"), ("eta", None), ("steps", None), ("std", None)],
)
def test_every_setting_makes_another_walk(lab: Lab, name: str, value: str | None) -> None:
    lab.control("frame").press("PageDown")
    before = lab.read()
    if value is None:
        lab.control(name).press("End")
    else:
        lab.control(name).select_option(value)
    lab.is_ready()
    assert lab.read() != before
    assert lab.data("calls") == ("100" if name == "steps" else "50")


def test_guidance_leads_to_one_class(lab: Lab) -> None:
    assert lab.control("scale").is_disabled()
    lab.control("label").select_option("1")
    lab.is_ready()
    assert lab.control("scale").is_enabled()
    assert lab.share("exact") > 0.9
    lab.start("a single point")  # a disc
    lab.is_ready()
    assert lab.control("scale").is_disabled()
    assert lab.share("exact") == 1


def test_points_are_set_moved_and_removed_with_the_mouse(lab: Lab, page: Any) -> None:
    lab.start("a single point")  # at 0.6, 0.4
    mouse = page.mouse
    mouse.click(*lab.at(-1, -1))
    assert lab.points() == 2
    mouse.move(*lab.at(-1, -1))
    mouse.down()
    mouse.move(*lab.at(-1.5, 1), steps=4)
    mouse.up()
    assert lab.points() == 2
    assert lab.heard() == "Moved: 2 points."
    mouse.click(*lab.at(-1, -1))  # nothing is there any more
    assert lab.points() == 3
    mouse.click(*lab.at(-1.5, 1))
    assert (lab.points(), lab.heard()) == (2, "Removed: 2 points.")
    mouse.move(*lab.at(0, -2))
    mouse.down()
    mouse.move(*lab.at(2, -2), steps=20)  # a stroke
    mouse.up()
    stroke = lab.points()
    assert 7 <= stroke <= 11
    lab.control("class").nth(1).check()
    mouse.click(*lab.at(2, 2))
    assert lab.points() == stroke + 1
    lab.is_ready()
    assert lab.share("exact") > 0.9
    for left in (stroke, 2, 3, 2, 2, 1, 24):
        lab.control("undo").click()
        assert lab.points() == left
    assert lab.control("undo").is_disabled()


def test_an_empty_plane_says_what_to_do(lab: Lab, page: Any) -> None:
    lab.control("clear").click()
    assert lab.points() == 0
    assert lab.data("engine") == "idle"
    assert "No points yet" in lab.part("note").inner_text()
    assert lab.action("train").is_disabled()
    page.mouse.click(*lab.at(1, 1))
    lab.is_ready()
    assert lab.points() == 1
    assert lab.share("exact") == 1


def test_points_are_set_by_keyboard_alone(lab: Lab, page: Any) -> None:
    lab.start("a single point")
    lab.canvas.focus()
    for keys in (["ArrowLeft"] * 3, ["ArrowUp"] * 2, ["Shift+ArrowUp"]):
        for key in keys:
            page.keyboard.press(key)
    assert lab.cross() == "-0.3, 0.7"
    before = lab.read()
    page.keyboard.press("Enter")
    assert lab.points() == 2
    assert lab.heard() == "Added at -0.3, 0.7: 2 points."
    assert lab.read() != before
    page.keyboard.press("Delete")
    assert lab.points() == 1
    page.keyboard.press("Delete")
    assert lab.heard() == "No point at the cross."
    page.keyboard.press("Control+z")
    assert lab.points() == 2
    for _ in range(8):
        page.keyboard.press("Shift+ArrowRight")  # no further than the edge
    assert lab.cross() == "3.0, 0.7"


def test_points_are_set_with_a_finger_and_a_swipe_scrolls(lab: Lab, page: Any) -> None:
    lab.start("a single point")
    session = page.context.new_cdp_session(page)

    def touch(*places: tuple[float, float]) -> None:
        for i, (x, y) in enumerate(places):
            kind = "touchMove" if i else "touchStart"
            at = [{"x": x, "y": y}]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    touch(lab.at(-1, 1))
    assert lab.points() == 2
    touch(lab.at(-1, 1))
    assert lab.points() == 1  # a tap on a point removes it
    x, y = lab.at(-1, 0)
    touch((x, y), *[(x + 2 * i, y - 14 * i) for i in range(1, 8)])
    assert lab.points() == 1
    x, y = lab.at(-2, -2)
    touch((x, y), *[(x + 15 * i, y) for i in range(1, 12)])
    assert lab.points() > 4
    session.detach()


def test_points_are_set_with_a_pen(lab: Lab, page: Any) -> None:
    lab.start("a single point")
    session = page.context.new_cdp_session(page)
    x, y = lab.at(-1, -2)
    facts = {"x": x, "y": y, "button": "left", "clickCount": 1, "pointerType": "pen"}
    for kind in ("mousePressed", "mouseReleased"):
        session.send("Input.dispatchMouseEvent", {"type": kind, **facts})
    assert lab.points() == 2
    session.detach()


# ------------------------------------------------------------------ the network


def test_a_network_learns_in_the_page_and_its_share_changes(lab: Lab) -> None:
    lab.control("denoiser").nth(1).check()
    lab.until(lambda: lab.share("network") >= 0)  # it walks untrained
    lab.is_ready()
    untrained = lab.share("network")
    assert "learnt nothing yet" in lab.part("note").inner_text()
    assert lab.updates() == 0
    lab.action("train").click()
    lab.until(lambda: lab.action("train").inner_text() == "Stop")
    lab.until(lambda: lab.updates() > 50)
    assert lab.data("engine") == "busy"
    lab.until(lambda: lab.updates() > 400 and lab.share("network") > lab.share("chance"), 60)
    assert lab.share("network") != untrained
    lab.action("train").click()
    lab.is_ready()
    updates = lab.updates()
    assert lab.share("network") < lab.share("exact")
    assert "of the network" in lab.part("account").inner_text()
    lab.page.wait_for_timeout(400)
    assert lab.updates() == updates  # it has stopped
    said = str(lab.part("loss").get_attribute("aria-label"))
    assert float(said.rpartition(" ")[2]) < 0.6
    lab.until(lambda: lab.action("train").inner_text() == "Train on")
    lab.action("train").click()
    lab.until(lambda: lab.updates() > updates)


def test_other_points_mean_another_network(lab: Lab) -> None:
    lab.action("train").click()  # while the exact denoiser is looked at
    lab.until(lambda: lab.updates() > 100)
    assert lab.share("exact") == 1
    lab.start("a ring")
    lab.until(lambda: lab.data("networks") == "2")
    lab.until(lambda: lab.updates() > 20)  # it goes on, with a new one
    lab.action("train").click()
    lab.control("width").select_option("8")
    lab.until(lambda: lab.updates() == 0 and lab.share("network") >= 0)
    lab.control("clear").click()
    assert lab.data("engine") == "idle"


def test_two_labs_on_a_page_and_leaving_ends_the_work(page: Any) -> None:
    show(page, widgets.PlaneLab(), widgets.PlaneLab())
    first, second = Lab(page, 0), Lab(page, 1)
    assert len(page.workers) == 0  # nobody has asked for a network
    first.action("train").click()
    first.until(lambda: first.updates() > 20)
    assert (second.updates(), second.data("engine")) == (0, "ready")
    second.start("a ring")
    second.action("train").click()
    second.until(lambda: second.updates() > 20)
    assert len(page.workers) == 2
    assert first.updates() > 20
    page.evaluate("window.ends.pop()()")  # the second leaves in the middle of its training
    first.until(lambda: len(page.workers) == 1)
    assert page.get_by_role("group", name="Plane lab").count() == 1
    updates = first.updates()
    first.until(lambda: first.updates() > updates)
    page.evaluate("window.ends.pop()()")
    until = time.monotonic() + 10
    while page.workers:
        assert time.monotonic() < until
        page.wait_for_timeout(50)


def test_without_workers_the_exact_denoiser_still_answers(page: Any) -> None:
    show(page, widgets.PlaneLab())
    page.evaluate("() => { window.Worker = function () { throw new Error('refused'); }; }")
    lab = Lab(page)
    lab.control("denoiser").nth(1).check()
    lab.until(lambda: lab.data("engine") == "none")
    assert (
        "may start no Worker, which a network needs (refused)" in lab.part("progress").inner_text()
    )
    assert lab.action("train").is_disabled()
    lab.control("denoiser").nth(0).check()
    lab.is_ready()
    lab.action("run").click()
    lab.is_ready()
    assert lab.share("exact") == 1


# ------------------------------------------------------------------ how it looks


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1240, 320])
def test_it_fits_and_is_accessible(page: Any, width: int, theme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.set_viewport_size({"width": width, "height": 900})
    show(page, widgets.PlaneLab())
    page.evaluate(
        "theme => { document.documentElement.dataset.theme = theme;"
        " document.body.style.background = theme === 'dark' ? '#111' : '#fff'; }",
        theme,
    )
    lab = Lab(page)
    assert lab.root.evaluate("e => e.dataset.dlTheme") == theme
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert lab.root.evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    small = lab.root.evaluate(
        """e => [...e.querySelectorAll("button, select, .dl-either label")]
            .map(b => b.getBoundingClientRect().height).filter(height => height < 24)"""
    )
    assert small == []
    shade = lab.canvas.evaluate(
        """canvas => {
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            let blue = 0;
            for (let i = 0; i < data.length; i += 4)
                blue += data[i + 2] > data[i] + 40 && data[i + 3] > 80;
            return blue;
        }"""
    )
    assert shade > 500  # the points and their arrows
    options = {"resultTypes": ["violations"], "preload": False}
    found = Axe().run(page, options=options).response["violations"]
    serious = [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")]
    assert serious == []
    if folder := os.environ.get("WIDGET_SHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        lab.root.screenshot(path=Path(folder) / f"PlaneLab-{width}-{theme}.png")


def test_the_page_walks_as_python_does(page: Any) -> None:
    """Whole: what is counted in the page is what the Python half counts."""
    dots = torch.tensor([[-1.0, 0.5], [0.8, -0.4], [0.3, 1.2]])
    widget = widgets.PlaneLab(dots, particles=200)
    widget.std, widget.steps = 0.08, 30
    show(page, widget)
    lab = Lab(page)
    assert lab.share("exact") == pytest.approx(widget.share, abs=0.011)
    assert 0.3 < widget.share < 0.9


def test_in_jupyterlab_python_hears_and_the_network_learns(
    watched: tuple[Any, Any], open_notebook: Callable[..., Any]
) -> None:
    page, _ = watched
    page.set_viewport_size({"width": 1240, "height": 1600})
    code = "from diffusion_lessons.page.widgets import PlaneLab\nlab = PlaneLab()\nlab"
    notebook = open_notebook("plane.ipynb", [code])
    page.get_by_role("group", name="Plane lab").wait_for()
    lab = Lab(page)
    lab.start("a single point")
    page.mouse.click(*lab.at(-1, -1))
    notebook.wait_for_python("len(lab.points)", "2")
    lab.canvas.focus()
    page.keyboard.press("a")  # not the notebook's command
    page.keyboard.press("Enter")
    notebook.wait_for_python("len(lab.points)", "3")
    lab.action("train").click()
    lab.until(lambda: lab.updates() > 20)
    notebook.python("0", "lab.std = 0.1; lab.denoiser = 'network'")
    lab.until(lambda: lab.control("std").input_value() == "0.1")
    lab.until(lambda: lab.control("denoiser").nth(1).is_checked())
    notebook.python("0", "lab.close()")
    until = time.monotonic() + 10
    while page.workers:
        assert time.monotonic() < until
        page.wait_for_timeout(50)
