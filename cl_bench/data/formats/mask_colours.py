"""Masks whose classes are colours or grey values, turned into masks of class indices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageOps

from cl_bench.data.base import VOID
from cl_bench.data.cache import file_hashes
from cl_bench.data.images import refuse_lossy
from cl_bench.data.layouts import SHOWN, refuse
from cl_bench.data.modes import SIXTEEN
from cl_bench.data.readings import TURNED, readings
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.utils.files import replacing
from cl_bench.utils.paths import cache_root

VOID_NAME = "void"
"""The entry of `colours` that counts for nothing."""

BINARY = {"colours": {"background": 0, "foreground": 255}}
"""What the data of a task says of masks of one class that hold 0 and 255."""

DEPTHS = (*SIXTEEN, "I", "F")
"""Modes of PIL that hold more than 8 bits a pixel, which a conversion to RGB would clip."""

LOOKED_AT = 50
"""Masks by which it is told whether they hold indices, or 0 and 255 alone."""

CURE = "`colours:` must name each, such as {background: 0, cat: '#ff0000', void: [[0, 0, 0], [9, 9, 9]]}"


@dataclass(frozen=True)
class Colours:
    """What stands for each class: grey values or palette indices (0..255), or colours as 0xRRGGBB.

    table: class name, or "void", -> its values; grey: which of both they are.
    """

    table: Mapping[str, tuple[int, ...]]
    grey: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """The names in order, without void."""
        return tuple(name for name in self.table if name != VOID_NAME)

    def converted(self, masks: Iterable[Path], classes: tuple[str, ...]) -> list[Path]:
        """Return masks of indices into `classes` in place of `masks`, from the cache; classes not asked for are void.

        Raises UserError for a class that has no colour, and, naming them all, for masks with values that no class has.
        """
        for name in classes:
            if name not in self.classes:
                raise unknown_name_error("class for the `colours` of the data", name, self.classes)
        paths, result, problems = list(masks), [], []
        index = {name: classes.index(name) if name in classes else VOID for name in self.table}
        by_value = {value: index[name] for name, values in self.table.items() for value in values}
        identity = hashlib.sha256(json.dumps([self.grey, sorted(by_value.items())]).encode()).hexdigest()[:16]
        hashes = file_hashes(paths)
        for path, digest, how in zip(paths, hashes, readings(paths, hashes), strict=True):
            # The name alone says it: other bytes would be other data to the stages that were trained on them.
            turned = TURNED if how.orientation != 1 else ""
            place = cache_root() / "masks" / identity / f"{digest}{turned}.png"
            result.append(place)
            if not place.is_file() and (problem := self._convert(path, by_value, place)):
                problems.append(problem)
        refuse(problems, CURE)
        return result

    def _convert(self, path: Path, by_value: Mapping[int, int], place: Path) -> str:
        """Write one mask; return what is wrong with it."""
        pixels = mask_values(path, self.grey)
        if pixels is None:
            return f"mask {path} is not grey, though `colours` are numbers"
        values, inverse = np.unique(pixels, return_inverse=True)
        unknown = [value for value in values.tolist() if value not in by_value]
        if unknown:
            shown = ", ".join(str(value) if self.grey else f"#{value:06x}" for value in unknown[:SHOWN])
            return f"mask {path} holds {shown}{' and more' if len(unknown) > SHOWN else ''}, which no class has"
        indices = np.array([by_value[value] for value in values.tolist()], np.uint8)[inverse].reshape(pixels.shape)
        with replacing(place) as file:
            Image.fromarray(indices).save(file, "PNG")
        return ""


def mask_values(path: Path, grey: bool) -> npt.NDArray[np.int64] | None:
    """Return a mask's pixels, (height, width): 0xRRGGBB, or its indices or grey values; None where it is not grey."""
    try:
        with Image.open(path) as file:
            refuse_lossy(file, path)
            image = ImageOps.exif_transpose(file)  # as masks that need no conversion are read
            if grey and image.mode in ("P", "L"):
                return np.asarray(image).astype(np.int64)
            if image.mode in DEPTHS:
                return _shallow(path, image)
            pixels = np.asarray(image.convert("RGB")).astype(np.int64)
    except UserError:
        raise
    except Exception as error:  # on a broken file PIL's decoders raise whatever they stumble over
        raise UserError(f"mask {path} cannot be decoded: {' '.join(str(error).split())}") from error
    if not grey:
        return pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    return pixels[..., 0] if (pixels == pixels[..., :1]).all() else None


def _shallow(path: Path, image: Image.Image) -> npt.NDArray[np.int64]:
    """Return the values of a mask of 16 or 32 bits; raise UserError where 8 bits, as indices have, hold them not."""
    pixels = np.asarray(image)
    beyond = pixels[(pixels < 0) | (pixels > VOID) | (pixels != np.floor(pixels))]
    if beyond.size:
        raise UserError(
            f"mask {path} is of 16 or 32 bits and holds {beyond[0]}: classes are told by whole numbers of 0..{VOID} "
            "or by colours; save it with 8 bits"
        )
    return pixels.astype(np.int64)


def are_binary(masks: Iterable[Path]) -> bool:
    """Return whether masks hold 0 and 255 alone, and 255 somewhere, by `LOOKED_AT` of them, evenly spread."""
    paths = list(masks)
    places = np.linspace(0, len(paths) - 1, min(LOOKED_AT, len(paths))).round().astype(int)
    found = set[int]()
    for place in places.tolist():
        pixels = mask_values(paths[place], grey=True)
        if pixels is None or not (values := set(np.unique(pixels).tolist())) <= {0, VOID}:
            return False
        found |= values
    return VOID in found


def parse(value: Any) -> Colours:
    """Return the table that `colours:` gives; raise UserError for one that is none."""
    if not isinstance(value, Mapping) or not value:
        raise UserError(f"`colours` in the data must be a table of classes, not {value!r}; {CURE}")
    table = {str(name): tuple(_entry(str(name), one)) for name, one in value.items()}
    every = [colour for values in table.values() for colour in values]
    if len({isinstance(colour, int) for colour in every}) > 1:
        raise UserError("`colours` in the data are either all numbers or all colours")
    numbers = {name: tuple(_number(one) for one in values) for name, values in table.items()}
    owners: dict[int, str] = {}
    for name, values in numbers.items():
        for one in values:
            if owners.setdefault(one, name) != name:
                raise UserError(f"`colours` in the data: {owners[one]} and {name} have the same")
    return Colours(numbers, isinstance(every[0], int))


def _entry(name: str, value: Any) -> list[int | tuple[int, int, int]]:
    """Return the colours of one class: one, or a list of them."""
    single = not isinstance(value, list) or (len(value) == 3 and all(type(one) is int for one in value))
    found = [_colour(one) for one in ([value] if single else value)]
    if not found or None in found:
        raise UserError(f"`colours` in the data: {name} has {value!r}, which is no colour; {CURE}")
    return [one for one in found if one is not None]


def _colour(value: Any) -> int | tuple[int, int, int] | None:
    if type(value) is int:
        return value if 0 <= value <= 255 else None
    if isinstance(value, list) and len(value) == 3 and all(type(one) is int and 0 <= one <= 255 for one in value):
        return value[0], value[1], value[2]
    try:
        return ImageColor.getrgb(value)[:3] if isinstance(value, str) else None
    except ValueError:
        return None


def _number(value: int | tuple[int, int, int]) -> int:
    return value if isinstance(value, int) else value[0] << 16 | value[1] << 8 | value[2]
