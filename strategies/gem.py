"""GEM: a gradient is projected to the nearest one that raises the loss of no past task's stored images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from scipy.optimize import nnls
from torch import Tensor, nn

from cl_bench.plugins.registry import strategy
from cl_bench.strategies.agem import PastGradients
from cl_bench.strategies.replay import Memory
from cl_bench.training.harness import Harness


class GradientCone(PastGradients):
    """Projects the gradient onto those that agree with the gradient of a memory batch of every past task.

    margin: the paper's gamma, the least share of every past gradient that is added where any disagrees.
    """

    def __init__(self, memory: int, margin: float) -> None:
        super().__init__(Memory(memory, "gem"))
        self.margin = margin

    def change(self, strategy: Harness, shared: Sequence[nn.Parameter]) -> None:
        """Project the gradient where it disagrees with any past task's."""
        own = _flat([p.grad for p in shared], shared)
        tasks = range(len(self.memory.stored))
        past = torch.stack([_flat(self.gradients(strategy, shared, which), shared) for which in tasks])
        added = projection(own, past, self.margin)
        place = 0
        for parameter in shared:
            assert parameter.grad is not None
            parameter.grad += added[place : place + parameter.numel()].view_as(parameter)
            place += parameter.numel()


def projection(gradient: Tensor, past: Tensor, margin: float = 0.0) -> Tensor:
    """Return what brings `gradient` g (n,) to one whose product with each of `past` G (tasks, n) is >= 0: G'v.

    v solves min 1/2 v'GG'v + g'G'v, v >= margin (eq. 11 and 12 of the paper); with margin 0 the nearest one. Nothing
    where all agree, or where one is not finite, as a loss scaler's are at times: it will skip the step.
    """
    agreement = past @ gradient
    if not bool((agreement < 0).any() & agreement.isfinite().all()):
        return torch.zeros_like(gradient)
    gram = (past @ past.T).double().cpu().numpy()
    gram += 1e-9 * np.trace(gram) * np.eye(len(gram))  # gradients that all point one way
    factor = np.linalg.cholesky(gram)
    # In u = v - margin >= 0 it is a least-squares problem with as many unknowns as there are past tasks.
    wanted = np.linalg.solve(factor, -(agreement.double().cpu().numpy() + margin * gram.sum(1)))
    shares, _ = nnls(factor.T, wanted)
    return torch.from_numpy(shares + margin).to(gradient) @ past


def _flat(gradients: Iterable[Tensor | None], parameters: Iterable[Tensor]) -> Tensor:
    pairs = zip(gradients, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


@strategy(
    "gem",
    summary="project gradients that would raise the loss of any past task's stored images (GEM)",
    paper="arXiv:1706.08840",
    neutral={"memory": 0},
    added={"margin": 0.0},
)
def gem(
    memory: Annotated[int, Field(ge=0)] = 10, margin: Annotated[float, Field(ge=0)] = 0.5
) -> list[SupervisedPlugin]:
    """Return the projection against `memory` stored images of each past task; margin: the paper's gamma."""
    return [GradientCone(memory, margin)]
