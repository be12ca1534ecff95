"""Knowledge distillation: the student follows its parent's outputs for the tasks the parent had learnt."""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.kinds.base import Distill
from cl_bench.model import UnifiedModel
from cl_bench.registry import strategy
from cl_bench.training import Harness


class Distillation(SupervisedPlugin):
    """Adds weight * (sum over past tasks of the kind's distillation loss) on every image of the step.

    The teacher is the model as it was when the stage began: frozen, in eval mode, run once a step whatever the number
    of past tasks; the student's features are those of its own forward pass.
    """

    acts_from = 2

    def __init__(self, weight: float = 1.0, how: Distill | None = None) -> None:
        super().__init__()
        self.weight = weight
        self.how = how or Distill()
        self.teacher: UnifiedModel | None = None

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Freeze a copy of the model as the teacher, where it has learnt anything."""
        self.teacher = None
        if strategy.past:
            self.teacher = copy.deepcopy(strategy.model).eval().requires_grad_(False)

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        """Add the term to the loss."""
        if self.teacher is None:
            return
        if self.weight:
            strategy.activate(strategy.past_tasks)
        total = sum(len(images) for images, _ in strategy.passes)
        for images, features in strategy.passes:
            strategy.loss += self.weight * len(images) / total * self._term(strategy, images, features)

    def _term(self, strategy: Harness, images: torch.Tensor, features: Any) -> torch.Tensor:
        assert self.teacher is not None
        with torch.no_grad(), strategy.autocast():
            taught = self.teacher.features(images)
            wanted = [self.teacher.raw(taught, task) for task in strategy.past_tasks]
        term = torch.zeros((), device=images.device)
        for task, target in zip(strategy.past_tasks, wanted, strict=True):
            with strategy.autocast():
                output = strategy.model.raw(features, task)
            term = term + task.kind.distillation(task, output, target, self.how)
        return term


@strategy(
    "kd",
    summary="distil the parent's outputs for past tasks on the current images",
    paper="arXiv:1503.02531, arXiv:1606.09282",
    neutral={"weight": 0.0},
)
def kd(
    weight: Annotated[float, Field(ge=0)] = 1.0,
    temperature: Annotated[float, Field(gt=0)] = 2.0,
    direction: Literal["student_teacher", "teacher_student"] = "student_teacher",
) -> list[SupervisedPlugin]:
    """Return the distillation term; direction: KL(student || teacher) or KL(teacher || student)."""
    return [Distillation(weight, Distill(temperature, direction))]
