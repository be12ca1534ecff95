"""Damaged label files: each is read with every unharmed label as it was, or refused in a sentence that names a file.

A label that is harmed is never changed without a word: it is what its text says, or counted in a note.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from mutation import CASES, as_bytes, damaged, some
from PIL import Image

from cl_bench.data.base import Split
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 64, 48
CLASSES = ("cat", "dog")
Box = tuple[float, ...]
Label = tuple[str, Box]
"""A class and left, top, right, bottom in pixels."""
LABELS: list[Label] = [
    ("dog", (4, 6, 20, 30)),
    ("cat", (10, 12, 41, 40)),
    ("dog", (0, 0, 64, 48)),
    ("cat", (33.5, 20.25, 48, 25)),
    ("dog", (50, 40, 52, 44)),
]
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def number(text: Any) -> float | None:
    """Return what a decimal number says, and None of any other text."""
    return float(text) if isinstance(text, str) and DECIMAL.fullmatch(text.strip()) else None


def near(one: Box, other: Box) -> bool:
    return all(abs(a - b) < 2e-4 for a, b in zip(one, other, strict=True))


def clipped(box: Box) -> Box:
    left, top, right, bottom = box
    return max(left, 0), max(top, 0), min(right, WIDTH), min(bottom, HEIGHT)


def check_labels(split: Split, image: Path, unharmed: list[Label], harmed: list[Label], due: int) -> None:
    """Hold what was read against what the rows say; due: rows of which something must be seen or told."""
    example = next(one for one in split.examples if one.image.resolve() == image.resolve())
    got = [(split.classes[i], tuple(box)) for i, box in zip(example.target.labels, example.target.xyxy, strict=True)]
    for name, box in unharmed:
        place = next((i for i, one in enumerate(got) if one[0] == name and near(one[1], box)), None)
        assert place is not None, f"{name} {box} is lost"
        del got[place]
    for name, box in got:
        assert any(name == other and near(box, clipped(said)) for other, said in harmed), f"{name} {box} is new"
        if not any(name == other and near(box, said) for other, said in harmed):
            assert any("clipped" in note for note in split.notes), f"{name} {box} is clipped without a word"
    told = [re.match(r"(\d+) .*(dropped|left out|count once)", note) for note in split.notes]
    assert len(unharmed) + len(got) + sum(int(one[1]) for one in told if one) >= due, "a label is gone without a word"


def refused(read: Callable[[], Split], files: list[Path]) -> Split | None:
    """Return what is read; None where it is refused in one sentence that names one of `files`."""
    try:
        return read()
    except UserError as error:
        said = str(error)
        assert said.strip()
        assert "\n" not in said
        assert "Traceback" not in said
        assert any(str(file) in said for file in files), f"{said!r} names no file"
    return None


def reader(name: str, root: Path, classes: tuple[str, ...] | None = CLASSES) -> Callable[[], Split]:
    return lambda: formats.get(name).read({"path": str(root)}, "detection", "train", classes)


def cases() -> Iterator[random.Random]:
    for seed in range(CASES):
        yield random.Random(seed)


def told(content: bytes, error: AssertionError) -> str:
    return f"{error}\nof the file\n{content!r}"


def coco_row(place: int, label: Label) -> str:
    (left, top, right, bottom), name = label[1], label[0]
    row = {"id": place, "image_id": 11, "category_id": 7 if name == "dog" else 3}
    return json.dumps({**row, "bbox": [left, top, right - left, bottom - top], "iscrowd": 0})


def coco_label(text: str) -> Iterator[Label]:
    try:
        rows = json.loads(f"[{text}]")
    except ValueError:
        return
    for row in rows:
        box = row.get("bbox") if isinstance(row, dict) else None
        if isinstance(box, list) and len(box) == 4 and all(type(one) in (int, float) for one in box):
            left, top, width, height = box
            yield {7: "dog", 3: "cat"}.get(row.get("category_id"), ""), (left, top, left + width, top + height)


def test_coco_files(tmp_path: Path) -> None:
    (tmp_path / "train" / "data").mkdir(parents=True)
    image, file = tmp_path / "train" / "data" / "a.jpg", tmp_path / "train" / "labels.json"
    Image.new("RGB", (WIDTH, HEIGHT)).save(image)
    head = f'{{"images": [{{"id": 11, "file_name": "a.jpg", "width": {WIDTH}, "height": {HEIGHT}}}], "categories": '
    head += '[{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}], "annotations": ['
    for draw in cases():
        rows, places = some([coco_row(place, label) for place, label in enumerate(LABELS)], draw)
        front = damaged(head, draw) if draw.random() < 0.25 else head
        content = as_bytes(front + ", ".join(rows) + "]}", draw)
        file.write_bytes(content)
        try:
            split = refused(reader("coco", tmp_path), [file, image])
            if split is not None:
                said = [label for place in places for label in coco_label(rows[place])]
                gone = front != head and any("that the file does not list" in note for note in split.notes)
                unharmed = [label for place, label in enumerate(LABELS) if place not in places]
                check_labels(split, image, [] if gone else unharmed, said, 0 if gone else len(LABELS))
        except AssertionError as error:
            raise AssertionError(told(content, error)) from error


def yolo_row(label: Label) -> str:
    name, (left, top, right, bottom) = label
    shares = (left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT, (right - left) / WIDTH, (bottom - top) / HEIGHT
    return f"{CLASSES.index(name)} {' '.join(f'{one:.6f}' for one in shares)}"


def yolo_label(text: str) -> Iterator[Label]:
    for line in re.split(r"[\r\n]+", text):
        values = [number(one) for one in line.split()]
        if len(values) < 5 or None in values or values[0] not in (0, 1):
            continue
        first, *shares = (float(one or 0) for one in values)
        xs, ys = shares[::2], shares[1::2]
        if len(shares) == 4:
            xs, ys = [xs[0] - xs[1] / 2, xs[0] + xs[1] / 2], [ys[0] - ys[1] / 2, ys[0] + ys[1] / 2]
        yield CLASSES[int(first)], (min(xs) * WIDTH, min(ys) * HEIGHT, max(xs) * WIDTH, max(ys) * HEIGHT)


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images" / "a.jpg")
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"train": "images", "nc": 2, "names": list(CLASSES)}))
    return tmp_path


def test_yolo_texts(yolo: Path) -> None:
    image, file = yolo / "images" / "a.jpg", yolo / "labels" / "a.txt"
    for draw in cases():
        rows, places = some([yolo_row(label) for label in LABELS], draw)
        content = as_bytes("\n".join(rows), draw)
        file.write_bytes(content)
        torn = content != "\n".join(rows).encode() and not content.startswith((b"\xef\xbb\xbf", b"\xff\xfe"))
        try:
            split = refused(reader("yolo", yolo), [file])
            if split is not None and not torn:
                said = [label for place in places for label in yolo_label(rows[place])]
                unharmed = [label for place, label in enumerate(LABELS) if place not in places]
                check_labels(split, image, unharmed, said, sum(bool(row.strip()) for row in rows))
        except AssertionError as error:
            raise AssertionError(told(content, error)) from error


def test_yolo_data_yaml(yolo: Path) -> None:
    image, file, text = yolo / "images" / "a.jpg", yolo / "data.yaml", (yolo / "data.yaml").read_text()
    (yolo / "labels" / "a.txt").write_text("\n".join(map(yolo_row, LABELS)))
    for draw in cases():
        content = as_bytes(damaged(text, draw), draw)
        file.write_bytes(content)
        try:
            split = refused(reader("yolo", yolo, None), [file, yolo / "images", yolo / "labels", yolo])
            if split is not None:
                names = yaml.safe_load(content)["names"]
                assert list(split.classes) == [str(names[number]) for number in range(len(names))]
                check_labels(
                    split, image, [(split.classes[CLASSES.index(name)], box) for name, box in LABELS], [], len(LABELS)
                )
        except AssertionError as error:
            raise AssertionError(told(content, error)) from error


def voc_row(label: Label) -> str:
    name, (left, top, right, bottom) = label
    sides = {"xmin": left + 1, "ymin": top + 1, "xmax": right, "ymax": bottom}
    box = "".join(f"<{side}>{value}</{side}>" for side, value in sides.items())
    return f"<object><name>{name}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>"


def voc_label(text: str) -> Iterator[Label]:
    try:
        found = ElementTree.fromstring(f"<r>{text}</r>").iter("object")
    except ElementTree.ParseError:
        return
    for one in found:
        sides = [number(one.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
        if None not in sides:
            left, top, right, bottom = (float(side or 0) for side in sides)
            yield (one.findtext("name") or "").strip(), (left - 1, top - 1, right, bottom)


def test_voc_xml_files(tmp_path: Path) -> None:
    image, file = tmp_path / "train" / "a.jpg", tmp_path / "train" / "a.xml"
    image.parent.mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(image)
    head = "<?xml version='1.0' encoding='utf-8'?><annotation><filename>a.jpg</filename><size>"
    head += f"<width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size><segmented>0</segmented>"
    for draw in cases():
        rows, places = some([voc_row(label) for label in LABELS], draw)
        content = as_bytes(
            (damaged(head, draw) if draw.random() < 0.25 else head) + "".join(rows) + "</annotation>", draw
        )
        file.write_bytes(content)
        try:
            split = refused(reader("voc_xml", tmp_path), [file])
            if split is not None:
                said = [label for place in places for label in voc_label(rows[place])]
                unharmed = [label for place, label in enumerate(LABELS) if place not in places]
                due = sum(row.count("<object>") > 0 or "bndbox" in row for row in rows)
                check_labels(split, image, unharmed, said, due)
        except AssertionError as error:
            raise AssertionError(told(content, error)) from error
