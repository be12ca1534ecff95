"""The COCO reader."""

import json
import os
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl_bench.data.base import has_test
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

CONTENT = {
    "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 5, "name": "bird"}],
    "images": [
        {"id": 11, "file_name": "b.jpg", "width": 20, "height": 10},
        {"id": 12, "file_name": "a.jpg", "width": 16, "height": 12},
    ],
    "annotations": [
        {"id": 1, "image_id": 11, "category_id": 7, "bbox": [1.5, 2, 3, 4.25], "iscrowd": 0},
        {"id": 2, "image_id": 11, "category_id": 3, "bbox": [0, 0, 20, 10], "iscrowd": 1},
        {"id": 3, "image_id": 11, "category_id": 5, "bbox": [5, 5, 1, 1], "iscrowd": 0},
    ],
}
TEN = ("person", "car", "dog", "cat", "chair", "dining table", "book", "bottle", "cup", "bird")
BOXES = {"train": (718, 124, 13, 19, 110, 37, 111, 75, 67, 42), "val": (195, 34, 2, 5, 13, 5, 21, 10, 6, 7)}
"""Boxes of each class of TEN in Mini-COCO, crowds among them, as its README says."""
TEST_BOXES = (1116, 190, 23, 34, 151, 70, 192, 126, 121, 38)
"""Those of its test part, without its 29 crowds."""


def write(root: Path, content=CONTENT, split: str = "train", official: bool = False) -> Path:
    labels = root / "annotations" / f"instances_{split}2017.json" if official else root / split / "labels.json"
    folder = root / f"{split}2017" if official else root / split / "data"
    for place in (labels.parent, folder):
        place.mkdir(parents=True, exist_ok=True)
    for image in CONTENT["images"]:
        Image.new("RGB", (image["width"], image["height"])).save(folder / image["file_name"])
    labels.write_text(content if isinstance(content, str) else json.dumps(content))
    return labels


def read(path, split="train", classes=None):
    return formats.get("coco").read({"path": str(path)}, "detection", split, classes)


@pytest.mark.parametrize("official", [False, True])
def test_boxes_are_corners_with_labels_by_name(tmp_path, official):
    write(tmp_path, official=official)
    split = read(tmp_path)
    assert split.classes == ("bird", "cat", "dog")
    assert [example.name for example in split.examples] == ["a", "b"]
    empty, full = (example.target for example in split.examples)
    assert empty.xyxy.shape == (0, 4)
    assert (empty.xyxy.dtype, empty.labels.dtype, empty.crowd.dtype) == (np.float32, np.int64, np.bool_)
    assert full.xyxy.tolist() == [[1.5, 2, 4.5, 6.25], [0, 0, 20, 10], [5, 5, 6, 6]]
    assert full.labels.tolist() == [2, 1, 0]
    assert full.crowd.tolist() == [False, True, False]
    assert split.examples[1].image.is_file()


def test_ids_that_differ_between_splits_give_equal_labels(tmp_path):
    write(tmp_path)
    other = deepcopy(CONTENT)
    swap = {7: 5, 3: 7, 5: 3}
    for row in other["categories"]:
        row["id"] = swap[row["id"]]
    for row in other["annotations"]:
        row["category_id"] = swap[row["category_id"]]
    write(tmp_path, other, "val")
    train, val = (read(tmp_path, split).examples[1].target.labels.tolist() for split in ("train", "val"))
    assert train == val == [2, 1, 0]


def test_other_categories_are_left_out_with_a_note(tmp_path):
    write(tmp_path)
    split = read(tmp_path, classes=("dog", "cat"))
    assert split.examples[1].target.labels.tolist() == [0, 1]
    assert split.details == ("category ids of labels.json, mapped by name: dog 7, cat 3",)
    assert split.notes == (
        "1 boxes of other classes are left out",
        "1 boxes are crowds, which count as neither hit nor miss",
        "1 images hold no box",
    )


