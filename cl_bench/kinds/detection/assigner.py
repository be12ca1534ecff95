"""Which cells are trained to predict which box."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_area, box_iou

from cl_bench.kinds.detection.grid import Cells

CENTRE_RADIUS = 1.5
"""Cells this near to a box's centre, inside the box, are trained to predict it, as in FCOS (arXiv:1904.01355)."""
ALIGNED_RADIUS = 2.5
"""The same where the prediction has a say, which chooses among more cells."""
TOP, CLASS_POWER, IOU_POWER = 10, 1.0, 6.0
"""Cells a box, and how class score and IoU count in their choice.

The powers are those of TOOD (arXiv:2108.07755), which takes 13 cells anywhere in the box.
"""


def by_centre(boxes: Tensor, cells: Cells, radius: float = CENTRE_RADIUS) -> Tensor:
    """Return, for every cell (N,), the index of the box (n, 4) it must predict, -1 for none.

    A box owns the cell its centre lies in, on the level for its size, and asks for that level's cells within `radius`
    whose centres lie inside it; where several boxes own or ask for a cell, an owner comes first, then the smaller box.
    """
    if len(boxes) == 0:
        return torch.full((len(cells),), -1, device=boxes.device)
    longest = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True)
    level = (longest > cells.least.T) & (longest <= cells.most.T)
    area = box_area(boxes)[:, None]
    owns = level & _home(boxes, cells)
    asks = level & _near(boxes, cells, radius) & _inside(boxes, cells)
    owner, asker = (torch.where(wants, area, torch.inf).min(0).indices for wants in (owns, asks))
    return torch.where(owns.any(0), owner, torch.where(asks.any(0), asker, -1))


def aligned(boxes: Tensor, found: Tensor, scores: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
    """Return, for every cell, the index of the box (n, 4) it must predict, -1 for none, and how well it does (N,).

    found: (N, 4) the predicted boxes; scores: (n, N) of each box's class in each cell. Of the cells of any level within
    `ALIGNED_RADIUS` of its centre and inside it (and its home cells), a box takes the `TOP` of the largest
    score^CLASS_POWER * IoU^IOU_POWER; a cell wanted twice goes to the box it overlaps more. The quality, in 0..1, is
    that product scaled so that a box's best cell has the box's largest IoU.
    """
    if len(boxes) == 0:
        return torch.full((len(cells),), -1, device=boxes.device), found.new_zeros(len(cells))
    candidates = (_near(boxes, cells, ALIGNED_RADIUS) & _inside(boxes, cells)) | _home(boxes, cells)
    overlap = box_iou(boxes, found).nan_to_num()
    metric = torch.where(candidates, scores.pow(CLASS_POWER) * overlap.pow(IOU_POWER), -1.0)
    best = metric.topk(min(TOP, len(cells)), 1)
    chosen = torch.zeros_like(candidates).scatter_(1, best.indices, best.values >= 0)
    share, index = torch.where(chosen, overlap, -1.0).max(0)
    index = torch.where(share >= 0, index, -1)
    chosen &= torch.arange(len(boxes), device=boxes.device)[:, None] == index
    metric = metric * chosen
    reached = (overlap * chosen).amax(1, keepdim=True)
    quality = metric / metric.amax(1, keepdim=True).clamp(min=torch.finfo(metric.dtype).tiny) * reached
    return index, quality.amax(0)


def _home(boxes: Tensor, cells: Cells) -> Tensor:
    """Whether the centre of each box lies in each cell, (n, N)."""
    centre = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
    offset = centre - (cells.centre - cells.stride / 2)
    return ((offset >= 0) & (offset < cells.stride)).all(-1)


def _near(boxes: Tensor, cells: Cells, radius: float) -> Tensor:
    centre = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
    return ((cells.centre - centre).abs() <= radius * cells.stride).all(-1)


def _inside(boxes: Tensor, cells: Cells) -> Tensor:
    return ((cells.centre > boxes[:, None, :2]) & (cells.centre < boxes[:, None, 2:])).all(-1)
