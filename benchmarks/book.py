"""How quickly does a page of the book appear, and how much does it weigh?

    make book && python benchmarks/book.py

Opens every page of book/_build/html in headless Chromium, served on loopback, in a fresh profile
each time so that nothing is cached: time to the first paint, time until every widget has painted
(both from the start of the navigation), bytes of the page itself and of everything it loads.
Medians of several rounds go to book.json. The aims: first paint under 1 s, widgets under 2 s, at
most 3 MB a page beyond the files that all pages share.
"""

import functools
import http.server
import json
import os
import shutil
import statistics
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from diffusion_lessons.checkpoints import machine

HTML = Path(__file__).parents[1] / "book" / "_build" / "html"
ROUNDS = 5
# Every widget is filled, and has a canvas that is no longer the size of one never painted, or none.
ALIVE = """n => {
    const widgets = [...document.querySelectorAll(".dl-widget")];
    const painted = w => {
        const canvases = [...w.querySelectorAll("canvas")];
        return w.childElementCount && (!canvases.length || canvases.some(c => c.width !== 300));
    };
    return widgets.length === n && widgets.every(painted) && performance.now();
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


def visit(browser: Browser, address: str) -> dict[str, float]:
    """One page in a browser that has never seen it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    own = shared = 0

    def count(response: Any) -> None:
        nonlocal own, shared
        size = int(response.headers.get("content-length", 0))
        if "/_static/" in response.url:
            shared += size
        else:
            own += size

    page.on("response", count)
    page.goto(address)
    views = page.locator('script[type="application/vnd.jupyter.widget-view+json"]').count()
    alive = page.wait_for_function(ALIVE, arg=views).json_value()
    page.wait_for_function("performance.getEntriesByType('paint').length > 0")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    found = {"first_paint_ms": paint, "page_bytes": own, "shared_bytes": shared}
    return found | ({"widgets_alive_ms": alive} if views else {})


def main() -> None:
    handler = functools.partial(Quiet, directory=str(HTML))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    names = [str(path.relative_to(HTML)) for path in sorted(HTML.rglob("*.html"))]
    names = [name for name in names if not name.startswith("_")]
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    rows = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"] * root)
        for name in names:
            address = f"http://127.0.0.1:{server.server_port}/{name}"
            rounds = [visit(browser, address) for _ in range(ROUNDS)]
            medians = {key: round(statistics.median(r[key] for r in rounds)) for key in rounds[0]}
            rows.append({"page": name} | medians)
            print(rows[-1], flush=True)
        chromium = browser.version
        browser.close()
    server.shutdown()
    result = {
        "command": "python benchmarks/book.py",
        "rounds": ROUNDS,
        "chromium": chromium,
        "machine": machine(),
        "pages": rows,
    }
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(target)


if __name__ == "__main__":
    main()
