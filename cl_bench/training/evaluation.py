"""The metrics plug-in: scores every task seen so far and logs forgetting relative to the tasks' baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from avalanche.evaluation import PluginMetric
from avalanche.evaluation.metric_results import MetricValue

from cl_bench.data.base import Split
from cl_bench.kinds.base import Task, TaskMetric
from cl_bench.metrics import continual
from cl_bench.training.harness import Harness


@dataclass(frozen=True)
class Row:
    """One evaluation: the score of `task` after `epoch` (1-based) of a stage, or a part of it."""

    epoch: float
    task: str
    metric: str
    value: float


class StreamMetrics(PluginMetric[list[Row]]):
    """Emits each task's metrics, and its drop, forgetting and backward transfer, through Avalanche's loggers.

    val: the validation split of every task; baselines: headline score of each task's baseline, where it is known;
    history: headline scores at the ends of earlier stages, oldest first.
    """

    def __init__(
        self,
        tasks: tuple[Task, ...],
        val: Mapping[str, Split],
    ) -> None:
        super().__init__()
        self.tasks = tasks
        self.val = val
        self.baselines: Mapping[str, float] = {}
        self.history: Mapping[str, list[float]] = {}
        self.rows: list[Row] = []
        self.last: dict[str, TaskMetric] = {}
        """The last evaluation of each task."""
        self._metric: TaskMetric | None = None

    def result(self) -> list[Row]:
        """Return the rows since the last reset."""
        return self.rows

    def reset(
        self, baselines: Mapping[str, float] | None = None, history: Mapping[str, list[float]] | None = None
    ) -> None:
        """Forget the rows; a new stage begins, before which `baselines` and `history` are known."""
        self.baselines, self.history = baselines or {}, history or {}
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
        """Add the task's rows; return them for the loggers, with what they say about forgetting."""
        assert self._metric is not None
        task, found = self._task(strategy), self._metric.compute()
        for metric, value in found.items():
            if not np.isfinite(value) or not 0 <= value <= 1:
                raise ValueError(f"{metric} of {task.name} is {value}, not in 0..1")
            self.rows.append(Row(strategy.epochs_done, task.name, metric, float(value)))
        self.last[task.name] = self._metric
        step = strategy.clock.train_iterations
        logged = {**found, **self._relative(task.name, found[task.kind.metrics[0]])}
        return [MetricValue(self, f"{task.name}/{name}", value, step) for name, value in logged.items()]

    def _relative(self, task: str, score: float) -> dict[str, float]:
        relative = {}
        if task in self.baselines:
            relative["drop against baseline"] = continual.relative_drop(self.baselines[task], score)
        if earlier := self.history.get(task):
            relative["forgetting"] = continual.forgetting([*earlier, score])
            relative["backward transfer"] = continual.backward_transfer(earlier[0], score)
        return relative

    def __str__(self) -> str:
        return "StreamMetrics"
