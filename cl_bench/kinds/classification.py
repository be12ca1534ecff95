"""Image classification: one class an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from cl_bench.data.base import Example, Split
from cl_bench.kinds.base import Distill, Kind, Predictor, Settings, Target, Task, select_classes
from cl_bench.kinds.divergence import kl
from cl_bench.kinds.drawing import write_label
from cl_bench.kinds.prediction import Label
from cl_bench.metrics.rarity import rare_classes
from cl_bench.metrics.top_k import TopK
from cl_bench.plugins.registry import kinds

FEW = 3
"""A class with fewer scored images than this is named: one image decides half or all of its accuracy."""


class PooledPredictor(Predictor):
    """Global average pooling and one linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.logits = nn.Linear(channels, classes)

    def forward(self, *levels: Tensor) -> Tensor:
        """Return logits (B, classes) of the mean over the levels."""
        return self.logits(torch.stack([features.mean((2, 3)) for features in levels]).mean(0))


class ClassificationMetric:
    """Top-1 and Top-5."""

    def __init__(self, classes: int, split: Split) -> None:
        self._labels = np.array([example.target for example in split.examples], np.int64)
        self._top = TopK(len(split.examples), classes)

    def update(self, output: Tensor, indices: Sequence[int]) -> None:
        """Take logits (B, classes) of the examples at `indices`."""
        where = np.asarray(indices, np.int64)
        self._top.update(where, output.float().cpu().numpy(), self._labels[where])

    def compute(self) -> dict[str, float]:
        """Return {"Top-1", "Top-5"}, each in 0..1."""
        return self._top.compute()

    def per_class(self) -> npt.NDArray[np.float64]:
        """Return the Top-1 of each class' images (classes,)."""
        return self._top.per_class()

    def resampled(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the Top-1 of each resample."""
        return self._top.resampled(weights)

    def per_image(self) -> dict[str, npt.NDArray[Any]]:
        """Return logits (images, classes) float32."""
        return self._top.per_image()


class ClassificationSettings(Settings):
    """label_smoothing: the share of the target spread over all classes (arXiv:1512.00567)."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)


@kinds.register
class Classification(Kind):
    """Cross-entropy, KL over classes, Top-1 and Top-5."""

    name = "classification"
    metrics = ("Top-1", "Top-5")
    predictors = ("linear",)
    levels = (32,)
    whole_image = True
    learns_parts = True
    Settings = ClassificationSettings

    def predictor(self, task: Task, channels: int) -> Predictor:
        """Return the pooled predictor."""
        return PooledPredictor(channels, len(task.classes))

    def target(self, task: Task, example: Example, resized: npt.NDArray[np.uint8] | None) -> Target:
        """Return {"label": () int64}."""
        return {"label": torch.tensor(int(example.target))}

    def loss(self, task: Task, output: Tensor, targets: Sequence[Target]) -> Tensor:
        """Return the cross-entropy, a mean over images."""
        labels = torch.stack([target["label"] for target in targets])
        return F.cross_entropy(output.float(), labels, label_smoothing=task.settings.label_smoothing)

    def distillation(self, task: Task, student: Tensor, teacher: Tensor, how: Distill) -> Tensor:
        """Return the KL over the classes that the task learns, a mean over images."""
        return kl(select_classes(student, task.labels), select_classes(teacher, task.labels), how)

    def metric(self, task: Task, val: Split) -> ClassificationMetric:
        """Return an empty Top-k over `val`."""
        return ClassificationMetric(len(task.classes), val)

    def trivial(self, task: Task, train: Split, val: Split) -> float:
        """Return the accuracy of always naming the commonest class of `train`."""
        commonest = int(self.count(train).argmax())
        return float(np.mean([example.target == commonest for example in val.examples]))

    def predicted(self, arrays: Mapping[str, npt.NDArray[Any]], index: int) -> int:
        """Return the class with the largest logit."""
        return int(arrays["logits"][index].argmax())

    def answer(self, task: Task, output: Tensor, size: tuple[int, int]) -> tuple[int, Any]:
        """Return the likeliest class and {"class", "scores": of the five likeliest, in 0..1}."""
        scores = output[0].float().softmax(0)
        best = scores.topk(min(5, len(scores)))
        likeliest = {
            task.classes[i]: value for i, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        }
        return int(best.indices[0]), {"class": next(iter(likeliest)), "scores": likeliest}

    def prediction(self, found: Any, plain: Any, classes: tuple[str, ...]) -> Label:
        """Return the likeliest class with the scores."""
        return Label(classes[found], plain["scores"])

    def check(self, example: Example, classes: tuple[str, ...]) -> None:
        """Accept everything: a folder's class is valid by construction."""

    def count(self, split: Split) -> npt.NDArray[np.int64]:
        """Return the images of each class."""
        return np.bincount([example.target for example in split.examples], minlength=len(split.classes))

    def weakness(self, task: Task, counts: Sequence[int]) -> str:
        """Return which classes have one or two images."""
        names, images = [task.classes[label] for label in task.labels], [counts[label] for label in task.labels]
        return rare_classes(names, images, FEW, "Top-1 of a class hangs on one or two images")

    def as_drawn(self, target: Target, left_out: Target | None = None) -> int:
        """Return the class."""
        return int(target["label"])

    def draw(self, image: Image.Image, target: Any, classes: tuple[str, ...]) -> Image.Image:
        """Write the class name into the upper left corner."""
        drawn = image.convert("RGB")
        write_label(drawn, (0, 0), classes[int(target)])
        return drawn
