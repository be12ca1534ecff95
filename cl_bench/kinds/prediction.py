"""What a model says of one image, task by task, in the image's own pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cl_bench.errors import unknown_name_error


@dataclass(frozen=True)
class Label:
    """A class for the whole image: the likeliest one, with the scores (0..1) of the five likeliest by name."""

    label: str
    scores: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects, the surest first where the kind sorts them.

    boxes: (n, 4) float32, left, top, right, bottom in pixels of the image; labels: a class name each; scores: (n,)
    float32 in 0..1.
    """

    boxes: npt.NDArray[np.float32]
    labels: tuple[str, ...]
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Mask:
    """A class for every pixel: mask (H, W) uint8, as large as the image, of indices into `classes`."""

    mask: npt.NDArray[np.uint8]
    classes: tuple[str, ...]

    def share(self, name: str) -> float:
        """Return the share of the image, 0..1, that is of the class `name`; raise UserError where there is none."""
        if name not in self.classes:
            raise unknown_name_error("class", name, self.classes)
        return float((self.mask == self.classes.index(name)).mean())


@dataclass(frozen=True, eq=False)
class Answer:
    """What another kind says, as plain values of its own."""

    value: Any


Prediction = Label | Detections | Mask | Answer
