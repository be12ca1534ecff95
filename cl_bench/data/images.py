"""What the readers share: folders, names and classes, and images and masks decoded with PIL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from cl_bench.data.base import DataFormat, Example
from cl_bench.errors import UserError, unknown
from cl_bench.paths import expand

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
"""Endings of image files, in lower case."""


def data_folder(reader: DataFormat, options: Mapping[str, Any], kind: str) -> Path:
    """Return the folder that `options["path"]` names; raise UserError for other keys or kinds, or a missing folder."""
    if kind not in reader.kinds:
        raise UserError(f"format {reader.name} holds data for {', '.join(reader.kinds)}, not for {kind}")
    for key in options:
        if key != "path":
            raise unknown(f"key in the data of format {reader.name}", key, ["path"])
    path = options.get("path")
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise UserError(f"data of format {reader.name} needs a 'path', the folder that holds it, not {path!r}")
    folder = expand(os.fspath(path))
    if not folder.is_dir():
        raise missing(folder, options)
    return folder


def missing(place: Path | str, options: Mapping[str, Any]) -> UserError:
    """Return the error for data that is not at `place`; it says where the benchmark's own data sets come from."""
    own = "${CL_BENCH_DATA}" in str(options["path"])
    hint = "; run `cl-bench data prepare`, or set CL_BENCH_DATA to the folder of the data sets" if own else ""
    return UserError(f"{place} does not exist{hint}")


def visible(folder: Path) -> list[Path]:
    """Return what `folder` holds, sorted, without hidden files."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def chosen(classes: tuple[str, ...] | None, default: Callable[[], Iterable[str]]) -> tuple[str, ...]:
    """Return the classes asked for, else the data set's own; raise UserError for none or for one named twice."""
    names = tuple(default()) if classes is None else classes
    if not names:
        raise UserError("a task needs at least one class")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"class {name!r} is listed twice")
    return names


def ordered(examples: Iterable[Example], where: Path) -> tuple[Example, ...]:
    """Return `examples` sorted by name; raise UserError where there are none or two share a name."""
    result = tuple(sorted(examples, key=lambda example: example.name))
    if not result:
        raise UserError(f"{where} holds no images")
    for left, right in pairwise(result):
        if left.name == right.name:
            raise UserError(f"{where} holds two images named {left.name!r}: {left.image.name} and {right.image.name}")
    return result


def open_image(path: Path) -> Image.Image:
    """Return the image as RGB in its own size; raise UserError naming a file that cannot be decoded."""
    with _opened(path) as image:
        return image.convert("RGB")


def decode_image(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """Return the image squashed to a square, (size, size, 3) uint8, by PIL's antialiased bilinear filter."""
    with _opened(path) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def decode_mask(path: Path, size: int | None) -> npt.NDArray[np.uint8]:
    """Return the indices of a mask, (size, size) or, where `size` is None, (height, width) uint8.

    Resized by nearest neighbour. Raises UserError for a file that holds no indices: only palette (mode P) and 8-bit
    grey (mode L) do.
    """
    with _opened(path) as image:
        # PIL stretches the values of a grey PNG of 2 or 4 bits over 0..255, so they are indices no more
        stretched = image.format == "PNG" and image.mode == "L" and image.tile[0][3] != "L"
        if image.mode not in ("P", "L") or stretched:
            depth = " of fewer than 8 bits" if stretched else ""
            raise UserError(f"mask {path} must hold indices (mode P, or L of 8 bits); its mode is {image.mode}{depth}")
        if size is None:
            return np.asarray(image)
        return np.asarray(image.resize((size, size), Image.Resampling.NEAREST))


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    try:
        with Image.open(path) as image:
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise UserError(f"image {path} has {image.width} x {image.height} pixels, more than PIL deems safe")
            yield image
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"image {path} does not exist") from error
    except Exception as error:  # on a broken file PIL's decoders raise whatever they stumble over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"image {path} cannot be decoded: {reason}") from error
