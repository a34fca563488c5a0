"""The lab in a real JupyterLab: the kernel brings the engine, and hears what the page computes."""

from typing import Any

import pytest

pytest.importorskip("anywidget")

pytestmark = pytest.mark.usefixtures("quiet")

CELLS = [
    "from diffusion_lessons.page.widgets import DigitLab\nlab = DigitLab(t=300)\nlab",
    "DigitLab(task='draw', label=2)",
]


def test_the_kernel_brings_the_engine_once(open_notebook: Any) -> None:
    lab = open_notebook("lab.ipynb", CELLS)
    page = lab.page
    page.set_viewport_size({"width": 1240, "height": 3200})
    roots = page.get_by_role("group", name="Digit lab")
    page.wait_for_function(
        "() => document.querySelectorAll('.dl-widget[data-ready=true]').length === 2"
    )
    roots.nth(0).locator('[data-action="run"]').click()
    ready = """async (root) => {
        while (root.dataset.engine !== "ready") await new Promise(r => setTimeout(r, 50));
    }"""
    roots.nth(0).evaluate(ready)
    assert roots.nth(0).get_attribute("data-calls") == "10"
    # What was computed is in the kernel, too.
    lab.wait_for_python("tuple(lab.pictures().shape)", "(6, 1, 28, 28)")
    lab.wait_for_python("len(lab._pictures)", str(6 * 784))
    roots.nth(0).locator('[data-part="nearest-5"][aria-label^="nearest"]').wait_for()
    # The other one finds the engine in the page: no part is asked for again.
    lab.python("0", "from diffusion_lessons.page import engine; engine.part.cache_clear()")
    roots.nth(1).locator('[data-action="run"]').click()
    roots.nth(1).evaluate(ready)
    assert lab.python("engine.part.cache_info().currsize") == "0"
    # Settings go both ways.
    lab.python("0", "lab.t = 700")
    page.wait_for_function(
        """() => document.querySelector('.dl-widget [data-name="t"]').value === "700" """
    )
