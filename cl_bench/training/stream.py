"""Tasks as Avalanche experiences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.scenarios.task_aware import with_task_labels
from avalanche.benchmarks.utils import AvalancheDataset, TaskLabels
from avalanche.benchmarks.utils.flat_data import ConstantSequence
from avalanche.benchmarks.utils.utils import TaskSet

from cl_bench.tasks.dataset import TaskDataset, collate


class StreamDataset(AvalancheDataset):
    """An AvalancheDataset with the `task_set` that Avalanche's task-balanced plug-ins ask for."""

    @property
    def task_set(self) -> TaskSet:
        """The data set of each task label."""
        return TaskSet(self)


def as_avalanche(dataset: TaskDataset) -> StreamDataset:
    """Return `dataset` with its task label, as Avalanche wants it."""
    labels = TaskLabels(ConstantSequence(dataset.task.index, len(dataset)))
    return StreamDataset([dataset], data_attributes=[labels], collate_fn=collate)


def joined(datasets: Sequence[TaskDataset]) -> StreamDataset:
    """Return the data sets one behind the other, as one (joint training)."""
    first, *others = map(as_avalanche, datasets)
    for other in others:
        first = first.concat(other)
    return first


def make_benchmark(train: Sequence[Sequence[TaskDataset]], test: Sequence[TaskDataset]) -> Any:
    """Return an Avalanche benchmark with task labels: one training experience a stage, one test experience a task."""
    return with_task_labels(benchmark_from_datasets(train=list(map(joined, train)), test=list(map(as_avalanche, test))))
