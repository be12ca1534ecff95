"""`data add` without --format on what tools export: format, kind, splits and the one label of each image."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl_bench.config.presets import load_experiment
from cl_bench.data.base import Boxes
from cl_bench.tasks.catalog import load_catalog, read_split
from cl_bench.tasks.from_folder import add

pytestmark = pytest.mark.slow

NUMBERS = count()
ROWS = "1 0.5 0.5 0.2 0.4\n0 0.25 0.25 0.5 0.5\n"
"""A dog at (8, 3, 12, 7) and a cat at (0, 0, 10, 5) of 20 x 10 pixels."""
DOG, CAT = [8, 3, 12, 7], [0, 0, 10, 5]


def image(file: Path) -> None:
    """Write an image that is like no other."""
    file.parent.mkdir(parents=True, exist_ok=True)
    number = next(NUMBERS)
    pixels = np.full((10, 20, 3), 90, np.uint8)
    pixels[0, :2] = (number % 256, number // 256, 9), (number // 256, number % 256, 7)
    Image.fromarray(pixels).save(file.with_suffix(".png"))


def text(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def coco(file: Path, images: Path, names: tuple[str, ...], prefix: str = "") -> None:
    for name in names:
        image(images / name)
    boxes = [(i, label, box) for i in range(len(names)) for label, box in ((2, [8, 3, 4, 4]), (1, [0, 0, 10, 5]))]
    content = {
        "images": [
            {"id": i, "file_name": f"{prefix}{name}.png", "width": 20, "height": 10} for i, name in enumerate(names)
        ],
        "annotations": [
            {"id": i, "image_id": image_id, "category_id": label, "bbox": box, "iscrowd": 0}
            for i, (image_id, label, box) in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    text(file, json.dumps(content))


def voc(file: Path) -> None:
    body = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{box[0] + 1}</xmin><ymin>{box[1] + 1}</ymin><xmax>{box[2]}</xmax>"
        f"<ymax>{box[3]}</ymax></bndbox></object>"
        for name, box in (("dog", DOG), ("cat", CAT))
    )
    text(file, f"<annotation><size><width>20</width><height>10</height></size>{body}</annotation>")


NAMES = ("a", "b")
MANY = tuple(f"i{number}" for number in range(8))


def roboflow_coco(root: Path) -> None:
    for split in ("train", "valid", "test"):
        coco(root / split / "_annotations.coco.json", root / split, NAMES)


def roboflow_yolo(root: Path) -> None:
    for split in ("train", "valid", "test"):
        for name in NAMES:
            image(root / split / "images" / name)
            text(root / split / "labels" / f"{name}.txt", ROWS)
    text(root / "data.yaml", "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [cat, dog]")


def roboflow_voc(root: Path) -> None:
    for split in ("train", "valid", "test"):
        for name in NAMES:
            image(root / split / name)
            voc(root / split / f"{name}.xml")


def roboflow_folders(root: Path) -> None:
    for split in ("train", "valid", "test"):
        for label in ("cat", "dog"):
            image(root / split / label / "a")


def cvat_coco(root: Path) -> None:
    coco(root / "annotations" / "instances_default.json", root / "images" / "default", MANY)


def cvat_voc(root: Path) -> None:
    images_and_xml(root / "JPEGImages", root / "Annotations")
    text(root / "ImageSets" / "Main" / "default.txt", "\n".join(MANY))
    text(root / "labelmap.txt", "# label:color_rgb:parts:actions\ncat:1,2,3::\ndog:4,5,6::\n")


def cvat_ultralytics(root: Path) -> None:
    for split in ("train", "val"):
        for name in NAMES:
            image(root / "images" / split / name)
            text(root / "labels" / split / f"{name}.txt", ROWS)
        text(root / f"{split}.txt", "\n".join(f"images/{split}/{name}.png" for name in NAMES))
    text(root / "data.yaml", "path: .\ntrain: train.txt\nval: val.txt\nnames:\n  0: cat\n  1: dog\n")


def cvat_yolo(root: Path) -> None:
    for split in ("train", "valid"):
        for name in NAMES:
            image(root / f"obj_{split}_data" / name)
            text(root / f"obj_{split}_data" / f"{name}.txt", ROWS)
        text(root / f"{split}.txt", "\n".join(f"data/obj_{split}_data/{name}.png" for name in NAMES))
    text(root / "obj.names", "cat\ndog\n")
    text(root / "obj.data", "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n")


def label_studio_coco(root: Path) -> None:
    coco(root / "result.json", root / "images", MANY, "images\\")


def label_studio_yolo(root: Path) -> None:
    for name in MANY:
        image(root / "images" / name)
        text(root / "labels" / f"{name}.txt", ROWS)
    text(root / "classes.txt", "cat\ndog\n")
    text(root / "notes.json", "{}")


def images_and_xml(images: Path, annotations: Path) -> None:
    for name in MANY:
        image(images / name)
        voc(annotations / f"{name}.xml")


def label_studio_voc(root: Path) -> None:
    images_and_xml(root / "images", root / "Annotations")


def fiftyone_coco(root: Path) -> None:
    coco(root / "labels.json", root / "data", MANY)


def fiftyone_yolo(root: Path) -> None:
    for split in ("train", "val"):
        for name in NAMES:
            image(root / "images" / split / name)
            text(root / "labels" / split / f"{name}.txt", ROWS)
    text(root / "dataset.yaml", "path: /elsewhere\ntrain: ./images/train/\nval: ./images/val/\nnames: [cat, dog]\n")


def fiftyone_voc(root: Path) -> None:
    images_and_xml(root / "data", root / "labels")


def fiftyone_folders(root: Path) -> None:
    for label in ("cat", "dog"):
        for name in MANY:
            image(root / label / name)


def ultralytics_folders(root: Path) -> None:
    for split in ("train", "val", "test"):
        for label in ("cat", "dog"):
            for name in NAMES:
                image(root / split / label / name)


def official_coco(root: Path) -> None:
    for split in ("train", "val"):
        coco(root / "annotations" / f"instances_{split}2017.json", root / f"{split}2017", NAMES)


@pytest.mark.parametrize(
    ("export", "format", "splits"),
    [
        (roboflow_coco, "coco", "2 train, 2 val, 2 test"),
        (roboflow_yolo, "yolo", "2 train, 2 val, 2 test"),
        (roboflow_voc, "voc_xml", "2 train, 2 val, 2 test"),
        (roboflow_folders, "image_folder", "2 train, 2 val, 2 test"),
        (cvat_coco, "coco", ""),
        (cvat_voc, "voc_xml", ""),
        (cvat_ultralytics, "yolo", "2 train, 2 val"),
        (cvat_yolo, "yolo", "2 train, 2 val"),
        (label_studio_coco, "coco", ""),
        (label_studio_yolo, "yolo", ""),
        (label_studio_voc, "voc_xml", ""),
        (fiftyone_coco, "coco", ""),
        (fiftyone_yolo, "yolo", "2 train, 2 val"),
        (fiftyone_voc, "voc_xml", ""),
        (fiftyone_folders, "image_folder", ""),
        (ultralytics_folders, "image_folder", "4 train, 4 val, 4 test"),
        (official_coco, "coco", "2 train, 2 val"),
    ],
)
def test_exports_are_recognised_and_their_labels_are_right(
    export: Callable[[Path], None], format: str, splits: str, tmp_path: Path
) -> None:
    export(tmp_path / "data")
    file, said = add("own", "", tmp_path / "data", tmp_path, split_off=not splits)
    lines = said.splitlines()
    assert lines[1].startswith(f"format   {format} (")
    assert splits in lines[3]
    assert lines[4] == "classes  2: cat, dog"
    (config,) = load_experiment(str(file)).tasks
    assert config.data["format"] == format
    for part in ("train", "val"):
        for example in read_split(config, part).examples:
            if isinstance(example.target, Boxes):
                pairs = dict(zip(example.target.labels.tolist(), example.target.xyxy.tolist(), strict=True))
                assert pairs == {0: pytest.approx(CAT, abs=1e-3), 1: pytest.approx(DOG, abs=1e-3)}
            else:
                assert example.target == ("cat", "dog").index(example.name.split("/")[0])
    assert load_catalog(load_experiment(str(file)))[0].audit.val.examples
