"""Frozen batch norm: from the second stage on, images are normalised by the statistics of the first, which stay."""

from __future__ import annotations

from typing import Any

from avalanche.core import SupervisedPlugin

from cl_bench.plugins.registry import strategy
from cl_bench.training.harness import Harness


class FrozenStatistics(SupervisedPlugin):
    """Lets batch norm normalise in training as it does in evaluation; its scale and shift are still trained."""

    acts_from = 2

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Freeze the statistics for this stage."""
        if strategy.ancestors:
            strategy.model.freeze_norm(True)


@strategy("frozen_bn", summary="keep batch-norm statistics as the first task left them", paper="arXiv:1907.03799")
def frozen_bn() -> list[SupervisedPlugin]:
    """Return the plug-in that freezes the statistics."""
    return [FrozenStatistics()]
