"""Every method is measured by the same judge, and the room shows what was measured."""

import json
import math
import random
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
import traitlets
from greys import half_a_level

from diffusion_lessons import cli, load_pretrained
from diffusion_lessons.files import create_json_lines, read_json_lines
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.measuring.evaluation import evaluate
from diffusion_lessons.measuring.tables import shipped_table
from diffusion_lessons.measuring.trilemma import (
    METHODS,
    SAMPLES,
    pictures,
    solver_methods,
    time_again,
    trilemma,
)
from diffusion_lessons.networks.cards import pretrained_path, read_card

pytest.importorskip("anywidget")

from diffusion_lessons.page.widgets import TrilemmaExplorer

FEW = ["VAE", "DDIM, 5 steps"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("trilemma") / "table.jsonl"
    first = trilemma(out, FEW, seed=1, divide=500)
    next(first)  # one row, then the run is cut off
    first.close()
    (rest,) = trilemma(out, FEW, seed=1, divide=500)
    assert rest["method"] == FEW[1]
    with pytest.raises(ValueError, match="was measured with seed 1, not 0"):
        next(trilemma(out, FEW, divide=500))
    other = out.with_name("other.jsonl")
    head, *measured = dict(read_json_lines(out)).values()
    create_json_lines(other, [head, measured[0] | {"sha256": "another"}])
    with pytest.raises(ValueError, match="was measured with another network digits-vae"):
        next(trilemma(other, FEW, seed=1, divide=500))
    return measured


@pytest.mark.slow
def test_a_row_is_what_evaluate_finds(rows: list[dict[str, Any]]) -> None:
    row, settings = rows[1], METHODS[FEW[1]].settings
    model: Any = load_pretrained("digits-ddpm")
    found = evaluate(model, settings, 20, seed=1, progress=False)
    for name in ("frechet_distance", "precision", "recall", "class_accuracy", "floor"):
        assert row[name] == found[name], name
    assert "spread" not in found  # which is asked for apart
    assert set(row["spread"]) == set(row["floor"])
    assert row["spread"]["frechet_distance"] > 0
    assert (row["samples"], row["network_calls"], row["network"]) == (20, 5, "digits-ddpm")
    labels = torch.arange(10).repeat_interleave(3)
    shown = draw(model, labels, settings, seed=1)
    torch.testing.assert_close(pictures(row), shown.clamp(-1, 1), rtol=0, atol=1 / 255 + 1e-6)


@pytest.mark.slow
def test_times_are_taken_again_and_what_was_drawn_stays(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    old, out = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    slow = {"images_per_second": 0.001, "seconds_alone": 1e6, "timed": {}}
    head = {"seed": 1}
    create_json_lines(old, [head, *(row | slow for row in rows)])
    first = time_again(old, out)
    next(first)  # one row, then it is cut off
    first.close()
    (rest,) = time_again(old, out)
    assert rest["method"] == FEW[1]
    written, *again = dict(read_json_lines(out)).values()
    assert {name: written[name] for name in head} == head
    for row, new in zip(rows, again, strict=True):
        assert {name: new[name] for name in row.keys() - slow.keys() - {"checksum"}} == {
            name: row[name] for name in row.keys() - slow.keys() - {"checksum"}
        }
        assert new["images_per_second"] > 0.001
        assert 0 < new["seconds_alone"] < 1e6
        assert new["timed"]["machine"]["cores"]
    with pytest.raises(ValueError, match="holds no rows"):
        next(time_again(tmp_path / "gone.jsonl", out))
    old.write_text("no table\n")
    with pytest.raises(ValueError, match="not a table"):
        next(time_again(old, out))


@pytest.mark.slow
def test_another_sampler_is_measured_for_whom_asks(tmp_path: Path) -> None:
    out = tmp_path / "table.jsonl"
    names = list(solver_methods(["heun"]))
    assert names == ["heun, 5 steps", "heun, 10 steps", "heun, 20 steps"]
    (row,) = trilemma(out, names[:1], divide=500)
    assert (row["sampler"], row["steps"], row["network_calls"]) == ("heun", 5, 9)
    assert list(trilemma(out, names[:1], divide=500)) == []


def test_an_unknown_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="methods must be of"):
        next(trilemma(tmp_path / "x.jsonl", ["crystal ball"]))
    out = str(tmp_path / "y.jsonl")
    assert cli.main(["trilemma", "--out", out, "--methods", "VAE", "--divide", "500"]) == 0
    assert Path(out).exists()


def test_the_shipped_table_is_of_the_shipped_networks_and_says_what_lesson_07_says() -> None:
    table = shipped_table("trilemma")
    rows = {row["method"]: row for row in table["rows"]}
    assert list(rows) == list(METHODS)
    for name, row in rows.items():
        method = METHODS[name]
        assert row["network"] == method.network
        assert row["sha256"] == read_card(pretrained_path(method.network))["sha256"]
        assert row["samples"] == SAMPLES  # of all alike: recall falls with the count
        assert 0 < row["spread"]["recall"] < 0.03
        assert pictures(row).shape == (30, 1, 28, 28)
    assert len({str((row["machine"], row["compute"])) for row in rows.values()}) == 1
    assert len({str(row["timed"]) for row in rows.values()}) == 1
    # The price of a picture is the number of its calls.
    speed = {name: row["images_per_second"] for name, row in rows.items()}
    assert 1.5 < speed["DDIM, 10 steps"] / speed["DDIM, 20 steps"] < 2.5
    assert speed["GAN"] > 2 * speed["DDGAN, 4 steps"] > 4 * speed["DDIM, 20 steps"]
    # Five steps are too few, as far as the spread can tell; guidance and truncation buy fidelity
    # with diversity.
    for n in (10, 20):
        few, more = rows["DDIM, 5 steps"], rows[f"DDIM, {n} steps"]
        spread = (few["spread"]["recall"] ** 2 + more["spread"]["recall"] ** 2) ** 0.5
        assert more["recall"] - few["recall"] > 2 * spread
    for plain, pushed in [
        ("VAE", "VAE, truncated at 0.75"),
        ("DDIM, 20 steps", "classifier-free, scale 3"),
    ]:
        assert rows[pushed]["precision"] > rows[plain]["precision"]
        assert rows[pushed]["recall"] < rows[plain]["recall"]


@pytest.mark.slow
def test_the_room_holds_the_rows(rows: list[dict[str, Any]]) -> None:
    widget = TrilemmaExplorer(rows)
    assert widget.chosen["method"] == "VAE"
    widget.method = FEW[1]
    assert widget.chosen == rows[1]
    with pytest.raises(traitlets.TraitError, match="method must be one of"):
        widget.method = "GAN"
    for name in ("turn", "tilt"):
        with pytest.raises(traitlets.TraitError):
            setattr(widget, name, 91)
    plot, samples = widget.figure().axes
    assert plot.get_xlabel() == "recall"
    grid = torch.as_tensor(samples.images[0].get_array())
    # Columns are digits, rows three samples of each.
    wanted = pictures(rows[1])[3 * 4 + 2, 0]
    torch.testing.assert_close(grid[56:84, 4 * 28 : 5 * 28], wanted, rtol=0, atol=half_a_level())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recall": float("nan")}, "holds odd numbers"),
        ({"images_per_second": 0}, "holds odd numbers"),
        ({"precision": "high"}, "a table that trilemma made"),
        ({"pictures": "no"}, "a table that trilemma made"),
        ({"floor": {}}, "a table that trilemma made"),
        ({"method": "VAE"}, "each of them once"),
    ],
)
def test_rows_of_another_kind_are_refused(
    rows: list[dict[str, Any]], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TrilemmaExplorer([rows[0], rows[1] | change])
    with pytest.raises(ValueError, match="at least two methods"):
        TrilemmaExplorer(rows[:1])


def test_names_of_crowded_points_cover_nothing(tmp_path: Path) -> None:
    """On a narrow canvas, too: no other name, no point, no axis, and none sticks out."""
    rng = random.Random(0)
    size = {"width": 300, "height": 300}
    spots = [[rng.gauss(150, 40), rng.gauss(150, 25)] for _ in range(12)]
    widths = [rng.randint(30, 110) for _ in spots]
    axis = [[x, 270] for x in range(0, 300, 6)]
    standing = [[20, 120, 60], [200, 90, 50]]  # [left, middle, width]
    names = [
        {"spot": spot, "width": width, "always": i == 0}
        for i, (spot, width) in enumerate(zip(spots, widths, strict=True))
    ]
    around = {**size, "texts": standing, "points": axis}
    module = f"""
        import {{ placed }} from "./_labels.js";
        export default placed({json.dumps(names)}, {json.dumps(around)});
    """
    found = javascript.run(tmp_path, module)
    texts = [place["text"] for place in found if place]
    assert len(texts) >= 6  # many have room
    for i, (left, middle, width) in enumerate(texts):
        assert 0 < left < left + width < size["width"]
        assert 0 < middle < size["height"]
        for other, height, wide in [*standing, *texts[:i]]:
            apart = left >= other + wide or other >= left + width or abs(middle - height) >= 14
            assert apart, (i, other)
        for x, y in [*axis, *spots]:
            assert not (left <= x <= left + width and abs(middle - y) < 12), (i, x, y)
    led = [(name["spot"], place) for name, place in zip(names, found, strict=True) if place]
    for (x, y), place in led:
        left, middle, width = place["text"]
        # Beside its point, or a line leads from there to it.
        begin, end = place["line"] or [[x, y], [min(max(x, left), left + width), middle]]
        assert math.dist(begin, (x, y)) < 9
        assert math.dist(end, (min(max(end[0], left), left + width), middle)) < 4
        if not place["line"]:
            assert math.dist(end, (x, y)) < 20
    ways = [place["line"] for place in found if place and place["line"]]
    assert len(ways) >= 2
    for i, (a, b) in enumerate(ways):
        for c, e in ways[:i]:  # two lines cross where each has the other's ends on both its sides
            sides = [
                (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])
                for p, q, r in ((a, b, c), (a, b, e), (c, e, a), (c, e, b))
            ]
            assert sides[0] * sides[1] > 0 or sides[2] * sides[3] > 0
