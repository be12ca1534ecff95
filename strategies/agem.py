"""A-GEM: a step that would raise the loss of stored images is projected so that it does not."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.model import frozen_statistics
from cl_bench.registry import strategy
from cl_bench.strategies.replay import Memory
from cl_bench.stream import collate
from cl_bench.training import Harness


class GradientProjection(SupervisedPlugin):
    """Takes out of the step's gradient what points against that of a memory batch of one past task, tasks in turn.

    The memory batch has a forward and a backward pass of its own, which leave batch-norm statistics alone; what the
    step does not train (such as the past predictors) has no part in the projection.
    """

    acts_from = 2

    def __init__(self, memory: int) -> None:
        super().__init__()
        self.memory = Memory(memory, "agem")

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Choose the stored images of every past task."""
        self.memory.remember(strategy)

    def before_update(self, strategy: Harness, **_: Any) -> None:
        """Project the gradient where it disagrees with the memory batch's."""
        if not self.memory.stored:
            return
        shared = [p for p in strategy.learnt_parameters().values() if p.grad is not None]
        if not shared:
            return
        found = torch.autograd.grad(self.loss(strategy), shared, allow_unused=True)
        pairs = [(p.grad, r) for p, r in zip(shared, found, strict=True) if p.grad is not None and r is not None]
        agreement = torch.stack([(gradient * r).sum() for gradient, r in pairs]).sum()
        size = torch.stack([r.square().sum() for _, r in pairs]).sum()
        share = agreement.clamp(max=0) / size.clamp(min=1e-12)
        for gradient, r in pairs:
            gradient -= share * r

    def loss(self, strategy: Harness, which: int | None = None) -> torch.Tensor:
        """Return the task loss of a memory batch: of the past task `which`, of the one whose turn it is where None."""
        images, targets, labels = collate(self.memory.batch(strategy, which))
        with frozen_statistics(strategy.model), strategy.autocast():
            features = strategy.model.features(images.to(strategy.device, non_blocking=True))
            ((index, (_, output)),) = strategy.model.outputs(features, labels).items()
        task = strategy.model.tasks[index]
        return task.kind.loss(task, output, targets.to(strategy.device, non_blocking=True))


@strategy(
    "agem",
    summary="project steps that would raise the loss of stored images (A-GEM)",
    paper="arXiv:1812.00420",
    neutral={"memory": 0},
)
def agem(memory: Annotated[int, Field(ge=0)] = 10) -> list[SupervisedPlugin]:
    """Return the projection against `memory` stored images a past task."""
    return [GradientProjection(memory)]
