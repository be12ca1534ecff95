"""Learning without Forgetting as published: the new predictor warms up alone, then all learns with distillation."""

from __future__ import annotations

from typing import Annotated, Any

from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.kinds.base import Distill
from cl_bench.registry import strategy
from cl_bench.strategies.kd import Distillation
from cl_bench.training import Harness


class WarmUp(SupervisedPlugin):
    """Keeps what earlier tasks learnt as it is for the first epochs of a stage, while what is new learns."""

    acts_from = 2

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs

    def before_update(self, strategy: Harness, **_: Any) -> None:
        """Leave what was learnt without gradient, and so to the byte as it is."""
        if strategy.epoch < self.epochs:
            for parameter in strategy.learnt_parameters().values():
                parameter.grad = None


@strategy(
    "lwf",
    summary="distil the parent's outputs after the new predictor has warmed up",
    paper="arXiv:1606.09282",
    neutral={"weight": 0.0, "warmup_epochs": 0},
)
def lwf(
    weight: Annotated[float, Field(ge=0)] = 1.0,
    temperature: Annotated[float, Field(gt=0)] = 2.0,
    warmup_epochs: Annotated[int, Field(ge=0)] = 1,
) -> list[SupervisedPlugin]:
    """Return warm-up and KL(teacher || student) on the current images; warmup_epochs: of what is new alone."""
    return [Distillation(weight, Distill(temperature, "teacher_student")), WarmUp(warmup_epochs)]
