"""How a stage goes through its epochs: learning rates, and which images come in which order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pydantic import Field

from cl_bench.config.schema import Optimization
from cl_bench.tasks.dataset import TaskDataset
from cl_bench.utils.randomness import permutation


class StageSettings(Optimization):
    """How one stage is trained.

    first_epoch, total_epochs: where the stage lies on its cosine; epochs, batch_sizes: of each task trained in it;
    visits: how often each was trained before in this run.
    """

    epochs: dict[str, int]
    batch_sizes: dict[str, int]
    first_epoch: int
    total_epochs: int
    evaluation_batch: int
    evaluate_every: int
    evaluate_steps: int = 0
    seed: int
    device: str = "cpu"
    precision: str = "float32"
    teacher_cache: bool = False
    visits: dict[str, int] = Field(default_factory=dict)

    def visit(self, task: str) -> int:
        """Return how often `task` was trained before in this run."""
        return self.visits.get(task, 0)

    def rate(self, epoch: int, step: int) -> float:
        """Return the learning rate of the stage's 0-based `epoch` and `step` (counted from its start).

        Cosine annealing to zero, stepped per epoch, times the linear warm-up.
        """
        done = (self.first_epoch + epoch) / self.total_epochs
        warm = min(1.0, (step + 1) / (self.warmup_steps + 1))
        return warm * self.learning_rate * (1 + math.cos(math.pi * done)) / 2


class InterleavedBatchSampler:
    """Batches of indices: each of one task, the tasks in turn, each in an order of (seed, task, visit, epoch)."""

    def __init__(self, datasets: Sequence[TaskDataset], settings: StageSettings) -> None:
        self.datasets, self.settings, self.epoch = datasets, settings, 0

    def __iter__(self) -> Iterator[list[int]]:
        queues, offset = [], 0
        for dataset in self.datasets:
            queues.append(self._batches(dataset, offset))
            offset += len(dataset)
        longest = max(map(len, queues))
        # Spread evenly, so that a small task's batches do not all come first.
        turns = [
            ((i + 0.5) * longest / len(queue), q, batch)
            for q, queue in enumerate(queues)
            for i, batch in enumerate(queue)
        ]
        yield from (batch for _, _, batch in sorted(turns, key=lambda turn: turn[:2]))

    def _batches(self, dataset: TaskDataset, offset: int) -> list[list[int]]:
        task, settings = dataset.task.name, self.settings
        if self.epoch >= settings.epochs[task]:
            return []
        stream = ("order", dataset.task.randomness, settings.visit(task), self.epoch)
        order = permutation(len(dataset), settings.seed, *stream)
        size = settings.batch_sizes[task]
        return [[offset + i for i in order[start : start + size]] for start in range(0, len(order), size)]

    def __len__(self) -> int:
        return sum(len(self._batches(dataset, 0)) for dataset in self.datasets)
