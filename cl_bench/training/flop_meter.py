"""Counts what training costs in floating-point operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor

if TYPE_CHECKING:
    from cl_bench.training.harness import Harness
from cl_bench.model.flops import FlopCounter


class FlopMeter(SupervisedPlugin):
    """Adds up the operations of a stage's steps: convolutions and matrix products, forward and backward, of all models.

    Counting slows a step, so the second one of an epoch stands for all of them, as the first may do more; and each
    task's first one in epochs of one step or of several tasks. What plug-ins do outside of steps is not in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0
        self._counting = ExitStack()

    @contextmanager
    def stage(self, total: float) -> Iterator[None]:
        """Count what is trained inside, on top of `total`."""
        self.total = total
        with self._counting:  # a step that raises must not be counted on for ever
            yield

    def before_training_epoch(self, strategy: Harness, **_: Any) -> None:
        """Count anew: strategies may do more, or less, from some epoch on."""
        self._counted = 1 if len(strategy.experience.task_labels) > 1 else min(2, len(strategy.dataloader))
        self._steps: Counter[int] = Counter()
        self._operations: dict[int, int] = {}

    def before_training_iteration(self, strategy: Harness, **_: Any) -> None:
        """Begin to count where the step stands for others."""
        self._task = int(strategy.mb_task_id[0])
        self._steps[self._task] += 1
        if self._steps[self._task] == self._counted:
            self._counter = self._counting.enter_context(FlopCounter())

    def after_training_iteration(self, strategy: Harness, **_: Any) -> None:
        """Add the step, and with the one that is counted those before it."""
        steps = self._steps[self._task]
        if steps == self._counted:
            self._counting.close()
            self._operations[self._task] = self._counter.total
            self.total += steps * self._counter.total
        elif steps > self._counted:
            self.total += self._operations[self._task]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sum so far, for a stage that is resumed."""
        return {"total": torch.tensor(self.total, dtype=torch.float64)}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a sum."""
        self.total = float(tensors["total"])
