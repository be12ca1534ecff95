"""Frozen backbone: after the first task only neck, shared layer and predictors learn."""

from __future__ import annotations

from avalanche.core import SupervisedPlugin

from cl_bench.plugins.registry import strategy
from cl_bench.strategies.layer_rates import LayerRates


@strategy("frozen_backbone", summary="keep the backbone as the first task left it", paper="arXiv:1801.06146")
def frozen_backbone() -> list[SupervisedPlugin]:
    """Return the rates that stop the backbone; its batch-norm statistics stay, too."""
    return [LayerRates(backbone=0.0, neck=1.0, shared=1.0, predictors=1.0, new=1.0)]
