"""Classification from torchvision's own data sets, by name: CIFAR-10 and -100, MNIST, Flowers102, Food101 and more.

torchvision reads the files, and checks them where it knows what they must be; nothing is unpickled here. Images that it
keeps in arrays are written out once, as files whose bytes are the same on every machine.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field, field_validator

from cl_bench.data.base import Example, Split
from cl_bench.data.class_names import class_names
from cl_bench.data.formats.reading import chosen, ordered, parse_options
from cl_bench.errors import UserError, describe_error, unknown_name_error
from cl_bench.plugins.registry import formats
from cl_bench.utils.files import whole_folder
from cl_bench.utils.paths import cache_root, expand
from cl_bench.utils.randomness import derive

SHARE = 0.1
"""What val takes of every class of train, where nothing is said and torchvision has no val."""
NAMES = {"train": ("train", "trainval"), "val": ("val", "valid"), "test": ("test",)}
"""How torchvision's data sets call their parts."""


class Options(BaseModel, frozen=True, extra="forbid", strict=True):
    """What to read: torchvision's name of the data set, the folder it keeps it in, and what val is.

    val: images of every class, or a share of them, cut from train; None: the data set's own val, else a tenth.
    download: whether torchvision may fetch what is not there.
    """

    dataset: str
    root: str = Field(min_length=1)
    val: int | float | None = None
    download: bool = False

    @field_validator("val", mode="before")
    @classmethod
    def _is_a_number_or_a_share(cls, val: Any) -> Any:
        whole = isinstance(val, int) and not isinstance(val, bool) and val >= 1
        if val is None or whole or (isinstance(val, float) and 0 < val < 1):
            return val
        raise ValueError(f"must be a number of images of each class, or a share between 0 and 1, not {val!r}")


@dataclass(frozen=True, eq=False)
class _Part:
    """A part as torchvision has it: the names of the classes, and of each image its class and its file."""

    classes: tuple[str, ...]
    shown: tuple[str, ...]
    images: tuple[Path, ...]


