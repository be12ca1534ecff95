"""EWC: parameters are held by how much past tasks' losses depend on them (the diagonal of the Fisher matrix)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.kinds.base import Target, Task
from cl_bench.model.unified import UnifiedModel
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.l2_sp import QuadraticPenalty
from cl_bench.training.harness import Harness
from cl_bench.training.teachers import Ancestor
from cl_bench.utils.randomness import permutation

Objective = Callable[[UnifiedModel, Task, Tensor, Target], Tensor]
"""What is differentiated, a scalar, for one image (1, 3, S, S) of a task."""


def sensitivity(
    strategy: Harness, ancestor: Ancestor, images: int, objective: Objective, order: int
) -> dict[str, Tensor]:
    """Return, by parameter, the mean over images of |gradient of `objective`|^order, scaled to a mean of 1.

    It is taken at the weights that `ancestor` ended with, on at most `images` images of each of its tasks, not
    augmented: what can be had at the end of that stage. Scaled, so that no task's loss drowns another's.
    """
    model = ancestor.model(strategy.model)
    names, parameters = zip(*model.named_parameters(), strict=True)
    sums: dict[str, Tensor] = {}
    for dataset in ancestor.datasets:
        chosen = permutation(len(dataset), strategy.seed, "importance", dataset.task.randomness)[:images]
        for index in sorted(chosen):
            image, target = dataset.plain[index]
            moved = {key: value.to(strategy.device) for key, value in target.items()}
            loss = objective(model, dataset.task, image[None].to(strategy.device), moved)
            for name, gradient in zip(names, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
                if gradient is not None:
                    sums[name] = sums.get(name, 0) + gradient.abs() ** order
    mean = sum(float(total.sum()) for total in sums.values()) / sum(total.numel() for total in sums.values())
    return {name: total / (mean or 1.0) for name, total in sums.items()}


def accumulated(strategy: Harness, decay: float, images: int, objective: Objective, order: int) -> dict[str, Tensor]:
    """Return the sum of all earlier stages' sensitivities, each `decay` times the weight of the one after it."""
    total: dict[str, Tensor] = {}
    for ancestor in strategy.ancestors:
        found = sensitivity(strategy, ancestor, images, objective, order)
        total = {name: decay * value for name, value in total.items()}
        for name, value in found.items():
            total[name] = total[name] + value if name in total else value
    return total


class ElasticWeights(QuadraticPenalty):
    """Importance is the diagonal of the empirical Fisher matrix (of the true labels), summed over past stages.

    Each stage's is scaled to a mean of 1, so that the papers' lambda is weight / the mean of what they have.

    anchors: where parameters are held: "latest", where the stage begins (online EWC), or "each", every stage's Fisher
    matrix at what that stage ended with (EWC as published).
    """

    def __init__(self, weight: float, decay: float, images: int, anchors: str) -> None:
        super().__init__(weight)
        self.decay, self.images, self.anchors = decay, images, anchors

    def held(self, strategy: Harness) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield name, anchor and importance of every parameter.

        A sum of quadratic penalties is, but for a constant, one around the mean of their centres.
        """
        if self.anchors == "latest":
            yield from super().held(strategy)
            return
        total: dict[str, Tensor] = {}
        centre: dict[str, Tensor] = {}
        for ancestor in strategy.ancestors:
            ended = ancestor.weights()
            for name, found in sensitivity(strategy, ancestor, self.images, _task_loss, order=2).items():
                total[name] = total.get(name, torch.zeros_like(found)) + found
                centre[name] = centre.get(name, torch.zeros_like(found)) + found * ended[name].to(found)
        for name, weight in total.items():
            yield name, centre[name] / weight.clamp(min=torch.finfo(weight.dtype).tiny), weight

    def importance(self, strategy: Harness) -> dict[str, Tensor]:
        """Return the mean squared gradient of the past tasks' losses."""
        return accumulated(strategy, self.decay, self.images, _task_loss, order=2)


def _task_loss(model: UnifiedModel, task: Task, image: Tensor, target: Target) -> Tensor:
    raw = model.raw(model.features(image), task)
    return task.kind.loss(task, model.finish(raw, task), [target])


@strategy(
    "ewc",
    summary="hold parameters by the empirical Fisher information of past tasks, scaled (online EWC; anchors=each: EWC)",
    paper="arXiv:1612.00796, arXiv:1805.06370",
    neutral={"weight": 0.0},
)
def ewc(
    weight: Annotated[float, Field(ge=0)] = 1.0,
    decay: Annotated[float, Field(ge=0, le=1)] = 1.0,
    images: Annotated[int, Field(ge=1)] = 100,
    anchors: Literal["latest", "each"] = "latest",
) -> list[SupervisedPlugin]:
    """Return the penalty.

    weight: in the unit of l2_sp, mas and si, of importances whose mean is 1 a past stage; decay: what a stage's
    information keeps per later stage, of "latest" anchors; images: of each task it is from.
    """
    return [ElasticWeights(weight, decay, images, anchors)]
