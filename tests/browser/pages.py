"""Widgets in a page, live or published: how the tests reach their parts and read their pixels."""

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of plain files that keeps no log."""

    def log_message(self, *words: Any) -> None:
        pass


@contextmanager
def served(folder: Path, handler: type[Quiet] = Quiet) -> Iterator[str]:
    """A folder on loopback: its address, without a slash at the end."""
    made = functools.partial(handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


READ = "canvas => canvas.toDataURL()"
# The grey in the middle of each of the picture's own pixels.
GREYS = """(canvas, [rows, columns]) => {
    const ctx = canvas.getContext("2d");
    const [down, across] = [canvas.height / rows, canvas.width / columns];
    const grey = (row, column) =>
        ctx.getImageData((column + 0.5) * across, (row + 0.5) * down, 1, 1).data[0];
    return Array.from({ length: rows * columns },
        (_, i) => grey(Math.floor(i / columns), i % columns));
}"""


def until(locator: Any, look: str, arg: Any = None, timeout: float = 60_000) -> None:
    """Until ``look(element, arg)`` holds, of the element at hand or of one that took its place.

    A repaint may replace what a note holds; the element that was there then changes no more.
    """
    look = f"([e, arg]) => e.isConnected ? ({look})(e, arg) && 'so' : 'gone'"
    answer = "gone"
    while answer == "gone":
        given = [locator.element_handle(), arg]
        answer = locator.page.wait_for_function(look, arg=given, timeout=timeout).json_value()


def settle(page: Any) -> None:
    """Until the repaint that was asked for has been done."""
    page.evaluate("() => new Promise(r => requestAnimationFrame(() => setTimeout(r)))")


class Widgets:
    """The widgets in a page: ``labels`` are their accessible names by the tests' own names."""

    def __init__(self, page: Any, labels: dict[str, str]) -> None:
        self.page, self.labels = page, labels
        for name in labels:
            self.widget(name).wait_for()

    def widget(self, name: str) -> Any:
        groups = self.page.get_by_role("group", name=self.labels[name])
        same = [other for other in self.labels if self.labels[other] == self.labels[name]]
        return groups.nth(same.index(name))

    def ready(self, name: str) -> None:
        """Until its pictures are unpacked and shown, those too that were asked for just now."""
        self.settle()
        until(self.widget(name), "e => e.dataset.ready === 'true'")
        self.settle()

    def slider(self, name: str, trait: str) -> Any:
        return self.widget(name).locator(f'[data-name="{trait}"]')

    def canvas(self, name: str, part: str) -> Any:
        return self.widget(name).locator(f'canvas[data-part="{part}"]')

    def settle(self) -> None:
        settle(self.page)

    def take(self, slider: Any, share: float = 0) -> None:
        """Press the mouse on a slider, at a share of its width, once it stands still in sight."""
        box = slider.bounding_box()
        x = max(6, share * box["width"])  # the thumb's middle is never quite at the end
        slider.hover(position={"x": x, "y": box["height"] / 2})
        self.page.mouse.down()

    def pull(self, slider: Any, share: float) -> None:
        """Move the mouse that has taken a slider."""
        box = slider.bounding_box()
        x, y = box["x"] + share * box["width"], box["y"] + box["height"] / 2
        self.page.mouse.move(x, y, steps=8)

    def drag(self, slider: Any, begin: float, end: float) -> None:
        self.take(slider, begin)
        self.pull(slider, end)
        self.page.mouse.up()

    def choose(self, radio: Any) -> None:
        """Click on the picture or box of a radio button, once it stands still in sight."""
        radio.locator("xpath=ancestor::label").click()
        until(radio, "input => input.checked")

    def said(self, name: str, trait: str) -> str:
        """A slider's value as it is read aloud."""
        self.settle()
        return str(self.slider(name, trait).get_attribute("aria-valuetext"))

    def words(self, name: str) -> str:
        """All that can be read in a widget."""
        self.settle()
        return str(self.widget(name).inner_text())

    def read(self, name: str, part: str) -> str:
        self.settle()
        return str(self.canvas(name, part).evaluate(READ))

    def changed(self, name: str, part: str, before: str) -> None:
        """Until a picture is another than it was."""
        look = "(canvas, before) => canvas.toDataURL() !== before"
        until(self.canvas(name, part), look, before)

    def greys(self, name: str, part: str, rows: int = 28, columns: int = 28) -> torch.Tensor:
        self.settle()
        values = self.canvas(name, part).evaluate(GREYS, [rows, columns])
        return torch.tensor(values).view(rows, columns)


class Page(Widgets):
    """A notebook in JupyterLab, with the widgets in it."""

    def __init__(self, lab: Any, labels: dict[str, str]) -> None:
        self.lab = lab
        lab.page.set_viewport_size({"width": 1240, "height": 5200})  # every cell on the screen
        super().__init__(lab.page, labels)

    def python_bytes(self, expression: str) -> torch.Tensor:
        """A tensor in -1..1 in the kernel, as flat greys 0..255."""
        # As text: a kernel shortens the output of a list as long as this.
        greys = f"((({expression}).clamp(-1, 1) + 1) * 127.5).round().byte().flatten()"
        text = eval(self.lab.python(f"bytes({greys}.tolist()).hex()"))
        return torch.tensor(list(bytes.fromhex(text)))

    def shots(self, theme: str) -> None:
        if folder := os.environ.get("WIDGET_SHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.wait_for_timeout(500)
            for name in self.labels:
                self.widget(name).screenshot(path=Path(folder) / f"{name}-{theme}.png")


def check_narrow(notebook: Page) -> None:
    """At the width of a phone nothing sticks out."""
    style = notebook.page.add_style_tag(content=".dl-widget { width: 320px }")
    notebook.settle()
    notebook.shots("narrow")
    excess = "e => e.scrollWidth - e.clientWidth"
    wide = {name: notebook.widget(name).evaluate(excess) for name in notebook.labels}
    style.evaluate("e => e.remove()")
    notebook.settle()
    assert max(wide.values()) <= 0, wide


def check_names(notebook: Page) -> None:
    """Every control and picture has a name for screen readers."""
    nameless = notebook.page.evaluate(
        """() => [...document.querySelectorAll(".dl-widget input, .dl-widget select, "
                + ".dl-widget button, .dl-widget progress, .dl-widget [role=img]")]
            .filter(e => !(e.getAttribute("aria-label") || e.textContent.trim()
                || e.labels?.[0]?.textContent.trim()))
            .map(e => e.outerHTML)"""
    )
    assert nameless == []
