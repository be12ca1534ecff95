"""SAM: every step follows the gradient at the worst point nearby, so that a stage ends where the loss is flat."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import nn

from cl_bench.model.unified import frozen_statistics
from cl_bench.plugins.registry import strategy
from cl_bench.training.harness import Harness

TINY = 1e-12


class SharpnessAware(SupervisedPlugin):
    """Replaces the gradient g at the weights w by the one at w + radius * g / |g|.

    It is of the whole loss, the terms of other plug-ins included, on the same images; batch-norm statistics move by the
    first pass alone. It is named before all others (`sam+agem`), as some of them change the gradient that it gives.
    """

    acts_from = 1
    stateless = True
    stores_images = False
    goes_first = True

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = radius

    def before_update(self, strategy: Harness, **_: Any) -> None:
        """Look at the loss nearby."""
        moved = [p for p in strategy.model.parameters() if p.grad is not None]
        if not self.radius or not moved:
            return
        kept = [p.detach().clone() for p in moved]
        self._climb(moved)
        with frozen_statistics(strategy.model):
            _repeat(strategy).backward()
        with torch.no_grad():
            for parameter, value in zip(moved, kept, strict=True):
                parameter.copy_(value)

    @torch.no_grad()
    def _climb(self, parameters: list[nn.Parameter]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        scale = self.radius / torch.nn.utils.get_total_norm(gradients).clamp(min=TINY)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.add_(scale * gradient)
            parameter.grad = None


def _repeat(strategy: Harness) -> torch.Tensor:
    """Return the step's loss at the weights as they are now."""
    strategy.mbatch[1] = strategy.mb_y[: len(strategy.mb_x)]  # batches of another image size append theirs again
    strategy.mb_output = strategy.forward()
    strategy.loss = strategy._criterion(strategy.mb_output, strategy.mb_y)
    strategy._before_backward()
    return strategy.loss


@strategy(
    "sam",
    summary="seek flat minima: each step follows the gradient at the worst point nearby (SAM), from the first stage on",
    paper="arXiv:2010.01412, arXiv:2112.09153",
    neutral={"radius": 0.0},
)
def sam(radius: Annotated[float, Field(ge=0)] = 0.05) -> list[SupervisedPlugin]:
    """Return the step; radius: the paper's rho, .05."""
    return [SharpnessAware(radius)]
