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
    assert split.notes == (
        "category ids of labels.json, mapped by name: dog 7, cat 3",
        "1 annotations of other categories are left out",
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (change("annotations", 0, category_id=99), "annotation 1 of image b has the category_id 99, which no"),
        (change("annotations", 0, image_id=99), "annotation 1 has the image_id 99, which no image has"),
        (change("annotations", 1, id=1), "annotations id 1 is there twice"),
        (change("images", 1, id=11), "images id 11 is there twice"),
        (change("categories", 1, id=7), "categories id 7 is there twice"),
        (change("categories", 1, name="dog"), "categories 7 and 3 are both named 'dog'"),
        (change("images", 1, file_name="b.jpg"), "two images named 'b'"),
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
        (change("annotations", 0, bbox=[1, 1, 0, 2]), "annotation 1 of image b: bbox .* has no area"),
        (change("annotations", 0, bbox=[1, 1, 2, -3]), "annotation 1 of image b: bbox .* has no area"),
        (change("annotations", 0, bbox=[1, 1, 20.5, 2]), "annotation 1 of image b: .* not lie in the image of 20 x 10"),
        (change("annotations", 0, bbox=[-2, 1, 5, 2]), "does not lie in the image"),
        (change("annotations", 0, bbox=[20, 1, 0.5, 2]), "does not lie in the image"),
        (change("annotations", 0, bbox=[1, 1, 1e-12, 2]), "does not lie in the image"),
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
