"""Knowledge distillation: the student follows its parent's outputs for the tasks the parent had learnt."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.kinds.base import Distill, Task
from cl_bench.model.unified import Features, UnifiedModel
from cl_bench.plugins.registry import strategy
from cl_bench.training.harness import Harness


class Distillation(SupervisedPlugin):
    """Adds weight * (sum over past tasks of the kind's distillation loss) on every image of the step.

    The teacher is the model as it was when the stage began: frozen, in eval mode, run once a step whatever the number
    of past tasks; the student's features are those of its own forward pass. Other ways to follow the teacher inherit
    from it and have a `term` of their own. how: KL(student || teacher) where it is not given, not `kd`'s direction.
    """

    acts_from = 2
    reaches_predictors = True
    """Whether the term depends on the past tasks' predictors, which learn along then."""

    def __init__(self, weight: float = 1.0, how: Distill | None = None) -> None:
        super().__init__()
        self.weight = weight
        self.teacher: UnifiedModel | None = None
        self.how = how or Distill()

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Have the teacher frozen before the model moves."""
        self.teacher = strategy.teacher

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        """Add the term to the loss."""
        for term in self.terms(strategy):
            strategy.loss += term

    def terms(self, strategy: Harness) -> list[Tensor]:
        """Return what each of the step's passes adds to the loss; nothing in a run's first stage."""
        if self.teacher is None:
            return []
        if self.weight:
            strategy.activate(strategy.past_tasks, predictors=self.reaches_predictors)
        total = sum(len(images) for images, _ in strategy.passes)
        return [
            self.weight * len(images) / total * self.term(strategy, features, taught)
            for (images, features), taught in zip(strategy.passes, self.taught(strategy), strict=True)
        ]

    def taught(self, strategy: Harness) -> list[Features]:
        """Return the teacher's features of each of the step's passes."""
        return strategy.teacher_features()

    def term(self, strategy: Harness, features: Features, taught: Features) -> Tensor:
        """Return the sum of the past tasks' distillation losses, given the student's and the teacher's features."""
        assert self.teacher is not None
        losses = []
        for task in strategy.past_tasks:
            with strategy.autocast():
                output = strategy.model.raw(features, task)
                with torch.no_grad():
                    wanted = self.teacher.raw(taught, task)
            losses.append(self.distance(task, output, wanted))
        return torch.stack(losses).sum()

    def distance(self, task: Task, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of one past task's raw outputs (B, ...); 0 where they are equal."""
        return task.kind.distillation(task, student, teacher, self.how)


@strategy(
    "kd",
    summary="distil the parent's outputs for past tasks on the current images",
    paper="arXiv:1503.02531, arXiv:1606.09282",
    neutral={"weight": 0.0},
)
def kd(
    weight: Annotated[float, Field(ge=0)] = 0.3,
    temperature: Annotated[float, Field(gt=0)] = 2.0,
    direction: Literal["teacher_student", "student_teacher"] = "teacher_student",
) -> list[SupervisedPlugin]:
    """Return the distillation term, T^2 included.

    direction: KL(teacher || student) as in the papers, or KL(student || teacher) as the literal protocol has it.
    """
    return [Distillation(weight, Distill(temperature, direction))]
