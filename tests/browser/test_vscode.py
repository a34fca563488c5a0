"""Every widget in VS Code's own widget manager, in a page made as VS Code's notebooks make theirs.

The Jupyter extension of VS Code draws widgets by the npm package @vscode/jupyter-ipywidgets8, and
loads anywidget by RequireJS: from the folder nbextensions of the kernel's Python or, where the user
allows that, from a CDN, which has the same file. The page is sandboxed and cannot fetch anything of
the Jupyter server; its messages go through the extension to the kernel. By default it has no
Content-Security-Policy: the one of the setting `notebook.experimental.enableCsp` allows no script
from blob:, and so no anywidget of anybody.

The environment variable VSCODE_WIDGETS names the folder in which .ci/tools unpacks that package and
requirejs; without it the tests are skipped, and on CI they fail. The kernel is this process.
"""

import base64
import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from greys import STORED
from pages import Widgets
from test_no_kernel import made

from conftest import unavailable

pytest.importorskip("anywidget")

from ipywidgets.embed import dependency_state, embed_data

from diffusion_lessons.course import quiz
from diffusion_lessons.math.schedule import linear_schedule
from diffusion_lessons.networks.checkpoints import load_pretrained
from diffusion_lessons.page import widgets

ORIGIN = "https://notebook.vscode-cdn.net"
SANDBOX = "sandbox allow-same-origin allow-pointer-lock allow-scripts allow-downloads allow-forms"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>notebook</title>
<base href="/folder/of/the/notebook/"><link rel="icon" href="data:,">
<style>
    body { background: transparent }
    .cell-output-ipywidget-background { background: white !important }
    .cell-output-ipywidget-background :is(button, a, input, select) { outline: none }
    table, th, td { border: none !important; text-align: right }
    #container > div > div > div { overflow-x: auto }
</style>
<script>
    globalThis.acquireVsCodeApi = () => ({ postMessage() {}, setState() {}, getState() {} });
    window.parent = window;
