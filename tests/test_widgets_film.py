"""Films side by side: what is stored, what is refused."""

from typing import Any

import pytest
import torch
import traitlets
from greys import half_a_level

pytest.importorskip("anywidget")

from diffusion_lessons.page.widgets import FilmPlayer

GENERATOR = torch.Generator().manual_seed(0)
PICTURES = torch.rand(4, 3, 1, 8, 6, generator=GENERATOR) * 2 - 1
POINTS = torch.randn(4, 20, 2, generator=GENERATOR)
ARROWS = torch.randn(4, 20, 4, generator=GENERATOR)
TIMES = [1000, 500, 100, 0]


def test_pictures_are_kept_in_32_greys() -> None:
    player = FilmPlayer({"a": PICTURES, "b": -2 * PICTURES}, TIMES, labels=[1, 2, 3])
    films = player.decoded()
    assert list(films) == ["a", "b"]
    half = half_a_level()
    torch.testing.assert_close(films["a"], PICTURES[:, :, 0], atol=half, rtol=0)
    clipped = (-2 * PICTURES[:, :, 0]).clamp(-1, 1)
    torch.testing.assert_close(films["b"], clipped, atol=half, rtol=0)


@pytest.mark.parametrize("values", [POINTS, ARROWS])
def test_coordinates_are_kept_to_16_bits(values: torch.Tensor) -> None:
    films = FilmPlayer({"a": values, "b": 3 * values}, TIMES).decoded()
    step = float(3 * values.abs().max()) / 32767
    torch.testing.assert_close(films["a"], values, atol=step, rtol=0)
    torch.testing.assert_close(films["b"], 3 * values, atol=step, rtol=0)


@pytest.mark.parametrize(
    ("films", "change", "message"),
    [
        ({}, {}, "1 to 6 tensors by name"),
        (PICTURES, {}, "1 to 6 tensors by name"),
        ({"a": PICTURES, "b": POINTS}, {}, "must have one shape"),
        ({"a": PICTURES[:, :, 0]}, {}, "got shape"),
        ({"a": POINTS[:1]}, {"times": [0]}, "2 to 100 frames"),
        ({"a": torch.zeros(4, 20, 3)}, {}, "arrows"),
        ({"a": POINTS.long()}, {}, "must hold floats"),
        ({"a": POINTS * torch.nan}, {}, "must be finite"),
        ({"a": POINTS}, {"times": [1, 0]}, "one for each of 4 frames, got 2"),
        ({"a": POINTS}, {"colours": {"b": "noise"}}, "names of films"),
        ({"a": POINTS}, {"colours": {"a": "red"}}, "signal, noise, result"),
        ({"a": POINTS}, {"labels": ["x"]}, "left out for points"),
        ({"a": torch.rand(100, 10, 1, 64, 64)}, {"times": range(100)}, "too heavy"),
    ],
)
def test_what_cannot_be_shown_is_refused(films: Any, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FilmPlayer(films, **{"times": TIMES} | change)


def test_a_frame_beyond_the_film_is_refused() -> None:
    player = FilmPlayer({"a": POINTS}, TIMES, frame=2)
    assert player.frame == 2
    with pytest.raises(traitlets.TraitError, match=r"0\.\.3"):
        player.frame = 4
    with pytest.raises(traitlets.TraitError):
        FilmPlayer({"a": POINTS}, TIMES, frame=4)


def test_the_fallback_picture_is_the_frame_in_sight() -> None:
    player = FilmPlayer({"a": PICTURES, "b": -PICTURES}, TIMES, frame=3)
    axes = player.figure().axes
    assert len(axes) == 6
    shown = torch.tensor(axes[4].images[0].get_array().tolist())
    torch.testing.assert_close(shown, player.decoded()["b"][3, 1])
    axes = FilmPlayer({"a": ARROWS, "b": ARROWS}, TIMES, {"a": "noise"}).figure().axes
    assert [each.get_title(loc="left") for each in axes] == ["a, t = 1000", "b, t = 1000"]
    assert FilmPlayer({"a": POINTS}, TIMES).figure().axes