def test_up_to_a_pixel_outside_is_clipped_with_a_note(tmp_path):
    content = deepcopy(CONTENT)
    content["annotations"][0]["bbox"] = [-0.5, 8, 21, 3]
    write(tmp_path, content)
    split = read(tmp_path)
    assert split.examples[1].target.xyxy[0].tolist() == [0, 8, 20, 10]
    assert "1 boxes reached up to a pixel out of their images and are clipped" in split.notes


def change(table, place, **values):
    content = deepcopy(CONTENT)
    content[table][place].update(values)
    return content


def boxes(*rows):
    content = deepcopy(CONTENT)
    one = {"image_id": 11, "category_id": 7, "iscrowd": 0}
    content["annotations"] = [{"id": number, "bbox": list(row), **one} for number, row in enumerate(rows, 1)]
    return content


def orphans(*numbers):
    content = deepcopy(CONTENT)
    for row in content["annotations"]:
        if row["id"] in numbers:
            row["image_id"] = 98
    return content


GOOD = [[1, 1, 4, 4], [2, 2, 8, 5], [3, 3, 10, 6]]


@pytest.mark.parametrize(
    ("content", "kept", "note"),
    [
        (boxes(*GOOD, [1, 1, 0, 2], [5, 5, 3, 0.0]), GOOD, "2 boxes are dropped: 2 without area"),
        (boxes(*GOOD, [1, 1, 1e-12, 2]), GOOD, "1 boxes are dropped: 1 without area"),
        (boxes(*GOOD, [20, 10, 0, 0]), GOOD, "1 boxes are dropped: 1 without area"),
        (boxes(*GOOD, [20, 1, 0.5, 2]), GOOD, "1 boxes are dropped: 1 outside their images"),
        (boxes(*GOOD, [-9, 1, 4, 2]), GOOD, "1 boxes are dropped: 1 outside their images"),
        (
            boxes(*GOOD, [16, 2, 9.5, 3]),
            [*GOOD, [16, 2, 4, 3]],
            "1 boxes reached up to 5.5 pixels out of their images and are clipped",
        ),
        (boxes(*GOOD, [-3, 8, 5, 4]), [*GOOD, [0, 8, 2, 2]], "1 boxes reached up to 3.0 pixels out of their images"),
        (
            orphans(2),
            [[1.5, 2, 3, 4.25], [5, 5, 1, 1]],
            "1 boxes are dropped: 1 of images that the file does not list",
        ),
    ],
)
def test_harmless_rows_of_exports_are_dropped_or_clipped_and_counted(tmp_path, content, kept, note):
    write(tmp_path, content)
    split = read(tmp_path)
    corners = split.examples[1].target.xyxy
    assert np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).tolist() == kept
    assert [said for said in split.notes if note in said]
    assert len([said for said in split.notes if "dropped" in said or "clipped" in said]) == 1


def test_all_that_is_dropped_is_one_note(tmp_path):
    content = boxes(*GOOD, [1, 1, 0, 2], [30, 1, 2, 2], [3, 3, 3, 3])
    content["annotations"][-1]["image_id"] = 5
    write(tmp_path, content)
    said = "3 boxes are dropped: 1 without area, 1 outside their images, 1 of images that the file does not list"
    assert said in read(tmp_path).notes


def test_few_boxes_that_fit_as_corners_alone_are_asked_after(tmp_path):
    write(tmp_path, boxes([5, 2, 18, 8], [1, 1, 4, 4]))
    (said,) = (note for note in read(tmp_path).notes if "corners" in note)
    assert "every box would lie in its image as corners" in said
    assert "annotation 1 of image b: bbox [5, 2, 18, 8]" in said
    write(tmp_path, boxes([5, 2, 18, 8], [4, 4, 1, 1]))
    assert not [note for note in read(tmp_path).notes if "corners" in note]


