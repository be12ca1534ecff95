"""What is done with the boxes of a COCO file: kept, clipped, dropped and counted, or refused as something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cl_bench.data.base import Boxes
from cl_bench.errors import UserError

ROUNDING = 1.0
"""Pixels that rounding may push a box out of its image, or a declared size off the true one."""
FEW, SHARE = 3, 0.25
"""So many boxes, and such a share of all, that leave their images are no slips: they are not in its pixels."""


@dataclass
class Labelled:
    """An image and what was found of its boxes; width, height: true ones, in pixels."""

    name: str
    path: Path
    width: int
    height: int
    rows: list[tuple[tuple[float, float, float, float], int, bool]] = field(default_factory=list)

    def boxes(self) -> Boxes:
        """Return what was kept."""
        return Boxes(
            np.array([box for box, _, _ in self.rows], np.float32).reshape(-1, 4),
            np.array([label for _, label, _ in self.rows], np.int64),
            np.array([crowd for _, _, crowd in self.rows], np.bool_),
        )


@dataclass
class Tally:
    """What was done with the boxes of one file; farthest: pixels by which one left its image."""

    file: Path
    seen: int = 0
    clipped: int = 0
    cut: int = 0
    farthest: float = 0.0
    empty: int = 0
    outside: int = 0
    orphans: int = 0
    others: int = 0
    first_far: str = ""
    all_corners: bool = True
    """Whether every box would lie in its image if it were left, top, right, bottom."""
    all_shares: bool = True
    """Whether no number of a box is over 1."""

    def add(self, image: Labelled, bbox: Any, label: int, crowd: bool, where: str) -> None:
        """Give `image` a box of left, top, width, height; raise UserError for one that is none."""
        # the comparison is false for NaN, and takes integers that no float can hold
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(v) and abs(v) < 1e7 for v in bbox):
            raise UserError(f"{where}: bbox {bbox} is not four finite numbers")
        left, top, width, height = map(float, bbox)
        if width < 0 or height < 0:
            raise UserError(f"{where}: bbox {bbox} has a negative width or height")
        self.seen += 1
        self.all_shares &= max(map(abs, (left, top, width, height))) <= 1 < min(image.width, image.height)
        self.all_corners &= 0 <= left < width <= image.width and 0 <= top < height <= image.height
        overhang = max(-left, -top, left + width - image.width, top + height - image.height)
        box = (max(left, 0.0), max(top, 0.0), min(left + width, image.width), min(top + height, image.height))
        if overhang > ROUNDING:
            self.farthest = max(self.farthest, overhang)
            self.first_far = self.first_far or f"{where}: bbox {bbox}, {image.width} x {image.height} pixels"
        x1, y1, x2, y2 = np.array(box, np.float32)
        if x1 < x2 and y1 < y2:
            self.clipped += 1e-6 < overhang <= ROUNDING
            self.cut += overhang > ROUNDING
            image.rows.append((box, label, crowd))
        elif overhang > 1e-6 and width and height:
            self.outside += 1
        else:
            self.empty += 1

    def check(self) -> None:
        """Raise UserError where the boxes of the file are, as a whole, not what they should be."""
        if self.seen and self.all_shares:
            raise UserError(
                f"{self.file}: no number of any bbox is over 1, as if they were shares of the image; a bbox is left, "
                "top, width, height in pixels"
            )
        far = self.cut + self.outside
        if far >= FEW and far > SHARE * self.seen:
            corners = ", and all would as corners: a bbox is left, top, width, height" if self.all_corners else ""
            raise UserError(
                f"{self.file}: {far} of {self.seen} boxes do not lie in their images{corners} ({self.first_far})"
            )

    def notes(self) -> Iterator[str]:
        """Yield a sentence for everything that was done."""
        if self.others:
            yield f"{self.others} annotations of other categories are left out"
        dropped = {"without area": self.empty, "outside their images": self.outside}
        dropped["of images that the file does not list"] = self.orphans
        if count := sum(dropped.values()):
            why = ", ".join(f"{number} {what}" for what, number in dropped.items() if number)
            yield f"{count} annotations are dropped: {why}"
        if self.clipped:
            yield f"{self.clipped} boxes reached up to a pixel out of their images and are clipped"
        if self.cut:
            yield f"{self.cut} boxes reached up to {self.farthest:.1f} pixels out of their images and are clipped"
        if self.cut + self.outside and self.all_corners:
            yield f"every bbox would lie in its image as corners: is it left, top, width, height? ({self.first_far})"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
