"""A teacher that follows its student slowly: distillation towards the moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.kinds.base import Distill
from cl_bench.model.unified import Features, frozen_copy
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.kd import Distillation
from cl_bench.training.harness import Harness


class SlowTeacher(Distillation):
    """Distillation whose teacher starts as the parent and moves (1 - decay) of the way to the student each step.

    It knows the tasks to come a little, and the past ones a little less each step. It is the semantic memory of CLS-ER,
    which has two, moves them at some steps only, and compares logits of stored images by their squares.
    """

    def __init__(self, weight: float, decay: float, how: Distill) -> None:
        super().__init__(weight, how)
        self.decay = decay

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Start from the parent."""
        self.teacher = frozen_copy(strategy.model) if strategy.ancestors else None

    def taught(self, strategy: Harness) -> list[Features]:
        """Return the slow teacher's features."""
        assert self.teacher is not None
        return strategy.features_by(self.teacher)

    @torch.no_grad()
    def after_update(self, strategy: Harness, **_: Any) -> None:
        """Follow the student."""
        if self.teacher is None:
            return
        for slow, fast in zip(self.teacher.state_dict().values(), strategy.model.state_dict().values(), strict=True):
            if slow.is_floating_point():
                slow.lerp_(fast, 1 - self.decay)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the teacher's weights, so that a stage resumes at any epoch."""
        return {} if self.teacher is None else dict(self.teacher.state_dict())

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the teacher's weights up; a stage that begins takes its parent's."""
        if self.teacher is not None:
            self.teacher.load_state_dict(dict(tensors))


@strategy(
    "ema_teacher",
    summary="distil towards a slow moving average of the student (CLS-ER's slow memory, without its stored images)",
    paper="arXiv:2201.12604",
    neutral={"weight": 0.0},
)
def ema_teacher(
    weight: Annotated[float, Field(ge=0)] = 0.3,
    decay: Annotated[float, Field(ge=0, le=1)] = 0.999,
    temperature: Annotated[float, Field(gt=0)] = 2.0,
) -> list[SupervisedPlugin]:
    """Return the distillation; decay: what the teacher keeps of itself a step (1: it stays the parent)."""
    return [SlowTeacher(weight, decay, Distill(temperature, "teacher_student"))]
