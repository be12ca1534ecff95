"""What the readers share: options, paths, names and classes."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cl_bench.data.base import DataFormat, Example
from cl_bench.data.layouts import refuse
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.utils.paths import expand

M = TypeVar("M", bound=BaseModel)
"""The options of a format."""
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Endings of image files, in lower case."""


def data_folder(reader: DataFormat, options: Mapping[str, Any], kind: str, more: Iterable[str] = ()) -> Path:
    """Return the folder that `options["path"]` names; raise UserError for other keys or kinds, or a missing folder.

    more: keys that the reader knows beside `path`.
    """
    if kind not in reader.kinds:
        raise UserError(f"format {reader.name} holds data for {', '.join(reader.kinds)}, not for {kind}")
    for key in options:
        if key not in (known := ("path", *more)):
            raise unknown_name_error(f"key in the data of format {reader.name}", key, known)
    path = options.get("path")
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise UserError(f"data of format {reader.name} needs a 'path', the folder that holds it, not {path!r}")
    folder = expand(os.fspath(path))
    if not folder.is_dir():
        raise missing(folder.absolute(), options)
    return folder


def missing(place: Path | str, options: Mapping[str, Any]) -> UserError:
    """Return the error for data that is not at `place`; it says where the benchmark's own data sets come from."""
    own = "${CL_BENCH_DATA}" in str(options["path"])
    hint = "; run `cl-bench data prepare`, or set CL_BENCH_DATA to the folder of the data sets" if own else ""
    return UserError(f"{place} does not exist{hint}")


def visible(folder: Path) -> list[Path]:
    """Return what `folder` holds, sorted, without hidden files."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def files_below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield the files in `folder` and in the folders in it, sorted, hidden ones left out.

    Links are followed, but for one to a folder above, which would never end.
    """
    here = folder.resolve()
    if here in above:
        return
    for path in visible(folder):
        if path.is_dir():
            yield from files_below(path, above | {here})
        else:
            yield path


def by_stem(files: Iterable[Path]) -> dict[str, Path]:
    """Return the images among `files` by name without ending; raise UserError, naming them, for two of one name."""
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    found = {path.stem: path for path in images}
    twice = [f"{found[path.stem]} and {path.name}" for path in images if found[path.stem] != path]
    refuse(twice, "two images of one name would share their labels: rename or remove one")
    return found


def chosen(classes: tuple[str, ...] | None, default: Callable[[], Iterable[str]]) -> tuple[str, ...]:
    """Return the classes asked for, else the data set's own; raise UserError for none or for one named twice."""
    names = tuple(default()) if classes is None else classes
    if not names:
        raise UserError("a task needs at least one class")
    known: dict[str, str] = {}
    counts = Counter(names)
    for name in names:
        if counts[name] > 1:
            raise UserError(f"class {name!r} is listed twice")
        if not name.strip() or len(name.splitlines()) > 1:
            raise UserError(f"class {name!r} has no name of one line, by which tables could show it")
        if (other := known.setdefault(name.strip(), name)) != name:
            raise UserError(f"classes {other!r} and {name!r} differ in blanks alone: give both labels one name")
    return names


def ordered(examples: Iterable[Example], where: Path) -> tuple[Example, ...]:
    """Return `examples` sorted by name; raise UserError where there are none or two share a name.

    Images that differ in the endings of their files alone have these in their names.
    """
    result = _told_apart(sorted(examples, key=lambda example: example.name))
    if not result:
        raise UserError(f"{where} holds no images")
    for left, right in pairwise(result):
        if left.name == right.name:
            raise UserError(f"{where} holds two images named {left.name!r}: {left.image.name} and {right.image.name}")
    return result


def _told_apart(examples: list[Example]) -> tuple[Example, ...]:
    endings: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        endings[example.name].add(example.image.suffix)
    named = [
        replace(one, name=f"{one.name}{one.image.suffix}") if len(endings[one.name]) > 1 else one for one in examples
    ]
    return tuple(sorted(named, key=lambda example: example.name))


def parse_options(name: str, model: type[M], options: Mapping[str, Any]) -> M:
    """Return the options of the data format `name`; raise UserError naming the key that is unknown or out of range."""
    for key in options:
        if key not in model.model_fields:
            raise unknown_name_error(f"option of data format {name}", str(key), model.model_fields)
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"data format {name}: {'.'.join(map(str, first['loc']))}: {reason}") from error
