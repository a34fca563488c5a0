"""A graphics processor answers where it gives the same numbers sooner, and nowhere else.

Chromium plays one in software, SwiftShader, which tells of itself that it is none: here it may
not tell.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import served
from test_engine import drawn, folder, walked

__all__ = ["folder"]

pytestmark = pytest.mark.usefixtures("quiet")

IN_SOFTWARE = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
# What the processor's workers are told to run waits, as if they were slow.
SLOW = """
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...rest) {
    if (message.action === "load") this.waits = message.on === "wasm" ? 3000 : 0;
    const send = () => post.call(this, message, ...rest);
    if (message.action === "run" && this.waits) setTimeout(send, this.waits);
    else send();
};
"""
NO_FALLBACK = (
    'Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { value: false });'
)


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder) as address:
        yield f"{address}/index.html"


@pytest.fixture(scope="module")
def browser(browser_type: Any, browser_type_launch_args: dict[str, Any]) -> Iterator[Any]:
    arguments = [*browser_type_launch_args["args"], *IN_SOFTWARE]
    browser = browser_type.launch(**browser_type_launch_args | {"args": arguments})
    yield browser
    browser.close()


@pytest.fixture
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    page = browser.new_page()
    for script in request.param:
        page.add_init_script(script)
    page.goto(address)
    yield page
    page.close()


def on_graphics(page: Any) -> bool:
    answer = """async () => (await (await kit).pretrained("digits-vae")).onGraphics()"""
    return bool(page.evaluate(answer))


def asked_for(page: Any) -> bool:
    """Whether the runtime for a graphics processor was loaded."""
    return page.locator('script[src$="webgpu.js"]').count() > 0


@pytest.mark.parametrize("page", [[NO_FALLBACK, SLOW]], indirect=True)
def test_it_answers_where_it_is_sooner_and_with_the_same_numbers(page: Any) -> None:
    wanted = drawn("digits-vae")
    assert not on_graphics(page)
    for _ in range(20):
        assert float((walked(page, "digits-vae") - wanted).abs().max()) < 1e-2
        if on_graphics(page):
            break
    assert asked_for(page)
    assert float((walked(page, "digits-vae") - wanted).abs().max()) < 1e-2
    assert on_graphics(page)  # and it has not failed


@pytest.mark.parametrize("page", [[]], indirect=True)
def test_one_in_software_is_not_asked(page: Any) -> None:
    assert page.evaluate("async () => Boolean(await navigator.gpu.requestAdapter())")
    for _ in range(3):
        walked(page, "digits-vae")
    assert not on_graphics(page)
    assert not asked_for(page)


@pytest.mark.parametrize("page", [[NO_FALLBACK]], indirect=True)
def test_a_slow_one_is_tried_once_and_left(page: Any) -> None:
    for _ in range(3):
        walked(page, "digits-vae")
    page.wait_for_function("document.querySelector('script[src$=\"webgpu.js\"]')")
    page.wait_for_timeout(5000)
    assert not on_graphics(page)
    walked(page, "digits-vae")
    assert not on_graphics(page)
