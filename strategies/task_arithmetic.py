"""Task arithmetic: a stage starts with what its task taught a single-task expert added to the weights it found."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.registry import strategy
from cl_bench.training import Harness

TINY = 1e-12


class TaskVector(SupervisedPlugin):
    """Adds share * (the weights of the task's own baseline - the run's initial ones) before the stage's first step.

    Both began with the same initial weights, near which what several tasks taught adds up (arXiv:2212.04089): past
    tasks and the new one are both partly known when the stage begins, and the stage repairs what they cost each other.
    What no past task depends on takes the baseline's weights as they are. The baseline's training is counted as this
    strategy's.
    """

    acts_from = 2
    follows_expert = True

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    @torch.no_grad()
    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Move the model."""
        # Who asks for the teacher after this must get the model as it was before it is moved.
        if not self.share or strategy.teacher is None:
            return
        expert = strategy.expert()
        if expert is None:
            return
        initial, taught, learnt = strategy.initial(), expert.state_dict(), strategy.learnt_parameters()
        parameters = dict(strategy.model.named_parameters())
        for name, value in strategy.model.state_dict().items():
            if value.is_floating_point() and name in taught:
                share = 1.0 if name in parameters and name not in learnt else self.share
                first = initial[name].to(value)
                if name.endswith("running_var"):
                    # A scale: multiplied, as a sum could fall below zero.
                    value *= (taught[name] / first.clamp(min=TINY)).pow(share)
                else:
                    value += share * (taught[name] - first)


@strategy(
    "task_arithmetic",
    summary="start each stage with the task's single-task baseline added to what is there",
    paper="arXiv:2212.04089",
    neutral={"share": 0.0},
)
def task_arithmetic(share: Annotated[float, Field(ge=0)] = 1.0) -> list[SupervisedPlugin]:
    """Return the move; share: of the baseline's way from the initial weights that is gone along."""
    return [TaskVector(share)]
