"""Handwritten digits made large, turned and laid out on a square so that none touches another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from cl_bench.data.embedded import samples

RIM = 2
"""Pixels around each digit that are its own; so digits lie two rims apart or more."""
Floats = npt.NDArray[np.float32]


def arrange(
    rng: np.random.Generator, digits: list[int], size: int, scale: tuple[float, float]
) -> list[tuple[tuple[slice, slice], Floats]]:
    """Return where each digit lies (rows, columns; all inside the image, none overlapping) and its opacity.

    digits: indices into `samples.digits()`; size: of the image, in pixels; scale: least and greatest height of a digit
    as a share of it. Digits that do not fit together are made smaller.
    """
    bitmaps = [(samples.digits()[0][digit] / 16).astype(np.float32) for digit in digits]
    heights, angles = rng.uniform(*scale, len(digits)) * size, rng.uniform(-15, 15, len(digits))
    while True:
        glyphs = [_glyph(bitmap, *how) for bitmap, *how in zip(bitmaps, heights, angles, strict=True)]
        rooms = [size - np.array(glyph.shape) for glyph in glyphs]
        for _ in range(20 if min(map(np.min, rooms)) >= 0 else 0):
            corners = [rng.integers(0, room, endpoint=True).tolist() for room in rooms]
            places = [np.s_[y : y + a.shape[0], x : x + a.shape[1]] for (y, x), a in zip(corners, glyphs, strict=True)]
            taken = np.zeros((size, size), np.uint8)
            for place in places:
                taken[place] += 1
            if taken.max() == 1:
                return list(zip(places, glyphs, strict=True))
        heights = heights * 0.9


def _glyph(bitmap: Floats, height: float, angle: float) -> Floats:
    """Return the opacity (0..1) of a digit about `height` pixels high; what is >= 0.5 ends one rim from each edge."""
    level = 0.45
    large = Image.fromarray(np.pad(bitmap, 5)).resize((216, 216), Image.Resampling.BICUBIC)
    large = large.rotate(angle, Image.Resampling.BICUBIC)
    left, top, right, bottom = _bounds(np.asarray(large) >= level)
    step = (bottom - top) / height  # pixels of the large picture to one of the glyph
    margin = 2 * RIM * step + 5  # edges move a little with the scale
    box = (left - margin, top - margin, right + margin, bottom + margin)
    shape = round((box[2] - box[0]) / step), round((box[3] - box[1]) / step)
    values = np.asarray(large.resize(shape, Image.Resampling.BICUBIC, box=box))
    opacity = np.clip((values - level) / 0.3 + 0.5, 0, 1).astype(np.float32)
    left, top, right, bottom = _bounds(opacity >= 0.5)
    return opacity[top - RIM : bottom + RIM, left - RIM : right + RIM]


def _bounds(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
