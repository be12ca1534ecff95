"""Avalanche's plug-ins that run here with a few changes: to how they run, not to what they compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from avalanche.training import plugins as stock
from avalanche.training.utils import ParamData
from torch import Tensor


class AGEM(stock.AGEMPlugin):
    """AGEMPlugin: weights are laid out one after the other, as it flattens gradients by `view`."""

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        """Lay the weights out; gradients follow them."""
        strategy.model.to(memory_format=torch.contiguous_format)
        super().before_training(strategy, **kwargs)


class MAS(stock.MASPlugin):
    """MASPlugin: norms are of every task's output that a batch asks for."""

    def _get_importance(self, strategy: Any) -> Any:
        hook = strategy.model.register_forward_hook(_norms)
        try:
            return super()._get_importance(strategy)
        finally:
            hook.remove()


class SynapticIntelligence(stock.SynapticIntelligencePlugin):
    """SynapticIntelligencePlugin: weights are copied on a CPU too, and what has no gradient counts as 0.

    On a CPU the stock one keeps views, so that no weight ever seems to move.
    """

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Note where the stage begins."""
        super().before_training_exp(strategy, **kwargs)
        _copy(self.ewc_data[0])

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Note where the step begins."""
        super().before_training_iteration(strategy, **kwargs)
        _copy(self.syn_data["old_theta"])

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Add the step to the path; what had no part in it has no gradient, which counts as 0."""
        idle = [p for p in strategy.model.parameters() if p.grad is None]
        for p in idle:
            p.grad = torch.zeros_like(p)
        super().after_training_iteration(strategy, **kwargs)
        for p in idle:
            p.grad = None


class RWalk(stock.RWalkPlugin):
    """RWalkPlugin: steps are in training mode, and stages may have less than `delta_t` of them.

    In those the stock one divides scores of 0 by their maximum, 0: its penalty is then NaN.
    """

    def before_training_iteration(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Take the importances, in evaluation mode; the step itself is one of training."""
        super().before_training_iteration(strategy, *args, **kwargs)
        strategy.model.train()

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Set up the next stage's penalty: of the importances alone while no score is there."""
        super().after_training_exp(strategy, *args, **kwargs)
        assert self.exp_scores is not None
        assert self.exp_importance is not None
        assert self.exp_penalties is not None
        if any(score.data.any() for score in self.exp_scores.values()):
            return
        most = max(importance.data.max() for importance in self.exp_importance.values())
        for name, penalty in self.exp_penalties.items():
            penalty.data = self.exp_importance[name].data / most


class FromScratchTraining(stock.FromScratchTrainingPlugin):
    """FromScratchTrainingPlugin: the optimizer is left alone, new in every stage anyway."""

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Put the first weights back."""
        self.reset_optimizer = False
        super().before_training_exp(strategy, *args, **kwargs)


def _norms(model: object, images: object, outputs: Mapping[int, tuple[Tensor, Tensor]]) -> Tensor:
    """Return the norm over channels of every output, (n, 1): the stock one takes it once more, which changes none."""
    return torch.cat([torch.norm(output, p="fro", dim=1).flatten() for _, output in outputs.values()])[:, None]


def _copy(held: Mapping[str, Any]) -> None:
    for tensor in held.values():
        assert isinstance(tensor, ParamData)
        tensor.data = tensor.data.clone()


ADAPTED = {
    "AGEMPlugin": AGEM,
    "FromScratchTrainingPlugin": FromScratchTraining,
    "MASPlugin": MAS,
    "RWalkPlugin": RWalk,
    "SynapticIntelligencePlugin": SynapticIntelligence,
}
"""Avalanche's class -> what is built in its place."""
