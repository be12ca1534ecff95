"""A plug-in that changes nothing and remembers what it saw."""

from __future__ import annotations

from typing import Any

import torch
from avalanche.core import SupervisedPlugin

from cl_bench.training.harness import Harness
from cl_bench.utils.hashing import digest


def predictors(model: torch.nn.Module) -> dict[str, str]:
    return {name: digest(part.state_dict()) for name, part in model.predictors.items()}


def batch_norm_updates(model: torch.nn.Module) -> int:
    return int(next(v for k, v in model.state_dict().items() if k.endswith("num_batches_tracked")))


class Spy(SupervisedPlugin):
    """Looks at the harness once a step and at the beginning and end of a stage."""

    acts_from = 1

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, str] = {}
        self.last: dict[str, str] = {}
        self.batches = [0, 0]
        self.seen: list[Any] = []

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        self.first = predictors(strategy.model)
        self.batches[0] = batch_norm_updates(strategy.model)

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        self.seen.append(strategy.mb_task_id.tolist())

    def after_training_exp(self, strategy: Harness, **_: Any) -> None:
        self.last = predictors(strategy.model)
        self.batches[1] = batch_norm_updates(strategy.model)
