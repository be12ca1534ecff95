"""Object detection: boxes on grids of cells, one prediction a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.ops import batched_nms, sigmoid_focal_loss
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat
from torchvision.utils import draw_bounding_boxes

from cl_bench.data.base import Boxes, Example, Split
from cl_bench.data.images import image_size
from cl_bench.errors import UserError
from cl_bench.kinds.base import Distill, Kind, Predictor, Target, Task, select_classes
from cl_bench.kinds.detection.assigner import by_centre
from cl_bench.kinds.detection.grid import Cells, cells, decode_boxes, encode_boxes, side_of
from cl_bench.kinds.detection.head import (
    BOX_LOSSES,
    CONFIDENCE,
    DetectionSettings,
    GridPredictor,
    assign,
    quality_focal_loss,
    total_loss,
)
from cl_bench.kinds.detection.metric import DetectionMetric, average_precision, shown
from cl_bench.kinds.divergence import bernoulli_kl, kl
from cl_bench.kinds.drawing import write_label
from cl_bench.kinds.prediction import Detections
from cl_bench.metrics.rarity import rare_classes
from cl_bench.plugins.registry import kinds

MIN_SCORE, CANDIDATES, KEPT = 0.01, 1000, 100
"""Least score of a detection, most of a level before non-maximum suppression (arXiv:1708.02002), most of an image."""
SHOWN = 0.25
"""Score from which a detection is drawn; AP counts all of them."""


@kinds.register
class Detection(Kind):
    """A confidence loss on all cells, a box and a class loss on assigned ones, COCO AP."""

    name = "detection"
    metrics = ("AP50", "AP")
    predictors = ("per_class", "literal", "tower")
    levels = (32,)
    boxes = True
    learns_parts = True
    Settings = DetectionSettings

    def predictor(self, task: Task, channels: int) -> Predictor:
        """Return the grid predictor: `literal` regresses the class index in one channel, `per_class` has logits.

        `tower` is `per_class` with a 3x3 convolution of its own before it.
        """
        return GridPredictor(
            channels, 1 if task.predictor == "literal" else len(task.classes), tower=task.predictor == "tower"
        )

    def target(self, task: Task, example: Example, resized: npt.NDArray[np.uint8] | None) -> Target:
        """Return {"boxes": (n, 4) float32 xyxy in the resized frame, "labels": (n,) int64} without crowds."""
        found = shown(task, example).without_crowds()
        scale = np.float32(task.image_size) / np.tile(np.array(image_size(example.image), np.float32), 2)
        scaled, canvas = torch.from_numpy(found.xyxy * scale), (task.image_size, task.image_size)
        boxes = BoundingBoxes(scaled, format=BoundingBoxFormat.XYXY, canvas_size=canvas)
        return {"boxes": boxes, "labels": torch.from_numpy(found.labels.copy())}

    def loss(self, task: Task, output: Tensor, targets: Sequence[Target]) -> Tensor:
        """Return confidence + box + class loss, each a sum over the batch divided by how much is assigned in it."""
        settings, grid = task.settings, _cells(task, output)
        found, sure = decode_boxes(output, grid), output[:, CONFIDENCE].float()
        scores = self._scores(task, output.detach())
        parts = [assign(settings, *image, grid) for image in zip(targets, found.detach(), scores, strict=True)]
        boxes, labels, quality = (torch.stack(part) for part in zip(*parts, strict=True))
        assigned = (labels >= 0).float()
        weight = quality if settings.assignment == "task_aligned" else assigned
        if settings.confidence == "focal":
            confidence = sigmoid_focal_loss(sure, assigned, reduction="sum")
        else:
            confidence = quality_focal_loss(sure, quality)
        # Cells without a box are given their target, as CIoU has no gradient where a wild guess has no area.
        box = BOX_LOSSES[settings.box](torch.where((labels >= 0)[..., None], found, boxes), boxes)
        kinds_found = output[:, CONFIDENCE + 1 :].float()
        if task.predictor == "literal":
            wrong = F.smooth_l1_loss(kinds_found[:, 0], labels.float(), reduction="none")
        else:
            wrong = F.cross_entropy(
                kinds_found, labels, ignore_index=-1, reduction="none", label_smoothing=settings.label_smoothing
            )
        return total_loss(settings, confidence, box, wrong, weight)

    def _scores(self, task: Task, raw: Tensor) -> Tensor:
        """Return the score of every class in every cell, (B, N, classes), of raw outputs (B, channels, N).

        The literal predictor has one score for all classes, (B, N, 1).
        """
        sure = raw[:, CONFIDENCE].float().sigmoid()[..., None]
        return sure if task.predictor == "literal" else sure * raw[:, CONFIDENCE + 1 :].float().softmax(1).mT

    def distillation(self, task: Task, student: Tensor, teacher: Tensor, how: Distill) -> Tensor:
        """Return KL over classes + Bernoulli KL of the confidence + L1 of the boxes, a mean over cells.

        Boxes, and the regressed `class_id` of the literal predictor, weigh as much as the teacher is confident.
        """
        sure = teacher[:, CONFIDENCE].float().sigmoid()
        boxes = (sure * (student[:, :4] - teacher[:, :4]).float().abs().mean(1)).mean()
        confidence = bernoulli_kl(student[:, CONFIDENCE], teacher[:, CONFIDENCE], how)
        s, t = _classes(task, student), _classes(task, teacher)
        classes = (sure * (s - t).float().abs().mean(1)).mean() if task.predictor == "literal" else kl(s, t, how)
        return classes + confidence + boxes

    def imitation(self, task: Task, student: Tensor, teacher: Tensor) -> Tensor:
        """Return confidence + box + class loss as in `loss`, each cell assigned as the teacher is sure of it."""
        settings, sure = task.settings, teacher[:, CONFIDENCE].float().sigmoid()
        grid = _cells(task, student)
        if len(grid) != student.shape[-1]:
            # The images are another task's, which may have another size.
            grid = cells(side_of(student.shape[-1], task.levels), task.levels, settings.largest, student.device)
        confidence = quality_focal_loss(student[:, CONFIDENCE].float(), sure)
        box = BOX_LOSSES[settings.box](decode_boxes(student, grid), decode_boxes(teacher, grid))
        s, t = _classes(task, student).float(), _classes(task, teacher).float()
        if task.predictor == "literal":
            wrong = F.smooth_l1_loss(s[:, 0], t[:, 0], reduction="none")
        else:
            wrong = F.kl_div(s.log_softmax(1), t.log_softmax(1), log_target=True, reduction="none").sum(1)
        return total_loss(settings, confidence, box, wrong, sure)

    def decode_detections(self, task: Task, raw: Tensor, nms_iou: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes (n, 4) in the resized frame, scores (n,) and labels (n,) of one raw output (channels, N).

        nms_iou: in place of the task's own.
        """
        boxes = decode_boxes(raw[None], _cells(task, raw))[0].clamp(0, task.image_size)
        scores = self._scores(task, raw[None])[0]
        if task.predictor == "literal":
            labels = raw[CONFIDENCE + 1].float().round().long().clamp(0, len(task.classes) - 1)[:, None]
        else:
            labels = torch.arange(scores.shape[1], device=raw.device).expand_as(scores)
        kept = _candidates(task, scores)
        boxes, scores, labels = boxes[kept // scores.shape[1]], scores.flatten()[kept], labels.flatten()[kept]
        best = batched_nms(boxes, scores, labels, nms_iou or task.settings.nms_iou)[:KEPT]
        return boxes[best], scores[best], labels[best]

    def ideal(self, task: Task, example: Example) -> Tensor:
        """Return the raw output (channels, N) of a detector that makes no mistake but has one box a cell."""
        target = self.target(task, example, None)
        boxes, labels = target["boxes"].as_subclass(Tensor), target["labels"]
        grid = _cells(task, boxes)
        index = by_centre(boxes, grid, radius=0)
        raw = torch.zeros(5 + (1 if task.predictor == "literal" else len(task.classes)), len(grid))
        raw[CONFIDENCE] = torch.where(index >= 0, 50.0, -50.0)
        if len(boxes):
            owned = index >= 0
            raw[:4] = torch.where(owned, encode_boxes(boxes[index.clamp(min=0)], grid), 0.0)
            wanted = labels[index.clamp(min=0)]
            if task.predictor == "literal":
                raw[CONFIDENCE + 1] = wanted
            else:
                raw[CONFIDENCE + 1 + wanted, torch.arange(len(grid))] = 50.0
        return raw

    def metric(self, task: Task, val: Split) -> DetectionMetric:
        """Return an empty COCO AP over `val`."""
        return DetectionMetric(task, val, self.decode_detections)

    def notes(self, task: Task, val: Split) -> Mapping[str, float]:
        """Return the AP50 that one box a cell allows on the task's grid."""
        ap, sizes = average_precision(task, val)
        for index, (example, (width, height)) in enumerate(zip(val.examples, sizes, strict=True)):
            boxes, scores, labels = self.decode_detections(task, self.ideal(task, example), nms_iou=1.0)
            scale = np.array([width, height, width, height]) / task.image_size
            ap.update(index, boxes.numpy() * scale, scores.numpy(), labels.numpy())
        sides = [-(-task.image_size // stride) for stride in task.levels]
        grids = "+".join(f"{side}x{side}" for side in sides)
        return {f"AP50 ceiling of the {grids} grid": ap.compute()["AP50"]}

    def trivial(self, task: Task, train: Split, val: Split) -> float:
        """Return the AP50 of putting the mean box of the commonest class of `train` into every image."""
        commonest = max(task.labels, key=self.count(train).__getitem__)
        shares = []
        for example in train.examples:
            boxes = example.target.without_crowds()
            shares.append(boxes.xyxy[boxes.labels == commonest] / np.tile(image_size(example.image), 2))
        mean = np.concatenate(shares).mean(0, keepdims=True)
        ap, sizes = average_precision(task, val)
        for index, size in enumerate(sizes):
            ap.update(index, mean * np.tile(size, 2), np.ones(1), np.array([commonest]))
        return ap.compute()["AP50"]

    def predicted(self, arrays: Mapping[str, npt.NDArray[Any]], index: int) -> Boxes:
        """Return the detections that are surer than `SHOWN`."""
        mine = (arrays["image"] == index) & (arrays["score"] >= SHOWN)
        return Boxes(arrays["box"][mine], arrays["label"][mine].astype(np.int64), np.zeros(mine.sum(), bool))

    def answer(self, task: Task, output: Tensor, size: tuple[int, int]) -> tuple[Boxes, Any]:
        """Return the detections that are surer than `SHOWN`, and a list of {"class", "score", "box"} of them.

        A box is left, top, right, bottom in pixels of the image.
        """
        boxes, scores, labels = (part.numpy() for part in self.decode_detections(task, output[0]))
        sure = scores >= SHOWN
        scale = np.tile(np.array(size, np.float32), 2) / np.float32(task.image_size)
        scaled = (boxes * scale)[sure]
        found = Boxes(scaled, labels[sure], np.zeros(sure.sum(), bool))
        rows = zip(labels[sure].tolist(), scores[sure].tolist(), scaled.tolist(), strict=True)
        return found, [{"class": task.classes[label], "score": score, "box": box} for label, score, box in rows]

    def prediction(self, found: Any, plain: Any, classes: tuple[str, ...]) -> Detections:
        """Return the boxes with the names and scores of their classes."""
        labels = tuple(classes[label] for label in found.labels)
        return Detections(found.xyxy, labels, np.array([row["score"] for row in plain], np.float32))

    def check(self, example: Example, classes: tuple[str, ...]) -> None:
        """Raise UserError where a box is not finite, has no area or lies outside the image."""
        boxes, (width, height) = example.target.xyxy, image_size(example.image)
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

    def weakness(self, task: Task, counts: Sequence[int]) -> str:
        """Return which classes have few true boxes."""
        return rare_classes([task.classes[label] for label in task.labels], [counts[label] for label in task.labels])

    def as_drawn(self, target: Target, left_out: Target | None = None) -> Boxes:
        """Return the boxes, in pixels of the resized image, and what is left out of them as crowds."""
        parts = [target] if left_out is None else [target, left_out]
        boxes, labels = (np.concatenate([part[name].numpy() for part in parts]) for name in ("boxes", "labels"))
        return Boxes(boxes, labels, np.arange(len(labels)) >= len(target["labels"]))

    def left_out(self, example: Example) -> Example:
        """Return `example` with its crowds alone, as if they were none."""
        boxes = example.target
        labels = boxes.labels[boxes.crowd]
        return replace(example, target=Boxes(boxes.xyxy[boxes.crowd], labels, np.zeros(len(labels), bool)))

    def draw(self, image: Image.Image, target: Any, classes: tuple[str, ...]) -> Image.Image:
        """Draw Boxes with their class names; a crowd says so."""
        assert isinstance(target, Boxes)
        drawn = image.convert("RGB")
        for (left, top, _, _), label, crowd in zip(target.xyxy, target.labels, target.crowd, strict=True):
            write_label(drawn, (left, top), f"{classes[label]} (crowd)" if crowd else classes[label], "lb")
        if not len(target.xyxy):
            return drawn
        # After the names, which must hide no box.
        pixels, width = torch.from_numpy(np.array(drawn)).permute(2, 0, 1), max(2, round(max(image.size) / 100))
        pixels = draw_bounding_boxes(pixels, torch.from_numpy(target.xyxy), colors="yellow", width=width)
        return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def _classes(task: Task, raw: Tensor) -> Tensor:
    """Return the class channels of raw outputs (B, channels, N): of the classes that the task learns, or the one."""
    channels = raw[:, CONFIDENCE + 1 :]
    return channels if task.predictor == "literal" else select_classes(channels, task.labels)


def _candidates(task: Task, scores: Tensor) -> Tensor:
    """Return the indices, into the flattened scores (N, classes), of each level's best that are good enough."""
    levels = scores.split([(-(-task.image_size // stride)) ** 2 for stride in task.levels])
    tops = [level.flatten().topk(min(CANDIDATES, level.numel())) for level in levels]
    starts = accumulate((level.numel() for level in levels), initial=0)
    kept = [start + top.indices[top.values > MIN_SCORE] for start, top in zip(starts, tops, strict=False)]
    return torch.cat(kept)


def _cells(task: Task, like: Tensor) -> Cells:
    return cells(task.image_size, task.levels, task.settings.largest, like.device)
