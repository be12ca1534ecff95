"""Consolidate: what an expert learnt is added as far as the past allows, then expert and parent teach the one model."""

from __future__ import annotations

from typing import Annotated

from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.plugins.registry import strategy
from cl_bench.strategies.expert_kd import ExpertDistillation
from cl_bench.strategies.layer_rates import LayerRates
from cl_bench.strategies.replay import Memory, Replay
from cl_bench.strategies.response_kd import ResponseDistillation
from cl_bench.strategies.task_arithmetic import TaskVector


@strategy(
    "consolidate",
    summary="task_arithmetic (limited) + response_kd + replay + layer_rates + expert_kd: two teachers, one model",
    paper="arXiv:1805.06370, arXiv:2212.04089, arXiv:2204.02136, arXiv:1902.10486, arXiv:1801.06146",
    neutral={"share": 0.0, "weight": 0.0, "memory": 0, "learnt": 1.0, "new": 1.0, "expert": 0.0},
    added={"label_weight": 1.0},
    renamed={"label_weight": "labels"},
)
def consolidate(
    share: Annotated[float, Field(ge=0)] = 1.0,
    tolerance: Annotated[float, Field(ge=0)] = 0.05,
    weight: Annotated[float, Field(ge=0)] = 5.0,
    memory: Annotated[int, Field(ge=0)] = 10,
    learnt: Annotated[float, Field(ge=0)] = 0.5,
    new: Annotated[float, Field(ge=0)] = 3.0,
    expert: Annotated[float, Field(ge=0)] = 1.0,
    label_weight: Annotated[float, Field(ge=0)] = 1.0,
) -> list[SupervisedPlugin]:
    """Return the five; the expert is the task's own baseline, whose training is counted as this strategy's.

    share: of the expert's way that is added at the start, halved until no past task's loss on stored images rises by
    more than `tolerance`; weight: of imitating the parent; memory: images of a past task; learnt: how fast what
    past tasks depend on may be at most; new: how much faster the rest is; expert: weight of imitating the expert;
    label_weight: of the stored images' labels, which are so few that they are soon learnt by heart (0: the teachers
    alone are imitated on these images; how far the expert's way may be gone is judged with their labels all the same).
    """
    stored = Memory(memory)
    return [
        TaskVector(share, stored if memory else None, tolerance),
        ResponseDistillation(weight),
        Replay(stored, label_weight),
        LayerRates(backbone=learnt, neck=learnt, shared=learnt, predictors=1.0, new=new, limit=True),
        ExpertDistillation(expert),
    ]
