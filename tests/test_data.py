"""Data: MNIST is the original to the last byte, damage is noticed, downloads fail with advice."""

import hashlib
import json
import math
import shutil
import sys
import types
import urllib.error
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diffusion_lessons import data
from diffusion_lessons.data import (
    CATS,
    CIFAR10,
    CIFAR10_MD5,
    DIGITS_FILE,
    DOGS,
    MNIST_MD5,
    Images,
    cats_and_dogs,
    cifar10,
    digits,
    fashion,
    moons,
    spiral,
    to_bytes,
    to_unit,
    write_cifar10_files,
    write_digits_file,
)

SAME = {"rtol": 0, "atol": 0}

# MNIST. Counts of each digit as in the database's own label files.

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize(
    ("train", "n", "counts", "first"),
    [
        (True, 60_000, TRAIN_COUNTS, [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
        (False, 10_000, TEST_COUNTS, [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]),
    ],
    ids=["train", "test"],
)
def test_digits_are_mnist(train, n, counts, first):
    images, labels = digits(train)
    assert images.shape == (n, 1, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.shape == (n,)
    assert labels.dtype == torch.int64
    assert labels.bincount().tolist() == counts
    assert labels[:10].tolist() == first


def test_digits_have_mnists_mean_and_standard_deviation():
    """0.1307 and 0.3081, the figures with which everyone normalises MNIST."""
    x = digits().images.double() / 255
    assert x.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert x.std().item() == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("train-images-idx3-ubyte", 16 + 60_000 * 28 * 28),
        ("train-labels-idx1-ubyte", 8 + 60_000),
        ("t10k-images-idx3-ubyte", 16 + 10_000 * 28 * 28),
        ("t10k-labels-idx1-ubyte", 8 + 10_000),
    ],
)
def test_the_four_original_files_can_be_rebuilt_from_the_tensors(name, size):
    """Written back by the format's description, they have the originals' length and MD5."""
    images, labels = digits(train=name.startswith("train"))
    if "images" in name:
        header, body = [2051, len(images), 28, 28], images.numpy().tobytes()
    else:
        header, body = [2049, len(labels)], labels.to(torch.uint8).numpy().tobytes()
    content = b"".join(number.to_bytes(4, "big") for number in header) + body
    assert len(content) == size
    assert hashlib.md5(content).hexdigest() == MNIST_MD5[name]


def test_the_shipped_file_is_small():
    assert DIGITS_FILE.stat().st_size <= 11e6


def test_digits_are_read_once_and_each_caller_has_its_own(monkeypatch: pytest.MonkeyPatch):
    first, labels = digits(train=False)
    monkeypatch.setattr(data, "_original", lambda name: pytest.fail("they were read again"))
    wanted = first.clone(), labels.clone()
    first.fill_(0)
    labels.fill_(0)
    again = digits(train=False)
    assert torch.equal(again.images, wanted[0])
    assert torch.equal(again.labels, wanted[1])


# The shipped file, in small: a made-up set of two training digits and one test digit

IMAGES = {
    "train": (torch.arange(2 * 784) % 251).reshape(2, 1, 28, 28),
    "t10k": torch.ones(1, 1, 28, 28),
}
LABELS = {"train": [3, 9], "t10k": [7]}


@pytest.fixture
def small_file(tmp_path, monkeypatch):
    """A file with other content than MNIST, which `digits` takes for the right one."""
    originals = tmp_path / "originals"
    originals.mkdir()
    for name in MNIST_MD5:
        part = name.split("-")[0]
        if "images" in name:
            n = len(IMAGES[part])
            header, body = [2051, n, 28, 28], IMAGES[part].to(torch.uint8).numpy().tobytes()
        else:
            header, body = [2049, len(LABELS[part])], bytes(LABELS[part])
        content = b"".join(number.to_bytes(4, "big") for number in header) + body
        (originals / name).write_bytes(content)
        monkeypatch.setitem(MNIST_MD5, name, hashlib.md5(content).hexdigest())
    path = tmp_path / "assets" / "digits.zip"
    write_digits_file(originals, path, parts=2)
    monkeypatch.setattr(data, "DIGITS_FILE", path)
    data._digits.cache_clear()
    yield path
    data._digits.cache_clear()


def test_the_file_gives_back_what_was_written(small_file):
    for train, part in [(True, "train"), (False, "t10k")]:
        images, labels = digits(train)
        torch.testing.assert_close(images, IMAGES[part].to(torch.uint8), **SAME)
        assert labels.tolist() == LABELS[part]


def test_the_file_is_the_same_bytes_every_time_it_is_made(small_file, tmp_path):
    write_digits_file(tmp_path / "originals", tmp_path / "again.zip", parts=2)
    assert (tmp_path / "again.zip").read_bytes() == small_file.read_bytes()


def refused(path):
    data._digits.cache_clear()
    with pytest.raises(ValueError, match="install the package again") as caught:
        digits(train=False)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_refused(small_file):
    small_file.unlink()
    with pytest.raises(FileNotFoundError, match=r"is not there; install the package again"):
        digits(train=False)


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_refused(kept, small_file):
    whole = small_file.read_bytes()
    small_file.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    refused(small_file)


def test_a_file_that_is_something_else_is_refused(small_file):
    small_file.write_text("<html>404 Not Found</html>")
    refused(small_file)


@pytest.mark.parametrize("mask", [0x01, 0x08], ids=hex)
def test_a_changed_byte_is_refused_or_harmless(mask, small_file):
    """A byte here and there of the compressed digits, and each one of the zip's last records."""
    whole, wrong = small_file.read_bytes(), []
    for place in [*range(0, len(whole) - 100, 41), *range(len(whole) - 100, len(whole))]:
        small_file.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
        data._digits.cache_clear()
        try:
            images, labels = digits(train=False)
            if not (torch.equal(images, IMAGES["t10k"].byte()) and labels.tolist() == [7]):
                wrong.append((place, "other digits"))
        except ValueError as error:
            if str(small_file) not in str(error):
                wrong.append((place, repr(error)))
        except Exception as error:
            wrong.append((place, repr(error)))
    assert wrong == []


def rewritten(path, rename):
    """The same zip with its entries renamed, or left out where the new name is None."""
    with zipfile.ZipFile(path) as archive:
        entries = {rename(name): archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            if name is not None:
                archive.writestr(name, content)


@pytest.mark.parametrize("missing", ["t10k-images-idx3-ubyte.0", "t10k-labels-idx1-ubyte.1"])
def test_a_missing_part_is_refused(missing, small_file):
    rewritten(small_file, lambda name: None if missing in name else name)
    refused(small_file)


def test_an_empty_zip_is_refused(small_file):
    rewritten(small_file, lambda name: None)
    refused(small_file)


def test_swapped_files_are_refused(small_file):
    def swap(name):
        if "labels" not in name:
            return name
        one, other = "train", "t10k"
        return name.replace(one, other) if one in name else name.replace(other, one)

    rewritten(small_file, swap)
    refused(small_file)


def test_swapped_parts_are_refused(small_file):
    rewritten(small_file, lambda name: name.translate(str.maketrans("01", "10", "")))
    refused(small_file)


@pytest.mark.parametrize("place", [100, -20_000, -3000])
def test_damage_to_the_shipped_file_is_refused(place, tmp_path, monkeypatch):
    """The real one, not the small one: in the training digits, the test digits, the labels."""
    path = tmp_path / "mnist.zip"
    shutil.copy(DIGITS_FILE, path)
    with open(path, "r+b") as file:
        file.seek(place, 0 if place > 0 else 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0x10]))
    monkeypatch.setattr(data, "DIGITS_FILE", path)
    data._digits.cache_clear()
    with pytest.raises(ValueError, match="install the package again") as caught:
        digits(train=place > 0)
    assert str(path) in str(caught.value)
    data._digits.cache_clear()


