"""What was given as torch data sets: images and targets as `cl_bench.data.torch_datasets` wrote them to the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cl_bench.data.base import Example, Split
from cl_bench.data.formats.box_rows import Labelled, image_notes
from cl_bench.data.formats.box_tally import Tally
from cl_bench.data.formats.reading import chosen, ordered, parse_options
from cl_bench.data.images import image_size
from cl_bench.data.torch_datasets import KINDS, Row, numbers_in, read_index
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.plugins.registry import formats

BACKGROUND = ("__background__", "background")
"""What torchvision calls the class that no box has."""
CURE = "a box is left, top, right, bottom, in pixels"


class Options(BaseModel, frozen=True, extra="forbid", strict=True):
    """By part, what its data set goes by in the cache; `all`: one data set, to be divided by `split_off`."""

    train: str = ""
    val: str = ""
    test: str = ""
    all: str = ""


@formats.register
class TorchDataset:
    """torch data sets given from Python (`data={"train": ..., "val": ...}`), read from the cache."""

    name = "torch_dataset"
    kinds: tuple[str, ...] = KINDS
    embedded = True

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`; the classes are those that the data set, else the one of train, names, else train's numbers.

        `classes` may be some of them and, where no data set names any, names them. Raises UserError for a part that
        was not given, for data that are in the cache no more, and for a class that train has not.
        """
        parts = parse_options(self.name, Options, options)
        if not (digest := getattr(parts, split)):
            raise UserError(f"no data set was given as {split!r}: data={{'train': ..., 'val': ...}} names them")
        folder, index = read_index(digest)
        first = read_index(parts.train or parts.all or digest)[1]
        named = tuple(index["classes"] or first["classes"])
        numbers = _named(named, kind) if named else _unnamed(first["rows"], kind, classes)
        own = tuple(named[number] for number in numbers) if named else classes or tuple(map(str, numbers))
        if unknown := sorted(numbers_in(index["rows"]) - {*(range(len(named)) if named else numbers)}):
            raise UserError(
                f"the data set given as {split!r} has class {unknown[0]}, and the classes of train are {numbers[0]} to "
                f"{numbers[-1]}"
            )
        names, number = chosen(classes, lambda: own), dict(zip(own, numbers, strict=True))
        for name in names:
            if name not in number:
                raise unknown_name_error("class of the data set", name, own)
        labels = {number[name]: label for label, name in enumerate(names)}
        examples, notes = _READERS[kind](folder, index["rows"], labels, split)
        if kind == "segmentation" and own != names:
            raise UserError("the masks of a data set hold all of its classes: name no others, and none less")
        left_out = (
            [f"left out {len(own) - len(names)} of {len(own)} classes, as asked"] if len(names) < len(own) else []
        )
        return Split(names, ordered(examples, folder), (*left_out, *notes))

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether a data set was given as `test`."""
        return bool(options.get("test"))


def _named(names: Sequence[str], kind: str) -> range:
    """Return the numbers of the classes that have `names`; a detector's background is no class."""
    return range(1 if kind == "detection" and names[0] in BACKGROUND else 0, len(names))


def _unnamed(rows: Sequence[Row], kind: str, classes: tuple[str, ...] | None) -> range:
    """Return the numbers of classes without names, by the `rows` of train: each part alone might begin at another.

    A detector's begin at 1 where no box of train is a 0.
    """
    found = numbers_in(rows)
    first, last = (1 if kind == "detection" and min(found, default=0) > 0 else 0), max(found, default=0)
    count = last + 1 - first
    if classes is not None and len(classes) < count:
        raise UserError(f"a data set of {count} classes cannot be of {len(classes)}: {', '.join(classes)}")
    return range(first, first + (count if classes is None else len(classes)))


Read = tuple[list[Example], list[str]]


def _labelled(folder: Path, rows: Sequence[Row], labels: Mapping[int, int], part: str) -> Read:
    """Return the images of the classes that `labels` has."""
    kept = [(place, row) for place, row in enumerate(rows) if row["label"] in labels]
    return [Example(f"{place:06d}", folder / row["image"], labels[row["label"]]) for place, row in kept], []


def _masked(folder: Path, rows: Sequence[Row], labels: Mapping[int, int], part: str) -> Read:
    return [Example(f"{n:06d}", folder / row["image"], folder / row["mask"]) for n, row in enumerate(rows)], []


def _boxed(folder: Path, rows: Sequence[Row], labels: Mapping[int, int], part: str) -> Read:
    """Return all images with their boxes of the classes that `labels` has, by the rule of all formats."""
    what = f"the data set given as {part!r}"
    tally, images = Tally(what, CURE), list[Labelled]()
    for place, row in enumerate(rows):
        path = folder / row["image"]
        image = Labelled(f"{place:06d}", path, *image_size(path))
        images.append(image)
        for box, number, crowd in zip(row["boxes"], row["labels"], row["crowd"], strict=True):
            if number in labels:
                normalised = max(map(abs, box)) <= 1 < min(image.width, image.height)
                tally.add(image, box, labels[number], crowd, f"{what}: image {place}, box {box}", normalised=normalised)
            else:
                tally.others += 1
    tally.check()
    examples = [Example(image.name, image.path, image.boxes()) for image in images]
    return examples, [*tally.notes(), *image_notes(images, "crowds")]


_READERS = {"classification": _labelled, "segmentation": _masked, "detection": _boxed}
