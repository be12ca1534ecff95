"""Hold and learn: four ways to keep the past, and fast learning where nothing has been learnt yet."""

from __future__ import annotations

from typing import Annotated

from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.kinds.base import Distill
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.feature_kd import FeatureDistillation
from cl_bench.strategies.kd import Distillation
from cl_bench.strategies.layer_rates import LayerRates
from cl_bench.strategies.replay import Replay


@strategy(
    "hold",
    summary="kd + feature_kd + replay, slow where something was learnt and fast where nothing was",
    paper="arXiv:1606.09282, arXiv:1412.6550, arXiv:1902.10486, arXiv:1801.06146",
    neutral={"weight": 0.0, "features": 0.0, "memory": 0, "learnt": 1.0, "new": 1.0},
)
def hold(
    weight: Annotated[float, Field(ge=0)] = 3.0,
    features: Annotated[float, Field(ge=0)] = 1.0,
    memory: Annotated[int, Field(ge=0)] = 10,
    learnt: Annotated[float, Field(ge=0)] = 0.3,
    new: Annotated[float, Field(ge=0)] = 3.0,
) -> list[SupervisedPlugin]:
    """Return the four, of which past predictors alone are at the full rate.

    weight: of KL(teacher || student) on past outputs; features: of the distance to the parent's shared features;
    memory: images of a past task; learnt, new: factors on the rates of what past tasks depend on, and of the rest.
    """
    rates = LayerRates(backbone=learnt, neck=learnt, shared=learnt, predictors=1.0, new=new)
    distill = Distill(direction="teacher_student")
    return [Distillation(weight, distill), FeatureDistillation(features), Replay(memory), rates]
