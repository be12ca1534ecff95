"""What every data format yields: splits of examples with a target by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

VOID = 255
"""The value of a mask's pixels that count for nothing."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """The objects of one image, in pixels of the image file.

    xyxy: (n, 4) float32, left, top, right, bottom; labels: (n,) int64 into the split's classes; crowd: (n,) bool,
    regions that count as neither hit nor miss (COCO's `iscrowd`).
    """

    xyxy: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]

    def without_crowds(self) -> Boxes:
        """Return the boxes a detector is trained on."""
        keep = ~self.crowd
        return Boxes(self.xyxy[keep], self.labels[keep], self.crowd[keep])


@dataclass(frozen=True, eq=False)
class Example:
    """One image file and its target: a mask file (segmentation), `Boxes` (detection) or an index (classification)."""

    name: str
    image: Path
    target: Any


@dataclass(frozen=True, eq=False)
class Split:
    """The examples of one split, sorted by name.

    notes: what the reader did (dropped, clipped, ignored), a sentence each; details: what else an audit shows, and a
    run need not repeat.
    """

    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


class DataFormat(Protocol):
    """A reader of one way to lay out data on disk; one file a format, found by `name`.

    A format that takes no `path`, as its data come with it or go by a name, says `embedded = True`. One whose data may
    have a test part says whether they do by a method `has_test(options, kind) -> bool`, which `has_test` below asks.
    One that can tell its data in a folder says what it finds by a method `layouts(root) -> Iterable[Layout]`
    (`cl_bench.data.layouts`), and reads the split "all" where they have no splits.
    """

    name: str
    kinds: tuple[str, ...]

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split` ("train", "val" or, where `has_test` is true, "test").

        options: the task's `data` block of the experiment without `format` (for files on disk: `path`).
        classes: the class names to keep, in order; None for all of the data set's own.
        Raises UserError, naming the file, the key or the image, for everything that is not as it must be.
        """
        ...


def has_test(source: DataFormat, options: Mapping[str, Any], kind: str) -> bool:
    """Return whether the data of `kind` that `options` name have a test part, which a format must know of to have one.

    options: as for `DataFormat.read`, which raises UserError for what is wrong with them.
    """
    ask = getattr(source, "has_test", None)
    return ask is not None and bool(ask(options, kind))
