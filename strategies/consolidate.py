"""Consolidate: what an expert learnt of the new task is added to what is there, then both teach the one model."""

from __future__ import annotations

from typing import Annotated

from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.kinds.base import Distill
from cl_bench.registry import strategy
from cl_bench.strategies.er import ClassBalanced
from cl_bench.strategies.expert_kd import ExpertDistillation
from cl_bench.strategies.feature_kd import FeatureDistillation
from cl_bench.strategies.kd import Distillation
from cl_bench.strategies.replay import Replay
from cl_bench.strategies.task_arithmetic import TaskVector


@strategy(
    "consolidate",
    summary="task_arithmetic + kd + feature_kd + er (balanced) + expert_kd: the parent and an expert teach one model",
    paper="arXiv:1805.06370, arXiv:2212.04089, arXiv:1606.09282, arXiv:1412.6550, arXiv:1902.10486",
    neutral={"share": 0.0, "weight": 0.0, "features": 0.0, "memory": 0, "expert": 0.0},
)
def consolidate(
    share: Annotated[float, Field(ge=0)] = 1.0,
    weight: Annotated[float, Field(ge=0)] = 10.0,
    features: Annotated[float, Field(ge=0)] = 3.0,
    memory: Annotated[int, Field(ge=0)] = 10,
    expert: Annotated[float, Field(ge=0)] = 1.0,
) -> list[SupervisedPlugin]:
    """Return the five; the expert is the task's own baseline, whose training is counted as this strategy's.

    share: of the expert's way that is added at the start; weight: of KL(teacher || student) on past outputs; features:
    of the distance to the parent's shared features; memory: class-balanced images of a past task; expert: of the
    imitation of the expert.
    """
    distill = Distill(direction="teacher_student")
    return [
        TaskVector(share),
        Distillation(weight, distill),
        FeatureDistillation(features),
        Replay(ClassBalanced(memory)),
        ExpertDistillation(expert),
    ]
