"""FDR with labels: stored images are trained with their labels and the outputs that their stage ended with."""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.kinds.base import Task
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.replay import Memory
from cl_bench.training.harness import Harness


class FunctionReplay(SupervisedPlugin):
    """Adds one memory batch a step: alpha * the mean squared distance to its stored outputs, beta * its task loss.

    The outputs are those of the model that the stage which learnt the task ended with, in eval mode, so images are
    replayed without augmentation. FDR (arXiv:1805.08289) has no labels, and holds probabilities by their L2 distance;
    here it is the mean squared distance of raw outputs, which every kind of task has.
    """

    acts_from = 2
    rehearses = draws_stored = True

    def __init__(self, memory: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.memory = Memory(memory, "fdr")
        self.alpha, self.beta = alpha, beta
        self.outputs: dict[tuple[str, int], Tensor] = {}
        """(task, index of the image) -> the raw output (1, ...) stored with it."""
        self._step: tuple[Task, Tensor, int, slice] | None = None

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Choose the stored images of every past task and have the outputs that go with them."""
        self.memory.remember(strategy)
        self.outputs = {}
        learnt_in = {id(dataset): ancestor for ancestor in strategy.ancestors for dataset in ancestor.datasets}
        for dataset, indices in self.memory.stored:
            strategy.weigh(dataset.task, self.beta)
            model = learnt_in[id(dataset)].model(strategy.model)
            with torch.no_grad(), strategy.autocast():
                for index in indices:
                    features = model.features(dataset.plain[index][0][None].to(strategy.device))
                    self.outputs[dataset.task.name, index] = model.raw(features, dataset.task)

    def before_forward(self, strategy: Harness, **_: Any) -> None:
        """Add this step's memory batch."""
        self._step = None
        if not self.memory.stored:
            return
        dataset, drawn = self.memory.draw(strategy)
        indices = [index for index, _ in drawn]
        place = strategy.add_batch([(*dataset.plain[index], dataset.task.index) for index in indices])
        wanted = torch.cat([self.outputs[dataset.task.name, index] for index in indices])
        self._step = (dataset.task, wanted, *place)

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        """Add the distance to the stored outputs."""
        if self._step is None:
            return
        task, wanted, which, where = self._step
        images, features = strategy.passes[which]
        positions = torch.arange(len(images), device=images.device)[where]
        with strategy.autocast():
            found = strategy.model.raw(features, task, positions)
        strategy.loss += self.alpha * F.mse_loss(found.float(), wanted.float())


@strategy(
    "fdr",
    summary="replay with labels (`beta`, not in FDR) and the raw outputs (FDR: probabilities) of their stage's end",
    paper="arXiv:1805.08289",
    neutral={"memory": 0},
)
def fdr(
    memory: Annotated[int, Field(ge=0)] = 10,
    alpha: Annotated[float, Field(ge=0)] = 0.1,
    beta: Annotated[float, Field(ge=0)] = 1.0,
) -> list[SupervisedPlugin]:
    """Return the replay; alpha: of the stored outputs, beta: of the labels."""
    return [FunctionReplay(memory, alpha, beta)]
