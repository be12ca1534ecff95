"""What one would write with Avalanche alone: its template and its plug-ins around the same model, losses and images."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from avalanche.benchmarks import benchmark_from_datasets, with_task_labels
from avalanche.core import SupervisedPlugin
from avalanche.models import MultiTaskModule
from avalanche.training.plugins import EvaluationPlugin, LwFPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor

from cl_bench.kinds.base import Distill, Task
from cl_bench.model.unified import UnifiedModel
from cl_bench.tasks.dataset import TaskDataset
from cl_bench.training.loss import StreamLoss
from cl_bench.training.stream import joined

PAST = 12


class StockModel(MultiTaskModule):
    """The model as Avalanche's base class runs it; asked for all tasks, it gives what distillation compares.

    once: run backbone and neck once for all tasks; as its base class has it, all of the model runs once a task.
    """

    def __init__(self, inner: UnifiedModel, once: bool) -> None:
        super().__init__()
        self.inner = inner
        self.once = once

    def adaptation(self, experience: Any) -> None:
        """Take note of the experience's tasks, whose predictors exist."""
        self.known_train_tasks_labels = self.known_train_tasks_labels | set(experience.task_labels)

    def forward(self, x: Tensor, task_labels: Tensor | None) -> Any:
        """Return what the criterion takes, or where no task is asked for, all tasks' raw outputs."""
        return self.forward_all_tasks(x) if task_labels is None else self.inner(x, task_labels)

    def forward_all_tasks(self, x: Tensor) -> dict[int, Tensor]:
        """Return the raw outputs of the tasks seen so far."""
        if not self.once:
            found: dict[int, Tensor] = super().forward_all_tasks(x)
            return found
        features = self.inner.features(x)
        return {label: self.inner.raw(features, self.inner.tasks[label]) for label in self.known_train_tasks_labels}

    def forward_single_task(self, x: Tensor, task_label: int) -> Tensor:
        """Return one task's raw output."""
        return self.inner.raw(self.inner.features(x), self.inner.tasks[task_label])


class StockLwF(LwFPlugin):
    """Avalanche's plug-in with a loss for every kind of task, as its own knows classes alone."""

    def __init__(self, tasks: list[Task]) -> None:
        super().__init__()
        self.lwf._distillation_loss = self._distance
        self.lwf.post_adapt = self._remember
        self.tasks = tasks

    def _distance(self, out: Tensor, wanted: Tensor, labels: set[int]) -> Tensor:
        task = self.tasks[next(iter(labels))]
        return task.kind.distillation(task, out, wanted, Distill())

    def _remember(self, agent: Any, experience: Any) -> None:
        self.lwf.prev_model = copy.deepcopy(agent.model)
        for label in experience.task_labels:
            self.lwf.prev_classes_by_task[label] = {label}


class Stopwatch(SupervisedPlugin):
    """Takes the time of the last epoch, without what comes before and after it."""

    def before_training_epoch(self, strategy: Any, **_: Any) -> None:
        """Start."""
        self._began = time.perf_counter()

    def after_training_epoch(self, strategy: Any, **_: Any) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self._began


def epoch_seconds(model: UnifiedModel, data: Sequence[TaskDataset], size: int, plugins: list[Any], once: bool) -> float:
    """Train one epoch of each of `data` after the other; return the seconds of the last.

    Of those before it PAST images are trained, which fills memories and makes teachers: their time does not count.
    """
    stopwatch = Stopwatch()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No loggers specified")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="avalanche")
        template = SupervisedTemplate(
            model=StockModel(model, once),
            optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True),
            criterion=StreamLoss(model.tasks),
            train_mb_size=size,
            train_epochs=1,
            plugins=[*plugins, stopwatch],
            evaluator=EvaluationPlugin(loggers=[]),
        )
        *past, last = (joined([one]) for one in data)
        train = [*(one.subset(range(PAST)) for one in past), last]
        for experience in with_task_labels(benchmark_from_datasets(train=train)).train_stream:
            template.train(experience)
    return stopwatch.seconds
