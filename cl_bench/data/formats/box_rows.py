"""The boxes of one image as a text file lists them: clipped where they overhang a little, told of where much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from cl_bench.data.base import Boxes

MAX_OVERHANG = 1.0
"""Pixels that rounding may push a box out of its image; such boxes are clipped, others are errors."""


@dataclass
class BoxRows:
    """What is known of one image's boxes so far; width, height: of the upright image, in pixels."""

    width: int
    height: int
    rows: list[tuple[tuple[float, ...], int, bool]] = field(default_factory=list)
    clipped: int = 0

    def add(self, xyxy: Sequence[float], label: int, crowd: bool = False) -> str:
        """Add a box, in pixels, and return ""; return what is wrong with one that is not in the image."""
        if not all(abs(value) < 1e7 for value in xyxy):  # false for NaN, too
            return "is not of finite numbers"
        left, top, right, bottom = xyxy
        if left >= right or top >= bottom:
            return "has no area"
        overhang = max(-left, -top, right - self.width, bottom - self.height)
        box = (max(left, 0.0), max(top, 0.0), min(right, self.width), min(bottom, self.height))
        x1, y1, x2, y2 = np.array(box, np.float32)
        if overhang > MAX_OVERHANG or x1 >= x2 or y1 >= y2:
            return f"does not lie in the image of {self.width} x {self.height} pixels"
        self.clipped += overhang > 1e-6
        self.rows.append((box, label, crowd))
        return ""

    def boxes(self) -> Boxes:
        """Return what was added."""
        return Boxes(
            np.array([box for box, _, _ in self.rows], np.float32).reshape(-1, 4),
            np.array([label for _, label, _ in self.rows], np.int64),
            np.array([crowd for _, _, crowd in self.rows], np.bool_),
        )


def box_notes(images: Iterable[BoxRows], left_out: int) -> list[str]:
    """Return what a reader has to say of its boxes; left_out: of classes that were not asked for."""
    all_rows = list(images)
    counts = {
        "boxes of other classes are left out": left_out,
        "boxes reached up to a pixel out of their images and are clipped": sum(one.clipped for one in all_rows),
        "boxes are difficult, and count as neither hit nor miss": sum(row[2] for one in all_rows for row in one.rows),
        "images hold no box": sum(not one.rows for one in all_rows),
    }
    return [f"{count} {text}" for text, count in counts.items() if count]
