"""Scores models on test parts: a stage's at its end, and any time later one that is stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cl_bench.config.schema import Experiment
from cl_bench.data.base import Split
from cl_bench.errors import StageFailedError
from cl_bench.kinds.base import TaskMetric, expected_excess
from cl_bench.metrics.bootstrap import image_weights
from cl_bench.model.unified import UnifiedModel
from cl_bench.results.store.scores import Score, Scores
from cl_bench.tasks.catalog import TaskEntry, pixels
from cl_bench.tasks.dataset import TaskDataset, collate
from cl_bench.training.context import at_precision
from cl_bench.training.evaluation import scores_of
from cl_bench.utils.randomness import isolated


class Scorer:
    """Scores the tasks of an experiment on the test parts that they have; scores: where they are kept."""

    def __init__(self, experiment: Experiment, catalog: Sequence[TaskEntry], scores: Scores) -> None:
        self.experiment = experiment
        self.entries = {entry.task.name: entry for entry in catalog}
        self.scores = scores
        self._data: dict[str, TaskDataset] = {}

    def missing(self, key: str, seen: Sequence[str]) -> list[str]:
        """Return those of the tasks `seen` by a stage that have a test part on which it is not scored yet."""
        return [name for name in self.due(seen) if self.scores.get(key, self.entries[name].test_id) is None]

    def due(self, seen: Sequence[str]) -> list[str]:
        """Return those of the tasks `seen` that have a test part."""
        return [name for name in dict.fromkeys(seen) if self.entries[name].test_id]

    def score(self, key: str, names: Sequence[str], model: UnifiedModel) -> None:
        """Score `model`, which is the stage's at its end, on the test parts of the tasks `names`, and keep the scores.

        The model is in evaluation mode afterwards; no random stream is moved.
        """
        for name in names:
            entry = self.entries[name]
            metric = evaluated(model, self._dataset(entry), self.experiment)
            self.scores.add(key, entry.test_id, as_score(entry, metric, self._dataset(entry).split), metric.per_image())

    def _dataset(self, entry: TaskEntry) -> TaskDataset:
        if entry.task.name not in self._data:
            test = entry.audit.test
            assert test is not None, "only what has a test part is scored on it"
            self._data[entry.task.name] = dataset(entry, test.split, test.fingerprint)
        return self._data[entry.task.name]


def load_weights_into(model: UnifiedModel, weights: Mapping[str, Tensor], key: str) -> None:
    """Give `model` the weights of stage `key`; raise StageFailedError where they are of another model."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise StageFailedError(
            f"stage {key[:12]} holds what a plug-in added to the model, so that only the stage itself can score it"
        ) from error


def dataset(entry: TaskEntry, split: Split, fingerprint: str) -> TaskDataset:
    """Return the images of a split as evaluation sees them."""
    task = entry.task
    return TaskDataset(task, split, *pixels(task, split, fingerprint, task.image_size, entry.corruption))


def evaluated(model: UnifiedModel, images: TaskDataset, experiment: Experiment) -> TaskMetric:
    """Return the metric of the task of `images` with all of them scored, as the evaluations of training score val."""
    task, device = images.task, torch.device(experiment.device)
    metric = task.kind.metric(task, images.split)
    model.eval()
    with isolated(), torch.no_grad(), at_precision(experiment.precision, device):
        for indices in _batches(len(images), experiment.evaluation_batch):
            batch, _, labels = collate([(*images[index], task.index) for index in indices])
            outputs = model.outputs(model.features(batch.to(device, non_blocking=True)), labels)
            metric.update(outputs[task.index][1], list(indices))
    return metric


def as_score(entry: TaskEntry, metric: TaskMetric, split: Split) -> Score:
    """Return all that is kept of an evaluation but the predictions."""
    values = scores_of(entry.task.name, metric)
    images = len(split.examples)
    excess = expected_excess(metric) or 0.0
    resampled = metric.resampled(image_weights(entry.task.name, images)).astype(np.float32)
    by_class = np.asarray(metric.per_class(), np.float64)
    return Score(entry.task.name, entry.task.classes, values, images, excess, resampled, by_class)


def _batches(count: int, size: int) -> Iterator[range]:
    return (range(start, min(start + size, count)) for start in range(0, count, size))
