"""The file that says where a YOLO data set has its images and how its classes are called."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from cl_bench.data.formats.reading import visible
from cl_bench.data.formats.texts import read_text, split_lines
from cl_bench.data.layouts import ALL, NAMES, called, part_folder, standing_for
from cl_bench.errors import UserError

FILES = ("data.yaml", "dataset.yaml", "data.yml")
"""How it is mostly called; another name counts where it is the only one of the folder."""


@dataclass(frozen=True)
class Config:
    """names: of the classes, by their number; places: the folders or lists of images of each split.

    keypoints: numbers of a row behind its box, of a pose data set.
    """

    file: Path
    names: tuple[str, ...]
    places: Mapping[str, tuple[Path, ...]]
    keypoints: int = 0


def find(root: Path, name: str | None = None) -> Config | None:
    """Return what data.yaml (`name`: another one), obj.data, or classes.txt beside images/ and labels/ says, else None.

    Raises UserError, naming the file and the key, for what is wrong with it.
    """
    if name is not None:
        return _read(root, root / name)
    if file := next((root / one for one in FILES if (root / one).is_file()), None):
        return _read(root, file)
    others = [one for one in visible(root) if one.suffix in (".yaml", ".yml") and "names" in _content(one)]
    if len(others) > 1:
        raise UserError(f"{root} has {', '.join(one.name for one in others)}: `file: NAME` names the one that counts")
    if others:
        return _read(root, others[0])
    return _of_darknet(root) or _of_list(root)


def _of_darknet(root: Path) -> Config | None:
    """Return what obj.data says."""
    file = root / "obj.data"
    if not file.is_file():
        return None
    halves = [line.partition("=") for line in split_lines(read_text(file))]
    content = {key.strip(): value.strip() for key, sign, value in halves if sign}
    at = partial(_resolved, file, root, "")
    names = with_or_without_data(content.get("names", ""), at)
    if not names.is_file():
        raise UserError(f"{file}: `names` must name the file of the classes, not {content.get('names')!r}")
    found = {split: content[name] for split, called in NAMES.items() for name in called if content.get(name)}
    places = {split: (with_or_without_data(value, at),) for split, value in found.items()}
    return Config(file, _lined(names), places)


def with_or_without_data(place: str, at: Callable[[str], Path]) -> Path:
    """Return where `place` is by `at`: CVAT puts data/ before paths, a folder that its own archives have not."""
    plain, within = at(place), at(place.removeprefix("data/"))
    return within if os.path.exists(within) and not os.path.exists(plain) else plain  # false for a name too long, too


def _of_list(root: Path) -> Config | None:
    """Return what is known of a folder that annotation tools write: classes.txt, images/ and labels/."""
    file = root / "classes.txt"
    if not (file.is_file() and (root / "labels").is_dir() and (root / "images").is_dir()):
        return None
    names = _lined(file)
    images = root / "images"
    places = {split: part_folder(images, split) for split in ("train", "val", "test")}
    there = {split: place for split, place in places.items() if place.is_dir()} or {ALL: images}
    return Config(file, names, {split: (place,) for split, place in there.items()})


def _lined(file: Path) -> tuple[str, ...]:
    """Return the classes that a text lists by their lines."""
    names = tuple(line.strip() for line in split_lines(read_text(file).rstrip()))
    if "" in names:
        raise UserError(
            f"{file} line {names.index('') + 1} names no class, though a class goes by the number of its line"
        )
    return names


def _read(root: Path, file: Path) -> Config:
    content = _content(file)
    names, places = _names(file, content.get("names")), {}
    if type(count := content.get("nc")) is int and count != len(names):
        raise UserError(f"{file}: `nc` is {count}, but `names` has {len(names)} classes: {', '.join(names)}")
    for split in NAMES:
        there = (name for name, value in content.items() if isinstance(name, str) and value)
        # A key in another spelling may be of something else.
        usable = (name for name in standing_for(split, there) if name in called(split) or _is_place(content[name]))
        value = next((content[name] for name in usable), None)
        if value is not None:
            base = str(content.get("path") or "")
            places[split] = tuple(_resolved(file, root, base, one) for one in _listed(file, split, value))
    if "val" in places and places["val"] == places.get("train"):
        del places["val"]  # tools write so what has no split
    if "test" in places and places["test"] in (places.get("train"), places.get("val")):
        del places["test"]
    return Config(file, names, places, _keypoints(file, content.get("kpt_shape")))


def _keypoints(file: Path, shape: Any) -> int:
    """Return how many numbers the keypoints of a row are, by `kpt_shape`: their count, and 2 or 3 numbers each."""
    if shape is None:
        return 0
    if not isinstance(shape, list) or [type(one) for one in shape] != [int, int] or shape[0] < 1 or shape[1] < 2:
        raise UserError(f"{file}: `kpt_shape` must be a count of keypoints and 2 or 3 numbers each, not {shape!r}")
    return int(shape[0] * shape[1])


def _content(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that there is not
        raise UserError(f"{file} is not readable YAML: {error}") from error
    return content if isinstance(content, dict) else {}


def _names(file: Path, value: Any) -> tuple[str, ...]:
    """Return the class names, given as a list or by number."""
    if isinstance(value, dict) and sorted(value, key=str) == sorted(range(len(value)), key=str):
        value = [value[number] for number in range(len(value))]
    if not isinstance(value, list) or not value or not all(type(name) in (str, int) for name in value):
        # YAML reads a bare yes or no as true or false
        raise UserError(f"{file}: `names` must list the classes, as texts, or number them from 0 on, not {value!r}")
    names = tuple(str(name) for name in value)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{file}: `names` has {', '.join(map(repr, twice))} more than once")
    return names


def _listed(file: Path, split: str, value: Any) -> Sequence[str]:
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in found):
        raise UserError(f"{file}: `{split}` must be a folder, a list of images or several of them, not {value!r}")
    return found


def _is_place(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _resolved(file: Path, root: Path, base: str, place: str) -> Path:
    """Return where `place` is: below `path`, or, as `path` is often of another machine, below the folder itself."""
    inside = place
    while inside.startswith("../"):
        inside = inside[3:]  # Roboflow writes ../train/images for what lies beside the file
    tried = (root / base / place, root / place, file.parent / place, root / inside)
    try:
        return next((one for one in tried if one.exists()), root / inside)
    except OSError as error:
        raise UserError(f"{file}: {place[:60]!r} names no folder and no list: {error.strerror}") from error
