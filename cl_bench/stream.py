"""Tasks as Avalanche experiences: data sets, targets, outputs and the one collate for every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.scenarios.task_aware import with_task_labels
from avalanche.benchmarks.utils import AvalancheDataset, TaskLabels
from avalanche.benchmarks.utils.flat_data import ConstantSequence
from avalanche.benchmarks.utils.utils import TaskSet
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import horizontal_flip
from torchvision.tv_tensors import TVTensor

from cl_bench.data.base import Split
from cl_bench.kinds.base import Target, Task
from cl_bench.randomness import derive


class Targets(list[Target]):
    """The targets of a batch, one mapping an image; moves, slices and concatenates as plug-ins expect of a tensor."""

    def to(self, device: torch.device | str, **options: Any) -> Targets:
        """Return the targets with every tensor on `device`."""
        return Targets({key: value.to(device, **options) for key, value in target.items()} for target in self)

    def clone(self) -> Targets:
        """Return a copy of the list; the tensors are never written to."""
        return Targets(self)

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return Targets(found) if isinstance(index, slice) else found

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: object = None
    ) -> Any:
        if func is torch.cat:
            return Targets(target for part in args[0] for target in part)
        return NotImplemented


class Outputs(dict[int, tuple[Tensor, Tensor]]):
    """Task index -> (positions of its images in the batch, its predictor's finished output for them)."""


class TaskDataset(Dataset[tuple[Tensor, Target]]):
    """One split of one task: resized images and targets, flipped as (seed, task, visit, epoch, image) decide.

    images, masks: sequences of (S, S, 3) and (S, S) uint8 arrays, masks None where the kind has none.
    """

    def __init__(
        self,
        task: Task,
        split: Split,
        images: Sequence[np.ndarray],
        masks: Sequence[np.ndarray] | None,
        flip: bool = False,
        seed: int = 0,
    ) -> None:
        self.task = task
        self.split = split
        self.flip = flip
        self.seed = seed
        self.occasion: tuple[str | int, ...] = ()
        """What the augmentation of a plain read depends on besides the image: (visit, epoch)."""
        self._images = images
        self._masks = masks

    def __len__(self) -> int:
        return len(self.split.examples)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        return self.read(index, *self.occasion)

    def read(self, index: int, *occasion: str | int) -> tuple[Tensor, Target]:
        """Return image (3, S, S) uint8 and target of example `index` as augmented on this `occasion`."""
        example = self.split.examples[index]
        mask = None if self._masks is None else self._masks[index]
        image = torch.from_numpy(np.array(self._images[index])).permute(2, 0, 1)
        target = self.task.kind.target(self.task, example, mask)
        if self.flip and derive(self.seed, "flip", self.task.name, *occasion, example.name) % 2:
            image = horizontal_flip(image)
            # Only what has a geometry (mask, boxes) turns with the image; labels do not.
            target = {k: horizontal_flip(v) if isinstance(v, TVTensor) else v for k, v in target.items()}
        plain = {key: value.as_subclass(Tensor) for key, value in target.items()}
        return image, {**plain, "index": torch.tensor(index)}


class StreamDataset(AvalancheDataset):
    """An AvalancheDataset with the `task_set` that Avalanche's task-balanced plug-ins ask for."""

    @property
    def task_set(self) -> TaskSet:
        """The data set of each task label."""
        return TaskSet(self)


def collate(samples: Sequence[tuple[Tensor, Target, int]]) -> list[Any]:
    """Return [images (B, 3, S, S) channels-last, Targets, task labels (B,)] of samples of any kinds, one image size."""
    images, targets, labels = zip(*samples, strict=True)
    return [torch.stack(images).contiguous(memory_format=torch.channels_last), Targets(targets), torch.tensor(labels)]


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
