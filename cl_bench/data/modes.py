"""Image modes brought to 8-bit RGB on purpose: deep greys, transparency, inks; what has no range is refused."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

DEEP = 2**16 - 1
"""The largest value of a 16-bit grey, which becomes white."""

SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


def as_rgb(image: Image.Image) -> Image.Image:
    """Return `image` as RGB of 8 bits.

    16-bit greys are scaled by their type's range, 0..65535, so that images stay comparable with each other; what is
    transparent is laid on white, as viewers show it. Raises ValueError for 32-bit values, whose range nothing tells.
    """
    if (deep := deep_values(image)) is not None:
        return Image.fromarray(((deep * 255 + DEEP // 2) // DEEP).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its pixels are 32-bit values (mode {image.mode}), which have no range to be scaled from: "
            "save it with 8 or 16 bits"
        )
    if is_transparent(image):
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def deep_values(image: Image.Image) -> npt.NDArray[np.int64] | None:
    """Return the values of a 16-bit grey, (height, width) in 0..65535; None for any other image."""
    # PNG and PGM hold no more than 16 bits; older versions of PIL open them in the 32-bit mode
    if image.mode in SIXTEEN or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return np.asarray(image).astype(np.int64)
    return None


def is_transparent(image: Image.Image) -> bool:
    """Return whether a pixel of `image` is not opaque."""
    if image.mode not in ALPHA and "transparency" not in image.info:
        return False
    alpha: tuple[int, int] = image.convert("RGBA").getchannel("A").getextrema()  # type: ignore[assignment]
    return alpha[0] < 255
