"""Keypoints: where in the image each of a fixed number of named points lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from pydantic import Field
from torch import Tensor, nn
from torchvision.tv_tensors import KeyPoints

from cl_bench.data.base import Example, Split
from cl_bench.data.images import image_size
from cl_bench.errors import UserError
from cl_bench.kinds.base import Distill, Kind, Predictor, Settings, Target, Task
from cl_bench.kinds.divergence import kl
from cl_bench.plugins.registry import kinds

NEAR = (0.1, 0.05)
"""A point is found within this share of the image's longer side."""
Points = npt.NDArray[np.float64]


class HeatmapPredictor(Predictor):
    """A 1x1 convolution to a heatmap a point, at its finest level."""

    def __init__(self, channels: int, points: int) -> None:
        super().__init__()
        self.heat = nn.Conv2d(channels, points, 1)

    def forward(self, *levels: Tensor) -> Tensor:
        """Return logits (B, points, h, w)."""
        return self.heat(levels[0])


class KeypointMetric:
    """PCK: the share of points that are found near enough, in the original frame."""

    def __init__(self, split: Split) -> None:
        self._truth = np.array([example.target for example in split.examples], np.float64)
        self._sizes = np.array([image_size(example.image) for example in split.examples], np.float64)
        self._found = np.full(self._truth.shape, np.nan)

    def update(self, output: Tensor, indices: Sequence[int]) -> None:
        """Take heatmaps (B, points, h, w) of the examples at `indices`."""
        self.place(indices, located(output).cpu().numpy())

    def place(self, indices: Sequence[int], points: Points) -> None:
        """Take points (B, points, 2), x and y in 0..1 of the image, of the examples at `indices`."""
        where = np.asarray(indices, np.int64)
        self._found[where] = points * self._sizes[where, None]

    def _hits(self, near: float) -> npt.NDArray[np.bool_]:
        if np.isnan(self._found).any():
            raise UserError(f"PCK lacks {int(np.isnan(self._found).any((1, 2)).sum())} of {len(self._found)} images")
        distance = np.linalg.norm(self._found - self._truth, axis=2)
        return distance <= near * self._sizes.max(1, keepdims=True)

    def compute(self) -> dict[str, float]:
        """Return {"PCK@0.1", "PCK@0.05"}, each in 0..1."""
        return {f"PCK@{near}": float(self._hits(near).mean()) for near in NEAR}

    def per_class(self) -> npt.NDArray[np.float64]:
        """Return the PCK of each point (points,)."""
        return self._hits(NEAR[0]).mean(0)

    def resampled(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the PCK of each resample."""
        return weights @ self._hits(NEAR[0]).mean(1) / weights.sum(1)

    def per_image(self) -> dict[str, npt.NDArray[Any]]:
        """Return points (images, points, 2): x and y in the image's own pixels."""
        return {"points": self._found.astype(np.float32)}


class KeypointSettings(Settings):
    """spread: the standard deviation, in cells, of the Gaussian that a heatmap is to be."""

    spread: float = Field(1.0, gt=0, allow_inf_nan=False)


@kinds.register
class Keypoints(Kind):
    """Cross-entropy of heatmaps towards Gaussians, KL over their cells, PCK of their expectation (arXiv:1711.08229)."""

    name = "keypoints"
    metrics = tuple(f"PCK@{near}" for near in NEAR)
    predictors = ("heatmap",)
    levels = (8,)
    whole_image = True
    Settings = KeypointSettings

    def predictor(self, task: Task, channels: int) -> Predictor:
        """Return the heatmap predictor."""
        return HeatmapPredictor(channels, len(task.classes))

    def target(self, task: Task, example: Example, resized: npt.NDArray[np.uint8] | None) -> Target:
        """Return {"points": (n, 2) float32} in the resized frame."""
        scale = task.image_size / np.array(image_size(example.image))
        points = torch.from_numpy((np.array(example.target) * scale).astype(np.float32))
        return {"points": KeyPoints(points, canvas_size=(task.image_size, task.image_size))}

    def loss(self, task: Task, output: Tensor, targets: Sequence[Target]) -> Tensor:
        """Return the cross-entropy, a mean over the points that lie in the image (0 where none does)."""
        points = torch.stack([target["points"] for target in targets]) / task.image_size
        inside = ((points >= 0) & (points < 1)).all(2).float()
        wanted = gaussians(points, output.shape[-2:], task.settings.spread)
        entropy = -(wanted * output.float().flatten(2).log_softmax(2)).sum(2)
        return (entropy * inside).sum() / inside.sum().clamp(min=1)

    def distillation(self, task: Task, student: Tensor, teacher: Tensor, how: Distill) -> Tensor:
        """Return the KL over a heatmap's cells, a mean over points."""
        return kl(student.flatten(2).mT, teacher.flatten(2).mT, how)

    def metric(self, task: Task, val: Split) -> KeypointMetric:
        """Return an empty PCK over `val`."""
        return KeypointMetric(val)

    def trivial(self, task: Task, train: Split, val: Split) -> float:
        """Return the PCK of putting every point where it is in `train` on average."""
        mean = np.mean([np.array(example.target) / image_size(example.image) for example in train.examples], axis=0)
        metric = KeypointMetric(val)
        metric.place(range(len(val.examples)), np.broadcast_to(mean, (len(val.examples), *mean.shape)))
        return metric.compute()[self.metrics[0]]

    def predicted(self, arrays: Mapping[str, npt.NDArray[Any]], index: int) -> Any:
        """Return the points."""
        return arrays["points"][index]

    def answer(self, task: Task, output: Tensor, size: tuple[int, int]) -> tuple[Points, Any]:
        """Return the points and {name: [x, y]} of them, in pixels of the image."""
        points = located(output)[0].numpy().astype(np.float64) * size
        return points, dict(zip(task.classes, points.tolist(), strict=True))

    def check(self, example: Example, classes: tuple[str, ...]) -> None:
        """Raise UserError where the points are not as many as the classes, not finite, or outside the image."""
        points, size = np.array(example.target, np.float64), image_size(example.image)
        if points.shape != (len(classes), 2):
            raise UserError(f"image {example.image}: {len(classes)} points of x and y are due, not {points.shape}")
        if not ((points >= 0) & (points <= size)).all():
            raise UserError(f"image {example.image}: a point is not finite or outside the {size[0]}x{size[1]} image")

    def count(self, split: Split) -> npt.NDArray[np.int64]:
        """Return the images that show each point: all."""
        return np.full(len(split.classes), len(split.examples), np.int64)

    def as_drawn(self, target: Target, left_out: Target | None = None) -> Any:
        """Return the points (n, 2)."""
        return target["points"].tolist()

    def draw(self, image: Image.Image, target: Any, classes: tuple[str, ...]) -> Image.Image:
        """Draw the points, joined in their order."""
        drawn = image.convert("RGB")
        pen, points = ImageDraw.Draw(drawn), [(float(x), float(y)) for x, y in target]
        pen.line([*points, points[0]], fill="yellow", width=2)
        for (x, y), colour in zip(points, ("red", "lime", "cyan", "magenta") * len(points), strict=False):
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour, outline="black")
        return drawn


def located(heat: Tensor) -> Tensor:
    """Return the expectation of heatmaps (B, points, h, w): x and y, each in 0..1, (B, points, 2)."""
    height, width = heat.shape[-2:]
    chance = heat.float().flatten(2).softmax(2).view(heat.shape)
    x = (torch.arange(width, device=heat.device) + 0.5) / width
    y = (torch.arange(height, device=heat.device) + 0.5) / height
    return torch.stack([(chance.sum(2) * x).sum(2), (chance.sum(3) * y).sum(2)], 2)


def gaussians(points: Tensor, shape: Sequence[int], spread: float) -> Tensor:
    """Return a distribution over the h * w cells of `shape` around each of `points` (B, points, 2), in 0..1."""
    height, width = shape
    x = torch.arange(width, device=points.device) + 0.5 - points[..., :1] * width
    y = torch.arange(height, device=points.device) + 0.5 - points[..., 1:] * height
    return (-(x[..., None, :] ** 2 + y[..., :, None] ** 2) / (2 * spread**2)).flatten(2).softmax(2)
