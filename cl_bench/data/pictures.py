"""Images in memory, as PIL, NumPy and torch have them, brought to one form."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from cl_bench.data.modes import as_rgb
from cl_bench.errors import UserError

TAKES = "a PIL image, an array (H, W, 3) or (H, W) or a tensor (3, H, W) or (1, H, W)"


def as_picture(image: Any, what: str = "the image") -> Image.Image:
    """Return `image` as RGB, or as 8-bit grey where it is one, in its own size; nothing is turned.

    image: a PIL image, an array (H, W, 3) or (H, W), or a tensor (3, H, W) or (1, H, W); uint8, or floats in 0..1.
    Raises UserError, in which it is called `what`, for anything else.
    """
    if isinstance(image, Image.Image):
        try:
            return image if image.mode == "L" else as_rgb(image)
        except ValueError as error:
            raise UserError(f"{what} cannot be read: {error}") from error
    pixels = as_array(image)
    if hasattr(image, "detach") and pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or 0 in pixels.shape:
        raise UserError(f"{what} is {_form(image, pixels)}; it takes {TAKES}")
    return Image.fromarray(_bytes(pixels, what))


def as_array(values: Any) -> np.ndarray[Any, Any]:
    """Return an array, or a tensor of any device, as an array."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _bytes(pixels: np.ndarray[Any, Any], what: str) -> np.ndarray[Any, Any]:
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise UserError(f"{what} holds {pixels.dtype}; pixels are uint8, or floats in 0..1")
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise UserError(
            f"{what} holds {pixels.min():.3g} to {pixels.max():.3g}, and floats must be in 0..1: "
            "leave Normalize out, which the model does itself"
        )
    return np.ascontiguousarray((pixels * 255).round().astype(np.uint8))


def _form(image: Any, pixels: np.ndarray[Any, Any]) -> str:
    return f"of shape {pixels.shape}" if pixels.ndim else f"{type(image).__name__}"
