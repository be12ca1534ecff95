"""The criterion of the one model: every task's own loss, weighted and added up."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from cl_bench.kinds.base import Task
from cl_bench.model.unified import Outputs
from cl_bench.tasks.dataset import Targets


class StreamLoss:
    """The criterion: the sum over tasks of each task's mean loss times its weight (1 where none is set)."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)
        self.weights: dict[int, float] = {}
        self.parts: dict[int, Tensor] = {}
        """The unweighted losses of the last call, by task index."""

    def __call__(self, outputs: Outputs, targets: Targets) -> Tensor:
        """Return the weighted sum, a scalar, and keep its unweighted `parts`."""
        self.parts = {}
        total: Tensor | None = None
        for index, (positions, output) in outputs.items():
            task = self.tasks[index]
            loss = task.kind.loss(task, output, [targets[i] for i in positions.tolist()])
            self.parts[index] = loss.detach()
            weighted = loss * self.weights.get(index, 1.0)
            total = weighted if total is None else total + weighted
        assert total is not None, "a batch has no image"
        return total
