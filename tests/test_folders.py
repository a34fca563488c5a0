"""A folder of pictures becomes `Images`, whatever lies in it; what cannot be used is named."""

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_lessons import Pictures, folders, pictures
from diffusion_lessons.files import cache_folder

SIZE = 8


def picture(seed: int, side: int = 12, channels: int = 1) -> Image.Image:
    """A random one, grey or coloured."""
    shape = (side, side) if channels == 1 else (side, side, channels)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two grey pictures."""
    place = tmp_path / "some"
    place.mkdir()
    for seed in range(2):
        picture(seed).save(place / f"{seed}.png")
    return place


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUSION_LESSONS_CACHE", str(tmp_path / "cache"))


def read(folder: Path, size: int = SIZE) -> Pictures:
    return pictures(folder, size, progress=False)


def whole(found: Pictures) -> dict[str, torch.Tensor]:
    """Each picture by its name."""
    images = torch.cat([found.train.images, found.held_out.images])
    return dict(zip(found.names, images, strict=True))


def alone(folder: Path, name: str, size: int = SIZE) -> torch.Tensor:
    """One picture of a folder all of whose files can be used, [C, size, size]."""
    found = read(folder, size)
    assert not found.left_out
    return whole(found)[name]


def why_left_out(folder: Path, name: str) -> str:
    """Beside the two that are used, with a warning that names it."""
    with pytest.warns(UserWarning, match="left out"):
        found = read(folder)
    assert set(found.names) == {"0.png", "1.png"}
    assert set(found.left_out) == {name}
    return found.left_out[name]


# What is a picture


@pytest.mark.parametrize("ending", ["png", "jpg", "JPEG", "webp", "gif", "bmp", "tif"])
def test_each_kind_of_file_is_read(folder: Path, ending: str):
    Image.new("L", (20, 20), 200).save(folder / f"even.{ending}")
    assert (alone(folder, f"even.{ending}").float() - 200).abs().max() <= 2


def test_a_picture_of_the_size_asked_for_keeps_its_bytes(folder: Path):
    own = picture(5, side=SIZE, channels=3)
    own.save(folder / "own.png")
    assert np.array_equal(alone(folder, "own.png").permute(1, 2, 0).numpy(), np.array(own))


def test_the_middle_square_is_kept(folder: Path):
    wide = Image.new("L", (24, SIZE), 0)
    wide.paste(255, (8, 0, 16, SIZE))
    wide.save(folder / "wide.png")
    assert (alone(folder, "wide.png") == 255).all()


def test_pictures_are_grey_only_if_all_are(folder: Path):
    Image.new("RGB", (12, 12), (90, 90, 90)).save(folder / "grey.png")
    assert read(folder).shape == (1, SIZE, SIZE)
    Image.new("RGB", (12, 12), (90, 91, 90)).save(folder / "green.png")
    assert read(folder).shape == (3, SIZE, SIZE)


def test_cmyk_becomes_red_green_and_blue(folder: Path):
    Image.new("CMYK", (12, 12), (0, 255, 255, 0)).save(folder / "red.jpg")
    red = alone(folder, "red.jpg").float().mean((1, 2))
    assert red[0] > 230
    assert red[1:].max() < 25


def test_what_is_transparent_is_white(folder: Path):
    Image.new("RGBA", (12, 12), (0, 0, 0, 0)).save(folder / "clear.png")
    assert (alone(folder, "clear.png") == 255).all()
    Image.new("LA", (12, 12), (0, 0)).save(folder / "clear.png")
    assert (alone(folder, "clear.png") == 255).all()


def test_a_palette_is_looked_up_and_its_transparent_colour_is_white(folder: Path):
    indexed = Image.new("P", (12, 12), 1)
    indexed.putpalette([0, 0, 0, 10, 200, 30])
    indexed.save(folder / "indexed.png")
    assert alone(folder, "indexed.png")[:, 0, 0].tolist() == [10, 200, 30]
    indexed.save(folder / "indexed.png", transparency=1)
    assert (alone(folder, "indexed.png") == 255).all()


def test_one_bit_is_black_and_white(folder: Path):
    bits = Image.new("1", (12, 12), 0)
    bits.paste(1, (6, 0, 12, 12))
    bits.save(folder / "bits.png")
    made = alone(folder, "bits.png")
    assert (made[..., 0] < 10).all()
    assert (made[..., -1] > 245).all()


def test_sixteen_bits_are_scaled_and_not_cut_off(folder: Path):
    """Pillow's own conversion makes everything above 255 of 65,535 white."""
    grey = np.full((12, 12), 25_700, dtype=np.uint16)
    for name in ("deep.png", "deep.tif"):
        Image.fromarray(grey).save(folder / name)
    assert (alone(folder, "deep.png") == 100).all()
    assert (alone(folder, "deep.tif") == 100).all()


