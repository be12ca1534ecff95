"""Images and masks decoded with PIL, upright as their EXIF orientation says: the one place where pixels are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from cl_bench.data.modes import as_rgb, deep_values, is_transparent
from cl_bench.errors import UserError

ORIENTATION = 0x0112
"""The EXIF tag."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings the stored pixels of each orientation upright; 1 is upright."""
SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True)
class Reading:
    """A file's orientation, and its mode if not plain: "deep" (with its largest value), "transparent", "CMYK"."""

    orientation: int = 1
    mode: str = ""
    largest: int = 0


def reading(path: Path) -> Reading:
    """Return how the pixels of an image or a mask are read; raise UserError as `open_image` does."""
    with _opened(path) as image:
        turn = _orientation(image)
        if (deep := deep_values(image)) is not None:
            return Reading(turn, "deep", int(deep.max()))
        if image.mode == "CMYK":
            return Reading(turn, "CMYK")
        return Reading(turn, "transparent" if is_transparent(image) else "")


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of the upright image, without decoding it where its format allows."""
    try:
        state = path.stat()
    except OSError as error:
        raise UserError(f"image {path} cannot be read: {error.strerror}") from error
    return _size(path, state.st_mtime_ns, state.st_size)


@cache
def _size(path: Path, changed: int, length: int) -> tuple[int, int]:
    with _opened(path) as image:
        sideways = _orientation(image) in SIDEWAYS
        width, height = image.size
        return (height, width) if sideways else (width, height)


def open_image(path: Path) -> Image.Image:
    """Return the image as RGB, upright, in its own size; raise UserError naming a file that cannot be decoded."""
    with _opened(path) as image:
        return _upright(as_rgb(image), _orientation(image))


def decode_image(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """Return the image squashed to a square, (size, size, 3) uint8, by PIL's antialiased bilinear filter."""
    with _opened(path) as image:
        upright = _upright(as_rgb(image), _orientation(image))
        return np.asarray(upright.resize((size, size), Image.Resampling.BILINEAR))


def refuse_lossy(mask: Image.Image, path: Path) -> None:
    """Raise UserError for a mask that is a JPEG, in which noise would be classes."""
    if mask.format in ("JPEG", "MPO"):
        raise UserError(f"mask {path} is a JPEG, whose compression makes other values of some: masks must be PNG")


def decode_mask(path: Path, size: int | None) -> npt.NDArray[np.uint8]:
    """Return the indices of a mask, (size, size) or, where `size` is None, (height, width) uint8.

    Resized by nearest neighbour. Raises UserError for a file that holds no indices: only palette (mode P) and 8-bit
    grey (mode L) do.
    """
    with _opened(path) as image:
        refuse_lossy(image, path)
        # PIL stretches the values of a grey PNG of 2 or 4 bits over 0..255, so they are indices no more
        stretched = image.format == "PNG" and image.mode == "L" and image.tile[0][3] != "L"
        if image.mode not in ("P", "L") or stretched:
            depth = " of fewer than 8 bits" if stretched else ""
            raise UserError(f"mask {path} must hold indices (mode P, or L of 8 bits); its mode is {image.mode}{depth}")
        upright = _upright(image, _orientation(image))
        if size is None:
            return np.asarray(upright)
        return np.asarray(upright.resize((size, size), Image.Resampling.NEAREST))


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        image.load()  # PIL itself turns these, and forgets that they were not upright
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # torn EXIF makes PIL raise whatever it stumbles over, and spoils no pixel
        return 1
    return found if isinstance(found, int) and found in TURNS else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


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
