"""Two teachers: besides whoever holds the past, a single-task expert shows the student the task at hand."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.model import UnifiedModel
from cl_bench.registry import strategy
from cl_bench.training import Harness


class ExpertDistillation(SupervisedPlugin):
    """Adds weight * the kind's imitation loss of the task's own baseline, on every image of the step.

    What is held back by the past learns slowly from few labels; the expert, which nothing held back, says more of each
    image than they do, and says it of the stored images of other tasks, too. It is the baseline that every experiment
    trains anyway, but its training is counted as this strategy's.
    """

    acts_from = 2
    follows_expert = True

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.expert: UnifiedModel | None = None

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Have the expert."""
        self.expert = strategy.expert()

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        """Add the term to the loss."""
        if self.expert is None:
            return
        task = strategy.current[0].task
        total = sum(len(images) for images, _ in strategy.passes)
        for (images, features), shown in zip(strategy.passes, strategy.features_by(self.expert), strict=True):
            with strategy.autocast():
                output = strategy.model.raw(features, task)
                with torch.no_grad():
                    wanted = self.expert.raw(shown, task)
            strategy.loss += self.weight * len(images) / total * task.kind.imitation(task, output, wanted)


@strategy(
    "expert_kd",
    summary="follow the single-task baseline of the task at hand, too",
    paper="arXiv:1903.07864",
    neutral={"weight": 0.0},
)
def expert_kd(weight: Annotated[float, Field(ge=0)] = 1.0) -> list[SupervisedPlugin]:
    """Return the imitation of the expert, which counts `weight` times."""
    return [ExpertDistillation(weight)]