# Bytes and units


def test_to_bytes_undoes_to_unit_for_all_256_values():
    values = torch.arange(256, dtype=torch.uint8)
    unit = to_unit(values)
    assert unit.dtype == torch.float32
    assert (unit.min(), unit.max()) == (-1, 1)
    torch.testing.assert_close(to_bytes(unit), values, **SAME)
    torch.testing.assert_close(to_bytes(unit.double()), values, **SAME)
    torch.testing.assert_close(unit.diff(), torch.full((255,), 2 / 255), rtol=0, atol=1e-6)


@given(st.floats(min_value=1, max_value=1e30))
def test_to_bytes_clips_what_lies_outside(x):
    assert to_bytes(torch.tensor([x, -x])).tolist() == [255, 0]


# Fashion-MNIST and CIFAR-10, through a stand-in for torchvision


def stand_in(monkeypatch, **sets):
    torchvision = types.ModuleType("torchvision")
    torchvision.datasets = types.SimpleNamespace(**sets)
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)


class FashionMNIST:
    """What torchvision's own offers: pictures [N, H, W] and labels as tensors."""

    def __init__(self, root, train, download):
        type(self).asked = (root, train, download)
        n = 6 if train else 2
        self.data = torch.full((n, 28, 28), 200, dtype=torch.uint8)
        self.targets = torch.arange(n)


