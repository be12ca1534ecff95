"""COCO AP of one task's detections, and what is true of its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cl_bench.data.base import Boxes, Example, Split
from cl_bench.data.images import image_size
from cl_bench.kinds.base import Task
from cl_bench.metrics.average_precision import AveragePrecision

Decode = Callable[[Task, Tensor], tuple[Tensor, Tensor, Tensor]]


class DetectionMetric:
    """COCO AP in the original frame; decode: returns boxes, scores and labels of one image's raw output."""

    def __init__(self, task: Task, split: Split, decode: Decode) -> None:
        self._task, self._decode = task, decode
        self._ap, self._sizes = average_precision(task, split)

    def update(self, output: Tensor, indices: Sequence[int]) -> None:
        """Take raw outputs (B, channels, N) of the examples at `indices`."""
        for raw, index in zip(output, indices, strict=True):
            boxes, scores, labels = self._decode(self._task, raw)
            width, height = self._sizes[index]
            scale = boxes.new_tensor([width, height, width, height]) / self._task.image_size
            self._ap.update(index, (boxes * scale).cpu().numpy(), scores.cpu().numpy(), labels.cpu().numpy())

    def compute(self) -> dict[str, float]:
        """Return {"AP50", "AP"}, each in 0..1."""
        return self._ap.compute()

    def per_class(self) -> npt.NDArray[np.float64]:
        """Return each class' AP50 (classes,)."""
        return self._ap.per_class()

    def resampled(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the AP50 of each resample."""
        return self._ap.resampled(weights)

    def expected_excess(self) -> float:
        """Return by how much the AP50 of so few images is expected to exceed that of many."""
        return self._ap.expected_excess()

    def per_image(self) -> dict[str, npt.NDArray[Any]]:
        """Return the detections as flat arrays (see AveragePrecision)."""
        return self._ap.per_image()


def average_precision(task: Task, split: Split) -> tuple[AveragePrecision, list[tuple[int, int]]]:
    """Return an empty AP over the boxes that `task` learns, and the sizes of the images."""
    sizes = [image_size(example.image) for example in split.examples]
    return AveragePrecision(task.classes, [shown(task, example) for example in split.examples], sizes), sizes


def shown(task: Task, example: Example) -> Boxes:
    """Return the boxes of the classes that the task learns."""
    boxes: Boxes = example.target
    kept = np.isin(boxes.labels, task.labels)
    return boxes if kept.all() else Boxes(boxes.xyxy[kept], boxes.labels[kept], boxes.crowd[kept])
