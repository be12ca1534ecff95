"""Replay: a few stored training images of every past task, trained with their labels beside the current ones."""

from __future__ import annotations

from typing import Annotated, Any

from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.kinds.base import Target
from cl_bench.plugins.registry import strategy
from cl_bench.tasks.dataset import TaskDataset
from cl_bench.training.harness import Harness
from cl_bench.utils.randomness import permutation


class Memory:
    """At most `size` training images of every past task, drawn in batches of one task, the tasks in turn.

    What is stored of a task depends on (seed, task) alone, so a later stage finds the same images again.
    """

    by_class = False

    def __init__(self, size: int, stream: str = "replay") -> None:
        """Hold `size` images a task; stream: what the order in which they are drawn is derived from."""
        self.size, self.stream = size, stream
        self.stored: list[tuple[TaskDataset, list[int]]] = []
        """The data set of every past task, and which of its images are stored."""

    def remember(self, strategy: Harness) -> None:
        """Choose the images of every past task and record their names; call it in `before_training_exp`."""
        self.stored = []
        if self.size:
            chosen = ((dataset, self.choose(strategy, dataset)) for dataset in strategy.past)
            self.stored = [(dataset, sorted(indices)) for dataset, indices in chosen if indices]
        report = strategy.report.setdefault("memory", {})  # of all memories together
        for dataset, indices in self.stored:
            names = [dataset.split.examples[index].name for index in indices]
            report[dataset.task.name] = list(dict.fromkeys([*report.get(dataset.task.name, []), *names]))

    def choose(self, strategy: Harness, dataset: TaskDataset) -> list[int]:
        """Return which images of a past task are stored: here, any."""
        return permutation(len(dataset), strategy.seed, "memory", dataset.task.randomness)[: self.size]

    def places(
        self, strategy: Harness, which: int | None = None
    ) -> tuple[int, list[tuple[int, tuple[str | int, ...]]]]:
        """Return this step's past task, and of each of its images the place in the memory and the draw key, for `read`.

        which: of the past tasks; the one whose turn it is where None.
        """
        turn, own = divmod(strategy.step, len(self.stored))
        turn, which = (turn, own) if which is None else (strategy.step, which)
        dataset, chosen = self.stored[which]
        size = strategy.train_mb_size
        before = strategy.settings.visit(strategy.current[0].task.name)
        visit = (before,) if before else ()
        drawn: list[tuple[int, tuple[str | int, ...]]] = []
        for place in range(turn * size, (turn + 1) * size):
            # The memory is gone through in a new order each time it is used up.
            lap, position = divmod(place, len(chosen))
            stream = (self.stream, strategy.current[0].task.randomness, dataset.task.randomness, *visit, lap)
            drawn.append((permutation(len(chosen), strategy.seed, *stream)[position], stream))
        return which, drawn

    def draw(
        self, strategy: Harness, which: int | None = None
    ) -> tuple[TaskDataset, list[tuple[int, tuple[str | int, ...]]]]:
        """Return this step's data set, and of each of its images the index and the draw key, as `read` takes them.

        which: as for `places`.
        """
        which, drawn = self.places(strategy, which)
        dataset, chosen = self.stored[which]
        return dataset, [(chosen[place], stream) for place, stream in drawn]

    def batch(self, strategy: Harness, which: int | None = None) -> list[tuple[Tensor, Target, int]]:
        """Return this step's images as the task's augmentation changes them, with targets and task labels."""
        which, drawn = self.places(strategy, which)
        dataset, chosen = self.stored[which]
        return [(*dataset.read(chosen[at], *stream, among=chosen), dataset.task.index) for at, stream in drawn]


class Replay(SupervisedPlugin):
    """Adds one memory batch of the stage's batch size to every step.

    It passes through the model together with the current batch where the images' size is the same.
    """

    acts_from = 2
    rehearses = draws_stored = True

    def __init__(self, memory: int | Memory = 10, weight: float = 1.0) -> None:
        super().__init__()
        self.memory = memory if isinstance(memory, Memory) else Memory(memory)
        self.weight, self.by_class = weight, self.memory.by_class

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Choose the stored images of every past task."""
        self.memory.remember(strategy)
        for dataset, _images in self.memory.stored:
            strategy.weigh(dataset.task, self.weight)

    def before_forward(self, strategy: Harness, **_: Any) -> None:
        """Add this step's memory batch."""
        if self.memory.stored:
            strategy.add_batch(self.memory.batch(strategy))


@strategy(
    "replay",
    summary="train on a few stored images of past tasks, chosen at random, not by ER's reservoir, a task a step",
    paper="arXiv:1902.10486",
    neutral={"memory": 0},
)
def replay(
    memory: Annotated[int, Field(ge=0)] = 10, weight: Annotated[float, Field(ge=0)] = 1.0
) -> list[SupervisedPlugin]:
    """Return the replay of `memory` images a past task, whose loss counts `weight` times."""
    return [Replay(memory, weight)]
