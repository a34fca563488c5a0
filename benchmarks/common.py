"""What several benchmarks need: the quickest of some passes, and the book in a browser."""

import functools
import http.server
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusion_lessons.files import aside
from diffusion_lessons.networks.cards import machine

HTML = Path(__file__).parents[1] / "book" / "_build" / "html"
# Every widget is filled, and has a canvas that is no longer the size of one never painted, or none.
ALIVE = """n => {
    const widgets = [...document.querySelectorAll(".dl-widget")];
    const painted = w => {
        const canvases = [...w.querySelectorAll("canvas")];
        return w.childElementCount && (!canvases.length || canvases.some(c => c.width !== 300));
    };
    return widgets.length === n && widgets.every(painted) && performance.now();
}"""


def quickest(act: Callable[[], object], passes: int) -> float:
    """Seconds of the processor, so that other programs on the machine hardly count."""
    seconds = []
    for _ in range(passes):
        began = time.process_time()
        act()
        seconds.append(time.process_time() - began)
    return min(seconds)


@contextmanager
def published() -> Iterator[tuple[str, Any]]:
    """The built book, served on loopback, and a headless Chromium: (its address, the browser)."""
    from playwright.sync_api import sync_playwright

    handler = functools.partial(_Quiet, directory=str(HTML))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"] * root)
        yield f"http://127.0.0.1:{server.server_port}", browser
        browser.close()
    server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


def views(page: Any) -> int:
    """How many widgets a page of the book has."""
    found: int = page.locator('script[type="application/vnd.jupyter.widget-view+json"]').count()
    return found


def write(script: str, result: dict[str, Any]) -> None:
    """The result of a benchmark, with the machine it was found on, into the JSON file beside it."""
    target = Path(script).with_suffix(".json")
    write_result(target, result)
    print(target)


def write_result(target: Path, result: dict[str, Any]) -> None:
    """A result with its machine, into a JSON file that is whole at any moment."""
    with aside(target) as unfinished:
        unfinished.write_text(json.dumps(result | {"machine": machine()}, indent=1) + "\n")
