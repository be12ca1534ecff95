"""Objects of other images pasted into a training image, those of rare classes as often as those of common ones."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

from cl_bench.tasks.augment import VISIBLE, Sample, areas

SCALE = (0.5, 1.5)
"""Least and greatest enlargement of an object."""
SMALLEST = 4
"""Pixels of the shorter side below which an object is not pasted."""


def choose(shown: npt.NDArray[np.bool_], among: Iterable[int], draw: np.random.Generator) -> tuple[int, int] | None:
    """Return an example of `among` and the class that it was drawn for, any class alike; None where they show nothing.

    shown: (examples, classes), which of them show which class.
    """
    allowed = np.fromiter(among, np.int64)
    present = np.flatnonzero(shown[allowed].any(0))
    if not len(present):
        return None
    label = int(draw.choice(present))
    return int(draw.choice(allowed[shown[allowed, label]])), label


def pasted(sample: Sample, other: Sample, label: int, draw: np.random.Generator) -> Sample:
    """Return `sample` with an object of class `label` of `other`, a sample of the same size, put somewhere.

    It comes with the rectangle of its box (arXiv:1708.01642 cuts along masks and blends), and with the boxes of which a
    quarter is in there. What it hides but for a quarter has no box any more. Nothing changes where `other` has no such
    object, or too small a one.
    """
    image, target = sample
    side = image.shape[-1]
    boxes = other[1]["boxes"].as_subclass(Tensor).round().long().clamp(0, side)
    mine = torch.nonzero(other[1]["labels"] == label).flatten()
    if not len(mine):
        return sample
    one = mine[int(draw.integers(len(mine)))]
    left, top, right, bottom = boxes[one].tolist()
    scale = math.exp(draw.uniform(math.log(SCALE[0]), math.log(SCALE[1])))
    wide, tall = (min(side, round(scale * n)) for n in (right - left, bottom - top))
    if min(wide, tall) < SMALLEST:
        return sample
    x, y = (int(draw.integers(side - n + 1)) for n in (wide, tall))
    changed = image.clone()
    cut = (top, left, bottom - top, right - left, [tall, wide])
    changed[:, y : y + tall, x : x + wide] = F.resized_crop(other[0], *cut)
    inside = F.resized_crop(other[1]["boxes"], *cut)
    whole = areas(other[1]["boxes"]) * (wide / (right - left)) * (tall / (bottom - top))
    come = areas(inside) >= VISIBLE * whole
    keep = _seen(target["boxes"].as_subclass(Tensor), torch.tensor([x, y, x + wide, y + tall]))
    found = {name: torch.cat([part[keep], other[1][name][come]]) for name, part in target.items()}
    moved = inside.as_subclass(Tensor)[come] + torch.tensor([x, y, x, y])
    joined = torch.cat([target["boxes"].as_subclass(Tensor)[keep], moved])
    found["boxes"] = BoundingBoxes(joined, format=BoundingBoxFormat.XYXY, canvas_size=(side, side))
    return changed, found


def _seen(boxes: Tensor, over: Tensor) -> Tensor:
    """Return of which boxes (n, 4) enough is left where the box `over` (4,) hides what lies below it."""
    low, high = torch.maximum(boxes[:, :2], over[:2]), torch.minimum(boxes[:, 2:], over[2:])
    hidden = (high - low).clamp(min=0).prod(1)
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return whole - hidden >= VISIBLE * whole
