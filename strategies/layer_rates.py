"""Layer-wise learning rates: what was learnt before moves slowly, or not at all, while a later task is learnt."""

from __future__ import annotations

from typing import Annotated, Any

from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.plugins.registry import strategy
from cl_bench.training.harness import Harness


class LayerRates(SupervisedPlugin):
    """Multiplies the learning rates of what past tasks depend on, by part, from the second stage on.

    What they do not depend on (the new predictor, pyramid levels that no earlier task used) has a factor of its own.
    What is kept keeps its batch-norm statistics, too. limit: the factors are of the stage's learning rate, and what a
    task's own `backbone_rate` makes slower than that is not slowed again.
    """

    acts_from = 2

    def __init__(
        self, backbone: float, neck: float, shared: float, predictors: float, new: float, limit: bool = False
    ) -> None:
        super().__init__()
        self.limit = limit
        self.factors = {"backbone": backbone, "neck": neck, "shared": shared, "predictors": predictors}
        self.new = new

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Slow the parts down for this stage."""
        if not strategy.ancestors:
            return
        learnt, slow = strategy.learnt_parameters(), strategy.limit_rate if self.limit else strategy.scale_rate
        for part, factor in self.factors.items():
            slow([p for name, p in learnt.items() if name.startswith(f"{part}.")], factor)
        new = [p for name, p in strategy.model.named_parameters() if name not in learnt]
        strategy.scale_rate(new, self.new)


Factor = Annotated[float, Field(ge=0)]


@strategy(
    "layer_rates",
    summary="slower learning where earlier tasks were learnt; 0 freezes",
    paper="arXiv:1801.06146",
    neutral={"backbone": 1.0, "neck": 1.0, "shared": 1.0, "predictors": 1.0, "new": 1.0},
)
def layer_rates(
    backbone: Factor = 0.1,
    neck: Factor = 0.1,
    shared: Factor = 0.1,
    predictors: Factor = 0.1,
    new: Factor = 3.0,
    limit: bool = False,
) -> list[SupervisedPlugin]:
    """Return the factors on the rates of backbone, neck, shared layer, past predictors, and of what is new.

    limit: those of what was learnt say how fast it may be at most; what a task's settings make slower stays so.
    """
    return [LayerRates(backbone, neck, shared, predictors, new, limit)]
