"""Synaptic Intelligence: parameters are held by how much their movement lowered the losses of past tasks."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.plugins.registry import strategy
from cl_bench.strategies.l2_sp import QuadraticPenalty
from cl_bench.training.harness import Harness


class SynapticIntelligence(QuadraticPenalty):
    """Importance is gathered while a stage trains, so it acts from the first on and is kept with the stage.

    It is the sum over stages of (loss decrease along the parameter's path) / (its movement^2 + damping), never below 0.
    The gradient is that of everything but this penalty. scaled: all of it is brought to a mean, over the parameters
    held, of the number of earlier stages, which is what EWC's and MAS's sums of importances of mean 1 have.
    """

    acts_from = 1

    def __init__(self, weight: float, damping: float, scaled: bool = True) -> None:
        super().__init__(weight)
        self.damping, self.scaled = damping, scaled
        self._importance: dict[str, Tensor] = {}
        self._first: dict[str, Tensor] = {}
        self._path: dict[str, Tensor] = {}
        self._before: dict[str, Tensor] = {}
        self._last: dict[str, Tensor] = {}
        self._gradient: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the importance gathered so far, by parameter, and what the stage at hand has added to its paths."""
        paths = {f"path of {name}": path for name, path in self._path.items()}
        return {**self._importance, **paths}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what was gathered."""
        self._importance = {name: tensor for name, tensor in tensors.items() if not name.startswith("path of ")}
        paths = {name.removeprefix("path of "): tensors[name] for name in tensors.keys() - self._importance.keys()}
        self._path = {name: path.to(self._first[name].device) for name, path in paths.items()}

    def importance(self, strategy: Harness) -> dict[str, Tensor]:
        """Return what earlier stages gathered, in the penalty's unit."""
        gathered = self._importance
        found = {n: gathered[n].to(strategy.device) for n in strategy.learnt_parameters() if n in gathered}
        if not self.scaled:
            return found
        # In one order and layout, whether it was stored in between or not: sums depend on both.
        total = sum(float(value.contiguous().sum()) for value in found.values())
        mean = total / max(sum(value.numel() for value in found.values()), 1)
        return {name: value * (len(strategy.ancestors) / (mean or 1.0)) for name, value in found.items()}

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Start the path at the stage's first weights."""
        super().before_training_exp(strategy)
        self._first = _copies(strategy)
        self._path = {name: torch.zeros_like(start) for name, start in self._first.items()}
        strategy.at_end(self._gather)

    def before_update(self, strategy: Harness, **_: Any) -> None:
        """Remember where the step starts, and the gradient that leads it, this penalty's left out."""
        self._before = _copies(strategy)
        pulls = {name: self.weight * weight * (self._before[name] - start) for name, start, weight in self._held}
        gradients = {name: p.grad for name, p in strategy.model.named_parameters() if p.grad is not None}
        self._gradient = {name: gradient - pulls.get(name, 0) for name, gradient in gradients.items()}

    @torch.no_grad()
    def after_update(self, strategy: Harness, **_: Any) -> None:
        """Add what the step's movement did to the loss, to first order."""
        self._last = _copies(strategy)
        for name, gradient in self._gradient.items():
            moved = self._last[name] - self._before[name]
            # A step that overflowed in float16 moves nothing, and its gradient is no number.
            self._path[name] -= torch.where(moved == 0, 0, gradient * moved)

    @torch.no_grad()
    def _gather(self) -> None:
        # At the weights of the last step: the stage may end with an average of them, which went another way.
        for name, path in self._path.items():
            found = path.clamp(min=0) / ((self._last[name] - self._first[name]).square() + self.damping)
            self._importance[name] = self._importance.get(name, torch.zeros_like(found)).to(found.device) + found
        self._path = {}


def _copies(strategy: Harness) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in strategy.model.named_parameters()}


@strategy(
    "si",
    summary="hold parameters by how much their movement lowered past losses (SI, its importances scaled as ewc's)",
    paper="arXiv:1703.04200",
    neutral={"weight": 0.0},
    added={"scaled": False},
)
def si(
    weight: Annotated[float, Field(ge=0)] = 0.1,
    damping: Annotated[float, Field(gt=0)] = 1e-3,
    scaled: bool = True,
) -> list[SupervisedPlugin]:
    """Return the penalty.

    weight: in the unit of l2_sp, ewc and mas, of importances whose mean is 1 a past stage; damping: the paper's xi,
    which keeps the importance of parameters that hardly moved finite; scaled=false: the importances are the paper's,
    and its c is weight / 2 (scaled, c is weight / 2 * past stages / their mean).
    """
    return [SynapticIntelligence(weight, damping, scaled)]
