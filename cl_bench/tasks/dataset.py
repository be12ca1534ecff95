"""One part of a task's data as a torch data set, its targets, and the one collate for every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cl_bench.config.schema import Augment
from cl_bench.data.base import Split
from cl_bench.kinds.base import Target, Task
from cl_bench.tasks.augment import Sample, flipped, mosaic, recoloured, zoomed
from cl_bench.tasks.paste import choose, pasted
from cl_bench.utils.randomness import derive


class Targets(list[Target]):
    """The targets of a batch, one mapping an image; moves, slices and concatenates as plug-ins expect of a tensor."""

    def to(self, device: torch.device | str, **options: Any) -> Targets:
        """Return the targets with every tensor on `device`, but for the image's `index`, which the host alone reads."""
        return Targets(
            {key: value if key == "index" else value.to(device, **options) for key, value in target.items()}
            for target in self
        )

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


class TaskDataset(Dataset[tuple[Tensor, Target]]):
    """One split of one task: resized images and targets, changed as (seed, task, visit, epoch, image) decide.

    images, masks: sequences of (S, S, 3) and (S, S) uint8 arrays, masks None where the kind has none; S may be larger
    than the task's image size, to which a read brings them.
    """

    def __init__(
        self,
        task: Task,
        split: Split,
        images: Sequence[np.ndarray],
        masks: Sequence[np.ndarray] | None,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        self.task = task
        self.split = split
        self.augment = augment or Augment()
        self.seed = seed
        self.draw_key: tuple[str | int, ...] = ()
        """What the augmentation of a plain read depends on besides the image: (visit, epoch)."""
        self.rehearsed = False
        """Whether only stored images may be looked at, so that a plain read mixes no other image into a mosaic."""
        self._images = images
        self._masks = masks

    def __len__(self) -> int:
        return len(self.split.examples)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        return self.read(index, *self.draw_key, among=[index] if self.rehearsed else None)

    def read(self, index: int, *draw_key: str | int, among: Sequence[int] | None = None) -> tuple[Tensor, Target]:
        """Return image (3, S, S) uint8 and target of example `index` as `draw_key` has it augmented.

        among: the examples from which a mosaic or a pasted object may come, all where None (a memory names its own).
        """
        augment, name = self.augment, self.split.examples[index].name
        draw = np.random.default_rng(derive(self.seed, "augment", self.task.randomness, *draw_key, name))
        sample = self._view(index, draw)
        if augment.mosaic and draw.random() < augment.mosaic:
            others = draw.choice(len(self) if among is None else among, 3)
            sample = mosaic([sample, *(self._view(int(other), draw) for other in others)], draw)
        if augment.paste and draw.random() < augment.paste:
            drawn = choose(self.shown, range(len(self)) if among is None else among, draw)
            sample = sample if drawn is None else pasted(sample, self._view(drawn[0], draw), drawn[1], draw)
        if augment.flip and draw.random() < 0.5:
            sample = flipped(sample, self.task.classes)
        image, target = sample
        if augment.colour:
            image = recoloured(image, augment.colour, draw)
        plain = {key: value.as_subclass(Tensor) for key, value in target.items()}
        return image, {**plain, "index": torch.tensor(index)}

    @cached_property
    def plain(self) -> TaskDataset:
        """The same examples, not augmented."""
        return self.augmented()

    def augmented(self, **augment: Any) -> TaskDataset:
        """Return the same examples, augmented in another way: settings as an experiment's `augment` has them."""
        return TaskDataset(self.task, self.split, self._images, self._masks, Augment(**augment), self.seed)

    @cached_property
    def shown(self) -> npt.NDArray[np.bool_]:
        """Which examples show which classes that the task learns; shape (examples, classes)."""
        shown = self.task.kind.held(self.split).copy()
        shown[:, [label for label in range(shown.shape[1]) if label not in self.task.labels]] = False
        return shown

    def _view(self, index: int, draw: np.random.Generator) -> Sample:
        mask = None if self._masks is None else self._masks[index]
        image = torch.from_numpy(np.array(self._images[index])).permute(2, 0, 1)
        kept = replace(self.task, image_size=image.shape[-1])
        target = kept.kind.target(kept, self.split.examples[index], mask)
        return zoomed((image, target), self.augment, self.task.image_size, draw)


def collate(samples: Sequence[tuple[Tensor, Target, int]]) -> list[Any]:
    """Return [images (B, 3, S, S) channels-last, Targets, task labels (B,)] of samples of any kinds, one image size."""
    images, targets, labels = zip(*samples, strict=True)
    return [torch.stack(images).contiguous(memory_format=torch.channels_last), Targets(targets), torch.tensor(labels)]
