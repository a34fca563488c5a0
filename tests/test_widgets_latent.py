"""The map of a latent shows what the decoder draws at each place."""

import pytest
import torch
import traitlets
from greys import half_a_level

pytest.importorskip("anywidget")

from diffusion_lessons.page.widgets import LatentExplorer


def decode(z: torch.Tensor) -> torch.Tensor:
    """Two halves, as bright as the two numbers."""
    return (z / 4)[:, None, None, :].repeat_interleave(3, 3).expand(-1, 1, 6, 6)


@pytest.fixture
def explorer() -> LatentExplorer:
    return LatentExplorer(decode, reach=2, side=9)


@pytest.mark.parametrize(("across", "up"), [(4, 4), (0, 8), (7, 2)])
def test_each_place_shows_its_picture(explorer: LatentExplorer, across: int, up: int) -> None:
    explorer.across, explorer.up = across, up
    wanted = torch.tensor([-2 + across / 2, -2 + up / 2])
    torch.testing.assert_close(explorer.z, wanted)
    exact = decode(wanted[None])[0, 0]
    torch.testing.assert_close(explorer.picture, exact, rtol=0, atol=half_a_level())


def test_it_starts_in_the_middle_and_stays_on_the_map(explorer: LatentExplorer) -> None:
    assert explorer.z.tolist() == [0, 0]
    for name in ("across", "up"):
        with pytest.raises(traitlets.TraitError, match=f"{name} must lie in 0..8"):
            setattr(explorer, name, 9)


def test_the_fallback_picture_has_up_on_top(explorer: LatentExplorer) -> None:
    plane, shown = explorer.figure().axes
    tiles = plane.images[0].get_array()
    assert tiles.shape == (5 * 6, 5 * 6)  # every second place
    top_left = decode(torch.tensor([[-2.0, 2.0]]))[0, 0].numpy()
    assert abs(tiles[:6, :6] - top_left).max() < half_a_level()
    assert shown.get_title() == "z = (0.00, 0.00)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side": 2}, "side must lie in 3..31"),
        ({"reach": 0}, "reach must lie in"),
        ({"decode": lambda z: z}, "decode must make pictures"),
        ({"decode": lambda z: decode(z)[:5]}, "decode must make pictures"),
        ({"decode": lambda z: decode(z) * float("nan")}, "must be finite"),
    ],
)
def test_what_cannot_be_mapped_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LatentExplorer(**({"decode": decode} | change))
