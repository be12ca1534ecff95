"""Memory Aware Synapses: parameters are held by how much past tasks' outputs depend on them; needs no labels."""

from __future__ import annotations

from typing import Annotated

from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.kinds.base import Target, Task
from cl_bench.model.unified import UnifiedModel
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.ewc import accumulated
from cl_bench.strategies.l2_sp import QuadraticPenalty
from cl_bench.training.harness import Harness


class SensitiveWeights(QuadraticPenalty):
    """Importance is the mean size of the gradient of the output's mean square, summed over past tasks.

    Each stage's is scaled to a mean of 1, so that the paper's lambda, which no half stands before, is weight / 2 / the
    mean of what it has.
    """

    def __init__(self, weight: float, images: int) -> None:
        super().__init__(weight)
        self.images = images

    def importance(self, strategy: Harness) -> dict[str, Tensor]:
        """Return the mean absolute gradient of the past tasks' outputs."""
        return accumulated(strategy, 1.0, self.images, _output_size, order=1)


def _output_size(model: UnifiedModel, task: Task, image: Tensor, target: Target) -> Tensor:
    return model.raw(model.features(image), task).square().mean()


@strategy(
    "mas",
    summary="hold parameters by how much past tasks' outputs depend on them (MAS, its importances scaled as ewc's)",
    paper="arXiv:1711.09601",
    neutral={"weight": 0.0},
)
def mas(
    weight: Annotated[float, Field(ge=0)] = 0.3, images: Annotated[int, Field(ge=1)] = 100
) -> list[SupervisedPlugin]:
    """Return the penalty.

    weight: in the unit of l2_sp, ewc and si, of importances whose mean is 1 a past stage; images: of each past task
    that the importance is measured on.
    """
    return [SensitiveWeights(weight, images)]