def test_a_picture_is_turned_as_its_exif_says(folder: Path):
    lying = Image.new("L", (16, 16), 0)
    lying.paste(255, (0, 0, 8, 16))  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise: then white is above
    lying.save(folder / "lying.jpg", exif=exif, quality=95)
    made = alone(folder, "lying.jpg")[0].float()
    assert made[0].mean() > 240
    assert made[-1].mean() < 15


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_counts(folder: Path, ending: str):
    first, second = Image.new("RGB", (12, 12), "white"), Image.new("RGB", (12, 12), "black")
    first.save(folder / f"moving.{ending}", save_all=True, append_images=[second])
    assert (alone(folder, f"moving.{ending}").float().mean()) > 250


def test_names_may_be_of_any_script(folder: Path):
    names = ["ねこ.png", "кот 1.png", "고양이.png", "قطة.png", "a\nb.png", "😺.png"]
    for seed, name in enumerate(names):
        picture(10 + seed).save(folder / name)
    assert set(names) < set(read(folder).names)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
@pytest.mark.parametrize("name", [b"\xff.png", b"\n.png", b"\x1b.png", "\u202e.png".encode()])
def test_a_name_that_is_no_text_can_still_be_named(folder: Path, name: bytes):
    """Nor does one move what is written in the terminal."""
    (folder / os.fsdecode(name)).write_bytes(b"")
    with pytest.warns(UserWarning, match="left out �.png"):
        read(folder)


