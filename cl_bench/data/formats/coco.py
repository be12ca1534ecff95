"""COCO detection: one JSON file of images, categories and boxes a split."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np

from cl_bench.data.base import Boxes, Example, Split
from cl_bench.data.formats.reading import chosen, data_folder, missing, ordered
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.plugins.registry import formats

T = TypeVar("T")

MAX_OVERHANG = 1.0
"""Pixels that rounding may push a box out of its image; such boxes are clipped, others are errors."""


@formats.register
class Coco:
    """`path/SPLIT/labels.json` with `data/`, or `path/annotations/instances_SPLIT2017.json` with `path/SPLIT2017/`."""

    name = "coco"
    kinds: tuple[str, ...] = ("detection",)

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`; each target is the `Boxes` of the classes asked for, by default all of the file, sorted.

        Category ids are mapped by name, as they differ between files. Raises UserError, naming the file and the
        image or the annotation, for whatever is broken in it; boxes of classes not asked for are not looked at.
        """
        file, folder = _locate(data_folder(self, options, kind), split, options)
        content = _load(file)
        categories = _categories(file, content)
        names = chosen(classes, lambda: sorted(categories))
        for name in names:
            if name not in categories:
                raise unknown_name_error(f"class for the categories of {file}:", name, categories)
        images = _images(file, folder, content)
        labels = {categories[name]: label for label, name in enumerate(names)}
        left_out = _add_boxes(file, content, images, labels, set(categories.values()))
        examples = ordered((Example(image.name, image.path, image.boxes()) for image in images.values()), file)
        ids = ", ".join(f"{name} {categories[name]}" for name in names)
        notes = [f"category ids of {file.name}, mapped by name: {ids}", *_notes(images.values(), left_out)]
        return Split(names, examples, tuple(notes))

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether there is a file of test boxes (COCO's own `image_info_test2017.json` has none)."""
        root = data_folder(self, options, kind)
        return any(file.is_file() for file, _ in _places(root, "test"))


@dataclass
class _Image:
    name: str
    path: Path
    width: int
    height: int
    rows: list[tuple[tuple[float, float, float, float], int, bool]] = field(default_factory=list)
    clipped: int = 0

    def add(self, bbox: Any, label: int, crowd: bool, where: str) -> None:
        """Add a box given as left, top, width, height; raise UserError for one that is not in the image."""
        # the comparison is false for NaN, and takes integers that no float can hold
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(v) and abs(v) < 1e7 for v in bbox):
            raise UserError(f"{where}: bbox {bbox} is not four finite numbers")
        left, top, width, height = map(float, bbox)
        if width <= 0 or height <= 0:
            raise UserError(f"{where}: bbox {bbox} has no area")
        overhang = max(-left, -top, left + width - self.width, top + height - self.height)
        box = (max(left, 0.0), max(top, 0.0), min(left + width, self.width), min(top + height, self.height))
        x1, y1, x2, y2 = np.array(box, np.float32)
        if overhang > MAX_OVERHANG or x1 >= x2 or y1 >= y2:
            raise UserError(f"{where}: bbox {bbox} does not lie in the image of {self.width} x {self.height} pixels")
        self.clipped += overhang > 1e-6
        self.rows.append((box, label, crowd))

    def boxes(self) -> Boxes:
        """Return what was added."""
        return Boxes(
            np.array([box for box, _, _ in self.rows], np.float32).reshape(-1, 4),
            np.array([label for _, label, _ in self.rows], np.int64),
            np.array([crowd for _, _, crowd in self.rows], np.bool_),
        )


def _places(root: Path, split: str) -> tuple[tuple[Path, Path], tuple[Path, Path]]:
    """Return where the file of boxes and the images may be: exported, official."""
    return (
        (root / split / "labels.json", root / split / "data"),
        (root / "annotations" / f"instances_{split}2017.json", root / f"{split}2017"),
    )


def _locate(root: Path, split: str, options: Mapping[str, Any]) -> tuple[Path, Path]:
    exported, official = _places(root, split)
    for place in (exported, official):
        if place[0].is_file():
            return place
    raise missing(f"{exported[0]} (nor {official[0].relative_to(root)} of an official COCO folder)", options)


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} must hold a JSON object with images, annotations and categories")
    return content


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _get(row: Any, key: str, kind: type[T], where: str) -> T:
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{where}: {key} must be {'a whole number' if kind is int else 'a text'}, not {value!r}")
    return value


def _by_id(file: Path, content: dict[str, Any], table: str) -> dict[int, Any]:
    rows = content.get(table)
    if not isinstance(rows, list):
        raise UserError(f"{file} has no list of {table}")
    found: dict[int, Any] = {}
    for place, row in enumerate(rows):
        number = _get(row, "id", int, f"{file}: {table}[{place}]")
        if number in found:
            raise UserError(f"{file}: {table} id {number} is there twice")
        found[number] = row
    return found


def _categories(file: Path, content: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, row in _by_id(file, content, "categories").items():
        name = _get(row, "name", str, f"{file}: category {number}")
        if name in found:
            raise UserError(f"{file}: categories {found[name]} and {number} are both named {name!r}")
        found[name] = number
    if not found:
        raise UserError(f"{file} has no categories")
    return found


def _images(file: Path, folder: Path, content: dict[str, Any]) -> dict[int, _Image]:
    found: dict[int, _Image] = {}
    for number, row in _by_id(file, content, "images").items():
        where = f"{file}: image {number}"
        relative = PurePosixPath(_get(row, "file_name", str, where))
        width, height = (_get(row, side, int, where) for side in ("width", "height"))
        if width < 1 or height < 1:
            raise UserError(f"{where} ({relative}) has a size of {width} x {height} pixels")
        if relative.is_absolute() or ".." in relative.parts:
            raise UserError(f"{where}: file_name {relative} leads out of {folder}")
        if not (folder / relative).is_file():
            raise UserError(f"{where}: file {folder / relative} does not exist")
        found[number] = _Image(relative.with_suffix("").as_posix(), folder / relative, width, height)
    return found


def _add_boxes(
    file: Path, content: dict[str, Any], images: dict[int, _Image], labels: Mapping[int, int], known: set[int]
) -> int:
    """Give each image its boxes of the categories in `labels`; return how many annotations had another one."""
    left_out = 0
    for number, row in _by_id(file, content, "annotations").items():
        where = f"{file}: annotation {number}"
        image = images.get(_get(row, "image_id", int, where))
        if image is None:
            raise UserError(f"{where} has the image_id {row['image_id']}, which no image has")
        where += f" of image {image.name}"
        category = _get(row, "category_id", int, where)
        if category not in known:
            raise UserError(f"{where} has the category_id {category}, which no category has")
        crowd = row.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise UserError(f"{where}: iscrowd must be 0 or 1, not {crowd!r}")
        if category in labels:
            image.add(row.get("bbox"), labels[category], bool(crowd), where)
        else:
            left_out += 1
    return left_out


def _notes(images: Collection[_Image], left_out: int) -> list[str]:
    boxes = [image.boxes() for image in images]
    counts = {
        "annotations of other categories are left out": left_out,
        "boxes reached up to a pixel out of their images and are clipped": sum(image.clipped for image in images),
        "boxes are crowds, which count as neither hit nor miss": sum(int(box.crowd.sum()) for box in boxes),
        "images hold no box": sum(not len(box.labels) for box in boxes),
    }
    return [f"{count} {text}" for text, count in counts.items() if count]
