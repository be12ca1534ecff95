"""Response distillation: the parent's outputs for past tasks count where it saw something, not every cell alike."""

from __future__ import annotations

from typing import Annotated

from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.kinds.base import Task
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.kd import Distillation


class ResponseDistillation(Distillation):
    """Distillation by the kind's imitation loss: the parent's answers stand in for labels.

    For masks and labels this is `kd` with the teacher first. Of a detector's cells almost all are background, and a
    mean over all says little of the few that matter: here a cell's box and class weigh as much as the parent is sure
    of an object, and the sum is divided by the number of objects. Elastic response distillation (ERD), from which the
    idea is, chooses cells by a statistical threshold, and matches logits and distributions of box edges there.
    """

    def distance(self, task: Task, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the imitation loss of one past task's raw outputs (B, ...)."""
        return task.kind.imitation(task, student, teacher)


@strategy(
    "response_kd",
    summary="imitate the parent's answers for past tasks, a detector's where it sees objects (own, after ERD's idea)",
    paper="arXiv:2204.02136",
    neutral={"weight": 0.0},
)
def response_kd(weight: Annotated[float, Field(ge=0)] = 1.0) -> list[SupervisedPlugin]:
    """Return the imitation of the parent, which counts `weight` times."""
    return [ResponseDistillation(weight)]
