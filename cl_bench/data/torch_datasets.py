"""torch data sets written to the cache once, by their fingerprint: files that are read, audited and keyed as any.

A data set has `__len__` and gives pairs of an image and its target, as torchvision's do. The target is a class number
(classification), a mask of class numbers as large as the image, 255 void (segmentation), or a dict of `boxes` (n, 4),
left, top, right, bottom in pixels, `labels` (n,) and perhaps `iscrowd` (n,) (detection).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cl_bench.data.base import VOID
from cl_bench.data.class_names import class_names
from cl_bench.data.pictures import as_array, as_picture
from cl_bench.errors import UserError, describe_error
from cl_bench.utils.files import whole_folder
from cl_bench.utils.paths import cache_root

KINDS = ("classification", "segmentation", "detection")
VERSION = 2
"""To be raised when a data set is written in another way."""
MOST_UNNAMED = 10_000
"""Classes without names, of which there may be more only where there are as many labels."""

Row = dict[str, Any]


def write_dataset(dataset: Any, kind: str, part: str, task: str) -> str:
    """Write `dataset`, a part of a task, to the cache where it is not there yet, and return what it goes by.

    With a `fingerprint`, a text or a method that returns one, it goes by that and is not read again; otherwise by its
    images and targets. Raises UserError where an item is not what it must be, or is another each time it is asked for.
    """
    what = f"{part} of {task}"
    if kind not in KINDS:
        raise UserError(f"{what}: {kind} takes no torch data set; {', '.join(KINDS)} do")
    count, names = _length(dataset, what), class_names(dataset, what)
    declared, learnt = _declared(dataset), part in ("train", "all")
    content = declared or _content(dataset, kind, what, learnt)
    # Whoever gives train and val one fingerprint means the data set as a whole, and another class another data set.
    owner = [type(dataset).__module__, type(dataset).__qualname__, task, part] if declared else []
    identity = [VERSION, kind, count, names, content, owner]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    if not (folder := _folder(digest)).is_dir():
        with whole_folder(folder, shared=True) as made:
            if _content(dataset, kind, what, learnt, made) != content and not declared:
                raise UserError(
                    f"{what}: {type(dataset).__name__} gives other images or targets each time it is asked: leave "
                    "random transforms out, as `augment` of the experiment has its own"
                )
    return digest


def read_index(digest: str) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a data set that goes by `digest`, and its index; raise UserError where it is there no more.

    The index: `classes`, as the data set names them, perhaps none, and `rows`, each image's target as it was given.
    """
    folder = _folder(digest)
    try:
        return folder, json.loads((folder / "index.json").read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(
            f"the data set {digest[:12]} was given from Python and is not in the cache {cache_root()}: give it again"
        ) from error


def numbers_in(rows: Sequence[Row]) -> set[int]:
    """Return the numbers of classes that the targets of images have."""
    found = set[int]()
    for row in rows:
        found.update([row["label"]] if "label" in row else row["labels"] if "labels" in row else row["values"])
    return found


def _folder(digest: str) -> Path:
    return cache_root() / "given" / digest


def _declared(dataset: Any) -> str:
    found = getattr(dataset, "fingerprint", None)
    return str((found() if callable(found) else found) or "")


def _length(dataset: Any, what: str) -> int:
    """Return how many images `dataset` has, at least one."""
    name = type(dataset).__name__
    if not hasattr(dataset, "__len__"):
        raise UserError(f"{what}: {name} has no length, so that its images cannot be counted")
    try:
        count = len(dataset)
    except Exception as error:  # somebody's code may raise anything
        raise UserError(f"{what}: {name} cannot say how many images it has: {describe_error(error)}") from error
    if not count:
        raise UserError(f"{what}: {name} has no images")
    return count


def _content(dataset: Any, kind: str, what: str, learnt: bool, into: Path | None = None) -> str:
    """Return the hash of all images and targets, writing them, with their index, to the folder `into`.

    learnt: whether it is to be learnt from, so that its numbers say which classes there are.
    """
    content, rows, void = hashlib.sha256(), list[Row](), False
    for place, image, mask, row in _items(dataset, kind, what):
        for name, picture in (("image", image), ("mask", mask)):
            if picture is None:
                continue
            content.update(f"{picture.mode} {picture.size}".encode())
            content.update(picture.tobytes())
            # PNG would have other bytes, and with them stages other keys, with another library behind PIL.
            row[name] = f"{place:06d}.{name}.ppm"
            if into is not None:
                picture.save(into / row[name], "PPM")
        content.update(json.dumps(row).encode())
        rows.append(row)
        void = void or (mask is not None and bool(np.asarray(mask).max() == VOID))
    names = class_names(dataset, what)
    _check_numbers(rows, names, what, learnt)
    if void and learnt and numbers_in(rows) <= {0}:
        raise UserError(
            f"{what}: its masks hold {VOID} and no class but 0, and {VOID} is void, which counts for nothing: give a "
            f"class a number from 0 on, such as `mask // {VOID}` of masks of 0 and {VOID}"
        )
    if into is not None:
        (into / "index.json").write_text(json.dumps({"classes": names, "rows": rows}))
    return content.hexdigest()


def _check_numbers(rows: Sequence[Row], names: Sequence[str], what: str, learnt: bool) -> None:
    """Raise UserError for a number that is beyond the `names` or, where there are none, beyond what can be meant."""
    numbers = [(number, place) for place, row in enumerate(rows) for number in numbers_in([row])]
    last, place = max(numbers, default=(0, 0), key=lambda one: one[0])
    where = f"{what}, image {place}: a target has class {last}"
    if names and last >= len(names):
        raise UserError(f"{where}, and the data set names {len(names)} classes, from 0")
    if learnt and not names and last >= max(MOST_UNNAMED, len(numbers)):
        raise UserError(
            f"{where}, which would be one of {last + 1:,} classes without names, and {len(numbers):,} labels are "
            "there: number the classes from 0 on, without gaps"
        )


def _items(dataset: Any, kind: str, what: str) -> Iterator[tuple[int, Image.Image, Image.Image | None, Row]]:
    for place in range(len(dataset)):
        where = f"{what}, image {place}"
        image, target = _pair(dataset, place, where)
        picture = as_picture(image, where)
        if kind == "segmentation":
            mask = _mask(target, picture.size, where)
            yield place, picture, mask, {"values": sorted({*np.unique(np.asarray(mask)).tolist()} - {VOID})}
        elif kind == "detection":
            yield place, picture, None, _boxes(target, where)
        else:
            yield place, picture, None, {"label": _label(target, where)}


def _pair(dataset: Any, place: int, where: str) -> tuple[Any, Any]:
    said = f"{where}: {type(dataset).__name__} gives no image and target"
    try:
        item = dataset[place]
    except Exception as error:  # somebody's code may raise anything
        raise UserError(f"{said}: {describe_error(error)}") from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        length = f" of {len(item)}" if hasattr(item, "__len__") else ""
        raise UserError(f"{said}, but {type(item).__name__}{length}: make a pair of each item")
    return item[0], item[1]


def _label(target: Any, where: str) -> int:
    value = as_array(target)
    if value.size != 1 or not np.issubdtype(value.dtype, np.integer) or value.item() < 0:
        raise UserError(f"{where}: its target must be the number of its class, from 0, not {target!r}")
    return int(value.item())


def _mask(target: Any, size: tuple[int, int], where: str) -> Image.Image:
    values = as_array(target)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or values.shape[::-1] != size:
        raise UserError(f"{where}: its target must be a mask of its {size[1]} x {size[0]} pixels, not {values.shape}")
    if not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() > VOID:
        raise UserError(f"{where}: its mask must hold class numbers in 0..{VOID - 1}, and {VOID} for void")
    return Image.fromarray(np.ascontiguousarray(values.astype(np.uint8)))


def _corners(boxes: Any) -> Any:
    """Return boxes as corners where they are torchvision's and say that they are something else."""
    if getattr(boxes, "format", None) is None:
        return boxes
    from torchvision.transforms.v2.functional import convert_bounding_box_format

    return convert_bounding_box_format(boxes, new_format="XYXY")


def _boxes(target: Any, where: str) -> Row:
    if not isinstance(target, Mapping) or not {"boxes", "labels"} <= target.keys():
        raise UserError(f"{where}: its target must be a dict of 'boxes' and 'labels', as torchvision's detectors take")
    boxes, labels = as_array(_corners(target["boxes"])), as_array(target["labels"])
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.issubdtype(boxes.dtype, np.number):
        raise UserError(
            f"{where}: its boxes must be numbers of shape (n, 4), left, top, right, bottom in pixels, not "
            f"{boxes.dtype} of shape {boxes.shape}"
        )
    crowd = as_array(target.get("iscrowd", np.zeros(len(boxes))))
    if not len(boxes) == labels.size == crowd.size:
        raise UserError(f"{where}: it has {len(boxes)} boxes, {labels.size} labels and {crowd.size} iscrowd")
    if labels.size and (not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0):
        raise UserError(f"{where}: its labels must be the numbers of classes")
    found = boxes.astype(np.float32).tolist()
    return {"boxes": found, "labels": labels.reshape(-1).tolist(), "crowd": crowd.astype(bool).reshape(-1).tolist()}
