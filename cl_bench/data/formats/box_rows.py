"""The boxes of one image as any format lists them, and what a label file declares of the image, held against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cl_bench.data.base import Boxes
from cl_bench.data.images import reading

ROUNDING = 1.0
"""Pixels that rounding may push a box out of its image, or a declared size off the true one."""

SIZE_CURE = "bring boxes and sizes to the file's, or take the file that was labelled"


@dataclass
class Labelled:
    """An image and what was found of its boxes; width, height: of the upright image, in pixels."""

    name: str
    path: Path
    width: int
    height: int
    rows: list[tuple[tuple[float, ...], int, bool]] = field(default_factory=list)
    seen: set[tuple[float, ...]] = field(default_factory=set)
    """What rows were given, as they were, each once."""

    def holds(self, row: tuple[float, ...]) -> bool:
        """Return whether `row` was given before, and keep it."""
        known = row in self.seen
        self.seen.add(row)
        return known

    def boxes(self) -> Boxes:
        """Return what was kept."""
        return Boxes(
            np.array([box for box, _, _ in self.rows], np.float32).reshape(-1, 4),
            np.array([label for _, label, _ in self.rows], np.int64),
            np.array([crowd for _, _, crowd in self.rows], np.bool_),
        )

    def misfit(self, declared: tuple[int, int], where: str) -> str:
        """Return what is wrong where boxes in pixels of the declared size would not fit the picture, else ""."""
        if min(declared) < 1:
            return f"{where} ({self.path.name}) has a size of {declared[0]} x {declared[1]} pixels"
        true = self.width, self.height
        if max(abs(one - other) for one, other in zip(declared, true, strict=True)) <= ROUNDING:
            return ""
        turn = reading(self.path).orientation
        seen = f" upright, as its EXIF orientation {turn} has it" if turn != 1 else ""
        return (
            f"{where} is declared as {declared[0]} x {declared[1]} pixels, but {self.path} has {true[0]} x "
            f"{true[1]}{seen}"
        )


def image_notes(images: Sequence[Labelled], crowds: str = "") -> Iterator[str]:
    """Yield what a reader has to say of what it kept; crowds: what the format calls its crowds, if any."""
    if count := sum(crowd for image in images for *_, crowd in image.rows):
        yield f"{count} boxes are {crowds}, which count as neither hit nor miss"
    if count := sum(not image.rows for image in images):
        yield f"{count} images hold no box"
