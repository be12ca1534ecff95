"""The metrics plug-in: scores every task seen so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from avalanche.evaluation import PluginMetric
from avalanche.evaluation.metric_results import MetricValue

from cl_bench.data.base import Split
from cl_bench.kinds.base import Task, TaskMetric
from cl_bench.training.harness import Harness


@dataclass(frozen=True)
class Row:
    """One evaluation: the score of `task` after `epoch` (1-based) of a stage, or a part of it."""

    epoch: float
    task: str
    metric: str
    value: float


def scores_of(task: str, metric: TaskMetric) -> dict[str, float]:
    """Return what `metric` found for `task`; raise ValueError where that is no score."""
    values = {name: float(value) for name, value in metric.compute().items()}
    for name, value in values.items():
        if not np.isfinite(value) or not 0 <= value <= 1:
            raise ValueError(f"{name} of {task} is {value}, not in 0..1")
    return values


class StreamMetrics(PluginMetric[list[Row]]):
    """Keeps each task's scores as rows, and tells Avalanche's bus of metrics.

    val: the validation split of every task.
    """

    def __init__(
        self,
        tasks: tuple[Task, ...],
        val: Mapping[str, Split],
    ) -> None:
        super().__init__()
        self.tasks = tasks
        self.val = val
        self.rows: list[Row] = []
        self.last: dict[str, TaskMetric] = {}
        """The last evaluation of each task."""
        self._metric: TaskMetric | None = None

    def result(self) -> list[Row]:
        """Return the rows since the last reset."""
        return self.rows

    def reset(self) -> None:
        """Forget the rows; a new stage begins."""
        self.rows = []
        self.last = {}

    def _task(self, strategy: Harness) -> Task:
        return self.tasks[strategy.experience.task_label]

    def before_eval_exp(self, strategy: Harness) -> None:
        """Start the metric of the experience's task."""
        task = self._task(strategy)
        self._metric = task.kind.metric(task, self.val[task.name])

    def after_eval_iteration(self, strategy: Harness) -> None:
        """Take one batch of outputs."""
        assert self._metric is not None
        _, output = strategy.mb_output[self._task(strategy).index]
        self._metric.update(output, [int(target["index"]) for target in strategy.mb_y])

    def after_eval_exp(self, strategy: Harness) -> list[MetricValue]:
        """Add the task's rows; return them for the bus."""
        assert self._metric is not None
        task = self._task(strategy)
        found = scores_of(task.name, self._metric)
        self.rows += [Row(strategy.epochs_done, task.name, metric, value) for metric, value in found.items()]
        self.last[task.name] = self._metric
        step = strategy.clock.train_iterations
        return [MetricValue(self, f"{task.name}/{name}", value, step) for name, value in found.items()]

    def __str__(self) -> str:
        return "StreamMetrics"
