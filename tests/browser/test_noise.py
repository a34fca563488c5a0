"""The page draws the noise that the kernel draws, number by number."""

import math

import pytest
import torch
from playwright.sync_api import Page

from diffusion_lessons.math.randomness import MASK, RowGenerator, philox

pytest.importorskip("anywidget")

from diffusion_lessons.page import kit

FILES = dict(kit.unpack_files(kit.Kit._files.default()))

RUN = """async ({ numbers, noise, name, rows }) => {
    const address = text => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const module = await import(address(noise.replace("./numbers.js", address(numbers))));
    return rows.map(row => [...module[name](...row)]);
}"""


def in_the_page(page: Page, name: str, rows: list[list[object]]) -> list[list[float]]:
    page.goto("about:blank")
    results: list[list[float]] = page.evaluate(
        RUN,
        {
            "numbers": FILES["numbers.js"],
            "noise": FILES["noise.js"],
            "name": name,
            "rows": rows,
        },
    )
    return results


def test_the_words_are_those_of_the_kernel(page: Page) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, MASK + 1, (200, 6), generator=generator).tolist()
    rows += [[0] * 6, [MASK] * 6]
    wanted = [list(philox(row[:4], (row[4], row[5]))) for row in rows]
    assert in_the_page(page, "philox", [[row[:4], row[4:]] for row in rows]) == wanted


@pytest.mark.parametrize("seed", [0, 5, 2**31 - 1, 2**40 + 3])
def test_a_rows_normal_numbers_are_those_of_the_kernel(seed: int, page: Page) -> None:
    numbers = [0, 1, 9999, 2**33 + 1]
    for draw, count in [(0, 784), (2, 7)]:
        generator = RowGenerator(seed, torch.tensor(numbers))
        for _ in range(draw):
            generator.normal((len(numbers), 1))
        ours = generator.normal((len(numbers), count)).float()
        rows = [[seed, number, draw, count] for number in numbers]
        theirs = torch.tensor(in_the_page(page, "rowNormals", rows))
        torch.testing.assert_close(theirs, ours, rtol=1e-6, atol=1e-7)
        assert math.isfinite(theirs.sum())
