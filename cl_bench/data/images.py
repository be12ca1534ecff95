"""Images and masks decoded with PIL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from cl_bench.errors import UserError


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