@pytest.mark.parametrize("first", [True, False])
def test_a_doubled_category_without_boxes_is_dropped(tmp_path, first):
    content = deepcopy(CONTENT)
    content["categories"].insert(0 if first else 3, {"id": 0, "name": "dog"})
    write(tmp_path, content)
    split = read(tmp_path)
    assert split.classes == ("bird", "cat", "dog")
    assert split.examples[1].target.labels.tolist() == [2, 1, 0]
    assert "1 categories without boxes share another's name and are dropped" in split.notes
    assert "bird 5, cat 3, dog 7" in split.details[0]


def test_sizes_that_are_a_pixel_off_or_not_declared_are_the_files(tmp_path):
    write(tmp_path, change("images", 0, width=21, height=10))
    assert "1 images are declared a pixel larger or smaller than they are" in read(tmp_path).notes
    content = deepcopy(CONTENT)
    for row in content["images"]:
        del row["width"], row["height"]
    content["annotations"][0]["bbox"] = [15, 2, 5.5, 3]
    write(tmp_path, content)
    split = read(tmp_path)
    assert split.examples[1].target.xyxy[0].tolist() == [15, 2, 20, 5]
    assert not [note for note in split.notes if "declared" in note]


@pytest.mark.parametrize(("declared", "fits"), [((10, 20), True), ((20, 10), False)])
def test_boxes_are_of_the_upright_photo(tmp_path, declared, fits):
    write(tmp_path, change("images", 0, width=declared[0], height=declared[1]))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "train" / "data" / "b.jpg", exif=exif)
    if fits:
        assert read(tmp_path).examples[1].target.xyxy[0].tolist() == [1.5, 2, 4.5, 6.25]
        return
    with pytest.raises(UserError, match=r"20 x 10 pixels, but .*b\.jpg has 10 x 20 upright, as its EXIF orientation 6"):
        read(tmp_path)


def test_images_that_differ_in_their_endings_alone_keep_them(tmp_path):
    write(tmp_path, change("images", 1, file_name="b.png"))
    Image.new("RGB", (16, 12)).save(tmp_path / "train" / "data" / "b.png")
    split = read(tmp_path)
    assert [(example.name, len(example.target.labels)) for example in split.examples] == [("b.jpg", 3), ("b.png", 0)]


