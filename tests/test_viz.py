"""Pictures that are written: whole or not there, in a format and size that can be."""

from pathlib import Path

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image

from diffusion_lessons.data import to_bytes
from diffusion_lessons.math.sampling import Step
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.page.palette import DATA, RESULT
from diffusion_lessons.page.viz import (
    film_outlet,
    picture_outlet,
    save_film,
    save_grid,
    show_points,
    show_unet,
)

PICTURES = torch.linspace(-1, 1, 6 * 28 * 28).view(6, 1, 28, 28)


@pytest.mark.parametrize(
    "name", ["a.png", "a.PNG", "a.jpg", "a.jpeg", "a.tif", "a.webp", "a.b.png"]
)
def test_every_ending_that_is_offered_can_be_written(name: str, tmp_path: Path) -> None:
    save_grid(tmp_path / name, PICTURES, columns=3)
    assert matplotlib.image.imread(tmp_path / name).shape[:2] == (2 * 28 * 2, 3 * 28 * 2)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("colours", [1, 3])
def test_every_grey_and_colour_is_written_as_it_is(name: str, colours: int, tmp_path: Path) -> None:
    greys = torch.arange(16 * 16 * colours).remainder(256).view(1, colours, 16, 16)
    save_grid(tmp_path / name, greys / 127.5 - 1, zoom=1)
    with Image.open(tmp_path / name) as picture:
        assert picture.mode == {1: "L", 3: "RGB"}[colours]
        written = torch.tensor(np.asarray(picture)).view(16, 16, colours).permute(2, 0, 1)
    assert torch.equal(written, greys[0].to(torch.uint8))


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


@pytest.mark.unix
def test_a_full_disk_leaves_the_old_picture(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits are Unix's")
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


def test_what_is_true_is_violet_and_what_is_drawn_is_green() -> None:
    clouds = {name: torch.zeros(3, 2) for name in ("data", "T = 4", "truth")}
    for axes, colour in zip(show_points(clouds).axes, (DATA, RESULT, DATA), strict=True):
        (points,) = axes.collections
        assert to_hex(points.get_facecolor()[0]) == colour


def test_a_look_at_a_name_opens_no_figure(tmp_path: Path) -> None:
    plt.close("all")
    picture_outlet(tmp_path / "a.png", 6, (1, 28, 28))
    save_grid(tmp_path / "a.png", PICTURES)
    assert plt.get_fignums() == []


# Films


def walk(count: int, shape: tuple[int, ...] = (6, 1, 28, 28)) -> list[Step]:
    """From noise to smooth pictures, in equal parts of both."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    clean = torch.linspace(-1, 1, noise.numel()).view(shape)
    shares = torch.linspace(1, 0, count).tolist()
    return [Step(i, s * noise + (1 - s) * clean, clean) for i, s in enumerate(shares)]


def frames(path: Path) -> list[tuple[np.ndarray, float]]:
    """Of a film: each as bytes [H, W, 3], and its milliseconds."""
    found = []
    with Image.open(path) as film:
        for i in range(film.n_frames):
            film.seek(i)
            film.load()  # a WebP's time is known only then
            found.append((np.asarray(film.convert("RGB")), film.info["duration"]))
    return found


@pytest.mark.parametrize("name", ["a.gif", "a.GIF", "a.webp"])
def test_a_film_goes_from_noise_to_the_picture(name: str, tmp_path: Path) -> None:
    steps = walk(11)
    save_film(tmp_path / name, steps, columns=3, seconds=2.2)
    found = frames(tmp_path / name)
    assert [time for _, time in found] == [200] * 10 + [2000]
    for (frame, _), step, off in zip(found, steps, [4.5] * 10 + [0], strict=True):
        assert frame.shape == (2 * 28 * 3, 3 * 28 * 3, 3)
        grid = to_bytes(step.x).view(2, 3, 28, 28).permute(0, 2, 1, 3).reshape(56, 84).numpy()
        thick = grid.repeat(3, 0).repeat(3, 1)
        assert abs(frame[:, :, 0].astype(int) - thick).max() <= off  # 32 levels on the way
    assert len(np.unique(found[0][0])) == 32
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("name", "off"), [("a.gif", 12), ("a.webp", 0)])
def test_a_film_in_colour_ends_on_its_colours(name: str, off: int, tmp_path: Path) -> None:
    steps = walk(3, (1, 3, 28, 28))
    save_film(tmp_path / name, steps, zoom=1)
    last, _ = frames(tmp_path / name)[-1]
    wanted = to_bytes(steps[-1].x)[0].permute(1, 2, 0).numpy()
    assert abs(last.astype(int) - wanted).mean() <= off


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
@pytest.mark.parametrize("loop", [False, True])
def test_a_film_plays_once_unless_it_is_asked_to_go_on(
    name: str, loop: bool, tmp_path: Path
) -> None:
    save_film(tmp_path / name, walk(2), loop=loop)
    with Image.open(tmp_path / name) as film:
        once = "loop" not in film.info if name.endswith("gif") else film.info["loop"] == 1
        assert once is not loop
        assert loop is (film.info.get("loop") == 0)


def test_of_a_long_walk_a_film_shows_sixty_moments(tmp_path: Path) -> None:
    steps = walk(241, (1, 1, 28, 28))
    save_film(tmp_path / "a.webp", steps, zoom=1)
    found = frames(tmp_path / "a.webp")
    assert len(found) == 60
    assert (found[-1][0][:, :, 0] == to_bytes(steps[-1].x)[0, 0].numpy()).all()


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the name of a film must end in \.gif or \.webp"):
        save_film(tmp_path / "a.png", walk(2))
    with pytest.raises(ValueError, match="a walk of two steps at least, got 1"):
        save_film(tmp_path / "a.gif", walk(2)[:1])
    with pytest.raises(ValueError, match=r"a \.webp holds 16383; choose a \.gif"):
        film_outlet(tmp_path / "a.webp", 200, (1, 28, 28), 200)
    with pytest.raises(ValueError, match=r"pictures in a film must lie in 1\.\.1000"):
        film_outlet(tmp_path / "a.gif", 1001, (1, 28, 28), 10)
    with pytest.raises(ValueError, match="seconds must lie in"):
        save_film(tmp_path / "a.gif", walk(2), seconds=0)
    assert list(tmp_path.iterdir()) == []


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
