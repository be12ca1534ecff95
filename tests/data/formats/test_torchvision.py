"""The reader of torchvision's data sets, on tiny ones in the layouts that torchvision reads."""

from __future__ import annotations

import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import message
from PIL import Image
from tiny_cifar import tiny_cifar
from torchvision import datasets

from cl_bench.data.base import Split, has_test
from cl_bench.data.cache import fingerprint
from cl_bench.data.images import decode_image
from cl_bench.plugins.registry import formats, kinds
from cl_bench.tasks.dev_split import dev_split

ANIMALS = ("ant", "bee", "cat")


def read(
    root: Path, split: str = "train", dataset: str = "CIFAR10", classes: tuple[str, ...] | None = None, **more: Any
) -> Split:
    options = {"dataset": dataset, "root": str(root), **more}
    return formats.get("torchvision").read(options, "classification", split, classes)


def names(split: Split) -> set[str]:
    return {example.name for example in split.examples}


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight training and two test images of each of three classes."""
    return tiny_cifar(tmp_path, monkeypatch, datasets.CIFAR10, ANIMALS, train=8, test=2)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in {"train": 40, "t10k": 10}.items():
        pixels = np.arange(count * 784).reshape(count, 28, 28) % 251
        head = struct.pack(">iiii", 0x803, count, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.astype(np.uint8).tobytes())
        labels = bytes(index % 10 for index in range(count))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 0x801, count) + labels)
    return tmp_path


@pytest.fixture
def textures(tmp_path: Path) -> Path:
    """DTD, which has a val part of its own; its test part lacks the first class."""
    root = tmp_path / "dtd" / "dtd"
    parts = {"train": ["banded/1", "banded/2", "woven/1"], "val": ["banded/3", "woven/3"], "test": ["woven/4"]}
    for part, images in parts.items():
        for name in images:
            (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (6, 4)).save(root / "images" / f"{name}.png")
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{part}1.txt").write_text("".join(f"{name}.png\n" for name in images))
    return tmp_path


def test_the_parts_of_a_data_set_that_is_kept_in_arrays(cifar: Path) -> None:
    train, val, test = (read(cifar, split, val=2) for split in ("train", "val", "test"))
    assert train.classes == val.classes == test.classes == ANIMALS
    each = [Counter(example.target for example in split.examples) for split in (train, val, test)]
    assert each == [{0: 6, 1: 6, 2: 6}, {0: 2, 1: 2, 2: 2}, {0: 2, 1: 2, 2: 2}]
    assert names(train) | names(val) == {f"train/{place:06d}" for place in range(24)}
    assert not names(train) & names(val)
    assert names(test) == {f"test/{place:06d}" for place in range(6)}
    assert val.notes == ("6 images are cut from torchvision's train part",)
    assert train.notes == test.notes == ()
    assert has_test(formats.get("torchvision"), {"dataset": "CIFAR10", "root": str(cifar)}, "classification")


def test_the_images_are_those_of_torchvision_to_the_bit(cifar: Path, mnist: Path) -> None:
    expected = datasets.CIFAR10(cifar, train=False)
    for place, example in enumerate(read(cifar, "test").examples):
        assert np.array_equal(decode_image(example.image, 32), expected.data[place])
        assert example.target == expected.targets[place]
    grey = datasets.MNIST(mnist, train=False)
    digits = read(mnist, "test", "MNIST")
    assert digits.classes[3] == "3 - three"
    for place, example in enumerate(digits.examples):
        assert np.array_equal(decode_image(example.image, 28), np.repeat(grey.data[place].numpy()[..., None], 3, 2))


def test_files_have_the_same_bytes_wherever_they_are_written(
    cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cl_bench.data.formats import torchvision

    first, pixels = read(cifar, "test"), datasets.CIFAR10(cifar, train=False).data[0]
    assert first.examples[0].image.read_bytes() == b"P6\n32 32\n255\n" + pixels.tobytes()
    key = fingerprint(first)
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path / "elsewhere"))
    torchvision._part.cache_clear()
    second = read(cifar, "test")
    assert second.examples[0].image != first.examples[0].image
    assert fingerprint(second) == key


def test_tasks_of_some_classes_divide_a_data_set(cifar: Path) -> None:
    whole = {split: read(cifar, split, val=2) for split in ("train", "val", "test")}
    for split, found in whole.items():
        first, second = (read(cifar, split, classes=some, val=2) for some in (("cat", "ant"), ("bee",)))
        assert first.classes == ("cat", "ant")
        assert {example.name: first.classes[example.target] for example in first.examples} == {
            example.name: ANIMALS[example.target] for example in found.examples if example.target != 1
        }
        assert names(first) | names(second) == names(found)
        assert "left out 1 of 3 classes, as asked" in first.notes


@pytest.mark.parametrize(("val", "each"), [(None, 1), (0.25, 2), (0.01, 1), (7, 7)])
def test_val_is_a_number_or_a_share_of_every_class(cifar: Path, val: float | None, each: int) -> None:
    found = read(cifar, "val", **({} if val is None else {"val": val}))
    assert Counter(example.target for example in found.examples) == dict.fromkeys(range(3), each)


def test_dev_is_a_quarter_of_what_val_leaves(cifar: Path) -> None:
    train, val = read(cifar, val=4), read(cifar, "val", val=4)
    rest, dev = dev_split(kinds.get("classification"), train)
    assert Counter(example.target for example in dev.examples) == {0: 1, 1: 1, 2: 1}
    assert names(rest) | names(dev) == names(train)
    assert not names(dev) & names(val)


def test_a_larger_val_holds_the_smaller_one(cifar: Path) -> None:
    assert names(read(cifar, "val", val=2)) < names(read(cifar, "val", val=5))


def test_a_val_of_its_own_is_taken_unless_one_is_asked_for(textures: Path) -> None:
    train, val, test = (read(textures, split, "DTD") for split in ("train", "val", "test"))
    assert [len(split.examples) for split in (train, val, test)] == [3, 2, 1]
    assert train.examples[0].image == textures / "dtd" / "dtd" / "images" / "banded" / "1.png", "as it lies there"
    assert [(example.name, test.classes[example.target]) for example in test.examples] == [("test/000000", "woven")]
    banded = [read(textures, split, "DTD", ("banded",), val=1) for split in ("train", "val")]
    assert [len(split.examples) for split in banded] == [1, 1]
    assert names(banded[0]) | names(banded[1]) == {"train/000000", "train/000001"}
    assert "of which val takes 1, so that none is left" in message(read, textures, "train", "DTD", val=1)


def test_image_files_are_read_where_they_lie(tmp_path: Path) -> None:
    for part in ("train", "test"):
        content = {"ramen": [f"ramen/{part}1"], "sushi": [f"sushi/{part}1", f"sushi/{part}2"]}
        (tmp_path / "food-101" / "meta").mkdir(parents=True, exist_ok=True)
        (tmp_path / "food-101" / "meta" / f"{part}.json").write_text(json.dumps(content))
        for image in (*content["ramen"], *content["sushi"]):
            place = tmp_path / "food-101" / "images" / f"{image}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(place)
    found = read(tmp_path, "test", "Food101")
    assert [example.image.name for example in found.examples] == ["test1.jpg", "test1.jpg", "test2.jpg"]
    assert [found.classes[example.target] for example in found.examples] == ["ramen", "sushi", "sushi"]


def test_nothing_is_fetched_unasked_and_how_to_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = message(read, tmp_path)
    assert f"torchvision cannot read CIFAR10 from {tmp_path}" in said
    assert "`download: true` in the data of the task fetches it" in said
    assert f"CIFAR10('{tmp_path}', train=True, download=True)" in said
    asked: list[Any] = []
    monkeypatch.setattr(datasets.CIFAR10, "download", lambda self: asked.append(self.root))
    message(read, tmp_path)
    assert asked == []
    assert "download: true" not in message(read, tmp_path, download=True)
    assert asked == [str(tmp_path)]
    assert "torchvision does not download it" in message(read, tmp_path, dataset="ImageNet")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dataset": "CIFAR01"}, "unknown data set of torchvision 'CIFAR01'; did you mean 'CIFAR10'?"),
        ({"dataset": "Caltech101"}, "unknown data set of torchvision 'Caltech101'"),
        ({"dataset": "Places365"}, "torchvision's Places365 has no part that is called train"),
        ({"classes": ("ant", "bea")}, "unknown class for torchvision's CIFAR10: 'bea'; did you mean 'bee'?"),
        ({"classes": ("ant", "ant")}, "class 'ant' is listed twice"),
        ({"val": 8}, "class 'ant' of torchvision's CIFAR10 has 8 training images, of which val takes 8"),
        ({"val": 0}, "val: must be a number of images of each class, or a share between 0 and 1, not 0"),
        ({"val": 1.0}, "a share between 0 and 1, not 1.0"),
        ({"val": True}, "a share between 0 and 1, not True"),
        ({"path": "x"}, "unknown option of data format torchvision 'path'"),
        ({"valid": 2}, "format torchvision 'valid'; did you mean 'val'?"),
        ({"root": ""}, "data format torchvision: root: String should have at least 1 character"),
    ],
)
def test_what_is_wrong_is_said(cifar: Path, changes: dict[str, Any], expected: str) -> None:
    assert expected in message(read, **{"root": cifar, **changes})


def test_what_is_no_classification_is_refused(tmp_path: Path, cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = formats.get("torchvision")
    options = {"dataset": "CIFAR10", "root": str(cifar)}
    assert "holds data for classification, not for detection" in message(
        reader.read, options, "detection", "train", None
    )
    # As in CelebA, whose label is a row of attributes.
    monkeypatch.setattr(datasets.CIFAR10, "__getitem__", lambda self, index: (Image.new("RGB", (2, 2)), [1, 0]))
    assert "is not of images with one class each: train/000000 is of Image and list" in message(read, cifar)


def test_a_data_set_without_test_labels_has_no_test_part(tmp_path: Path) -> None:
    options = {"dataset": "Imagenette", "root": str(tmp_path)}
    assert not has_test(formats.get("torchvision"), options, "classification")


def test_every_data_set_that_it_names_says_which_parts_it_has() -> None:
    from cl_bench.data.formats.torchvision import _known, _parts

    readable = {"CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "KMNIST", "SVHN", "STL10", "Flowers102", "Food101"}
    readable |= {"OxfordIIITPet", "DTD", "FGVCAircraft", "GTSRB", "StanfordCars", "Country211", "ImageNet"}
    readable |= {"Imagenette"}
    assert readable <= _known().keys()
    assert {name for name in readable if "train" not in _parts(name)} == set()
    assert {name for name in readable if "test" not in _parts(name)} == {"ImageNet", "Imagenette"}
    assert {name for name in readable if "val" in _parts(name)} == {
        *("Flowers102", "DTD", "FGVCAircraft", "Country211", "ImageNet", "Imagenette")
    }
