"""Experience replay with other memories: one for all tasks together, or one in which all classes are."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.plugins.registry import strategy
from cl_bench.strategies.replay import Memory, Replay
from cl_bench.tasks.dataset import TaskDataset
from cl_bench.training.harness import Harness
from cl_bench.utils.randomness import derive, permutation


class Reservoir(Memory):
    """`size` images of all past tasks together: what reservoir sampling keeps of them, one task after the other."""

    def choose(self, strategy: Harness, dataset: TaskDataset) -> list[int]:
        """Return what is left of a task's images in the reservoir."""
        kept: list[tuple[TaskDataset, int]] = []
        draw = np.random.default_rng(derive(strategy.seed, "reservoir"))
        passed = 0
        for past in strategy.past:
            for index in permutation(len(past), strategy.seed, "reservoir", past.task.randomness):
                passed += 1
                if len(kept) < self.size:
                    kept.append((past, index))
                elif (place := int(draw.integers(passed))) < self.size:
                    kept[place] = (past, index)
        return [index for past, index in kept if past is dataset]


class ClassBalanced(Memory):
    """`size` images a past task, chosen one by one: the next one shows the class of which fewest images are stored.

    Of the classes that the task learns: a part of a head knows nothing of the others.
    """

    by_class = True

    def choose(self, strategy: Harness, dataset: TaskDataset) -> list[int]:
        """Return images in which every class is about as often."""
        shown = dataset.shown
        left = permutation(len(dataset), strategy.seed, "memory", dataset.task.randomness)
        there = shown.any(0)
        chosen: list[int] = []
        while left and len(chosen) < self.size:
            stored = np.where(there, shown[chosen].sum(0), np.iinfo(np.int64).max)
            index = next((index for index in left if shown[index, stored.argmin()]), left[0])
            # Once all that show the rarest class are stored, the next rarest decides.
            there = there & shown[[other for other in left if other != index]].any(0)
            chosen.append(index)
            left.remove(index)
        return chosen


MEMORIES = {"reservoir": Reservoir, "balanced": ClassBalanced}


@strategy(
    "er",
    summary="replay from a class-balanced memory a task; not from ER's reservoir, which is `choose=reservoir`",
    paper="arXiv:1902.10486, arXiv:1611.07725",
    neutral={"memory": 0},
)
def er(
    memory: Annotated[int, Field(ge=0)] = 10,
    choose: Literal["reservoir", "balanced"] = "balanced",
    weight: Annotated[float, Field(ge=0)] = 0.3,
) -> list[SupervisedPlugin]:
    """Return the replay; memory: images of a past task (`reservoir`: of all together), whose loss counts `weight`."""
    return [Replay(MEMORIES[choose](memory), weight)]
