"""Feature distillation: the student's shared features stay close to its parent's on the images of the step."""

from __future__ import annotations

from typing import Annotated

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.model.unified import Features
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.kd import Distillation
from cl_bench.training.harness import Harness


class FeatureDistillation(Distillation):
    """Adds weight * the relative squared distance of student's and teacher's features, a mean over levels.

    The levels are those that feed a past task; relative: divided by the mean square of the teacher's features.
    """

    reaches_predictors = False

    def term(self, strategy: Harness, features: Features, taught: Features) -> torch.Tensor:
        """Return the mean over levels of the distance; 0 where student and teacher agree."""
        levels = sorted({level for task in strategy.past_tasks for level in task.levels})
        with strategy.autocast():
            pairs = [(features[level].float(), taught[level].float()) for level in levels]
        return torch.stack([self.of_level(student, teacher) for student, teacher in pairs]).mean()

    def of_level(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the distance of a level's features (B, C, h, w)."""
        return (student - teacher).square().mean() / teacher.square().mean().clamp(min=1e-12)


@strategy(
    "feature_kd",
    summary="keep the shared features close to the parent's (own: relative squares; FitNets' are plain)",
    paper="arXiv:1412.6550",
    neutral={"weight": 0.0},
)
def feature_kd(weight: Annotated[float, Field(ge=0)] = 1.0) -> list[SupervisedPlugin]:
    """Return the distance of the features, which counts `weight` times."""
    return [FeatureDistillation(weight)]