# What is left out, in one line


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_an_unreadable_file_is_left_out(folder: Path, content: bytes):
    (folder / "bad.png").write_bytes(content)
    assert why_left_out(folder, "bad.png") == "no picture that Pillow can read"


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_a_file_that_was_cut_off_is_left_out(folder: Path, ending: str):
    picture(3, side=64, channels=3).save(folder / "x.png")
    Image.open(folder / "x.png").save(folder / f"cut.{ending}")
    content = (folder / f"cut.{ending}").read_bytes()
    (folder / f"cut.{ending}").write_bytes(content[: len(content) // 2])
    (folder / "x.png").unlink()
    assert why_left_out(folder, f"cut.{ending}")


def left_out_where_rights_hold(folder: Path, bound: list[str]) -> str:
    """What is left out of the pictures there, read by a program that rights hold for."""
    program = (
        "import sys, warnings; from diffusion_lessons import pictures; "
        "warnings.simplefilter('ignore'); "
        f"print(pictures(sys.argv[1], {SIZE}, progress=False).left_out)"
    )
    command = [*bound, sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_a_file_without_rights_is_left_out(folder: Path, bound: list[str]):
    (folder / "1.png").chmod(0)
    told = left_out_where_rights_hold(folder, bound)
    assert told == "{'1.png': 'Permission denied'}"


@pytest.mark.parametrize("sides", [(1, 1), (20_000, 3)])
def test_what_is_far_too_small_is_left_out(folder: Path, sides: tuple[int, int]):
    Image.new("L", sides).save(folder / "tiny.png")
    words = f"{sides[0]} x {sides[1]} pixels are too few for {SIZE} x {SIZE}"
    if min(sides) * 4 < SIZE:
        assert why_left_out(folder, "tiny.png") == words
    with pytest.warns(UserWarning, match="tiny.png"):
        assert read(folder, 28).left_out["tiny.png"] == words.replace("8 x 8", "28 x 28")


def test_more_pixels_than_pillow_takes_are_left_out(folder: Path):
    """A file of some hundred bytes that would unpack to 40,000 x 40,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    assert "more pixels than Pillow takes" in why_left_out(folder, "bomb.png")


@pytest.mark.unix
def test_a_file_that_would_fill_the_memory_is_left_out(folder: Path):
    (folder / "huge.tif").write_bytes(b"II*\0")
    os.truncate(folder / "huge.tif", 3 * 10**9)  # a hole, where the file system knows holes
    assert why_left_out(folder, "huge.tif") == "3.0 GB are too much for a picture"


def test_a_large_photograph_is_read_without_a_warning(folder: Path, recwarn):
    """Above 89 million pixels Pillow warns, and a JPEG need not be decoded in full."""
    Image.new("L", (10_000, 9_000), 77).save(folder / "large.jpg")
    assert (alone(folder, "large.jpg").float() - 77).abs().max() <= 2
    assert not list(recwarn)


def test_integers_of_32_bits_are_left_out(folder: Path):
    Image.fromarray(np.full((12, 12), 70_000, dtype=np.int32)).save(folder / "long.tif")
    assert "32 bits" in why_left_out(folder, "long.tif")


def test_floats_are_left_out(folder: Path):
    Image.new("F", (12, 12), 0.5).save(folder / "floats.tif")
    assert "floats" in why_left_out(folder, "floats.tif")


def test_a_link_that_leads_nowhere_is_left_out(folder: Path):
    (folder / "gone.png").symlink_to(folder / "nothing")
    assert why_left_out(folder, "gone.png") == "a link that leads nowhere"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe with a name is Unix's")
def test_a_pipe_is_left_out_and_not_waited_for(folder: Path):
    os.mkfifo(folder / "pipe.png")
    assert why_left_out(folder, "pipe.png") == "no ordinary file"


def test_other_files_are_counted(folder: Path):
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("words")
    assert why_left_out(folder, "2 of .txt") == "no kind of file that is read"


def test_many_that_are_left_out_make_few_lines(folder: Path):
    for i in range(20):
        (folder / f"bad{i:02}.png").write_bytes(b"")
    (folder / "a.txt").write_text("words")  # what is damaged comes first
    with pytest.warns(UserWarning, match="16 more"):
        lines = read(folder).left_out_in_words()
    assert len(lines) == 6
    assert lines[0] == "left out: bad00.png: no picture that Pillow can read"


# Folders


def test_hidden_files_and_folders_are_passed_over(folder: Path):
    picture(7).save(folder / ".hidden.png")
    (folder / ".thumbs").mkdir()
    picture(8).save(folder / ".thumbs" / "x.png")
    (folder / "._0.png").write_bytes(b"of a Mac")
    assert set(read(folder).names) == {"0.png", "1.png"}


def test_links_in_a_circle_come_to_an_end(folder: Path):
    (folder / "inner").mkdir()
    for i in range(2):
        (folder / f"{i}.png").rename(folder / "inner" / f"{i}.png")
    (folder / "inner" / "up").symlink_to(folder)
    with pytest.warns(UserWarning, match="inner/up: a link back to a folder above it"):
        found = read(folder)
    assert set(found.names) == {"inner/0.png", "inner/1.png"}


def test_links_to_files_and_folders_are_followed(folder: Path, tmp_path: Path):
    (tmp_path / "linked").symlink_to(folder)
    assert set(read(tmp_path / "linked").names) == {"0.png", "1.png"}


def test_each_folder_within_is_a_class_with_all_that_lies_in_it(folder: Path):
    for name, seeds in (("dog", (1, 2)), ("cat", (3,)), ("cat/young", (4,)), ("empty", ())):
        (folder / name).mkdir(parents=True)
        for seed in seeds:
            picture(seed).save(folder / name / f"{seed}.png")
    for i in range(2):
        (folder / f"{i}.png").unlink()
    with pytest.warns(UserWarning, match="left out empty: a folder without pictures"):
        found = read(folder)
    assert found.classes == ("cat", "dog")
    labels = dict(zip(found.names, found.train.labels.tolist(), strict=True))
    wanted = {"cat/3.png": 0, "cat/young/4.png": 0, "dog/1.png": 1, "dog/2.png": 1}
    assert labels == wanted
    assert "2 classes" in found.in_words()


def test_a_class_without_a_picture_that_can_be_used_is_none(folder: Path):
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        (folder / f"{['cat', 'dog'].index(name)}.png").rename(folder / name / "x.png")
    (folder / "bird").mkdir()
    (folder / "bird" / "x.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"bird/x\.png"):
        assert read(folder).classes == ("cat", "dog")


def test_a_single_folder_within_makes_no_classes(folder: Path, tmp_path: Path):
    (tmp_path / "outer").mkdir()
    folder.rename(tmp_path / "outer" / "inner")
    assert read(tmp_path / "outer").classes == ()


def test_a_folder_that_holds_nothing_but_another_stands_for_it(tmp_path: Path):
    """As an archive may be unpacked, beside what a Mac puts into one."""
    for name in ("pets/of mine/cat", "pets/of mine/dog", "__MACOSX"):
        (tmp_path / name).mkdir(parents=True)
    for seed, name in enumerate(("cat/1.png", "cat/young/2.png", "dog/3.png")):
        (tmp_path / "pets" / "of mine" / name).parent.mkdir(exist_ok=True)
        picture(seed).save(tmp_path / "pets" / "of mine" / name)
    (tmp_path / "__MACOSX" / "._1.png").write_bytes(b"of a Mac")
    with pytest.warns(UserWarning, match="__MACOSX: a folder without pictures"):
        found = read(tmp_path)
    assert found.classes == ("cat", "dog")
    labels = dict(zip(found.names, found.train.labels.tolist(), strict=True))
    assert labels == {
        "pets/of mine/cat/1.png": 0,
        "pets/of mine/cat/young/2.png": 0,
        "pets/of mine/dog/3.png": 1,
    }
    picture(4).save(tmp_path / "pets" / "of mine" / "loose.png")
    with pytest.raises(ValueError, match=r"of mine holds 1 picture beside folders of pictures"):
        read(tmp_path)


def test_a_folder_without_pictures_among_those_of_the_classes_is_named(folder: Path):
    for name in ("cat", "dog", "bird", "notes"):
        (folder / name).mkdir()
    for i, name in enumerate(("cat", "dog")):
        (folder / f"{i}.png").rename(folder / name / "x.png")
    (folder / "notes" / "read me.txt").write_text("words")
    with pytest.warns(UserWarning, match="left out"):
        left_out = read(folder).left_out
    assert left_out == {
        "1 of .txt": "no kind of file that is read",
        "bird": "a folder without pictures",
        "notes": "a folder without pictures",
    }


def test_a_folder_whose_files_may_not_be_looked_at_is_left_out(folder: Path, bound: list[str]):
    """Its names can be read, and nothing else."""
    for i, name in enumerate(("cat", "dog")):
        (folder / name).mkdir()
        (folder / f"{i}.png").rename(folder / name / "x.png")
    (folder / "dog").chmod(0o444)
    told = left_out_where_rights_hold(folder, bound)
    (folder / "dog").chmod(0o755)
    assert told == "{'dog/x.png': 'Permission denied'}"


def test_pictures_beside_folders_of_pictures_are_refused(folder: Path):
    (folder / "cat").mkdir()
    picture(3).save(folder / "cat" / "3.png")
    with pytest.raises(ValueError, match=r"2 pictures beside folders of pictures \(cat\)"):
        read(folder)


def test_a_folder_without_pictures_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(
        ValueError, match=r"holds no pictures \(files of png, jpg.*: left out: 1 of \.txt: no kind"
    ):
        read(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"of 1 picture none can be used, say bad\.png: no picture that"
    ):
        read(tmp_path)


def test_what_is_no_folder_is_named(folder: Path):
    with pytest.raises(FileNotFoundError, match="not there"):
        read(folder / "missing")
    with pytest.raises(NotADirectoryError, match=r"0\.png is no folder"):
        read(folder / "0.png")


@pytest.mark.parametrize("size", [0, 4, 30, 68])
def test_sizes_that_no_network_takes_are_refused(folder: Path, size: int):
    with pytest.raises(ValueError, match="size must"):
        read(folder, size)


# What is held out


@pytest.fixture
def forty(tmp_path: Path) -> Path:
    place = tmp_path / "forty"
    place.mkdir()
    for seed in range(40):
        picture(seed).save(place / f"{seed:02}.png")
    return place


def test_one_in_ten_is_held_out_by_content_and_not_by_name(forty: Path, tmp_path: Path):
    found = read(forty)
    assert (len(found.train.labels), len(found.held_out.labels)) == (36, 4)
    other = tmp_path / "other"
    other.mkdir()
    for i, path in enumerate(sorted(forty.iterdir(), reverse=True)):
        shutil.copy(path, other / f"{i:02} renamed.png")
        os.utime(other / f"{i:02} renamed.png", (i, i))
    again = read(other)
    assert torch.equal(found.train.images, again.train.images)
    assert torch.equal(found.held_out.images, again.held_out.images)
    assert found.about["sha256"] == again.about["sha256"]
    assert not set(found.names[36:]) & set(found.names[:36])


def test_one_more_picture_leaves_nearly_all_where_they_are(forty: Path):
    before = set(read(forty).names[36:])
    picture(99).save(forty / "more.png")
    after = read(forty)
    assert len(before & set(after.names[len(after.train.labels) :])) >= 3


def test_a_copy_lies_on_the_side_of_its_original(forty: Path):
    for path in list(forty.iterdir()):
        shutil.copy(path, forty / f"copy of {path.name}")
    found = read(forty)
    assert len(found.held_out.labels) == 8
    train, held = found.names[:72], found.names[72:]
    assert {name.removeprefix("copy of ") for name in train}.isdisjoint(
        name.removeprefix("copy of ") for name in held
    )


def test_of_fewer_than_ten_none_is_held_out(folder: Path):
    assert len(read(folder).held_out.labels) == 0


# The cache


def test_a_folder_is_read_once(forty: Path, monkeypatch: pytest.MonkeyPatch):
    first = read(forty)
    monkeypatch.setattr(folders, "_picture", lambda *_: pytest.fail("it was read again"))
    again = read(forty)
    assert torch.equal(first.train.images, again.train.images)
    assert (first.names, first.about) == (again.names, again.about)
    with pytest.raises(pytest.fail.Exception):
        read(forty, 12)  # another size is another reading


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "rewritten"])
def test_a_changed_folder_is_read_anew(forty: Path, change: str):
    before = read(forty)
    match change:
        case "added":
            picture(99).save(forty / "new.png")
        case "removed":
            (forty / "03.png").unlink()
        case "renamed":
            (forty / "03.png").rename(forty / "new.png")
        case "rewritten":
            picture(99).save(forty / "03.png")
            os.utime(forty / "03.png", (1, 1))
    after = read(forty)
    assert whole(after).keys() == {path.name for path in forty.iterdir()}
    assert (before.about["sha256"] == after.about["sha256"]) == (change == "renamed")


def cached() -> Path:
    place = cache_folder()
    assert place is not None
    (path,) = (place / "pictures").iterdir()
    return path


@pytest.mark.parametrize("damage", ["cut off", "a byte", "empty"])
def test_a_damaged_cache_is_read_anew_and_mended(forty: Path, damage: str):
    before = read(forty)
    content = bytearray(cached().read_bytes())
    if damage == "a byte":
        content[-5] ^= 1
    cached().write_bytes(content[: {"cut off": 500, "a byte": len(content), "empty": 0}[damage]])
    assert torch.equal(read(forty).train.images, before.train.images)
    assert len(cached().read_bytes()) == len(content)


def test_where_no_cache_can_be_written_the_folder_is_read_all_the_same(
    forty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DIFFUSION_LESSONS_CACHE", str(tmp_path / "file" / "cache"))
    assert len(read(forty).names) == 40
    monkeypatch.setenv("DIFFUSION_LESSONS_CACHE", "")
    monkeypatch.setattr(folders, "cache_folder", lambda: None)
    assert len(read(forty).names) == 40


def test_a_folder_that_is_named_by_a_dot_has_its_own_name(
    forty: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(forty)
    assert read(Path()).about == read(forty).about


def test_what_a_card_says_of_a_folder_can_be_written(forty: Path):
    about = json.loads(json.dumps(read(forty).about))
    assert about["pictures"] == 36
    assert about["held_out"] == 4
    assert about["folder"] == "forty"
