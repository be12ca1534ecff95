"""CAGrad: near the sum of the two gradients, the step that helps whichever of task and past it helps least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.kinds.base import Distill
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.pcgrad import SeparateGradient

TINY = 1e-12


class ConflictAverse(SeparateGradient):
    """The gradient d, at most c * |g| from the sum g of both, whose smaller inner product with the two is largest.

    d = g + c * |g| / |m| * m, where m is the mean of the two, weighted as `share` has it.
    """

    def __init__(self, weight: float, how: Distill, c: float) -> None:
        super().__init__(weight, how)
        self.c = c

    def join(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Add the two, and what averts the conflict."""
        products = [torch.stack([(a * a).sum(), (a * b).sum(), (b * b).sum()]) for a, b in pairs]
        own, both, asked = torch.stack(products).sum(0).tolist()
        w = share(own, both, asked, self.c)
        length = math.sqrt(max(own + 2 * both + asked, 0))
        mean = math.sqrt(max(w * w * own + 2 * w * (1 - w) * both + (1 - w) ** 2 * asked, 0))
        scale = self.c * length / max(mean, TINY)
        for task, past in pairs:
            task.mul_(1 + scale * w).add_(past, alpha=1 + scale * (1 - w))


def share(own: float, both: float, asked: float, c: float) -> float:
    """Return the w in [0, 1] that minimises m'g / 2 + c * |g| / 2 * |m|, where m = w a + (1 - w) b and g = a + b.

    own, both, asked: a'a, a'b and b'b. It is the paper's (3) for two tasks, whose root can be written down.
    """
    slope = (own - asked) / 2
    radius = c / 2 * math.sqrt(max(own + 2 * both + asked, 0))
    spread = own - 2 * both + asked
    curved = radius**2 * spread - slope**2
    if curved <= 0:  # it only falls, or only rises
        return float(slope < 0)
    apart = max(own * asked - both**2, 0)
    root = math.copysign(math.sqrt(slope**2 * apart / curved), -slope)
    return min(max((root + asked - both) / spread, 0), 1)


@strategy(
    "cagrad",
    summary="distil the parent's outputs, and step so that whichever of task and past gains least gains most"
    " (CAGrad, the parent in place of past tasks)",
    paper="arXiv:2110.14048, arXiv:1503.02531",
    neutral={"weight": 0.0},
)
def cagrad(
    weight: Annotated[float, Field(ge=0)] = 1.0,
    c: Annotated[float, Field(ge=0, lt=1)] = 0.4,
    temperature: Annotated[float, Field(gt=0)] = 2.0,
) -> list[SupervisedPlugin]:
    """Return the distillation, T^2 included; weight: of its gradient; c: how far from the sum a step may be."""
    return [ConflictAverse(weight, Distill(temperature, "teacher_student"), c)]