</script>
<script src="/require.js"></script><script type="module" src="/vscode.js"></script></head>
<body class="vscode-light" data-vscode-theme-kind="vscode-light" role="document">
<div id="container"></div></body></html>"""
# The canvases in sight on which there is nothing, by their widget's label and their own name.
BLANK = """() => [...document.querySelectorAll(".dl-widget canvas")]
    .filter(canvas => canvas.clientWidth && !canvas.getContext("2d")
        .getImageData(0, 0, canvas.width, canvas.height).data.some(value => value !== 0))
    .map(canvas => [canvas.closest(".dl-widget").ariaLabel, canvas.dataset.part])"""

pytestmark = pytest.mark.usefixtures("quiet")


class Kernel:
    """Widgets in this process, and the messages that they send to the page."""

    def __init__(self, *shown: Any) -> None:
        self.shown = shown
        self.alive = True
        self.models = {model.model_id: model for one in shown for model in (one, one._kit)}
        self.sent: list[Any] = []
        for name, model in self.models.items():
            model.comm.publish_msg = functools.partial(self.publish, name)

    def publish(self, name: str, kind: str, data: Any, metadata: Any, buffers: Any) -> None:
        texts = [base64.b64encode(buffer).decode() for buffer in buffers or []]
        self.sent.append([name, data, texts])

    def hear(self, name: str, data: Any) -> list[Any] | None:
        """What comes back for a message from the page."""
        if not self.alive:
            return None
        self.sent.clear()
        self.models[name].comm.handle_msg({"content": {"data": data}, "buffers": []})
        return list(self.sent)


@pytest.fixture(scope="module")
def scripts() -> dict[str, Path]:
    """What the page may fetch, and where it is."""
    folder = Path(os.environ.get("VSCODE_WIDGETS", "."), "package")
    found = {
        "/ipywidgets.js": folder / "dist" / "ipywidgets.js",
        "/require.js": folder / "require.js",
        "/anywidget.js": Path(sys.prefix, "share/jupyter/nbextensions/anywidget/index.js"),
        "/vscode.js": Path(__file__).with_name("vscode.js"),
    }
    for path in found.values():
        if not path.exists():
            unavailable(f"no {path} found; set VSCODE_WIDGETS as .ci/run does")
    return found


@pytest.fixture(scope="module")
def show(scripts: dict[str, Path], watched: tuple[Any, Any]) -> Callable[..., Any]:
    """Shows the widgets of a `Kernel` in an empty notebook: live, or from their stored state."""
    page, _ = watched
    kernel: Kernel

    def answer(route: Any) -> None:
        path = route.request.url.removeprefix(ORIGIN)
        if path == "/":
            headers = {"Content-Security-Policy": SANDBOX}
            route.fulfill(body=PAGE, content_type="text/html", headers=headers)
        elif path in scripts:
            route.fulfill(path=scripts[path], content_type="text/javascript")
        else:
            route.fulfill(status=404)

    page.route(f"{ORIGIN}/**", answer)
    page.expose_function("toKernel", lambda name, data: kernel.hear(name, data))

    def shown(given: Kernel, live: bool = True) -> Any:
        nonlocal kernel
        kernel = given
        page.goto(f"{ORIGIN}/")
        page.wait_for_function("() => window.show !== undefined")
        state = dependency_state(kernel.shown, drop_defaults=False)
        saved = embed_data(kernel.shown, state=state)["manager_state"]
        names = [one.model_id for one in kernel.shown]
        page.evaluate("given => window.show(given)", {"saved": saved, "shown": names, "live": live})
        all_there = "n => document.querySelectorAll('.dl-widget').length === n"
        page.wait_for_function(all_there, arg=len(names))
        return page

    return shown


@pytest.fixture(scope="module")
def kinds() -> dict[str, Any]:
    """One widget of each kind."""
    apart = {"FinalTest": widgets.FinalTest(quiz.matching.items()), "DigitLab": widgets.DigitLab()}
    return {name: about[0]() for name, about in made().items()} | apart


@pytest.mark.parametrize("live", [True, False], ids=["live", "stored"])
def test_every_widget_is_alive(show: Any, kinds: dict[str, Any], live: bool) -> None:
    assert {*kinds} == {*widgets.__all__}
    page = show(Kernel(*kinds.values()), live)
    assert page.locator(".cell-output-ipywidget-background .dl-widget").count() == len(kinds)
    page.wait_for_function("""() => ![...document.querySelectorAll(".dl-widget")]
        .some(root => root.dataset.ready === "false")""")
    for root in page.locator(".dl-widget").all():
        assert root.bounding_box()["height"] > 100
    until = time.monotonic() + 10
    while blank := page.evaluate(BLANK):
        assert time.monotonic() < until, blank


def test_a_slider_that_is_dragged_tells_the_kernel_and_hears_it(show: Any) -> None:
    kernel = Kernel(widget := made()["ForwardExplorer"][0]())
    page = Widgets(show(kernel), {"forward": "Forward noising explorer"})
    slider = page.slider("forward", "t")
    before = page.read("forward", "x_t")
    page.drag(slider, 0.25, 0.9)
    page.changed("forward", "x_t", before)
    until = time.monotonic() + 10
    while widget.t != int(slider.input_value()):
        assert time.monotonic() < until
    assert widget.t > 800
    there = page.read("forward", "x_t")
    kernel.sent.clear()
    widget.t = 250
    page.page.evaluate("sent => window.hear(sent)", kernel.sent)
    page.changed("forward", "x_t", there)
    assert slider.input_value() == "250"
    assert page.read("forward", "x_t") == before


@pytest.mark.parametrize("kind", ["vscode-dark", "vscode-high-contrast"])
def test_it_is_as_dark_as_the_editor_and_so_is_what_is_around_it(show: Any, kind: str) -> None:
    page = show(Kernel(widgets.ScheduleExplorer()))
    look = "theme => document.querySelector('.dl-widget').dataset.dlTheme === theme"
    around = """() => [...document.querySelectorAll(".cell-output-ipywidget-background")]
        .map(e => getComputedStyle(e).backgroundColor)"""
    for theme, name in [("light", "vscode-light"), ("dark", kind)]:
        page.evaluate("kind => { document.body.dataset.vscodeThemeKind = kind; }", name)
        page.wait_for_function(look, arg=theme)
        assert page.evaluate(around) == ["rgba(0, 0, 0, 0)"] * 2


def walks() -> widgets.StepsExplorer:
    noise = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    denoiser = load_pretrained("digits-ddpm").denoiser(torch.tensor([3]))
    return widgets.StepsExplorer(denoiser, noise, linear_schedule(), (1, 4), (0,))


def test_the_kernel_brings_the_engine_and_the_page_computes(show: Any) -> None:
    widget = walks()
    page = Widgets(show(Kernel(widget)), {"walks": "Steps and eta explorer"})
    page.ready("walks")
    page.widget("walks").get_by_role("button", name="New noise").click()
    page.widget("walks").get_by_text("Computed here by digits-ddpm: 4 network calls").wait_for()
    page.widget("walks").and_(page.page.locator("[data-engine=ready]")).wait_for()
    assert widget.seed == 1
    exact = ((widget.pictures()[0, 0].clamp(-1, 1) + 1) * 127.5).round()
    assert (page.greys("walks", "x-0") - exact).abs().max() <= 3 + STORED


def test_without_a_kernel_one_line_says_why(show: Any) -> None:
    kernel = Kernel(walks())
    kernel.alive = False
    page = show(kernel)
    page.clock.install()
    page.get_by_role("slider", name="number of steps").press("Home")
    page.clock.run_for(16_000)
    page.get_by_text("this page cannot compute it: no kernel brings it").wait_for()
    page.clock.resume()