def test_a_byte_order_mark_before_the_labels_is_read_over(tmp_path):
    file = write(tmp_path)
    for encoding in ("utf-8-sig", "utf-16"):
        file.write_text(json.dumps(CONTENT), encoding=encoding)
        assert len(read(tmp_path).examples) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (change("annotations", 0, category_id=99), "annotation 1 of image b has the category_id 99, which no"),
        (change("annotations", 1, id=1), "annotations id 1 is there twice"),
        (change("images", 1, id=11), "images id 11 is there twice"),
        (change("categories", 1, id=7), "categories id 7 is there twice"),
        (change("categories", 1, name="dog"), "categories 7 and 3 are both named 'dog'"),
        (change("images", 1, file_name="b.jpg", width=20, height=10), "two images named 'b'"),
        (change("images", 1, file_name="gone.jpg"), r"image 12: file .*gone\.jpg does not exist"),
        (change("images", 1, file_name="../labels.json"), "leads out of"),
        (change("images", 1, file_name=None), "image 12: file_name must be a text, not None"),
        (change("images", 1, width=0), r"image 12 \(a\.jpg\) has a size of 0 x 12"),
        (change("annotations", 0, bbox=[1, 1, float("nan"), 2]), "annotation 1 of image b: bbox .*nan.* finite"),
        (change("annotations", 0, bbox=[1, 1, float("inf"), 2]), "annotation 1 of image b: bbox .*inf.* finite"),
        (change("annotations", 0, bbox=[1, 1, 10**400, 2]), "not four finite numbers"),
        (change("annotations", 0, bbox=[1, 1, "2", 2]), "not four finite numbers"),
        (change("annotations", 0, bbox=[1, 1, 2]), "not four finite numbers"),
        (change("annotations", 0, bbox=None), "annotation 1 of image b: bbox None is not four"),
        (change("annotations", 0, bbox=[1, 1, 2, -3]), "annotation 1 of image b: bbox .* has a negative width or"),
        (
            change("images", 1, width=32, height=24),
            r"image 12 is declared as 32 x 24 .*, but .*a\.jpg has 16 x 12; bring",
        ),
        (
            change("images", 1, width=12, height=16),
            r"image 12 is declared as 12 x 16 .*, but .*a\.jpg has 16 x 12; bring",
        ),
        (change("images", 1, width=18), "image 12 is declared as 18 x 12 pixels"),
        (boxes([0.1, 0.2, 0.5, 0.5], [0, 0, 1, 1]), "no number of any box is over 1, as if they were shares"),
        (
            boxes([5, 2, 18, 8], [8, 4, 19, 9], [9, 3, 20, 10], [1, 1, 4, 4]),
            r"3 of 4 boxes do not lie in their images, and all would as corners \(.*annotation 1 of image b: bbox",
        ),
        (boxes([15, 2, 18, 8], [28, 4, 9, 3], [9, 30, 8, 4]), r"3 of 3 boxes do not lie in their images \("),
        (orphans(1, 2, 3), r"no annotation is of an image in the file \(the first has the image_id 98\)"),
        (change("annotations", 0, iscrowd=2), "iscrowd must be 0 or 1, not 2"),
        (change("annotations", 0, category_id="7"), "category_id must be a whole number, not '7'"),
        ({**CONTENT, "images": [], "annotations": []}, r"labels\.json holds no images"),
        ({**CONTENT, "categories": []}, "has no categories"),
        ({**CONTENT, "annotations": {}}, "has no list of annotations"),
        ({**CONTENT, "annotations": [3]}, r"annotations\[0\]: id must be a whole number"),
        ("", "is not readable JSON"),
        ('{"images": [', "is not readable JSON"),
        ("[" * 100_000, "is not readable JSON"),
        ("[]", "must hold a JSON object"),
    ],
)
def test_broken_files_are_errors_that_name_the_place(tmp_path, content, message):
    file = write(tmp_path, content)
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path)
    assert str(file) in str(error.value)


def test_unknown_class_has_a_suggestion(tmp_path):
    file = write(tmp_path)
    with pytest.raises(UserError, match="'brid'; did you mean 'bird'") as error:
        read(tmp_path, classes=("dog", "brid"))
    assert str(file) in str(error.value)


def test_missing_labels_are_named(tmp_path):
    with pytest.raises(UserError, match=r"train/labels\.json \(nor annotations/instances_train2017\.json"):
        read(tmp_path)


@pytest.mark.parametrize("official", [False, True])
def test_a_file_of_test_boxes_is_a_test_part(tmp_path, official):
    source, options = formats.get("coco"), {"path": str(tmp_path)}
    write(tmp_path, official=official)
    (tmp_path / "annotations").mkdir(exist_ok=True)
    (tmp_path / "annotations" / "image_info_test2017.json").write_text("{}")
    assert not has_test(source, options, "detection")
    file = write(tmp_path, split="test", official=official)
    assert has_test(source, options, "detection")
    assert [example.name for example in read(tmp_path, "test").examples] == ["a", "b"]
    file.write_text("{}")
    assert has_test(source, options, "detection")
    with pytest.raises(UserError, match="has no list of categories") as error:
        read(tmp_path, "test")
    assert str(file) in str(error.value)


def test_test_images_without_any_box_are_no_test_part(tmp_path):
    for split in ("train", "val", "test"):
        file = write(tmp_path, split=split)
    file.write_text(json.dumps({**json.loads(file.read_text()), "annotations": []}))
    assert not has_test(formats.get("coco"), {"path": str(tmp_path)}, "detection")
    assert [one.splits for one in formats.get("coco").layouts(tmp_path)] == [("train", "val")]
    named = {split: f"{split}/labels.json" for split in ("train", "val", "test")}
    options = {"path": str(tmp_path), "annotations": named}
    assert has_test(formats.get("coco"), options, "detection"), "what is named is not left out without a word"


