"""Pooled features: sums of the shared features over rows and over columns stay as they were (PODNet's spatial term)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.kinds.base import Task
from cl_bench.model.unified import Features
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.feature_kd import FeatureDistillation
from cl_bench.training.harness import Harness


class PooledDistillation(FeatureDistillation):
    """Adds weight * the distance of student's and teacher's pooled features, a mean over images and levels.

    Pooled: squared, summed over the height and over the width, both put together and brought to length 1. Where
    something is may shift along one axis; what there is may not change. adaptive: weighs it by the root of (all
    classes seen, the stage's included) / (the stage's new ones). The paper takes the mean over the outputs of the
    backbone's residual stages, and holds the vector that its classifier sees, too (POD-flat, weight 1 or 10).
    """

    def __init__(self, weight: float, adaptive: bool = False) -> None:
        super().__init__(weight)
        self.adaptive = adaptive
        self._factor = 1.0

    def before_training_exp(self, strategy: Harness, **more: Any) -> None:
        """Have the teacher frozen, and count the classes."""
        super().before_training_exp(strategy, **more)
        past = _classes(strategy.past_tasks)
        new = _classes([dataset.task for dataset in strategy.current]) - past
        self._factor = math.sqrt(len(past | new) / max(len(new), 1)) if self.adaptive else 1.0

    def term(self, strategy: Harness, features: Features, taught: Features) -> Tensor:
        """Return the mean distance, 0..2, times the factor; 0 where student and teacher agree."""
        return self._factor * super().term(strategy, features, taught)

    def of_level(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean distance of a level's pooled features."""
        # Not the root itself, whose slope at 0, where every stage begins, is not finite.
        return ((pooled(student) - pooled(teacher)).square().sum(1) + 1e-12).sqrt().mean() - 1e-6


def _classes(tasks: Sequence[Task]) -> set[tuple[str, int]]:
    return {(task.owner, label) for task in tasks for label in task.labels}


def pooled(features: Tensor) -> Tensor:
    """Return (B, C * (h + w)), each of length 1, of features (B, C, h, w)."""
    squares = features.square()
    return F.normalize(torch.cat([squares.sum(2).flatten(1), squares.sum(3).flatten(1)], 1), dim=1)


@strategy(
    "pod",
    summary="keep sums of the shared features over rows and columns (PODNet's spatial term, of past tasks' levels in"
    " place of the residual stages; no POD-flat)",
    paper="arXiv:2004.13513",
    neutral={"weight": 0.0},
    added={"adaptive": False},
)
def pod(weight: Annotated[float, Field(ge=0)] = 10.0, adaptive: bool = True) -> list[SupervisedPlugin]:
    """Return the distance of the pooled features.

    weight: the paper's lambda_c, there 3 for CIFAR-100 and 8 for ImageNet; adaptive: times the root of (all classes /
    new ones), as published.
    """
    return [PooledDistillation(weight, adaptive)]
