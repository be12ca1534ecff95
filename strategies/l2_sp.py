"""L2-SP: what past tasks depend on is pulled back to where the stage found it; the base of the weighted penalties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.plugins.registry import strategy
from cl_bench.training.harness import Harness


class QuadraticPenalty(SupervisedPlugin):
    """Adds weight / 2 * the sum over parameters of importance * (parameter - its value when the stage began)^2.

    Only what the past tasks' outputs depend on is held, and a predictor that is inactive in a step is not moved by it.
    Subclasses say how important a parameter is; here, all are alike.
    """

    acts_from = 2
    stores_images = False

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self._held: list[tuple[str, Tensor, Tensor]] = []

    def importance(self, strategy: Harness) -> dict[str, Tensor]:
        """Return the importance (>= 0) of the parameters to be held, by name, each of the parameter's shape."""
        return {name: torch.ones_like(p) for name, p in strategy.learnt_parameters().items()}

    def held(self, strategy: Harness) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield what is held: a parameter's name, where it is held (where the stage begins), and its importance."""
        start = dict(strategy.model.named_parameters())
        for name, weight in self.importance(strategy).items():
            yield name, start[name].detach().clone(), weight

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Note where the parameters are, and how important each is."""
        self._held = list(self.held(strategy)) if strategy.past else []

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        """Add the penalty to the loss."""
        if self._held:
            strategy.loss += self.penalty(strategy)

    def penalty(self, strategy: Harness) -> Tensor:
        """Return the penalty, a scalar; 0 at the start of the stage."""
        now = dict(strategy.model.named_parameters())
        terms = [(weight * (now[name] - start).square()).sum() for name, start, weight in self._held]
        return self.weight / 2 * torch.stack(terms).sum()


@strategy(
    "l2_sp",
    summary="pull what past tasks depend on back to where the stage found it (L2-SP's alpha term, not its decay of new"
    " weights)",
    paper="arXiv:1802.01483",
    neutral={"weight": 0.0},
)
def l2_sp(weight: Annotated[float, Field(ge=0)] = 1.0) -> list[SupervisedPlugin]:
    """Return the penalty; weight: the paper's alpha, in the unit of ewc, mas and si, as all importances are 1."""
    return [QuadraticPenalty(weight)]
