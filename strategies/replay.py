"""Replay: a few stored training images of every past task, trained with their labels beside the current ones."""

from __future__ import annotations

from typing import Annotated, Any

from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.randomness import permutation
from cl_bench.registry import strategy
from cl_bench.stream import TaskDataset
from cl_bench.training import Harness


class Replay(SupervisedPlugin):
    """Adds one memory batch of the stage's batch size to every step, of one past task, the tasks in turn.

    The images stored of a task depend on (seed, task) alone, so a later stage finds the same ones again. They pass
    through the model together with the current batch where their size is the same.
    """

    acts_from = 2

    def __init__(self, memory: int = 10, weight: float = 1.0) -> None:
        super().__init__()
        self.memory = memory
        self.weight = weight
        self._stored: list[tuple[TaskDataset, list[int]]] = []

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Choose the stored images of every past task and record their names."""
        self._stored = []
        for dataset in strategy.past if self.memory else ():
            chosen = sorted(permutation(len(dataset), strategy.seed, "memory", dataset.task.randomness)[: self.memory])
            self._stored.append((dataset, chosen))
            strategy.weigh(dataset.task, self.weight)
        strategy.report["memory"] = {d.task.name: [d.split.examples[i].name for i in ids] for d, ids in self._stored}

    def before_forward(self, strategy: Harness, **_: Any) -> None:
        """Add this step's memory batch."""
        if not self._stored:
            return
        turn, which = divmod(strategy.step, len(self._stored))
        dataset, chosen = self._stored[which]
        size, samples = strategy.train_mb_size, []
        for draw in range(turn * size, (turn + 1) * size):
            # The memory is gone through in a new order each time it is used up.
            lap, place = divmod(draw, len(chosen))
            stream = ("replay", strategy.current[0].task.randomness, dataset.task.randomness, lap)
            index = chosen[permutation(len(chosen), strategy.seed, *stream)[place]]
            samples.append((*dataset.read(index, *stream, among=chosen), dataset.task.index))
        strategy.add_batch(samples)


@strategy(
    "replay", summary="train on a few stored images of past tasks", paper="arXiv:1902.10486", neutral={"memory": 0}
)
def replay(
    memory: Annotated[int, Field(ge=0)] = 10, weight: Annotated[float, Field(ge=0)] = 1.0
) -> list[SupervisedPlugin]:
    """Return the replay of `memory` images a past task, whose loss counts `weight` times."""
    return [Replay(memory, weight)]
