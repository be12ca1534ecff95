"""The cells of a detector: where they lie, and boxes to their raw outputs and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import torch
from torch import Tensor

REACH = 2.0
"""How far, in cells, a predicted centre may lie from its cell's."""
SPAN = 16
"""The longest side that a cell predicts, in strides of its level; on the coarsest level it is the image's."""


@dataclass(frozen=True, eq=False)
class Cells:
    """All N cells of a detector, level by level, each level row by row.

    centre: (N, 2) x, y in pixels of the resized image; stride, span: (N, 1) in pixels, the cell's side and the
    longest side it can predict; least, most: (N, 1), the range of a box's longer side, least < side <= most, that the
    cell's level is for.
    """

    centre: Tensor
    stride: Tensor
    span: Tensor
    least: Tensor
    most: Tensor

    def __len__(self) -> int:
        return len(self.centre)


@lru_cache(maxsize=32)
def cells(image_size: int, levels: tuple[int, ...], largest: float, device: torch.device) -> Cells:
    """Return the cells of the pyramid levels with strides `levels` (finest first) for square images.

    A level is for the boxes that are too large for the next finer one and whose longer side is at most `largest`
    strides, the coarsest for all larger ones too. (The 8 strides of FCOS, arXiv:1904.01355, bound the distances from a
    cell to the box's sides, half of its longer side at the centre: `largest` is 16 for that.)
    """
    centres, columns = [], []
    least = 0.0
    for stride in levels:
        line = (torch.arange(-(-image_size // stride)) + 0.5) * stride
        centres.append(torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2))
        coarsest = stride == levels[-1]
        span = image_size if coarsest else min(SPAN * stride, image_size)
        most = torch.inf if coarsest else largest * stride
        columns.append(torch.tensor([[stride, span, least, most]]).expand(len(centres[-1]), 4))
        least = most
    parts = [torch.cat(centres), *torch.cat(columns).float().split(1, 1)]
    return Cells(*(part.to(device) for part in parts))


def side_of(number: int, levels: tuple[int, ...]) -> int:
    """Return the side in pixels, a multiple of 32, of the square images on which `levels` have `number` cells."""
    return next(side for side in count(32, 32) if sum((-(-side // stride)) ** 2 for stride in levels) >= number)


def decode_boxes(raw: Tensor, cells: Cells) -> Tensor:
    """Turn raw outputs (B, >= 4, N) into boxes (B, N, 4), xyxy in pixels of the resized image.

    Bounded, so that no step can throw a box out of reach of the gradient: centres lie within `REACH` cells of the
    cell's own, sides between nothing and its span (a quarter of it where the raw output is 0).
    """
    x = raw[:, :4].float().sigmoid().transpose(1, 2)
    centre = cells.centre + (2 * x[..., :2] - 1) * (REACH * cells.stride)
    half = x[..., 2:].square() * (cells.span / 2)
    return torch.cat((centre - half, centre + half), -1)


def encode_boxes(boxes: Tensor, cells: Cells) -> Tensor:
    """Return the raw outputs (4, N) that decode to `boxes` (N, 4), one for each cell."""
    offset = (boxes[:, :2] + boxes[:, 2:]) / 2 - cells.centre
    side = boxes[:, 2:] - boxes[:, :2]
    share = torch.cat(((offset / (REACH * cells.stride) + 1) / 2, (side / cells.span).sqrt()), -1)
    return share.logit(eps=1e-6).T
