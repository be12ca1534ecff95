"""WiSE-FT: a stage ends with the mean of the weights it found and the weights it trained.

The paper mixes two ends that both know the task; as a continual method, where the first never saw it, this is mean-IMM
(incremental moment matching, arXiv:1703.08475), alpha being the share of the task at hand.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.plugins.registry import strategy
from cl_bench.training.harness import Harness


class WeightInterpolation(SupervisedPlugin):
    """Ends the stage with (1 - alpha) * its first weights + alpha * its last, batch-norm statistics included.

    What no past task depends on (the new predictor, levels that are new), which started from nothing, keeps its last.
    """

    acts_from = 2

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Have the first weights kept, and mixed in at the end."""
        if strategy.teacher is not None:
            strategy.at_end(lambda: self._mix(strategy))

    @torch.no_grad()
    def _mix(self, strategy: Harness) -> None:
        assert strategy.teacher is not None
        first, last = strategy.teacher.state_dict(), strategy.model.state_dict()
        for name in [*strategy.learnt_parameters(), *dict(strategy.model.named_buffers())]:
            if name in first and first[name].is_floating_point():
                last[name].copy_(torch.lerp(first[name], last[name], self.alpha))


@strategy(
    "wise_ft",
    summary="average the weights before and after each stage (WiSE-FT after every task, which is mean-IMM)",
    paper="arXiv:2109.01903, arXiv:1703.08475",
    neutral={"alpha": 1.0},
)
def wise_ft(alpha: Annotated[float, Field(ge=0, le=1)] = 0.9) -> list[SupervisedPlugin]:
    """Return the interpolation; alpha: the share of the weights that the stage trained."""
    return [WeightInterpolation(alpha)]