@formats.register
class Torchvision:
    """torchvision's data sets by name (`dataset: CIFAR10, root: FOLDER`), val cut from train where there is none."""

    name = "torchvision"
    kinds: tuple[str, ...] = ("classification",)
    embedded = True

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`; each target is an index into the classes, by default the data set's own in its order.

        An example is named after torchvision's part and its place there. `classes` may be some of the data set's.
        Raises UserError for data that are not there, and says how to get them.
        """
        found = _parse(options, kind)
        train = _part(found.dataset, found.root, "train", found.download)
        names = chosen(classes, lambda: train.classes)
        for name in names:
            if name not in train.classes:
                raise unknown_name_error(f"class for torchvision's {found.dataset}:", name, train.classes)
        where, places, notes = _places(found, split, names)
        part = _part(found.dataset, found.root, where, found.download)
        if len(names) < len(train.classes):
            notes.append(f"left out {len(train.classes) - len(names)} of {len(train.classes)} classes, as asked")
        # By name: a part that lacks a class may number the others otherwise.
        examples = [Example(_name(where, i), part.images[i], names.index(part.shown[i])) for i in places]
        return Split(names, ordered(examples, Path(found.root) / found.dataset / where), tuple(notes))

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether torchvision has a test part of the data set."""
        return "test" in _parts(_parse(options, kind).dataset)


def _parse(options: Mapping[str, Any], kind: str) -> Options:
    if kind not in Torchvision.kinds:
        raise UserError(f"format torchvision holds data for {', '.join(Torchvision.kinds)}, not for {kind}")
    found = parse_options("torchvision", Options, options)
    if found.dataset not in _known():
        raise unknown_name_error("data set of torchvision", found.dataset, _known())
    if "train" not in _parts(found.dataset):
        raise UserError(f"torchvision's {found.dataset} has no part that is called train, so that it cannot be read")
    return found.model_copy(update={"root": str(expand(found.root))})


@functools.cache
def _known() -> dict[str, Any]:
    """Return the data sets that have a folder and parts, by their names."""
    from torchvision import datasets  # late, as it takes a second

    found = {name: getattr(datasets, name) for name in datasets.__all__}
    return {name: one for name, one in found.items() if {"train", "split"} & (takes := _takes(one)) and "root" in takes}


def _takes(dataset: Any) -> set[str]:
    return set(inspect.signature(dataset).parameters)


@functools.cache
def _parts(dataset: str) -> dict[str, dict[str, Any]]:
    """Return by part, of those in `NAMES` that there are, the arguments by which torchvision gives it."""
    build = _known()[dataset]
    if "train" in _takes(build):
        return {"train": {"train": True}, "test": {"train": False}}
    there: list[str] = []
    try:
        build(root="", split="?")  # what there is, it says of what there is not, before it looks for any file
    except ValueError as error:
        there = re.findall(r"'([^']*)'", str(error).partition("Valid values are")[2])
    except Exception as error:  # a library that the data set needs
        raise UserError(f"torchvision's {dataset} cannot be read: {describe_error(error)}") from error
    called = {part: next((name for name in names if name in there), None) for part, names in NAMES.items()}
    return {part: {"split": name} for part, name in called.items() if name}


def _places(options: Options, split: str, names: Sequence[str]) -> tuple[str, list[int], list[str]]:
    """Return torchvision's part that `split` is of, the places there of images of the classes `names`, and notes."""
    parts = _parts(options.dataset)
    cut = options.val is not None or "val" not in parts
    where = "train" if split == "val" and cut else split
    if where not in parts:
        raise UserError(f"torchvision's {options.dataset} has no {where} part")
    part = _part(options.dataset, options.root, where, options.download)
    places = [place for place, name in enumerate(part.shown) if name in names]
    if where != "train" or not cut:
        return where, places, []
    held = _held_out(options, part, places)
    if split == "val":
        return where, sorted(held), [f"{len(held)} images are cut from torchvision's train part"]
    return where, [place for place in places if place not in held], []


def _held_out(options: Options, train: _Part, among: Sequence[int]) -> set[int]:
    """Return the places that val takes of every class of train, which depend on nothing but the class and `val`."""
    by_class: dict[str, list[int]] = defaultdict(list)
    for place in among:
        by_class[train.shown[place]].append(place)
    held: set[int] = set()
    val = SHARE if options.val is None else options.val
    for name, places in by_class.items():
        count = val if isinstance(val, int) else max(1, round(val * len(places)))
        if count >= len(places):
            raise UserError(
                f"class {name!r} of torchvision's {options.dataset} has {len(places)} training images, of which val "
                f"takes {count}, so that none is left to learn from"
            )
        held |= set(sorted(places, key=lambda place: derive("val", _name("train", place)))[:count])
    return held


def _name(part: str, place: int) -> str:
    return f"{part}/{place:06d}"


@functools.cache
def _part(dataset: str, root: str, part: str, download: bool) -> _Part:
    """Read a part once in a process, as several tasks may be of one data set."""
    data = _constructed(dataset, root, part, download)
    images, labels = _in_files(data) or _written(dataset, part, data)
    named = tuple(class_names(data, f"torchvision's {dataset}") or map(str, range(max(labels, default=-1) + 1)))
    return _Part(named, tuple(named[label] for label in labels), images)


def _constructed(dataset: str, root: str, part: str, download: bool) -> Any:
    build, options = _known()[dataset], _parts(dataset)[part]
    if download and "download" not in _takes(build):
        raise UserError(f"torchvision does not download {dataset}: put it into {root} by hand")
    try:
        return build(root=root, **options, **({"download": True} if download else {}))
    except Exception as error:  # each data set raises its own
        hint = "" if download else f"; {_how_to_get(dataset, root, options)}"
        raise UserError(f"torchvision cannot read {dataset} from {root}: {describe_error(error)}{hint}") from error


def _how_to_get(dataset: str, root: str, options: Mapping[str, Any]) -> str:
    if "download" not in _takes(_known()[dataset]):
        return "torchvision does not download it"
    arguments = "".join(f", {name}={value!r}" for name, value in options.items())
    command = f"from torchvision.datasets import {dataset}; {dataset}({root!r}{arguments}, download=True)"
    return f'`download: true` in the data of the task fetches it, or python -c "{command}"'


def _in_files(data: Any) -> tuple[tuple[Path, ...], tuple[int, ...]] | None:
    """Return the image files and labels of a data set that reads files, without reading them.

    torchvision says so in attributes of its own alone; where it has none, the images are written out.
    """
    pairs: Sequence[Any] = getattr(data, "samples", None) or getattr(data, "_samples", None) or ()
    for name in ("_image_files", "_images"):
        pairs = pairs or list(zip(getattr(data, name, ()), getattr(data, "_labels", ()), strict=False))
    if not pairs or len(pairs) != len(data):
        return None
    if not all(isinstance(path, str | Path) and _is_label(label) for path, label in pairs):
        return None
    return tuple(Path(path) for path, _ in pairs), tuple(int(label) for _, label in pairs)


def _written(dataset: str, part: str, data: Any) -> tuple[tuple[Path, ...], tuple[int, ...]]:
    """Return the files and labels of a data set that keeps its images elsewhere; what is not there is written first.

    The files are PPM: PNG would have other bytes, and with them stages other keys, with another library behind PIL.
    """
    labels, content = [], hashlib.sha256()
    for image, label in _items(dataset, part, data):
        labels.append(label)
        content.update(f"{image.mode} {image.size}".encode())
        content.update(image.tobytes())
    folder = cache_root() / "torchvision" / f"{dataset}-{part}-{content.hexdigest()[:16]}"
    if not folder.is_dir():
        with whole_folder(folder, shared=True) as made:
            for place, (image, _) in enumerate(_items(dataset, part, data)):
                image.save(made / f"{place:06d}.ppm")
    return tuple(folder / f"{place:06d}.ppm" for place in range(len(labels))), tuple(labels)


def _items(dataset: str, part: str, data: Any) -> Iterator[tuple[Image.Image, int]]:
    for place in range(len(data)):
        image, label = data[place][:2]
        if not isinstance(image, Image.Image) or not _is_label(label):
            raise UserError(
                f"torchvision's {dataset} is not of images with one class each: {_name(part, place)} is of "
                f"{type(image).__name__} and {type(label).__name__}"
            )
        yield image if image.mode == "L" else image.convert("RGB"), int(label)


def _is_label(label: Any) -> bool:
    return isinstance(label, int | np.integer) and int(label) >= 0
