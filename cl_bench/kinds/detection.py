"""Object detection: boxes on a grid of cells, one prediction a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.ops import batched_nms, box_area, generalized_box_iou_loss, sigmoid_focal_loss
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat
from torchvision.utils import draw_bounding_boxes

from cl_bench.data.base import Boxes, Example, Split
from cl_bench.errors import UserError
from cl_bench.kinds.base import Distill, Kind, Predictor, Target, Task
from cl_bench.kinds.divergence import bernoulli_kl, kl
from cl_bench.metrics.average_precision import AveragePrecision
from cl_bench.registry import kinds

CONFIDENCE = 4
"""Channel of the confidence; 0..3 are the box, 5 and up the class."""
REACH = 2.0
"""How far, in cells, a predicted centre may lie from its cell's."""
CENTRE_RADIUS = 1.5
"""Cells this near to a box's centre, inside the box, are trained to predict it, as in FCOS (arXiv:1904.01355)."""
PRIOR = 0.01
"""Initial confidence of every cell, so that the many empty ones do not drown the first steps (arXiv:1708.02002)."""
MIN_SCORE, CANDIDATES, NMS_IOU, KEPT = 0.01, 400, 0.6, 100


class GridPredictor(Predictor):
    """A 1x1 convolution to (cx, cy, w, h, confidence, class...) a cell; a channel a class or one `class_id` for all."""

    def __init__(self, channels: int, class_channels: int) -> None:
        super().__init__()
        self.cells = nn.Conv2d(channels, 5 + class_channels, 1)
        nn.init.normal_(self.cells.weight, std=0.01)
        nn.init.zeros_(self.cells.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.cells.bias[CONFIDENCE] = math.log(PRIOR / (1 - PRIOR))  # type: ignore[index]

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, 5 + class channels, grid, grid)."""
        return self.cells(features)


def cell_centres(grid: int, stride: int, device: torch.device) -> Tensor:
    """Return the centres of the cells, (grid, grid, 2) as x, y in pixels of the resized image."""
    line = (torch.arange(grid, device=device) + 0.5) * stride
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)


def decode_boxes(raw: Tensor, stride: int) -> Tensor:
    """Turn raw outputs (B, >= 4, g, g) into boxes (B, g, g, 4), xyxy in pixels of the resized image.

    Bounded, so that no step can throw a box out of reach of the gradient: centres lie within `REACH` cells of the
    cell's own, sides between nothing and the whole image (a quarter of it where the raw output is 0).
    """
    x = raw[:, :4].float().sigmoid().permute(0, 2, 3, 1)
    grid = x.shape[1]
    centre = cell_centres(grid, stride, x.device) + (2 * x[..., :2] - 1) * (REACH * stride)
    half = x[..., 2:].square() * (grid * stride / 2)
    return torch.cat((centre - half, centre + half), -1)


def encode_boxes(boxes: Tensor, stride: int) -> Tensor:
    """Return the raw outputs (4, g, g) that decode to `boxes` (g, g, 4)."""
    grid = boxes.shape[0]
    offset = (boxes[..., :2] + boxes[..., 2:]) / 2 - cell_centres(grid, stride, boxes.device)
    side = boxes[..., 2:] - boxes[..., :2]
    share = torch.cat(((offset / (REACH * stride) + 1) / 2, (side / (grid * stride)).sqrt()), -1)
    return share.logit(eps=1e-6).permute(2, 0, 1)


def assign(boxes: Tensor, grid: int, stride: int, radius: float = CENTRE_RADIUS) -> Tensor:
    """Return, for every cell (grid, grid), the index of the box (n, 4) it must predict, -1 for none.

    A box owns the cell its centre lies in, and asks for the cells within `radius` whose centres lie inside it; where
    several boxes own or ask for one cell, an owner comes first, then the smaller box.
    """
    if len(boxes) == 0:
        return torch.full((grid, grid), -1, device=boxes.device)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    cells = cell_centres(grid, stride, boxes.device)[None]
    home = (centre / stride).long().clamp(0, grid - 1)
    own = ((cells / stride).long() == home[:, None, None]).all(-1)
    near = ((cells - centre[:, None, None]).abs() <= radius * stride).all(-1)
    inside = ((cells > boxes[:, None, None, :2]) & (cells < boxes[:, None, None, 2:])).all(-1)
    area = box_area(boxes)[:, None, None]
    cost = torch.where(own, area - 1e9, torch.where(near & inside, area, torch.inf))
    best, index = cost.min(0)
    return torch.where(best.isinf(), -1, index)


class DetectionMetric:
    """COCO AP in the original frame."""

    def __init__(self, kind: Detection, task: Task, split: Split) -> None:
        self._kind, self._task = kind, task
        self._sizes = [image_size(example) for example in split.examples]
        self._ap = AveragePrecision(task.classes, [example.target for example in split.examples], self._sizes)

    def update(self, output: Tensor, indices: Sequence[int]) -> None:
        """Take raw outputs (B, channels, g, g) of the examples at `indices`."""
        for raw, index in zip(output, indices, strict=True):
            boxes, scores, labels = self._kind.decode_detections(self._task, raw)
            width, height = self._sizes[index]
            scale = boxes.new_tensor([width, height, width, height]) / self._task.image_size
            self._ap.update(index, (boxes * scale).cpu().numpy(), scores.cpu().numpy(), labels.cpu().numpy())

    def compute(self) -> dict[str, float]:
        """Return {"AP50", "AP"}, each in 0..1."""
        return self._ap.compute()

    def per_image(self) -> dict[str, npt.NDArray[Any]]:
        """Return the detections as flat arrays (see AveragePrecision)."""
        return self._ap.per_image()


@kinds.register
class Detection(Kind):
    """Focal confidence on all cells, GIoU boxes and a class loss on assigned ones, COCO AP."""

    name = "detection"
    metrics = ("AP50", "AP")
    predictors = ("per_class", "literal")
    level = 32

    def predictor(self, task: Task, channels: int) -> Predictor:
        """Return the grid predictor: `literal` regresses the class index in one channel, `per_class` has logits."""
        return GridPredictor(channels, 1 if task.predictor == "literal" else len(task.classes))

    def target(self, task: Task, example: Example, resized: npt.NDArray[np.uint8] | None) -> Target:
        """Return {"boxes": (n, 4) float32 xyxy in the resized frame, "labels": (n,) int64} without crowds."""
        found = example.target.without_crowds()
        scale = np.float32(task.image_size) / np.tile(np.array(image_size(example), np.float32), 2)
        boxes = BoundingBoxes(
            torch.from_numpy(found.xyxy * scale),
            format=BoundingBoxFormat.XYXY,
            canvas_size=(task.image_size, task.image_size),
        )
        return {"boxes": boxes, "labels": torch.from_numpy(found.labels.copy())}

    def loss(self, task: Task, output: Tensor, targets: Sequence[Target]) -> Tensor:
        """Return confidence + box + class loss, each a sum over the batch divided by the number of assigned cells."""
        dense = [self._dense(task, target) for target in targets]
        boxes, labels = (torch.stack(part) for part in zip(*dense, strict=True))
        assigned = labels >= 0
        count = assigned.sum().clamp(min=1)
        confidence = sigmoid_focal_loss(output[:, CONFIDENCE].float(), assigned.float(), reduction="sum")
        overlap = generalized_box_iou_loss(decode_boxes(output, task.level), boxes)
        found = output[:, CONFIDENCE + 1 :].float()
        if task.predictor == "literal":
            wrong = (F.smooth_l1_loss(found[:, 0], labels.float(), reduction="none") * assigned).sum()
        else:
            wrong = F.cross_entropy(found, labels, ignore_index=-1, reduction="sum")
        return (confidence + (overlap * assigned).sum() + wrong) / count

    def _dense(self, task: Task, target: Target) -> tuple[Tensor, Tensor]:
        """Return the box (g, g, 4) and the label (g, g), -1 for none, that each cell is trained to predict."""
        boxes, labels = target["boxes"], target["labels"]
        index = assign(boxes, task.grid, task.level)
        if len(boxes) == 0:
            return boxes.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(*index.shape, 4), index
        chosen = index.clamp(min=0)
        return boxes[chosen], torch.where(index >= 0, labels[chosen], -1)

    def distillation(self, task: Task, student: Tensor, teacher: Tensor, how: Distill) -> Tensor:
        """Return KL over classes + Bernoulli KL of the confidence + L1 of the boxes, a mean over cells.

        Boxes, and the regressed `class_id` of the literal predictor, weigh as much as the teacher is confident.
        """
        sure = teacher[:, CONFIDENCE].float().sigmoid()
        boxes = (sure * (student[:, :4] - teacher[:, :4]).float().abs().mean(1)).mean()
        confidence = bernoulli_kl(student[:, CONFIDENCE], teacher[:, CONFIDENCE], how)
        s, t = student[:, CONFIDENCE + 1 :], teacher[:, CONFIDENCE + 1 :]
        classes = (sure * (s - t).float().abs().mean(1)).mean() if task.predictor == "literal" else kl(s, t, how)
        return classes + confidence + boxes

    def decode_detections(self, task: Task, raw: Tensor, nms_iou: float = NMS_IOU) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes (n, 4) in the resized frame, scores (n,) and labels (n,) of one raw output (channels, g, g)."""
        boxes = decode_boxes(raw[None], task.level)[0].reshape(-1, 4).clamp(0, task.image_size)
        sure = raw[CONFIDENCE].float().sigmoid().reshape(-1, 1)
        found = raw[CONFIDENCE + 1 :].float().flatten(1).T
        if task.predictor == "literal":
            labels = found.round().long().clamp(0, len(task.classes) - 1)
            scores = sure
        else:
            labels = torch.arange(found.shape[1], device=raw.device).expand_as(found)
            scores = sure * found.softmax(1)
        top = scores.flatten().topk(min(CANDIDATES, scores.numel()))
        kept = top.indices[top.values > MIN_SCORE]
        boxes, scores, labels = boxes[kept // scores.shape[1]], scores.flatten()[kept], labels.flatten()[kept]
        best = batched_nms(boxes, scores, labels, nms_iou)[:KEPT]
        return boxes[best], scores[best], labels[best]

    def ideal(self, task: Task, example: Example) -> Tensor:
        """Return the raw output (channels, g, g) of a detector that makes no mistake but has one box a cell."""
        target = self.target(task, example, None)
        index = assign(target["boxes"].as_subclass(Tensor), task.grid, task.level, radius=0)
        raw = torch.zeros(5 + (1 if task.predictor == "literal" else len(task.classes)), task.grid, task.grid)
        raw[CONFIDENCE] = -50.0
        for y, x in (index >= 0).nonzero().tolist():
            box = target["boxes"][index[y, x]].as_subclass(Tensor)
            label = int(target["labels"][index[y, x]])
            raw[:4, y, x] = encode_boxes(box.expand(task.grid, task.grid, 4), task.level)[:, y, x]
            raw[CONFIDENCE, y, x] = 50.0
            if task.predictor == "literal":
                raw[CONFIDENCE + 1, y, x] = label
            else:
                raw[CONFIDENCE + 1 + label, y, x] = 50.0
        return raw

    def metric(self, task: Task, val: Split) -> DetectionMetric:
        """Return an empty COCO AP over `val`."""
        return DetectionMetric(self, task, val)

    def notes(self, task: Task, val: Split) -> Mapping[str, float]:
        """Return the AP50 that one box a cell allows on the task's grid."""
        sizes = [image_size(example) for example in val.examples]
        ap = AveragePrecision(task.classes, [example.target for example in val.examples], sizes)
        for index, (example, (width, height)) in enumerate(zip(val.examples, sizes, strict=True)):
            boxes, scores, labels = self.decode_detections(task, self.ideal(task, example), nms_iou=1.0)
            scale = np.array([width, height, width, height]) / task.image_size
            ap.update(index, boxes.numpy() * scale, scores.numpy(), labels.numpy())
        return {f"AP50 ceiling of the {task.grid}x{task.grid} grid": ap.compute()["AP50"]}

    def trivial(self, task: Task, train: Split, val: Split) -> float:
        """Return the AP50 of putting the mean box of the commonest class of `train` into every image."""
        commonest = int(self.count(train).argmax())
        shares = []
        for example in train.examples:
            boxes = example.target.without_crowds()
            shares.append(boxes.xyxy[boxes.labels == commonest] / np.tile(image_size(example), 2))
        mean = np.concatenate(shares).mean(0, keepdims=True)
        sizes = [image_size(example) for example in val.examples]
        ap = AveragePrecision(task.classes, [example.target for example in val.examples], sizes)
        for index, size in enumerate(sizes):
            ap.update(index, mean * np.tile(size, 2), np.ones(1), np.array([commonest]))
        return ap.compute()["AP50"]

    def check(self, example: Example, classes: tuple[str, ...]) -> None:
        """Raise UserError where a box is not finite, has no area or lies outside the image."""
        boxes, (width, height) = example.target.xyxy, image_size(example)
        for box in boxes.tolist():
            left, top, right, bottom = box
            if not all(map(math.isfinite, box)):
                raise UserError(f"image {example.image}: box {box} is not finite")
            if left >= right or top >= bottom or left < 0 or top < 0 or right > width or bottom > height:
                raise UserError(f"image {example.image}: box {box} is empty or outside the {width}x{height} image")

    def count(self, split: Split) -> npt.NDArray[np.int64]:
        """Return the boxes of each class, crowds left out."""
        labels = [example.target.without_crowds().labels for example in split.examples]
        return np.bincount(np.concatenate(labels), minlength=len(split.classes))

    def draw(self, image: Image.Image, target: Any, classes: tuple[str, ...]) -> Image.Image:
        """Draw Boxes with their class names; crowds are dashed out as "crowd"."""
        assert isinstance(target, Boxes)
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        if len(target.xyxy):
            names = [
                f"{classes[label]} (crowd)" if crowd else classes[label]
                for label, crowd in zip(target.labels, target.crowd, strict=True)
            ]
            pixels = draw_bounding_boxes(pixels, torch.from_numpy(target.xyxy), names, colors="yellow", width=2)
        return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def image_size(example: Example) -> tuple[int, int]:
    """Return (width, height) of the image file."""
    return _size_of(example.image)


@cache
def _size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size
