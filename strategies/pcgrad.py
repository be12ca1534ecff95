"""PCGrad: the gradients of the task and of the parent's outputs are each freed of what points against the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.kinds.base import Distill
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.agem import project
from cl_bench.strategies.kd import Distillation
from cl_bench.training.harness import Harness


class SeparateGradient(Distillation, ABC):
    """Distillation whose gradient is taken by itself, and joined with that of the task; a subclass says how.

    The papers' tasks are two here: what the step's labels ask, and what the parent's outputs for past tasks ask. What
    only one of the two depends on has that one's gradient whole.
    """

    def __init__(self, weight: float, how: Distill) -> None:
        super().__init__(weight, how)
        self._asked: list[tuple[torch.nn.Parameter, Tensor]] = []

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        """Take the term's own gradient, while the loss stays without it."""
        self._asked = []
        if terms := self.terms(strategy):
            learnt = [p for p in strategy.model.parameters() if p.requires_grad]
            found = torch.autograd.grad(torch.stack(terms).sum(), learnt, retain_graph=True, allow_unused=True)
            self._asked = [(p, gradient) for p, gradient in zip(learnt, found, strict=True) if gradient is not None]

    def before_update(self, strategy: Harness, **_: Any) -> None:
        """Join the two gradients."""
        if shared := [(p.grad, asked) for p, asked in self._asked if p.grad is not None]:
            self.join(shared)
        for parameter, asked in self._asked:
            if parameter.grad is None:
                parameter.grad = asked
        self._asked = []

    @abstractmethod
    def join(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Write into the first of each pair, a parameter's gradient of the task, what is made of it and the second."""


class ProjectedDistillation(SeparateGradient):
    """The sum of both gradients after each was projected off the other, as it was, where they conflict."""

    def join(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Project both, and add them."""
        kept = [asked.clone() for _own, asked in pairs]
        project([(part, own) for part, (own, _asked) in zip(kept, pairs, strict=True)])
        project(pairs)
        for (own, _asked), part in zip(pairs, kept, strict=True):
            own += part


@strategy(
    "pcgrad",
    summary="distil the parent's outputs, its gradient and the task's each projected off the other where they conflict"
    " (PCGrad, the parent in place of past tasks)",
    paper="arXiv:2001.06782, arXiv:1503.02531",
    neutral={"weight": 0.0},
)
def pcgrad(
    weight: Annotated[float, Field(ge=0)] = 1.0, temperature: Annotated[float, Field(gt=0)] = 2.0
) -> list[SupervisedPlugin]:
    """Return the distillation, T^2 included; weight: of its gradient."""
    return [ProjectedDistillation(weight, Distill(temperature, "teacher_student"))]
