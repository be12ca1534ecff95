"""View KD: the parent is imitated on stored images that come often and never alike."""

from __future__ import annotations

from typing import Annotated

from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.plugins.registry import strategy
from cl_bench.strategies.replay import Memory, Replay
from cl_bench.strategies.response_kd import ResponseDistillation
from cl_bench.tasks.dataset import TaskDataset
from cl_bench.training.harness import Harness

HEAVY = {"flip": True, "zoom": (0.5, 4.0), "stretch": 2.0, "colour": 0.5}
MOSAIC = 0.5
"""Share of mosaics of four stored images, where the kind's targets can be put together."""


class Views(Memory):
    """A memory whose images are zoomed, stretched, recoloured and put together far beyond the task's augmentation."""

    def remember(self, strategy: Harness) -> None:
        """Choose the images of every past task, to be read anew each time."""
        super().remember(strategy)
        self.stored: list[tuple[TaskDataset, list[int]]] = [(heavy(dataset), chosen) for dataset, chosen in self.stored]


def heavy(dataset: TaskDataset) -> TaskDataset:
    """Return the same examples, to be seen in heavy views."""
    return dataset.augmented(**HEAVY, mosaic=0.0 if dataset.task.kind.whole_image else MOSAIC)


@strategy(
    "view_kd",
    summary="imitate the parent on the current images and on heavy views of a few stored ones, whose labels are not"
    " learnt (own, after patient teachers and single-image distillation)",
    paper="arXiv:2106.05237, arXiv:2112.00725",
    neutral={"weight": 0.0, "memory": 0},
)
def view_kd(
    weight: Annotated[float, Field(ge=0)] = 1.0, memory: Annotated[int, Field(ge=0)] = 10
) -> list[SupervisedPlugin]:
    """Return the imitation of the parent, which counts `weight` times, and the views; memory: images of a past task."""
    return [ResponseDistillation(weight), Replay(Views(memory, "views"), weight=0.0)]
