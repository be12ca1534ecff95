"""The reader of class folders."""

import os
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from cl_bench.data.base import has_test
from cl_bench.data.formats.reading import chosen
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("train/cat/2.jpg", "train/cat/1.JPEG", "train/dog/1.png", "val/dog/9.jpeg", "val/cat/9.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


def read(path, split="train", classes=None):
    return formats.get("image_folder").read({"path": str(path)}, "classification", split, classes)


def test_folders_are_classes(root):
    split = read(root)
    assert split.classes == ("cat", "dog")
    assert [(example.name, example.target) for example in split.examples] == [("cat/1", 0), ("cat/2", 0), ("dog/1", 1)]
    assert split.examples[0].image == root / "train" / "cat" / "1.JPEG"
    assert split.notes == ()


def test_order_of_the_given_classes_decides_the_labels(root):
    split = read(root, classes=("dog", "cat"))
    assert [(example.name, example.target) for example in split.examples] == [("cat/1", 1), ("cat/2", 1), ("dog/1", 0)]


def test_a_part_of_the_folders_is_taken_with_a_note(root):
    split = read(root, classes=("dog",))
    assert [example.name for example in split.examples] == ["dog/1"]
    assert split.notes == ("left out 1 of 2 class folders, as asked",)


@pytest.mark.parametrize("split", ["train", "val"])
def test_classes_that_do_not_fit_the_folders_are_errors(root, split):
    with pytest.raises(UserError, match="'dgo'; did you mean 'dog'") as error:
        read(root, split, ("cat", "dgo"))
    assert str(root / split) in str(error.value)


def test_a_class_may_be_absent_from_val_only(root):
    (root / "val" / "dog" / "9.jpeg").unlink()
    (root / "val" / "dog").rmdir()
    split = read(root, "val", ("cat", "dog"))
    assert split.classes == ("cat", "dog")
    assert [(example.name, example.target) for example in split.examples] == [("cat/9", 0)]
    with pytest.raises(UserError, match="'fox'"):
        read(root, "train", ("cat", "dog", "fox"))


def test_of_three_classes_two_may_be_asked_for_of_which_val_lacks_one(root):
    (root / "train" / "dog").rename(root / "train" / "fox")
    (root / "train" / "dog").mkdir()
    assert [example.name for example in read(root, "val", ("cat", "fox")).examples] == ["cat/9"]
    (root / "val" / "dog").rename(root / "val" / "Fox")
    with pytest.raises(UserError, match="'fox'; did you mean 'Fox'"):
        read(root, "val", ("cat", "fox"))


def test_images_of_a_class_of_train_are_a_test_part(root):
    source, options = formats.get("image_folder"), {"path": str(root)}
    assert not has_test(source, options, "classification")
    for name in ("loose.jpg", "unknown/1.jpg"):
        (root / "test" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / "test" / name)
        assert not has_test(source, options, "classification"), "labels withheld"
    (root / "test" / "unknown").rename(root / "test" / "dog")
    assert has_test(source, options, "classification")
    split = read(root, "test", ("cat", "dog"))
    assert [(example.name, example.target) for example in split.examples] == [("dog/1", 1)]
    (root / "test" / "dgo").mkdir()
    with pytest.raises(UserError, match="'cat'") as error:
        read(root, "test", ("cat", "dog"))
    assert str(root / "test") in str(error.value)


def test_empty_class_of_train_is_an_error(root):
    (root / "train" / "emu").mkdir()
    with pytest.raises(UserError, match=r"train/emu holds no images"):
        read(root)
    (root / "val" / "emu").mkdir()
    assert len(read(root, "val").examples) == 2


def test_other_files_are_left_out_with_a_note_and_hidden_ones_without(root):
    (root / "train" / "cat" / "Thumbs.db").write_text("x")
    (root / "train" / "cat" / ".DS_Store").write_text("x")
    (root / "train" / ".cache").mkdir()
    split = read(root)
    assert len(split.examples) == 3
    assert split.notes == ("left out 1 things in cat that are no images",)


def test_what_would_never_end_is_left_out(root):
    os.mkfifo(root / "train" / "cat" / "pipe.jpg")
    (root / "train" / "cat" / "zeros.jpg").symlink_to("/dev/zero")
    assert not {"cat/pipe", "cat/zeros"} & {example.name for example in read(root).examples}


def test_images_that_differ_in_their_endings_alone_keep_them(root):
    Image.new("RGB", (4, 4)).save(root / "train" / "cat" / "1.png")
    names = {example.name: example.image.name for example in read(root).examples}
    assert names == {"cat/1.JPEG": "1.JPEG", "cat/1.png": "1.png", "cat/2": "2.jpg", "dog/1": "1.png"}
    Image.new("RGB", (4, 4)).save(root / "train" / "cat" / "1.png.bmp")
    with pytest.raises(UserError, match=r"two images named 'cat/1\.png': 1\.png and 1\.png\.bmp"):
        read(root)


def test_folders_inside_a_class_are_of_it(root):
    for name in ("cat/tabby/1.jpg", "cat/tabby/old/7.webp", "cat/.hidden/2.jpg"):
        (root / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / "train" / name)
    (root / "train" / "cat" / "tabby" / "notes.txt").write_text("x")
    (root / "train" / "cat" / "loop").symlink_to(root / "train" / "cat")
    split = read(root)
    names = ["cat/1", "cat/2", "cat/tabby/1", "cat/tabby/old/7", "dog/1"]
    assert [example.name for example in split.examples] == names
    assert [example.target for example in split.examples] == [0, 0, 0, 0, 1]
    assert split.notes == (
        "left out 1 things in cat that are no images",
        "2 images lie in folders inside cat and are of that class",
    )


@pytest.mark.parametrize("ending", ["bmp", "gif", "tif", "tiff", "webp", "ppm", "JPG", "Png", "jpe"])
def test_any_ending_of_images_is_read(root, ending):
    Image.new("RGB", (4, 4)).save(root / "train" / "dog" / f"5.{ending}")
    assert [example.name for example in read(root, classes=("dog",)).examples] == ["dog/1", "dog/5"]


def test_missing_folders_are_named(root, monkeypatch):
    with pytest.raises(UserError, match=r"test does not exist$"):
        read(root, "test")
    (root / "flat").mkdir()
    Image.new("RGB", (4, 4)).save(root / "flat" / "1.png")
    with pytest.raises(UserError, match="flat holds no class folders"):
        read(root, "flat")
    monkeypatch.setenv("CL_BENCH_DATA", str(root))
    with pytest.raises(UserError, match="`cl-bench data prepare`"):
        read("${CL_BENCH_DATA}/imagenette")


@pytest.mark.skipif("CL_BENCH_DATA" not in os.environ, reason="CL_BENCH_DATA names no folder of real data")
def test_real_folders():
    train, val, test = (read("${CL_BENCH_DATA}/imagenette_160", split) for split in ("train", "val", "test"))
    assert train.classes == val.classes == test.classes
    assert (len(train.classes), len(train.examples), len(val.examples)) == (10, 240, 60)
    assert Counter(example.target for example in test.examples) == dict.fromkeys(range(10), 30)
    for example in train.examples:
        assert example.image.parent.name == train.classes[example.target]


@pytest.mark.parametrize("names", [("TRAIN", "TEST"), ("train_set", "valid_set"), ("train", "dev")])
def test_folders_of_splits_are_no_classes_however_they_are_written(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        for label in ("cat", "dog"):
            (tmp_path / name / label).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / name / label / "a.png")
    (tmp_path / "extra").mkdir()
    (layout,) = formats.get("image_folder").layouts(tmp_path)
    assert layout.splits == ("train", "test" if names[1] == "TEST" else "val")
    assert f"{names[1]} is {layout.splits[1]}; not read: extra" in layout.how
    for part in layout.splits:
        found = formats.get("image_folder").read({"path": str(tmp_path)}, "classification", part, None)
        assert found.classes == ("cat", "dog")


def test_images_and_masks_are_no_classes_in_any_case(tmp_path: Path) -> None:
    for name in ("Images", "Masks"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
    assert list(formats.get("image_folder").layouts(tmp_path)) == []


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("cat", "cat "), "classes 'cat' and 'cat ' differ in blanks alone"),
        (("cat", ""), "class '' has no name of one line"),
        (("a\nb", "cat"), r"class 'a\\nb' has no name of one line"),
    ],
)
def test_names_that_no_table_could_tell_apart_are_refused(classes: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        chosen(None, lambda: classes)
