"""GEM: a step is projected to the nearest one that raises the loss of no past task's stored images."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from scipy.optimize import nnls
from torch import Tensor

from cl_bench.registry import strategy
from cl_bench.strategies.agem import GradientProjection
from cl_bench.training import Harness


class GradientCone(GradientProjection):
    """Projects the step's gradient onto those that agree with the gradient of a memory batch of every past task.

    The projection's dual is a least-squares problem with as many unknowns (>= 0) as there are past tasks.
    """

    def __init__(self, memory: int) -> None:
        super().__init__(memory)
        self.memory.stream = "gem"

    def before_update(self, strategy: Harness, **_: Any) -> None:
        """Project the gradient where it disagrees with any past task's."""
        if not self.memory.stored:
            return
        shared = [p for p in strategy.learnt_parameters().values() if p.grad is not None]
        if not shared:
            return
        own = _flat([p.grad for p in shared], shared)
        rows = []
        for which in range(len(self.memory.stored)):
            found = torch.autograd.grad(self.loss(strategy, which), shared, allow_unused=True)
            rows.append(_flat(found, shared))
        added = projection(own, torch.stack(rows))
        place = 0
        for parameter in shared:
            assert parameter.grad is not None
            parameter.grad += added[place : place + parameter.numel()].view_as(parameter)
            place += parameter.numel()


def projection(gradient: Tensor, past: Tensor) -> Tensor:
    """Return what brings `gradient` (n,) to the nearest one whose product with each of `past` (tasks, n) is >= 0.

    Nothing where one is not finite, as a loss scaler's are at times: it will skip the step.
    """
    agreement = past @ gradient
    if not bool((agreement < 0).any() & agreement.isfinite().all()):
        return torch.zeros_like(gradient)
    gram = (past @ past.T).double().cpu().numpy()
    gram += 1e-9 * np.trace(gram) * np.eye(len(gram))  # gradients that all point one way
    factor = np.linalg.cholesky(gram)
    wanted = np.linalg.solve(factor, -agreement.double().cpu().numpy())
    shares, _ = nnls(factor.T, wanted)
    return torch.from_numpy(shares).to(gradient) @ past


def _flat(gradients: Any, parameters: Any) -> Tensor:
    pairs = zip(gradients, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


@strategy(
    "gem",
    summary="project steps that would raise the loss of any past task's stored images (GEM)",
    paper="arXiv:1706.08840",
    neutral={"memory": 0},
)
def gem(memory: Annotated[int, Field(ge=0)] = 10) -> list[SupervisedPlugin]:
    """Return the projection against `memory` stored images of each past task."""
    return [GradientCone(memory)]
