"""Learning without Forgetting: the new predictor warms up alone, then all learns with distillation."""

from __future__ import annotations

from typing import Annotated, Any

from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.kinds.base import Distill
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.kd import Distillation
from cl_bench.training.harness import Harness


class WarmUp(SupervisedPlugin):
    """Keeps what earlier tasks learnt as it is for the first epochs of a stage, while what is new learns.

    Batch norm is in eval mode so long: its statistics, too, stay to the byte.
    """

    acts_from = 2

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self._norm_frozen = False

    def before_training_epoch(self, strategy: Harness, **_: Any) -> None:
        """Hold the batch-norm statistics still."""
        if strategy.epoch < self.epochs and strategy.ancestors:
            self._norm_frozen = strategy.model.norm_frozen
            strategy.model.freeze_norm(True)

    def before_update(self, strategy: Harness, **_: Any) -> None:
        """Leave what was learnt without gradient, and so to the byte as it is."""
        if strategy.epoch < self.epochs:
            for parameter in strategy.learnt_parameters().values():
                parameter.grad = None

    def after_training_epoch(self, strategy: Harness, **_: Any) -> None:
        """Leave batch norm as it was."""
        if strategy.epoch < self.epochs and strategy.ancestors:
            strategy.model.freeze_norm(self._norm_frozen)


@strategy(
    "lwf",
    summary="distil the parent's outputs after the new predictor has warmed up (LwF; an epoch of the stage's, not to"
    " convergence)",
    paper="arXiv:1606.09282",
    neutral={"weight": 0.0, "warmup_epochs": 0},
)
def lwf(
    weight: Annotated[float, Field(ge=0)] = 1.0,
    temperature: Annotated[float, Field(gt=0)] = 2.0,
    warmup_epochs: Annotated[int, Field(ge=0)] = 1,
    squared: bool = False,
) -> list[SupervisedPlugin]:
    """Return warm-up and KL(teacher || student) on the current images.

    weight: the paper's lambda_o, as KL and its cross-entropy have one gradient; warmup_epochs: of the stage's, in which
    what is new learns alone (the paper: as many more as it takes to converge); squared: whether the divergence counts
    temperature^2 times, as Hinton et al. have it and the paper has not.
    """
    how = Distill(temperature, "teacher_student", squared)
    return [Distillation(weight, how), WarmUp(warmup_epochs)]
