"""Pictures that are written: whole or not there, in a format and size that can be."""

import resource
from pathlib import Path

import matplotlib.image
import matplotlib.pyplot as plt
import pytest
import torch

from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.page.viz import picture_outlet, save_grid, show_unet

PICTURES = torch.linspace(-1, 1, 6 * 28 * 28).view(6, 1, 28, 28)


@pytest.mark.parametrize(
    "name", ["a.png", "a.PNG", "a.jpg", "a.jpeg", "a.tif", "a.webp", "a.b.png"]
)
def test_every_ending_that_is_offered_can_be_written(name: str, tmp_path: Path) -> None:
    save_grid(tmp_path / name, PICTURES, columns=3)
    assert matplotlib.image.imread(tmp_path / name).shape[:2] == (2 * 28 * 2, 3 * 28 * 2)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a", "a.txt", "a.svg", "png", ".png"])
def test_another_ending_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the name of a picture must end in \.png, .*\.webp"):
        save_grid(tmp_path / name, PICTURES)
    assert list(tmp_path.iterdir()) == []


def test_what_a_format_cannot_hold_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    shape = (1, 28, 28)
    assert picture_outlet(tmp_path / "a.webp", 292, shape, 292)  # 292 * 28 * 2 = 16352
    for name, count, columns, zoom in [("a.webp", 293, 293, 2), ("a.jpg", 24, 1, 100)]:
        with pytest.raises(ValueError, match=r"make a side of \d+ pixels, and a \.\w+ holds"):
            picture_outlet(tmp_path / name, count, shape, columns, zoom)
    for columns, zoom in [(1001, 2), (0, 2), (3, 101)]:
        with pytest.raises(ValueError, match="must lie in"):
            picture_outlet(tmp_path / "a.png", 6, shape, columns, zoom)
    save_grid(tmp_path / "a.webp", PICTURES[:1].repeat(292, 1, 1, 1), 292)


def test_a_full_disk_leaves_the_old_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save_grid(path, PICTURES)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match=r"a\.png could not be written .*Make room on the disk"):
            save_grid(path, -PICTURES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_look_at_a_name_opens_no_figure(tmp_path: Path) -> None:
    plt.close("all")
    picture_outlet(tmp_path / "a.png", 6, (1, 28, 28))
    save_grid(tmp_path / "a.png", PICTURES)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("heads", [1, 4])
def test_a_drawn_unet_shows_its_heads_and_how_it_resizes(heads: int, residual: bool) -> None:
    model = UNet(channels=16, blocks=1, heads=heads, residual_resampling=residual)
    (axes,) = show_unet(model).axes
    boxes = axes.patches[:11]
    assert len(axes.lines) == 4 * heads  # one box on the way down, one in the middle, two up
    light = [i for i, box in enumerate(boxes) if box.get_facecolor()[3] < 0.5]
    dashed = [i for i, box in enumerate(boxes) if box.get_linestyle() == "--"]
    assert light == [2, 8]
    assert dashed == ([0] if residual else [0, 2, 8])
