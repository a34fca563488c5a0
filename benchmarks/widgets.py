"""How long does a slider take from the drag to the repaint?

    make book && python benchmarks/widgets.py

Drags every slider of every widget in the published pages with a real mouse, in headless Chromium,
and measures for each change of the slider:

- work_ms: the processor's time in the page's main thread, on average: the mouse's event, the
  widget's answer, drawing, layout, paint. Other programs on the machine do not count, nor do the
  browser's other threads, which put the pixels on the screen.
- repaint_ms: the time on the clock from the mouse's move to the end of the frame that shows it.
  Chromium paints 60 times a second, so up to 16.7 ms of it are waiting for the next frame whatever
  the widget does, and on a busy machine other programs are in it.

A slider whose picture still changed after that frame is marked late: its repaint is not in the
figures. They go to widgets.json; the aim is 16 ms of work.
"""

import os
import statistics
from typing import Any

from common import ALIVE, HTML, published, views, write
from playwright.sync_api import CDPSession, Locator, Page

MOVES = 40
# The first callback of a frame finds the change that it will show, the first task after it has.
PROBE = """() => {
    const frame = new MessageChannel();
    window.repaints = [];
    let moved = null;
    frame.port1.onmessage = () => {
        window.repaints.push(performance.now() - moved);
        moved = null;
    };
    window.addEventListener("input", event => {
        if (moved === null) requestAnimationFrame(() => frame.port2.postMessage(null));
        moved ??= event.timeStamp;
    }, true);
}"""
LOOK = """e => [...e.querySelectorAll("canvas")].map(c => c.toDataURL()).join() + e.innerText"""
PARTS = {"TaskDuration": "work", "ScriptDuration": "script", "LayoutDuration": "layout"}


def drag(page: Page, widget: Locator, slider: Locator, session: CDPSession) -> dict[str, Any]:
    """A long drag to and fro: what one change took."""
    slider.scroll_into_view_if_needed()
    slider.focus()
    page.keyboard.press("Home")  # a key also ends what plays by itself
    box = slider.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 6, y)
    page.mouse.down()
    page.wait_for_timeout(100)
    page.evaluate("window.repaints = []")
    before = spent(session)
    for move in range(1, MOVES + 1):
        share = move * 0.618034 % 1  # all over the slider, and far from the last place
        page.mouse.move(box["x"] + 6 + share * (box["width"] - 12), y)
        page.wait_for_timeout(50)
    after = spent(session)
    shown = widget.evaluate(LOOK)
    page.wait_for_timeout(200)
    late = widget.evaluate(LOOK) != shown
    page.mouse.up()
    repaints = page.evaluate("window.repaints")
    each = {f"{name}_ms": (after[name] - before[name]) / len(repaints) for name in after}
    each["repaint_ms_median"] = statistics.median(repaints)
    each["repaint_ms_worst"] = max(repaints)
    rounded = {name: round(value, 1) for name, value in each.items()}
    return {"changes": len(repaints), **rounded, "late": late}


def spent(session: CDPSession) -> dict[str, float]:
    """Milliseconds of the processor that the page's main thread has used so far, and for what."""
    found = {
        part["name"]: part["value"] for part in session.send("Performance.getMetrics")["metrics"]
    }
    return {name: 1000 * found[key] for key, name in PARTS.items()}


def measure(page: Page, address: str, session: CDPSession) -> list[dict[str, Any]]:
    """All sliders of a page."""
    page.goto(address)
    page.wait_for_function(ALIVE, arg=views(page))
    page.evaluate(PROBE)
    rows = []
    for widget in page.locator(".dl-widget").all():
        for slider in widget.locator("input[type=range]:enabled").all():
            if not slider.is_visible():
                continue
            row = {"widget": widget.get_attribute("aria-label")}
            row |= {"slider": slider.get_attribute("data-name")}
            rows.append(row | drag(page, widget, slider, session))
    return rows


def main() -> None:
    rows = []
    with published() as (address, browser):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        for file in [HTML / "index.html", *sorted((HTML / "notebooks").glob("*.html"))]:
            name = str(file.relative_to(HTML))
            for row in measure(page, f"{address}/{name}", session):
                rows.append({"page": name} | row)
                print(rows[-1], flush=True)
        chromium = browser.version
    result = {
        "command": "python benchmarks/widgets.py",
        "moves": MOVES,
        "work_ms_median": statistics.median(row["work_ms"] for row in rows),
        "work_ms_slowest": max(row["work_ms"] for row in rows),
        "repaint_ms_median": statistics.median(row["repaint_ms_median"] for row in rows),
        "repaint_ms_slowest": max(row["repaint_ms_median"] for row in rows),
        "chromium": chromium,
        "load_average": round(os.getloadavg()[0], 1),  # programs that want a core, these too
        "sliders": rows,
    }
    write(__file__, result)


if __name__ == "__main__":
    main()