class TorchvisionsCIFAR10:
    """What torchvision's own offers: pictures [N, H, W, C] as an array, labels as a list."""

    def __init__(self, root, train, download):
        n = 6 if train else 2
        self.data = np.zeros((n, 32, 32, 3), dtype=np.uint8)
        self.data[:, 0, 1, 2] = 9  # one blue point in the upper row, the second from the left
        self.targets = list(range(n))


@pytest.mark.parametrize(("train", "n"), [(True, 6), (False, 2)])
def test_fashion_has_the_shape_of_digits(train, n, monkeypatch, tmp_path):
    stand_in(monkeypatch, FashionMNIST=FashionMNIST)
    images, labels = found = fashion(train, root=tmp_path)
    assert isinstance(found, Images)
    assert images.shape == (n, 1, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.tolist() == list(range(n))
    assert labels.dtype == torch.int64
    assert FashionMNIST.asked == (tmp_path, train, True)


@pytest.mark.unix
def test_the_home_folder_is_understood(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    stand_in(monkeypatch, FashionMNIST=FashionMNIST)
    fashion(root="~/here")
    assert FashionMNIST.asked[0] == tmp_path / "here"


@pytest.mark.parametrize(("train", "n"), [(True, 6), (False, 2)])
def test_cifar10_has_its_colours_first(train, n, monkeypatch, tmp_path):
    stand_in(monkeypatch, CIFAR10=TorchvisionsCIFAR10)
    images, labels = cifar10(train, root=tmp_path)
    assert images.shape == (n, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert images.is_contiguous()
    assert images[0].nonzero().tolist() == [[2, 0, 1]]  # channel, row, column
    assert labels.tolist() == list(range(n))
    assert labels.dtype == torch.int64


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("Name or service not known"),
        RuntimeError("Dataset not found or corrupted."),
        TimeoutError("timed out"),
    ],
    ids=["no network", "torchvision gave up", "slow network"],
)
@pytest.mark.parametrize(("load", "name"), [(fashion, "FashionMNIST"), (cifar10, "CIFAR10")])
def test_a_failed_download_says_what_can_be_done(load, name, error, monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise error

    stand_in(monkeypatch, **{name: fail})
    with pytest.raises(ConnectionError, match="could not be downloaded") as caught:
        load(root=tmp_path)
    message = str(caught.value)
    assert name in message
    assert str(tmp_path) in message
    assert "digits()" in message
    assert caught.value.__cause__ is error


@pytest.mark.unix
def test_without_a_home_the_folder_must_be_named(monkeypatch, tmp_path):
    stand_in(monkeypatch, FashionMNIST=FashionMNIST)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # a user whom the machine does not know
    with pytest.raises(ValueError, match="there is no home folder that ~ could stand for"):
        fashion()
    assert len(fashion(root=tmp_path).images) == 6


@pytest.mark.parametrize(
    ("load", "name", "folder"),
    [(fashion, "FashionMNIST", "FashionMNIST"), (cifar10, "CIFAR10", "cifar-10-batches-py")],
)
def test_damaged_files_are_named_with_a_remedy(load, name, folder, monkeypatch, tmp_path):
    def stumble(*args, **kwargs):
        raise AssertionError  # what torchvision says to an IDX file that was cut short

    def short(*args, **kwargs):
        return types.SimpleNamespace(data=np.zeros((6, 28, 28), "u1"), targets=[0])

    damaged = f"{folder} is damaged .*; delete it to load {name} anew"
    for said in (stumble, short):
        stand_in(monkeypatch, **{name: said})
        with pytest.raises(ValueError, match=damaged):
            load(root=tmp_path)


@pytest.mark.parametrize("load", [fashion, cifar10])
def test_without_torchvision_the_message_says_what_to_install(load, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match="pip install torchvision"):
        load(root=tmp_path)


def test_of_torchvisions_pictures_the_classes_asked_for_are_kept(monkeypatch, tmp_path):
    stand_in(monkeypatch, CIFAR10=TorchvisionsCIFAR10)
    assert cifar10(root=tmp_path, classes=[4, 1]).labels.tolist() == [1, 4]
    images, labels = cats_and_dogs(root=tmp_path)  # 3 and 5 of 0..5
    assert labels.tolist() == [0, 1]
    assert labels.dtype == torch.int64
    assert images.shape == (2, 3, 32, 32)


# CIFAR-10's own files, in small: made-up originals, of each class two pictures in each sheet

SHEETS = [*(f"data_batch_{i}.png" for i in range(1, 6)), "test_batch.png"]


@pytest.fixture
def made_originals(monkeypatch, tmp_path):
    """The originals' folder, their pictures [6, 20, 32, 32, 3] and labels [6, 20]."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(256, size=(6, 20, 32, 32, 3), dtype=np.uint8)
    labels = np.stack([rng.permutation(np.arange(20) % 10) for _ in SHEETS])
    folder = tmp_path / "originals"
    folder.mkdir()
    for name, sheet in zip(SHEETS, pictures, strict=True):
        Image.fromarray(sheet.reshape(20, 1024, 3)).save(folder / name)
    (folder / "train_lables.json").write_text(json.dumps(labels[:5].ravel().tolist()))
    (folder / "test_lables.json").write_text(json.dumps(labels[5].tolist()))
    for label, name in enumerate(CIFAR10):
        sums = []
        for part in (slice(5), slice(5, 6)):
            md5 = hashlib.md5()
            rows = [i for i, each in enumerate(labels[part].ravel()) if each == label]
            md5.update(b"".join(row.to_bytes(2, "little") for row in rows))
            for row in rows:
                picture = pictures[part].reshape(-1, 32, 32, 3)[row]
                md5.update(b"".join(picture[:, :, channel].tobytes() for channel in range(3)))
            sums.append(md5.hexdigest())
        monkeypatch.setitem(CIFAR10_MD5, name, tuple(sums))
    monkeypatch.setitem(sys.modules, "torchvision", None)  # nothing comes from there
    return folder, pictures, labels


@pytest.mark.parametrize(("train", "part"), [(True, slice(5)), (False, slice(5, 6))])
def test_the_packed_files_give_back_the_originals_in_their_order(
    train, part, made_originals, tmp_path
):
    folder, pictures, labels = made_originals
    write_cifar10_files(folder, tmp_path / "packed")
    found = cifar10(train, tmp_path / "packed")
    wanted = torch.from_numpy(pictures[part]).flatten(0, 1).permute(0, 3, 1, 2)
    of = torch.from_numpy(labels[part]).flatten()
    torch.testing.assert_close(found.images, wanted, **SAME)
    assert found.images.is_contiguous()
    assert found.labels.tolist() == of.tolist()
    assert found.labels.dtype == torch.int64
    pets = (of == CATS) | (of == DOGS)
    images, which = cats_and_dogs(train, tmp_path / "packed")
    torch.testing.assert_close(images, wanted[pets], **SAME)
    assert which.tolist() == (of[pets] == DOGS).long().tolist()


def test_two_classes_need_their_two_files_alone(made_originals, tmp_path):
    write_cifar10_files(made_originals[0], tmp_path)
    for name in set(CIFAR10) - {"cat", "dog"}:
        (tmp_path / f"cifar10-{name}.zip").unlink()
    assert cats_and_dogs(root=tmp_path).labels.bincount().tolist() == [10, 10]
    with pytest.raises(ImportError, match="pip install torchvision"):
        cifar10(root=tmp_path)


def test_the_packed_files_are_the_same_bytes_every_time(made_originals, tmp_path):
    for folder in ("once", "again"):
        write_cifar10_files(made_originals[0], tmp_path / folder)
    for name in CIFAR10:
        once, again = (tmp_path / folder / f"cifar10-{name}.zip" for folder in ("once", "again"))
        assert once.read_bytes() == again.read_bytes()


def test_other_pictures_are_not_packed(made_originals, tmp_path):
    folder, pictures, _ = made_originals
    pictures[5, 3, 0, 0, 0] ^= 1  # one bit of a test picture
    Image.fromarray(pictures[5].reshape(20, 1024, 3)).save(folder / "test_batch.png")
    with pytest.raises(ValueError, match="these are not CIFAR-10's pictures: test, "):
        write_cifar10_files(folder, tmp_path / "packed")


def test_a_damaged_or_confused_packed_file_is_named(made_originals, tmp_path):
    write_cifar10_files(made_originals[0], tmp_path)
    cat, dog = (tmp_path / f"cifar10-{name}.zip" for name in ("cat", "dog"))
    content = dog.read_bytes()
    shutil.copy(cat, dog)
    with pytest.raises(ValueError, match="holds other pictures than CIFAR-10's") as caught:
        cats_and_dogs(root=tmp_path)
    assert str(dog) in str(caught.value)
    dog.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"is damaged .*; delete it or make it again") as caught:
        cats_and_dogs(root=tmp_path)
    assert str(dog) in str(caught.value)


@pytest.mark.parametrize("classes", [[10], [-1], ["cat"]])
def test_there_are_ten_classes(classes, tmp_path):
    with pytest.raises((ValueError, TypeError), match="classes must"):
        cifar10(root=tmp_path, classes=classes)


def has_cifar10():
    folder = data.expanded("~/.cache/diffusion-lessons")
    return all((folder / f"cifar10-{name}.zip").exists() for name in CIFAR10)


@pytest.mark.skipif(not has_cifar10(), reason="CIFAR-10 does not ship with the package")
@pytest.mark.parametrize(
    ("train", "n", "first"),
    [
        (True, 50_000, [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]),
        (False, 10_000, [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]),
    ],
)
def test_the_packed_files_of_this_machine_are_cifar10(train, n, first):
    images, labels = cifar10(train)
    assert labels.bincount().tolist() == [n // 10] * 10
    assert labels[:10].tolist() == first
    if train:  # the figures with which everyone normalises CIFAR-10
        channels = [images[:, channel].double() / 255 for channel in range(3)]
        assert [x.mean().item() for x in channels] == pytest.approx(
            [0.4914, 0.4822, 0.4465], abs=5e-5
        )
        assert [x.std().item() for x in channels] == pytest.approx(
            [0.247, 0.2435, 0.2616], abs=5e-5
        )
    assert cats_and_dogs(train).labels.bincount().tolist() == [n // 10] * 2


# Points in the plane


@pytest.mark.parametrize("points", [lambda n, g: moons(n, g)[0], spiral], ids=["moons", "spiral"])
def test_points_are_about_as_large_as_the_noise(points, generator):
    x = points(20_000, generator)
    assert x.shape == (20_000, 2)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x.square().mean(0), torch.ones(2), rtol=0, atol=0.1)
    torch.testing.assert_close(x.var(0), torch.ones(2), rtol=0, atol=0.25)


def test_moons_are_centred(generator):
    x, _ = moons(20_000, generator)
    torch.testing.assert_close(x.mean(0), torch.zeros(2), rtol=0, atol=0.03)


@pytest.mark.parametrize("points", [lambda n, g: moons(n, g)[0], spiral], ids=["moons", "spiral"])
def test_points_are_repeated_by_their_generator(points):
    first, second, other = (points(10, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    torch.testing.assert_close(first, second, **SAME)
    assert not torch.equal(first, other)


def test_moons_are_two_half_circles(generator):
    """Undo the stretching: each moon lies at distance 1 from its own centre, on its own side."""
    x, which = moons(2000, generator, noise=0.0)
    assert which.double().mean().item() == pytest.approx(0.5, abs=0.05)
    x = x / torch.tensor([1.15, 2.0])
    for moon, centre, side in [(0, [-0.5, -0.25], 1), (1, [0.5, 0.25], -1)]:
        offset = x[which == moon] - torch.tensor(centre)
        torch.testing.assert_close(offset.norm(dim=1), torch.ones(len(offset)), rtol=0, atol=1e-5)
        assert (side * offset[:, 1] >= -1e-6).all()


def test_the_spiral_turns_one_and_a_half_times(generator):
    """Radius 2 and angle 3 pi at its outer end: the radius tells the angle."""
    x = spiral(2000, generator, noise=0.0)
    radius = x.norm(dim=1)
    assert radius.max() <= 2 + 1e-6
    angle = 3 * math.pi * radius / 2
    expected = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-4)
