"""Task arithmetic: a stage starts with what its task taught a single-task expert added to the weights it found."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.model.unified import UnifiedModel
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.replay import Memory
from cl_bench.tasks.dataset import TaskDataset, collate
from cl_bench.training.harness import Harness

TINY = 1e-12
HALVINGS = 3
"""How often the share is halved before nothing is added."""
VIEWS = 2
"""How often each stored image is looked at, augmented in another way."""


class TaskVector(SupervisedPlugin):
    """Adds share * (the weights of the task's own baseline - the run's initial ones) before the stage's first step.

    Both began with the same initial weights, near which what several tasks taught adds up (arXiv:2212.04089): past
    tasks and the new one are both partly known when the stage begins, and the stage repairs what they cost each other.
    What no past task depends on takes the baseline's weights as they are. The baseline's training is counted as this
    strategy's.

    Published, task vectors are added for good, with a share chosen on held-out data, and nothing is trained after.

    With a memory, the share is halved until no past task's loss on its stored images rises by more than `tolerance`
    (relative): tasks that ask for opposite things are then not added, and those that do not, are.
    """

    acts_from = 2
    follows_expert = True

    def __init__(self, share: float, memory: Memory | None = None, tolerance: float = 0.05) -> None:
        super().__init__()
        self.share, self.memory, self.tolerance = share, memory, tolerance

    @torch.no_grad()
    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Move the model, and record how far."""
        # Who asks for the teacher after this must get the model as it was before it is moved.
        if not self.share or strategy.teacher is None:
            return
        expert = strategy.expert()
        if expert is None:
            return
        limits = self._limits(strategy)
        shares = [self.share / 2**halved for halved in range(HALVINGS + 1)] + [0.0] if limits else [self.share]
        for share in shares:
            _move(strategy, strategy.teacher, expert, share)
            if all(_loss(strategy, *stored) <= limit for stored, limit in limits):
                break
        strategy.report["share"] = share

    def _limits(self, strategy: Harness) -> list[tuple[tuple[TaskDataset, list[int]], float]]:
        """Return what is stored of each past task, and how large the loss on it may become."""
        if self.memory is None:
            return []
        self.memory.remember(strategy)
        return [(stored, (1 + self.tolerance) * _loss(strategy, *stored)) for stored in self.memory.stored]


def _move(strategy: Harness, parent: UnifiedModel, expert: UnifiedModel, share: float) -> None:
    """Give the model its parent's weights with `share` of the expert's way added."""
    initial, taught, learnt = strategy.initial(), expert.state_dict(), strategy.learnt_parameters()
    parameters, found = dict(strategy.model.named_parameters()), parent.state_dict()
    for name, value in strategy.model.state_dict().items():
        if value.is_floating_point() and name in taught:
            part = 1.0 if name in parameters and name not in learnt else share
            value.copy_(added(name, found[name], initial[name].to(value), taught[name], part))


def added(name: str, found: Tensor, first: Tensor, taught: Tensor, share: float) -> Tensor:
    """Return the tensor `found` of a model's state with `share` of the way from `first` to `taught` added."""
    if name.endswith("running_var"):
        # A scale: multiplied, as a sum could fall below zero.
        return found * (taught / first.clamp(min=TINY)).pow(share)
    return found + share * (taught - first)


def _loss(strategy: Harness, dataset: TaskDataset, stored: list[int]) -> float:
    """Return the model's mean loss on stored images of a past task, as it predicts."""
    model, task, size = strategy.model, dataset.task, strategy.eval_mb_size
    model.eval()
    views = [(index, lap) for lap in range(VIEWS) for index in stored]
    total = 0.0
    for start in range(0, len(views), size):
        part = views[start : start + size]
        samples = [(*dataset.read(index, "limit", lap, among=stored), task.index) for index, lap in part]
        images, targets, _ = collate(samples)
        with strategy.autocast():
            raw = model.raw(model.features(images.to(strategy.device)), task)
        loss = task.kind.loss(task, model.finish(raw, task), targets.to(strategy.device))
        total += len(part) * float(loss)
    model.train()
    return total / len(views)


@strategy(
    "task_arithmetic",
    summary="start each stage with the task's single-task baseline added to what is there, then fine-tune (an"
    " initialisation; the published merge trains no more)",
    paper="arXiv:2212.04089",
    neutral={"share": 0.0},
)
def task_arithmetic(
    share: Annotated[float, Field(ge=0)] = 1.0,
    memory: Annotated[int, Field(ge=0)] = 0,
    tolerance: Annotated[float, Field(ge=0)] = 0.05,
) -> list[SupervisedPlugin]:
    """Return the move.

    share: of the baseline's way from the initial weights that is gone along; memory: images stored of a past task, on
    which its loss may rise by `tolerance`, else the share is halved (0: the share is taken as it is).
    """
    return [TaskVector(share, Memory(memory) if memory else None, tolerance)]
