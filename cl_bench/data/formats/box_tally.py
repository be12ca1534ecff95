"""One rule for boxes in any format: kept, clipped, dropped and counted, or refused as something else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cl_bench.data.formats.box_rows import ROUNDING, Labelled
from cl_bench.data.layouts import refuse
from cl_bench.errors import UserError

FEW, SHARE = 3, 0.25
"""From this many boxes that leave their images, and this share of all, they are refused: their unit is another."""


@dataclass
class Tally:
    """What was done with the boxes of one split; farthest: pixels by which one left its image.

    file: what lists them, a file or what it is called; box_format: how the format gives a box, in words; seen: all that
    are finite and of no negative size; problems: what cannot be a box.
    """

    file: Path | str
    box_format: str
    seen: int = 0
    clipped: int = 0
    """Boxes that reached out of their image by `ROUNDING` at most."""
    cut: int = 0
    """Boxes that reached out farther, and are clipped as well."""
    farthest: float = 0.0
    empty: int = 0
    """Boxes without area."""
    outside: int = 0
    """Boxes that lie wholly outside their image."""
    orphans: int = 0
    """Boxes of images that the file does not list."""
    twice: int = 0
    """Boxes that their image has already, of the same class."""
    others: int = 0
    """Boxes of classes that are not asked for."""
    first_empty: str = ""
    """The file and row of the first box without area."""
    first_far: str = ""
    all_corners: bool = True
    """Whether every box would lie in its image if its numbers were left, top, right, bottom."""
    all_normalised: bool = True
    """Whether no number of a box is over 1, though they should be pixels."""
    problems: list[str] = field(default_factory=list)

    def add(
        self,
        image: Labelled,
        xyxy: Sequence[float],
        label: int,
        crowd: bool,
        where: str,
        *,
        corners: bool = False,
        normalised: bool = False,
    ) -> None:
        """Give `image` a box, in pixels; what cannot be one goes to `problems`.

        where: names the file and the row; corners, normalised: whether its numbers could be meant so, as above.
        """
        if not all(abs(value) < 1e7 for value in xyxy):  # false for NaN, too
            self.problems.append(f"{where} is not of finite numbers")
            return
        left, top, right, bottom = xyxy
        if right < left or bottom < top:
            self.problems.append(f"{where} has a negative width or height")
            return
        self.seen += 1
        self.all_corners &= corners
        self.all_normalised &= normalised or left == right or top == bottom
        overhang = max(-left, -top, right - image.width, bottom - image.height)
        if overhang > ROUNDING:
            self.farthest = max(self.farthest, overhang)
            self.first_far = self.first_far or f"{where}, {image.width} x {image.height} pixels"
        box = (max(left, 0.0), max(top, 0.0), min(right, image.width), min(bottom, image.height))
        x1, y1, x2, y2 = np.array(box, np.float32)
        if not (x1 < x2 and y1 < y2):
            beyond = overhang > 1e-6 and left < right and top < bottom
            self.outside += beyond
            self.empty += not beyond
            self.first_empty = self.first_empty or ("" if beyond else where)
        elif image.holds((*xyxy, label, crowd)):
            self.twice += 1
        else:
            self.clipped += 1e-6 < overhang <= ROUNDING
            self.cut += overhang > ROUNDING
            image.rows.append((box, label, crowd))

    def check(self) -> None:
        """Raise UserError with all problems, or where the boxes are, as a whole, not what they should be."""
        refuse(self.problems, self.box_format)
        if self.seen and self.empty == self.seen:
            raise UserError(
                f"{self.file}: none of its {self.seen} boxes has an area ({self.first_empty}); {self.box_format}"
            )
        if self.seen and self.all_normalised:
            raise UserError(f"{self.file}: no number of any box is over 1, as if they were shares; {self.box_format}")
        far = self.cut + self.outside
        if far >= FEW and far > SHARE * self.seen:
            corners = ", and all would as corners" if self.all_corners else ""
            raise UserError(
                f"{self.file}: {far} of {self.seen} boxes do not lie in their images{corners} ({self.first_far}); "
                f"{self.box_format}"
            )

    def notes(self) -> Iterator[str]:
        """Yield a sentence for everything that was done."""
        if self.others:
            yield f"{self.others} boxes of other classes are left out"
        dropped = {"without area": self.empty, "outside their images": self.outside}
        dropped["of images that the file does not list"] = self.orphans
        if count := sum(dropped.values()):
            why = ", ".join(f"{number} {what}" for what, number in dropped.items() if number)
            yield f"{count} boxes are dropped: {why}"
        if self.clipped:
            yield f"{self.clipped} boxes reached up to a pixel out of their images and are clipped"
        if self.cut:
            yield f"{self.cut} boxes reached up to {self.farthest:.1f} pixels out of their images and are clipped"
        if self.cut + self.outside and self.all_corners:
            yield f"every box would lie in its image as corners, but {self.box_format} ({self.first_far})"
        if self.twice:
            yield f"{self.twice} boxes stand twice, with the same class and numbers, and count once"
