"""A-GEM: a gradient that would raise the mean loss of stored images of all past tasks is projected; S-GEM: of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor, nn

from cl_bench.model.unified import frozen_statistics
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.replay import Memory
from cl_bench.tasks.dataset import collate
from cl_bench.training.harness import Harness

Method = Literal["A-GEM", "S-GEM"]
Gradients = list[Tensor | None]
"""By parameter; None where a loss does not depend on it."""


class PastGradients(SupervisedPlugin, ABC):
    """Changes the gradient that the optimizer gets by those of memory batches of past tasks; a subclass says how.

    A memory batch has a forward and a backward pass of its own, which leave batch-norm statistics alone; what the
    step does not train (such as the past predictors) has no part.
    """

    acts_from, draws_stored = 2, True

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Choose the stored images of every past task."""
        self.memory.remember(strategy)

    def before_update(self, strategy: Harness, **_: Any) -> None:
        """Change the gradient of what past tasks depend on."""
        shared = [p for p in strategy.learnt_parameters().values() if p.grad is not None]
        if self.memory.stored and shared:
            self.change(strategy, shared)

    @abstractmethod
    def change(self, strategy: Harness, shared: Sequence[nn.Parameter]) -> None:
        """Change the gradients of `shared`, each of which has one."""

    def gradients(self, strategy: Harness, shared: Sequence[nn.Parameter], which: int | None = None) -> Gradients:
        """Return the gradients of `loss` with respect to `shared`."""
        return list(torch.autograd.grad(self.loss(strategy, which), shared, allow_unused=True))

    def loss(self, strategy: Harness, which: int | None = None) -> Tensor:
        """Return the task loss of a memory batch: of the past task `which`, of the one whose turn it is where None."""
        images, targets, labels = collate(self.memory.batch(strategy, which))
        with frozen_statistics(strategy.model), strategy.autocast():
            features = strategy.model.features(images.to(strategy.device, non_blocking=True))
            ((index, (_, output)),) = strategy.model.outputs(features, labels).items()
        task = strategy.model.tasks[index]
        return task.kind.loss(task, output, targets.to(strategy.device, non_blocking=True))


class GradientProjection(PastGradients):
    """Takes out of the gradient what points against the reference gradient (eq. 11 of the paper).

    A-GEM: that of the mean of the losses of memory batches of all past tasks, one batch a task, as tasks are of
    different kinds; S-GEM, the paper's stochastic GEM: that of a memory batch of one past task, the tasks in turn.
    """

    def __init__(self, memory: int, method: Method) -> None:
        super().__init__(Memory(memory, "agem"))
        self.method = method

    def change(self, strategy: Harness, shared: Sequence[nn.Parameter]) -> None:
        """Project the gradient where it disagrees with the reference."""
        pairs = zip(shared, self.reference(strategy, shared), strict=True)
        project([(p.grad, r) for p, r in pairs if p.grad is not None and r is not None])

    def reference(self, strategy: Harness, shared: Sequence[nn.Parameter]) -> Gradients:
        """Return the reference gradient of `shared`."""
        if self.method == "S-GEM":
            return self.gradients(strategy, shared)
        tasks = range(len(self.memory.stored))
        # One task after the other: the activations of all of them at once could be too large.
        rows = [self.gradients(strategy, shared, which) for which in tasks]
        return [_mean(found) for found in zip(*rows, strict=True)]


def project(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Write into each gradient of the pairs (gradient, reference) what does not point against the reference as a whole.

    g - min(0, g'r) / r'r * r, with g and r all of the pairs' entries in a row.
    """
    agreement = torch.stack([(gradient * r).sum() for gradient, r in pairs]).sum()
    size = torch.stack([r.square().sum() for _, r in pairs]).sum()
    share = agreement.clamp(max=0) / size.clamp(min=1e-12)
    for gradient, r in pairs:
        gradient -= share * r


def _mean(gradients: Sequence[Tensor | None]) -> Tensor | None:
    there = [gradient for gradient in gradients if gradient is not None]
    return torch.stack(there).sum(0) / len(gradients) if there else None


@strategy(
    "agem",
    summary="project gradients that would raise the mean loss of stored images of all past tasks (A-GEM)",
    paper="arXiv:1812.00420",
    neutral={"memory": 0},
    added={"method": "S-GEM"},
)
def agem(memory: Annotated[int, Field(ge=0)] = 10, method: Method = "A-GEM") -> list[SupervisedPlugin]:
    """Return the projection against `memory` stored images a past task; method: against all past tasks, or one."""
    return [GradientProjection(memory, method)]
