"""More teachers: besides the parent, who holds the past, single-task experts show the student what they know."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.kinds.base import Task
from cl_bench.model.unified import UnifiedModel
from cl_bench.plugins.registry import strategy
from cl_bench.training.harness import Harness


class ExpertDistillation(SupervisedPlugin):
    """Adds weight * the kind's imitation loss of the task's own baseline, on every image of the step.

    What is held back by the past learns slowly from few labels; the expert, which nothing held back, says more of each
    image than they do, and says it of the stored images of other tasks, too. It is the baseline that every experiment
    trains anyway, but its training is counted as this strategy's. past: the weight of imitating the past tasks' own
    baselines: what an earlier stage lost or did not learn, which no parent can teach, is still learnt in a later one.
    """

    acts_from = 2

    def __init__(self, weight: float, past: float = 0.0) -> None:
        super().__init__()
        self.weight, self.past = weight, past
        self.follows_expert, self.follows_past_experts = weight > 0, past > 0
        self.experts: list[tuple[float, Task, UnifiedModel]] = []

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Have the experts."""
        followed = [(self.weight, strategy.current[0].task), *((self.past, task) for task in strategy.past_tasks)]
        found = ((weight, task, strategy.expert(task)) for weight, task in followed if weight)
        self.experts = [(weight, task, expert) for weight, task, expert in found if expert is not None]

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        """Add the terms to the loss."""
        strategy.activate([task for _, task, _ in self.experts])
        total = sum(len(images) for images, _ in strategy.passes)
        for weight, task, expert in self.experts:
            for (images, features), shown in zip(strategy.passes, strategy.features_by(expert), strict=True):
                with strategy.autocast():
                    output = strategy.model.raw(features, task)
                    with torch.no_grad():
                        wanted = expert.raw(shown, task)
                strategy.loss += weight * len(images) / total * task.kind.imitation(task, output, wanted)


@strategy(
    "expert_kd",
    summary="follow the single-task baseline of the task at hand, too, and those of past tasks",
    paper="arXiv:1903.07864",
    neutral={"weight": 0.0, "past": 0.0},
)
def expert_kd(
    weight: Annotated[float, Field(ge=0)] = 1.0, past: Annotated[float, Field(ge=0)] = 0.0
) -> list[SupervisedPlugin]:
    """Return the imitation of the experts: the task's own counts `weight` times, each past task's `past` times."""
    return [ExpertDistillation(weight, past)]
