"""How quickly does a page of the book appear, and how much does it weigh?

    make book && python benchmarks/book.py

Opens every page of book/_build/html in headless Chromium, served on loopback, in a fresh profile
each time so that nothing is cached: time to the first paint, time until every widget has painted
(both from the start of the navigation), bytes of the page itself and of everything it loads.
Medians of several rounds go to book.json. The aims: first paint under 1 s, widgets under 2 s, at
most 3 MB a page beyond the files that all pages share.
"""

import statistics
from typing import Any

from common import ALIVE, HTML, published, views, write
from playwright.sync_api import Browser

ROUNDS = 5


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
    widgets = views(page)
    alive = page.wait_for_function(ALIVE, arg=widgets).json_value()
    page.wait_for_function("performance.getEntriesByType('paint').length > 0")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    found = {"first_paint_ms": paint, "page_bytes": own, "shared_bytes": shared}
    return found | ({"widgets_alive_ms": alive} if widgets else {})


def main() -> None:
    names = [str(path.relative_to(HTML)) for path in sorted(HTML.rglob("*.html"))]
    rows = []
    with published() as (address, browser):
        for name in names:
            if name.startswith("_"):
                continue
            rounds = [visit(browser, f"{address}/{name}") for _ in range(ROUNDS)]
            medians = {key: round(statistics.median(r[key] for r in rounds)) for key in rounds[0]}
            rows.append({"page": name} | medians)
            print(rows[-1], flush=True)
        about = {"command": "python benchmarks/book.py", "rounds": ROUNDS}
        write(__file__, about | {"chromium": browser.version, "pages": rows})


if __name__ == "__main__":
    main()
