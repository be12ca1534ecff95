"""COCO JSON where each tool's export puts it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cl_bench.data.base import has_test
from cl_bench.data.layouts import layouts
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

CATEGORIES = [{"id": 1, "name": "cat", "supercategory": ""}, {"id": 2, "name": "dog", "supercategory": ""}]


def export(file: Path, folder: Path, prefix: str = "", categories: Sequence[Any] = CATEGORIES) -> None:
    """Write one image of 20 x 10 with one dog at (2, 3, 6, 8)."""
    for place in (file.parent, folder):
        place.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10)).save(folder / "a.jpg")
    content = {
        "categories": categories,
        "images": [{"id": 0, "file_name": f"{prefix}a.jpg", "width": 20, "height": 10}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 2, "bbox": [2, 3, 4, 5], "iscrowd": 0}],
    }
    file.write_text(json.dumps(content))


def roboflow(root: Path) -> None:
    names = [{"id": 0, "name": "pets", "supercategory": "none"}]
    names += [{"id": number, "name": name, "supercategory": "pets"} for number, name in ((1, "cat"), (2, "dog"))]
    for split in ("train", "valid", "test"):
        export(root / split / "_annotations.coco.json", root / split, categories=names)


def cvat(root: Path) -> None:
    export(root / "annotations" / "instances_default.json", root / "images")


def cvat_subsets(root: Path) -> None:
    for split in ("train", "val"):
        export(root / "annotations" / f"instances_{split}.json", root / "images" / split)


def label_studio(root: Path) -> None:
    export(root / "result.json", root / "images", prefix="images\\")


def fiftyone(root: Path) -> None:
    export(root / "labels.json", root / "data")


def official(root: Path) -> None:
    for split in ("train", "val"):
        export(root / "annotations" / f"instances_{split}2017.json", root / f"{split}2017")


def in_capitals(root: Path) -> None:
    for name in ("Train", "ValSet"):
        export(root / "annotations" / f"instances_{name}.json", root / "images" / name)


@pytest.mark.parametrize(
    ("write", "splits"),
    [
        (roboflow, ("train", "val", "test")),
        (cvat, ("all",)),
        (cvat_subsets, ("train", "val")),
        (label_studio, ("all",)),
        (fiftyone, ("all",)),
        (official, ("train", "val")),
        (in_capitals, ("train", "val")),
    ],
)
def test_what_a_tool_exports_is_found_by_itself(
    write: Callable[[Path], None], splits: tuple[str, ...], tmp_path: Path
) -> None:
    write(tmp_path)
    found = layouts(tmp_path)
    assert list(found) == ["coco"]
    assert [(layout.kind, layout.splits) for layout in found["coco"]] == [("detection", splits)]
    coco, options = formats.get("coco"), {"path": str(tmp_path)}
    assert has_test(coco, options, "detection") == ("test" in splits)
    for split in splits:
        read = coco.read(options, "detection", split, None)
        assert read.classes == ("cat", "dog")  # and not the project's name, which Roboflow lists with them
        (example,) = read.examples
        assert example.image.is_file()
        assert (example.target.xyxy.tolist(), example.target.labels.tolist()) == ([[2, 3, 6, 8]], [1])


def test_files_and_folders_can_be_named_by_split(tmp_path: Path) -> None:
    export(tmp_path / "boxes" / "one.json", tmp_path / "pictures")
    options = {
        "path": str(tmp_path),
        "annotations": {"train": "boxes/one.json", "val": "boxes/two.json"},
        "images": {"train": "pictures", "val": "pictures"},
    }
    coco = formats.get("coco")
    assert [example.name for example in coco.read(options, "detection", "train", None).examples] == ["a"]
    assert not has_test(coco, options, "detection")
    with pytest.raises(UserError, match=r"boxes/two\.json, which `annotations` .* names for val, is no file"):
        coco.read(options, "detection", "val", None)
    with pytest.raises(UserError, match="has no all, only train, val"):
        coco.read(options, "detection", "all", None)
    with pytest.raises(UserError, match=r"unknown split in `annotations`.*'trian'; did you mean 'train'"):
        coco.read({**options, "annotations": {"trian": "x"}}, "detection", "train", None)
    with pytest.raises(UserError, match="must say by split where"):
        coco.read({**options, "images": "pictures"}, "detection", "train", None)


def test_a_folder_without_boxes_says_how_to_name_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`annotations: \{train: FILE, \.\.\.\}` and `images"):
        formats.get("coco").read({"path": str(tmp_path)}, "detection", "train", None)
    assert layouts(tmp_path) == {}
