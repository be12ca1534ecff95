"""One rule for boxes in all formats: the same boxes are kept, clipped, dropped and told of in the same words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl_bench.data.base import Split
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

Box = tuple[float, float, float, float]
WIDTH, HEIGHT = 40, 20
GOOD: list[Box] = [(2, 3, 12, 9), (0, 0, 40, 20), (20, 5, 31, 18), (1, 1, 5, 5)]
"""Left, top, right, bottom."""


def image(root: Path, folder: str) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / folder / "a.jpg")


def coco(root: Path, boxes: Sequence[Box]) -> None:
    image(root, "train/data")
    rows = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [left, top, right - left, bottom - top]}
        for i, (left, top, right, bottom) in enumerate(boxes)
    ]
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": rows}
    (root / "train" / "labels.json").write_text(json.dumps({**content, "categories": [{"id": 1, "name": "dog"}]}))


def yolo(root: Path, boxes: Sequence[Box]) -> None:
    image(root, "images")
    rows = [
        f"0 {(x1 + x2) / 2 / WIDTH:.9f} {(y1 + y2) / 2 / HEIGHT:.9f} {(x2 - x1) / WIDTH:.9f} {(y2 - y1) / HEIGHT:.9f}"
        for x1, y1, x2, y2 in boxes
    ]
    (root / "labels").mkdir(exist_ok=True)
    (root / "labels" / "a.txt").write_text("\n".join(rows))
    (root / "data.yaml").write_text("train: images\nnames: [dog]\n")


def voc_xml(root: Path, boxes: Sequence[Box]) -> None:
    image(root, "train")
    body = "".join(
        f"<object><name>dog</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        "</bndbox></object>"
        for x1, y1, x2, y2 in boxes
    )
    (root / "train" / "a.xml").write_text(f"<annotation>{body}</annotation>")


FORMATS = {"coco": coco, "yolo": yolo, "voc_xml": voc_xml}


def read(name: str, root: Path, boxes: Sequence[Box]) -> Split:
    FORMATS[name](root, boxes)
    return formats.get(name).read({"path": str(root)}, "detection", "train", ("dog",))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("odd", "kept", "said"),
    [
        ((-0.5, 8, 20, 20.75), (0, 8, 20, 20), "1 boxes reached up to a pixel out of their images and are clipped"),
        ((30, 5, 46, 9), (30, 5, 40, 9), "1 boxes reached up to 6.0 pixels out of their images and are clipped"),
        ((-3, -2, 4, 5), (0, 0, 4, 5), "1 boxes reached up to 3.0 pixels out of their images and are clipped"),
        ((41, 5, 60, 9), None, "1 boxes are dropped: 1 outside their images"),
        ((5, -9, 8, -2), None, "1 boxes are dropped: 1 outside their images"),
        ((5, 5, 5, 9), None, "1 boxes are dropped: 1 without area"),
        ((5, 5, 9, 5), None, "1 boxes are dropped: 1 without area"),
    ],
)
def test_what_leaves_its_image_or_has_no_area_is_clipped_or_dropped_and_counted(
    name: str, odd: Box, kept: Box | None, said: str, tmp_path: Path
) -> None:
    split = read(name, tmp_path, [*GOOD, odd])
    wanted = [*GOOD, kept] if kept else GOOD
    np.testing.assert_allclose(split.examples[0].target.xyxy, wanted, atol=1e-4)
    assert [note for note in split.notes if "dropped" in note or "clipped" in note] == [said]


@pytest.mark.parametrize("name", FORMATS)
def test_many_that_leave_their_images_are_refused(name: str, tmp_path: Path) -> None:
    far: list[Box] = [(30, 5, 60, 9), (50, 5, 60, 9), (10, 10, 20, 40)]
    with pytest.raises(UserError, match=r"3 of 5 boxes do not lie in their images \(.*, 40 x 20 pixels\); a") as error:
        read(name, tmp_path, [*GOOD[:2], *far])
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("name", FORMATS)
def test_all_boxes_that_can_be_none_are_named_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^2 things are wrong: .*has a negative width or height; .*has a negative"):
        read(name, tmp_path, [*GOOD, (9, 5, 4, 9), (4, 9, 9, 5)])


@pytest.mark.parametrize("name", FORMATS)
def test_boxes_inside_are_told_of_by_nothing(name: str, tmp_path: Path) -> None:
    assert [note for note in read(name, tmp_path, GOOD).notes if "mapped by name" not in note] == []


def test_pixels_in_place_of_shares_are_refused_with_what_a_row_is(tmp_path: Path) -> None:
    yolo(tmp_path, [])
    (tmp_path / "labels" / "a.txt").write_text("0 10 5 4 4\n0 20 9 6 3\n0 8 8 8 8\n")
    with pytest.raises(UserError, match=r"3 of 3 boxes do not lie .*line 1 \(0 10 5 4 4\).* each a share of the image"):
        formats.get("yolo").read({"path": str(tmp_path)}, "detection", "train", None)


def test_corners_in_place_of_centre_and_size_are_suspected_aloud(tmp_path: Path) -> None:
    yolo(tmp_path, [])
    file = tmp_path / "labels" / "a.txt"
    file.write_text("0 .1 .1 .9 .9\n0 .2 .1 .8 .7\n")
    split = formats.get("yolo").read({"path": str(tmp_path)}, "detection", "train", None)
    assert any("every box would lie in its image as corners" in note for note in split.notes)
    file.write_text("0 .1 .1 .9 .9\n0 .2 .1 .8 .7\n0 .1 .1 .8 .4\n")
    with pytest.raises(UserError, match="3 of 3 boxes do not lie in their images, and all would as corners"):
        formats.get("yolo").read({"path": str(tmp_path)}, "detection", "train", None)


@pytest.mark.parametrize(("size", "fits"), [((40, 20), True), ((41, 20), True), ((0, 0), True), ((80, 40), False)])
def test_the_size_that_an_xml_declares_is_held_against_the_image(size, fits: bool, tmp_path: Path) -> None:
    voc_xml(tmp_path, GOOD)
    file = tmp_path / "train" / "a.xml"
    told = f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>"
    file.write_text(file.read_text().replace("<annotation>", told))
    if fits:
        split = formats.get("voc_xml").read({"path": str(tmp_path)}, "detection", "train", None)
        assert len(split.examples[0].target.labels) == len(GOOD)
        return
    with pytest.raises(UserError, match=r"a\.xml is declared as 80 x 40 pixels, but .*a\.jpg has 40 x 20; bring"):
        formats.get("voc_xml").read({"path": str(tmp_path)}, "detection", "train", None)


def test_the_size_of_an_xml_is_that_of_the_upright_photo(tmp_path: Path) -> None:
    voc_xml(tmp_path, [(1, 2, 10, 30)])
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "train" / "a.jpg", exif=turned)
    file, text = tmp_path / "train" / "a.xml", (tmp_path / "train" / "a.xml").read_text()
    file.write_text(text.replace("<annotation>", "<annotation><size><width>20</width><height>40</height></size>"))
    split = formats.get("voc_xml").read({"path": str(tmp_path)}, "detection", "train", None)
    assert split.examples[0].target.xyxy.tolist() == [[1, 2, 10, 30]]
    file.write_text(text.replace("<annotation>", "<annotation><size><width>40</width><height>20</height></size>"))
    with pytest.raises(UserError, match="has 20 x 40 upright, as its EXIF orientation 6 has it"):
        formats.get("voc_xml").read({"path": str(tmp_path)}, "detection", "train", None)


@pytest.mark.parametrize("name", FORMATS)
def test_a_box_that_stands_twice_counts_once(name: str, tmp_path: Path) -> None:
    split = read(name, tmp_path, [*GOOD, GOOD[0]])
    np.testing.assert_allclose(split.examples[0].target.xyxy, GOOD, atol=1e-4)
    assert "1 boxes stand twice, with the same class and numbers, and count once" in split.notes


@pytest.mark.parametrize("name", FORMATS)
def test_boxes_none_of_which_has_an_area_are_refused_as_such(name: str, tmp_path: Path) -> None:
    first = r"\(.*(labels.json: annotation|a.xml|a.txt).*\); "
    with pytest.raises(UserError, match=f"none of its 2 boxes has an area {first}"):
        read(name, tmp_path, [(0, 0, 0, 0), (5, 5, 5, 9)])
