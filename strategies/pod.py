"""Pooled features: sums of the shared features over rows and over columns stay as they were (PODNet, spatial)."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.model import Features
from cl_bench.registry import strategy
from cl_bench.strategies.feature_kd import FeatureDistillation
from cl_bench.training import Harness


class PooledDistillation(FeatureDistillation):
    """Adds weight * the distance of student's and teacher's pooled features, a mean over images and levels.

    Pooled: squared, summed over the height and over the width, both put together and brought to length 1. Where
    something is may shift along one axis; what there is may not change.
    """

    def term(self, strategy: Harness, features: Features, taught: Features) -> Tensor:
        """Return the mean distance, 0..2; 0 where student and teacher agree."""
        distances = []
        for level in sorted({level for task in strategy.past_tasks for level in task.levels}):
            with strategy.autocast():
                student, teacher = pooled(features[level].float()), pooled(taught[level].float())
            # Not the root itself, whose slope at 0, where every stage begins, is not finite.
            distances.append(((student - teacher).square().sum(1) + 1e-12).sqrt().mean() - 1e-6)
        return torch.stack(distances).mean()


def pooled(features: Tensor) -> Tensor:
    """Return (B, C * (h + w)), each of length 1, of features (B, C, h, w)."""
    squares = features.square()
    return F.normalize(torch.cat([squares.sum(2).flatten(1), squares.sum(3).flatten(1)], 1), dim=1)


@strategy(
    "pod",
    summary="keep sums of the shared features over rows and columns (PODNet)",
    paper="arXiv:2004.13513",
    neutral={"weight": 0.0},
)
def pod(weight: Annotated[float, Field(ge=0)] = 1.0) -> list[SupervisedPlugin]:
    """Return the distance of the pooled features, which counts `weight` times."""
    return [PooledDistillation(weight)]
