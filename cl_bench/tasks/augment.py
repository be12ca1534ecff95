"""Training images changed each time one is read: cut out or shrunk, turned, recoloured, put together from four."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxes, KeyPoints, Mask, TVTensor

from cl_bench.config.schema import Augment
from cl_bench.data.base import VOID

Sample = tuple[Tensor, dict[str, Tensor]]
"""An image (3, H, W) uint8 and its target, in which masks and boxes are the tensors of torchvision that say so."""

GREY = 124
"""What fills the margin of an image; a mask's is void."""
SIDES, OTHER_SIDE = re.compile("left|right"), {"left": "right", "right": "left"}
VISIBLE = 0.25
"""A box of which a cut leaves less than this share counts as cut away."""


def zoomed(sample: Sample, augment: Augment, size: int, draw: np.random.Generator) -> Sample:
    """Return a random window of `sample`, enlarged as `augment` says, in a square of `size` pixels."""
    side = sample[0].shape[-1]
    if augment.zoom == (1.0, 1.0) and augment.stretch == 1 and side == size:
        return sample
    least, most = augment.zoom
    scale = math.exp(draw.uniform(math.log(least), math.log(most)))
    ratio = math.exp(draw.uniform(-1, 1) * math.log(augment.stretch) / 2)
    width, height = (max(1, round(side / scale * part)) for part in (ratio, 1 / ratio))
    left, top = (round(draw.uniform(min(0, side - n), max(0, side - n))) for n in (width, height))
    return window(sample, left, top, width, height, size)


def window(sample: Sample, left: int, top: int, width: int, height: int, size: int) -> Sample:
    """Return the window of `sample`, which may reach beyond its edges, resized to a square of `size` pixels."""
    image, target = sample
    tall, wide = image.shape[-2:]
    margin = [max(0, -left), max(0, -top), max(0, left + width - wide), max(0, top + height - tall)]
    place = (top + margin[1], left + margin[0], height, width, [size, size])

    def cut(part: Tensor) -> Tensor:
        if isinstance(part, Mask):
            # As a picture: torchvision resizes masks by the "nearest" that is half a pixel off.
            plain = F.pad(part.as_subclass(Tensor)[None], margin, fill=VOID)
            return Mask(F.resized_crop(plain, *place, interpolation=InterpolationMode.NEAREST_EXACT)[0])
        return F.resized_crop(F.pad(part, margin, fill=GREY), *place)

    moved = {name: cut(part) if isinstance(part, TVTensor) else part for name, part in target.items()}
    if "boxes" in target:
        whole = areas(target["boxes"]) * (size / width) * (size / height)
        keep = areas(moved["boxes"]) >= VISIBLE * whole.clamp(min=1)
        moved = {name: part if isinstance(part, Mask) else _kept(part, keep) for name, part in moved.items()}
    return cut(image), moved


def flipped(sample: Sample, names: Sequence[str]) -> Sample:
    """Return `sample` turned left to right; only what has a geometry (mask, boxes, points) turns with the image.

    names: of the classes. A point goes to the class that it is of now: what was a left eye looks like a right one.
    """
    image, target = sample
    turned = {k: F.horizontal_flip(v) if isinstance(v, TVTensor) else v for k, v in target.items()}
    for name, part in turned.items():
        if isinstance(part, KeyPoints):
            # torchvision counts points by the pixel that they are in, so that the left edge becomes width - 1.
            part.as_subclass(Tensor)[..., 0] += 1
            turned[name] = KeyPoints(part.as_subclass(Tensor)[counterparts(names)], canvas_size=part.canvas_size)
    return F.horizontal_flip(image), turned


def counterparts(names: Sequence[str]) -> list[int]:
    """Return for each name the index of the one with left for right and right for left, its own where there is none."""
    places = {name.lower(): index for index, name in enumerate(names)}
    mirrored = [SIDES.sub(lambda side: OTHER_SIDE[side[0]], name.lower()) for name in names]
    return [places.get(name, index) for index, name in enumerate(mirrored)]


def recoloured(image: Tensor, most: float, draw: np.random.Generator) -> Tensor:
    """Return `image` with brightness, contrast and saturation each changed by at most the share `most`."""
    for adjust in (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation):
        image = adjust(image, float(draw.uniform(1 - most, 1 + most)))
    return image


def mosaic(four: Sequence[Sample], draw: np.random.Generator) -> Sample:
    """Return a random window, as large as one to four of them, of four samples of one size laid side by side."""
    size = four[0][0].shape[-1]
    corners = [(0, 0), (size, 0), (0, size), (size, size)]
    images, targets = zip(*four, strict=True)
    target = {}
    for name, first in targets[0].items():
        parts = [found[name] for found in targets]
        if isinstance(first, BoundingBoxes):
            moved = [p.as_subclass(Tensor) + torch.tensor(2 * c) for p, c in zip(parts, corners, strict=True)]
            canvas = (2 * size, 2 * size)
            target[name] = BoundingBoxes(torch.cat(moved), format=first.format, canvas_size=canvas)
        else:
            target[name] = Mask(_tiled(parts)) if isinstance(first, Mask) else torch.cat(parts)
    side = round(size * draw.uniform(1, 2))
    left, top = (round(draw.uniform(0, 2 * size - side)) for _ in range(2))
    return window((_tiled(images), target), left, top, side, side, size)


def _tiled(four: Sequence[Tensor]) -> Tensor:
    return torch.cat((torch.cat(tuple(four[:2]), -1), torch.cat(tuple(four[2:]), -1)), -2)


def areas(boxes: Tensor) -> Tensor:
    """Return the areas (n,) of boxes (n, 4), xyxy."""
    left, top, right, bottom = boxes.as_subclass(Tensor).unbind(1)
    return (right - left) * (bottom - top)


def _kept(part: Tensor, keep: Tensor) -> Tensor:
    if isinstance(part, BoundingBoxes):
        return BoundingBoxes(part.as_subclass(Tensor)[keep], format=part.format, canvas_size=part.canvas_size)
    return part[keep]
