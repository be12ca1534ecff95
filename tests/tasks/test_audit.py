"""The audit, its report and the contact sheet."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl_bench.data.base import Boxes, Example, Split
from cl_bench.data.cache import fingerprint
from cl_bench.errors import UserError
from cl_bench.kinds.base import Kind, Settings, Task
from cl_bench.plugins.plugin_files import load_plugin_files
from cl_bench.plugins.registry import formats, kinds
from cl_bench.tasks.audit import _place, audit
from cl_bench.tasks.audit_report import report
from cl_bench.tasks.contact_sheet import contact_sheet
from cl_bench.tasks.unturned import unturned

TEN = ("person", "car", "dog", "cat", "chair", "dining table", "book", "bottle", "cup", "bird")
LEAKED = ["000000323751", "000000370486", "000000428111", "000000511204", "000000513567"]


class FakeKind(Kind):
    """Counts labels; only what the audit calls does anything."""

    name = "fake"
    metrics = ("Score",)
    predictors = ("linear",)
    levels = (32,)

    def __init__(self):
        self.checked: list[str] = []

    def predictor(self, task, channels):
        raise NotImplementedError

    def target(self, task, example, resized):
        return {}

    def loss(self, task, output, targets):
        raise NotImplementedError

    def distillation(self, task, student, teacher, how):
        raise NotImplementedError

    def metric(self, task, val):
        raise NotImplementedError

    def predicted(self, arrays, index):
        raise NotImplementedError

    def trivial(self, task, train, val):
        return len(val.examples) / len(train.examples)

    def check(self, example, classes):
        self.checked.append(example.name)
        if example.name == "invalid":
            raise UserError("image invalid is invalid")

    def count(self, split):
        labels = [np.ravel(getattr(e.target, "labels", e.target)) for e in split.examples]
        return np.bincount(np.concatenate(labels), minlength=len(split.classes))

    def draw(self, image, target, classes):
        return Image.new("RGB", image.size, "red" if target else "blue")

    def notes(self, task, val):
        return {"ceiling": 0.75}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "audit"


@pytest.fixture
def make(tmp_path):
    """Write grey images of the given shades and return them as a split."""

    def write(where, shades, targets, classes=("cat", "dog")):
        examples = []
        for name, target in zip(shades, targets, strict=True):
            path = tmp_path / where / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("L", (30, 20), shades[name]).save(path)
            examples.append(Example(name, path, target))
        return Split(classes, tuple(examples))

    return write


def task(classes=("cat", "dog"), size=64):
    return Task(0, "t", FakeKind(), classes, "linear", (32,), size, Settings())


def test_leaked_images_are_dropped_from_train_by_content(make):
    train = make("train", {"a": 1, "b": 2, "c": 3, "d": 4}, [0, 1, 0, 1])
    val = make("val", {"x": 3, "y": 9, "d": 8}, [0, 1, 1])
    result = audit(task(), train, val)
    assert [example.name for example in result.train.examples] == ["a", "b", "d"]
    assert result.val is val
    (finding,) = result.findings
    assert finding == "1 of 4 training images are in val too, byte for byte, and are dropped from train: c"
    assert result.train_counts == {"cat": 1, "dog": 2}
    assert result.val_counts == {"cat": 1, "dog": 2}
    assert result.trivial == 1.0
    assert result.figures == {"ceiling": 0.75}
    assert result.train_fingerprint == fingerprint(result.train) != fingerprint(train)
    assert result.val_fingerprint == fingerprint(val)


def test_clean_data_has_no_findings_but_the_readers_notes(make):
    train, val = make("train", {"a": 1, "b": 2}, [0, 1]), make("val", {"a": 3, "b": 4}, [0, 1])
    assert audit(task(), train, val).findings == ()
    noted = audit(task(), replace(train, notes=("one",)), replace(val, notes=("two",)))
    assert noted.findings == ("train: one", "val: two")
    told = audit(task(), replace(train, details=("ids",)), val)
    assert (told.findings, told.details) == ((), ("train: ids",))
    assert "  - train: ids" in report([told])


def test_duplicates_within_a_split_and_classes_absent_from_val_are_reported(make):
    train = make("train", {"a": 1, "b": 2, "c": 1}, [0, 1, 0])
    val = make("val", {"x": 5, "y": 5}, [0, 0])
    result = audit(task(), train, val)
    assert len(result.train.examples) == 3
    assert result.findings == (
        "train holds 1 images more than once, byte for byte: a = c",
        "val holds 1 images more than once, byte for byte: x = y",
        "val has no example of class dog",
    )


def test_a_class_absent_from_train_is_an_error_even_if_only_the_leak_had_it(make):
    val = make("val", {"x": 5}, [0])
    with pytest.raises(UserError, match="class 'dog' of task t has no example in train"):
        audit(task(), make("train", {"a": 1, "b": 2}, [0, 0]), val)
    with pytest.raises(
        UserError, match="class 'dog' of task t has no example in train; 1 of its images are in val too, byte for byte"
    ):
        audit(task(), make("train", {"a": 1, "b": 5}, [0, 1]), val)


@pytest.mark.parametrize("where", ["train", "val"])
def test_broken_images_and_targets_are_named(make, where):
    splits = {"train": make("train", {"a": 1, "b": 2}, [0, 1]), "val": make("val", {"x": 5, "y": 6}, [0, 1])}
    broken = splits[where].examples[1].image
    broken.write_bytes(broken.read_bytes()[:45])
    with pytest.raises(UserError, match=f"{broken.name} cannot be decoded"):
        audit(task(), splits["train"], splits["val"])
    splits[where] = make(where, {"fine": 11, "invalid": 12}, [0, 1])
    with pytest.raises(UserError, match="image invalid is invalid"):
        audit(task(), splits["train"], splits["val"])


def test_second_audit_opens_nothing_until_something_changes(make, place):
    train, val = make("train", {"a": 1, "b": 2, "c": 3}, [0, 1, 1]), make("val", {"x": 3}, [0])
    first = task()
    fresh = audit(first, train, val)
    assert first.kind.checked == ["a", "b", "c", "x"]
    again = task()
    cached = audit(again, train, val)
    assert again.kind.checked == []
    assert [e.name for e in cached.train.examples] == ["a", "b"]
    for field in ("findings", "train_fingerprint", "train_counts", "val_counts", "trivial", "figures"):
        assert getattr(cached, field) == getattr(fresh, field)
    (file,) = place.iterdir()
    assert json.loads(file.read_text())["schema"] == 1
    other_size = task(size=128)
    audit(other_size, train, val)
    assert other_size.kind.checked
    other_label = task()
    audit(other_label, make("train", {"a": 1, "b": 2, "c": 3}, [0, 1, 0]), val)
    assert other_label.kind.checked


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 1}', '{"schema": 2}'])
def test_a_damaged_cache_is_made_again(make, place, content):
    train, val = make("train", {"a": 1, "b": 2}, [0, 1]), make("val", {"x": 3}, [0])
    expected = audit(task(), train, val)
    (file,) = place.iterdir()
    whole = file.read_text()
    file.write_text(content)
    assert audit(task(), train, val).findings == expected.findings
    assert file.read_text() == whole


def boxes(*labels):
    return Boxes(np.ones((len(labels), 4), np.float32), np.array(labels, np.int64), np.zeros(len(labels), np.bool_))


def test_labels_of_a_val_with_fewer_classes_are_brought_to_those_of_the_task(make):
    classes = ("bird", "cat", "dog")
    train = make("train", {"a": 1, "b": 2}, [boxes(0, 1), boxes(2)], classes)
    val = make("val", {"x": 3, "y": 4}, [boxes(1, 0, 1), boxes()], ("bird", "dog"))
    result = audit(task(classes), train, val)
    assert result.val.classes == classes
    assert [e.target.labels.tolist() for e in result.val.examples] == [[2, 0, 2], []]
    assert result.findings == ("val does not know class cat", "val has no example of class cat")
    numbers = audit(task(), make("train", {"a": 1, "b": 2}, [0, 1]), make("val", {"x": 3}, [0], ("dog",)))
    assert numbers.val.examples[0].target == 1


def test_classes_that_cannot_be_matched_are_errors(make, tmp_path):
    train = make("train", {"a": 1, "b": 2}, [0, 1])
    with pytest.raises(UserError, match="val of task t holds class fox, which the task does not have"):
        audit(task(), train, make("val", {"x": 3}, [0], ("fox",)))
    masks = make("val", {"x": 3}, [tmp_path / "mask.png"], ("dog",))
    with pytest.raises(UserError, match="val of task t must list the classes of the task: classes cat, dog"):
        audit(task(), train, masks)


def test_report_holds_counts_scores_and_findings(make):
    train, val = make("train", {"a": 1, "b": 2, "c": 3}, [0, 1, 1]), make("val", {"x": 3}, [0])
    text = report([audit(task(), train, val)] * 2)
    block = text.split("\n\n")[0].splitlines()
    assert len(text.split("\n\n")) == 2
    assert block[0] == "t: fake, 2 classes, 2 train and 1 val images"
    assert block[2].split() == ["cat", "1", "1"]
    assert block[3].split() == ["dog", "1", "0"]
    assert "trivial Score: 0.5000" in text
    assert "ceiling: 0.7500" in text
    assert "  - val has no example of class dog" in block
    assert "leaks" not in text


def test_report_says_where_no_image_is_in_two_parts(make):
    train, val = make("train", {"a": 1, "b": 2}, [0, 1]), make("val", {"x": 3, "y": 4}, [0, 1])
    test = make("test", {"v": 5, "w": 6}, [0, 1])
    assert "  leaks, byte for byte, between train and val: none" in report([audit(task(), train, val)]).splitlines()
    three = report([audit(task(), train, val, test)]).splitlines()
    assert "  leaks, byte for byte, between train, val and test: none" in three
    for shade, where in ((3, "val"), (1, "train")):
        other = make("test", {"v": shade, "w": 6}, [0, 1])
        said = report([audit(task(), train, val, other)])
        assert f"1 of 2 test images are in {where} too" in said
        assert ": none" not in said


def test_contact_sheet_shows_targets_in_rows(make):
    split = make("train", {f"{i}": i for i in range(9)}, [0, 0, 0, 0, 1, 1, 1, 1, 1])
    sheet = contact_sheet(task(), split, 3, 2)
    assert sheet.size == (2 * 256, 2 * (256 + 16))
    assert sheet.getpixel((5, 5)) == (0, 0, 255)
    assert sheet.getpixel((261, 5)) == (255, 0, 0)  # the fifth of nine
    assert sheet.getpixel((5, 277)) == (255, 0, 0)
    assert sheet.getpixel((261, 277)) == (255, 255, 255)
    assert contact_sheet(task(), split, 100, 100).size == (9 * 256, 272)
    with pytest.raises(UserError, match="at least one picture and one column, not 0 and 3"):
        contact_sheet(task(), split, 0, 3)


needs_data = pytest.mark.skipif("CL_BENCH_DATA" not in os.environ, reason="CL_BENCH_DATA names no folder of real data")


@needs_data
def test_the_five_leaked_images_of_mini_coco_are_found():
    train, val = (
        formats.get("coco").read({"path": "${CL_BENCH_DATA}/mini_coco_det"}, "detection", split, TEN)
        for split in ("train", "val")
    )
    result = audit(task(TEN), train, val)
    (leak,) = (finding for finding in result.findings if "byte for byte" in finding)
    assert leak.startswith("5 of 240 training images are in val too")
    assert leak.split(": ")[1].split(", ") == LEAKED
    assert {e.name for e in train.examples} - {e.name for e in result.train.examples} == set(LEAKED)
    assert (len(result.train.examples), len(result.val.examples)) == (235, 60)


@needs_data
@pytest.mark.parametrize("name", ["imagenette_160", "mini_voc_seg"])
def test_the_other_sets_hold_no_image_twice(name):
    reader, kind = {"imagenette_160": ("image_folder", "classification"), "mini_voc_seg": ("voc", "segmentation")}[name]
    options = {"path": f"{Path('${CL_BENCH_DATA}') / name}"}
    train, val = (formats.get(reader).read(options, kind, split, None) for split in ("train", "val"))
    if kind == "segmentation":  # the fake kind counts labels, not pixels
        train, val = (
            replace(split, examples=tuple(replace(e, target=list(range(21))) for e in split.examples))
            for split in (train, val)
        )
    result = audit(task(train.classes), train, val)
    assert result.findings == ()
    assert (len(result.train.examples), len(result.val.examples)) == (240, 60)


@pytest.mark.parametrize("turn", [3, 6])
def test_labels_of_turned_images_that_are_not_turned_are_named(tmp_path, turn) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    examples = []
    for shade, name in enumerate(("a", "b", "c")):
        Image.new("RGB", (20, 20), (shade, 0, 0)).save(
            tmp_path / f"{name}.jpg", **({} if name == "c" else {"exif": exif})
        )
        Image.new("L", (20, 20), shade).save(tmp_path / f"{name}.png", **({"exif": exif} if name == "b" else {}))
        examples.append(Example(name, tmp_path / f"{name}.jpg", tmp_path / f"{name}.png"))
    assert unturned(examples) == [
        "masks of 1 images that are turned upright are left as they are, taken to be of the upright one, such as those "
        "of a: look whether they fit"
    ]
    boxes = Boxes(np.array([[0, 0, 5, 5]], np.float32), np.array([0]), np.array([False]))
    assert unturned([replace(one, target=boxes) for one in examples])[0].startswith("boxes of 2 images")
    assert unturned([replace(one, target=0) for one in examples]) == []


@pytest.mark.usefixtures("declared_here_alone")
def test_an_audit_depends_on_the_helpers_of_a_kind_in_a_file(make, tmp_path):
    kind = (
        "from cl_bench import kind\nfrom cl_bench.kinds.classification import Classification\nfrom odds import ODDS\n"
    )
    kind += "@kind\nclass Odd(Classification):\n    name = 'odd'\n"
    kind += "    def trivial(self, task, train, val):\n        return ODDS\n"
    (tmp_path / "odd.py").write_text(kind)
    train, val = make("train", {"a": 1, "b": 2}, [0, 1]), make("val", {"a": 3, "b": 4}, [0, 1])
    found = []
    for odds in (0.25, 0.75):
        (tmp_path / "odds.py").write_text(f"ODDS = {odds}\n")
        load_plugin_files([tmp_path / "odd.py"])
        found.append(audit(replace(task(), kind=kinds.get("odd")), train, val).trivial)
    assert found == [0.25, 0.75]


def test_an_audit_depends_on_the_settings_of_the_task():
    kind = kinds.get("detection")
    plain, other = (
        Task(0, "t", kind, TEN, "per_class", (8, 16), 64, kind.Settings(**given)) for given in ({}, {"largest": 4.0})
    )
    assert _place(plain, "a") == _place(replace(plain, name="u"), "a") != _place(other, "a")