@pytest.mark.skipif("CL_BENCH_DATA" not in os.environ, reason="CL_BENCH_DATA names no folder of real data")
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_real_boxes_equal_the_raw_ones_by_name(split):
    result = read("${CL_BENCH_DATA}/mini_coco_det", split, TEN)
    raw = json.loads((Path(os.environ["CL_BENCH_DATA"]) / "mini_coco_det" / split / "labels.json").read_text())
    names = {row["id"]: row["name"] for row in raw["categories"]}
    files = {row["id"]: Path(row["file_name"]).stem for row in raw["images"]}
    expected: dict[str, list] = {name: [] for name in files.values()}
    for row in raw["annotations"]:
        if names[row["category_id"]] in TEN:
            x, y, w, h = row["bbox"]
            expected[files[row["image_id"]]].append((names[row["category_id"]], row["iscrowd"], (x, y, x + w, y + h)))
    assert [example.name for example in result.examples] == sorted(expected)
    for example in result.examples:
        boxes, rows = example.target, expected[example.name]
        assert [TEN[label] for label in boxes.labels] == [name for name, _, _ in rows]
        assert boxes.crowd.tolist() == [bool(crowd) for _, crowd, _ in rows]
        np.testing.assert_allclose(boxes.xyxy, np.array([box for *_, box in rows]).reshape(-1, 4), atol=1e-4)
    labels = np.concatenate([example.target.labels for example in result.examples])
    if split in BOXES:
        assert tuple(np.bincount(labels, minlength=10)) == BOXES[split]
    else:
        objects = np.concatenate([example.target.without_crowds().labels for example in result.examples])
        assert (len(result.examples), len(labels) - len(objects)) == (430, 29)
        assert tuple(np.bincount(objects, minlength=10)) == TEST_BOXES


def test_images_that_the_file_does_not_list_are_counted(tmp_path):
    write(tmp_path)
    Image.new("RGB", (9, 9)).save(tmp_path / "train" / "data" / "more.jpg")
    assert "1 images in data are not in labels.json and are not read, such as more.jpg" in read(tmp_path).notes


def test_a_folder_that_splits_share_may_hold_images_of_others(tmp_path):
    write(tmp_path, split="val")
    for split in ("train", "val"):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(CONTENT))
    (tmp_path / "val" / "data").rename(tmp_path / "images")
    (tmp_path / "val" / "labels.json").unlink()
    Image.new("RGB", (9, 9)).save(tmp_path / "images" / "more.jpg")
    assert not any("not read" in note for note in read(tmp_path).notes)


def test_a_file_none_of_whose_images_is_there_is_one_sentence(tmp_path):
    write(tmp_path)
    for image in (tmp_path / "train" / "data").iterdir():
        image.unlink()
    with pytest.raises(UserError, match=r"none of its 2 images is in .*train/data \(first \S+\); `images: ") as error:
        read(tmp_path)
    assert "things are wrong" not in str(error.value)


def test_val_may_list_fewer_classes_than_train(tmp_path):
    write(tmp_path)
    fewer = deepcopy(CONTENT)
    gone = [one["id"] for one in fewer["categories"] if one["name"] == "cat"]
    fewer["categories"] = [one for one in fewer["categories"] if one["id"] not in gone]
    fewer["annotations"] = [one for one in fewer["annotations"] if one["category_id"] not in gone]
    write(tmp_path, fewer, "val")
    classes = read(tmp_path).classes
    val = read(tmp_path, "val", classes)
    assert val.classes == classes
    assert {classes[label] for example in val.examples for label in example.target.labels} == {"bird", "dog"}
    with pytest.raises(UserError, match="unknown class"):
        read(tmp_path, "train", ("cat", "cow"))
