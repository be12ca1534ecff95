"""How a detector learns: its settings, its predictor, what each cell must predict, and what a wrong one costs."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torchvision.ops import (
    box_iou,
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
)

from cl_bench.kinds.base import Predictor, Settings, Target
from cl_bench.kinds.detection.assigner import aligned, by_centre
from cl_bench.kinds.detection.grid import SPAN, Cells

CONFIDENCE = 4
"""Channel of the confidence; 0..3 are the box, 5 and up the class."""
PRIOR = 0.01
"""Initial confidence of every cell, so that the many empty ones do not drown the first steps (arXiv:1708.02002)."""
BOX_LOSSES = {"giou": generalized_box_iou_loss, "diou": distance_box_iou_loss, "ciou": complete_box_iou_loss}


class DetectionSettings(Settings):
    """How a detector is trained and read.

    largest: the longer side of a box, in strides, up to which a level serves it, and from which the next one does;
    assignment: which cells must predict a box, those near its centre (FCOS) or those that do it best already (TOOD);
    confidence: focal loss towards 1, or quality focal loss (arXiv:2006.04388) towards the IoU (`task_aligned`: the
    quality of the assignment) of what a cell predicts; box: the IoU loss; *_weight: of each loss beside the
    confidence's; label_smoothing: of the class; nms_iou: overlap above which the surer of two boxes of a class stays.
    """

    largest: float = Field(8.0, gt=0, le=SPAN)
    assignment: Literal["centre", "task_aligned"] = "centre"
    confidence: Literal["focal", "quality_focal"] = "focal"
    box: Literal["giou", "diou", "ciou"] = "giou"
    box_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    class_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    nms_iou: float = Field(0.6, gt=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> DetectionSettings:
        if (self.assignment, self.confidence) == ("task_aligned", "focal"):
            # Cells are chosen before they predict well; towards 1 they would be trained to false confidence.
            raise ValueError("assignment task_aligned needs confidence quality_focal")
        return self


class GridPredictor(Predictor):
    """A 1x1 convolution to (cx, cy, w, h, confidence, class...) a cell; a channel a class or one `class_id` for all.

    tower: behind a 3x3 convolution and a ReLU of its own, of which RetinaNet (arXiv:1708.02002) has four.
    """

    def __init__(self, channels: int, class_channels: int, tower: bool = False) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()) if tower else nn.Identity()
        self.cells = nn.Conv2d(channels, 5 + class_channels, 1)
        nn.init.normal_(self.cells.weight, std=0.01)
        nn.init.zeros_(self.cells.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.cells.bias[CONFIDENCE] = math.log(PRIOR / (1 - PRIOR))  # type: ignore[index]

    def forward(self, *levels: Tensor) -> Tensor:
        """Return (B, 5 + class channels, N): the cells of every level, row by row."""
        return torch.cat([self.cells(self.tower(features)).flatten(2) for features in levels], 2)


def quality_focal_loss(logits: Tensor, quality: Tensor) -> Tensor:
    """Return the sum of the cross-entropies of `logits` and `quality` (0..1), each times its squared error."""
    entropy = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return (entropy * (logits.sigmoid() - quality).square()).sum()


def total_loss(settings: DetectionSettings, confidence: Tensor, box: Tensor, wrong: Tensor, weight: Tensor) -> Tensor:
    """Return the loss: confidence (a sum), box and class (a cell) as much as cells weigh, by the sum of the weights."""
    of_cells = settings.box_weight * (box * weight).sum() + settings.class_weight * (wrong * weight).sum()
    return (confidence + of_cells) / weight.sum().clamp(min=1)


def assign(
    settings: DetectionSettings, target: Target, found: Tensor, scores: Tensor, grid: Cells
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the box (N, 4) and label (N,), -1 for none, that each cell must predict, and how well it does (N,).

    found: (N, 4) the predicted boxes of one image; scores: (N, classes), or (N, 1) for the literal predictor.
    """
    boxes, labels = target["boxes"], target["labels"]
    if len(boxes) == 0:
        nowhere = torch.cat([boxes.new_zeros(2), boxes.new_ones(2)]).expand(len(grid), 4)
        return nowhere, labels.new_full((len(grid),), -1), found.new_zeros(len(grid))
    if settings.assignment == "task_aligned":
        own = scores.T[labels] if scores.shape[1] > 1 else scores.T.expand(len(labels), -1)
        index, quality = aligned(boxes, found, own, grid)
    else:
        index = by_centre(boxes, grid)
        overlap = box_iou(boxes, found).gather(0, index.clamp(min=0)[None])[0]
        quality = torch.where(index >= 0, overlap, 0.0)
    chosen = index.clamp(min=0)
    return boxes[chosen], torch.where(index >= 0, labels[chosen], -1), quality
