"""How quickly do the networks compute in a page?

    make book && python benchmarks/page.py

Opens the digit lab of book/_build/html in headless Chromium, served on loopback, in a fresh profile
for each round: the bytes of the page before anything is computed, the time from the first press
until engine and weights are ready, and then, with both loaded, the time from a press until the last
picture: one walk of digits-ddgan and one of digits-ddpm in ten DDIM steps, six digits each.
Medians of several rounds go to page.json. The aims on two cores: ready within 3 s, the first digits
of digits-ddgan within 0.25 s, six digits in ten steps within 1 s.
"""

import statistics
from typing import Any

from common import published, write
from playwright.sync_api import Browser

ROUNDS = 5
TRIES = 7  # of a press, with the engine loaded

# When the root's data-engine last changed to each of its values, and when a button was pressed.
WATCH = """() => {
    const root = document.querySelector(".dl-widget");
    window.since = {};
    const note = () => { window.since[root.dataset.engine] = performance.now(); };
    new MutationObserver(note).observe(root, { attributeFilter: ["data-engine"] });
    window.press = async () => {
        const begun = performance.now();
        delete window.since.ready;
        root.querySelector('[data-action="run"]').click();
        while (!window.since.ready) {
            if (window.since.none) throw new Error(root.innerText);
            await new Promise(r => setTimeout(r, 2));
        }
        return { begun, ...window.since };
    };
}"""


def visit(browser: Browser, address: str) -> dict[str, Any]:
    """One lab in a browser that has never seen it."""
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    read = 0

    def count(response: Any) -> None:
        nonlocal read
        read += int(response.headers.get("content-length", 0))

    page.on("response", count)
    page.goto(f"{address}/lab.html")
    page.wait_for_selector(".dl-widget[data-ready=true]")
    before = read
    page.evaluate(WATCH)
    page.get_by_text("New digits", exact=True).click()
    times = page.evaluate("press()")
    ready = times["busy"] - times["begun"]

    def press() -> float:
        tries = [page.evaluate("press()") for _ in range(TRIES)]
        return min(t["ready"] - t["begun"] for t in tries)

    ddim = press()
    page.locator('[data-name="network"]').select_option("digits-ddgan")
    page.wait_for_selector(".dl-widget[data-calls='4']")
    ddgan = press()
    context.close()
    return {
        "read_bytes": before,
        "engine_bytes": read - before,
        "engine_ready_ms": ready,
        "six_digits_ddim_10_ms": ddim,
        "six_digits_ddgan_ms": ddgan,
    }


def main() -> None:
    with published() as (address, browser):
        rounds = [visit(browser, address) for _ in range(ROUNDS)]
        medians = {key: round(statistics.median(r[key] for r in rounds)) for key in rounds[0]}
        print(medians)
        about = {"command": "python benchmarks/page.py", "rounds": ROUNDS}
        write(__file__, about | {"chromium": browser.version} | medians)


if __name__ == "__main__":
    main()
