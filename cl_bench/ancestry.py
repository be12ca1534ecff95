"""The stages that a stage descends from, as strategies use them: their data sets and the weights they ended with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from cl_bench.model import UnifiedModel
from cl_bench.stream import TaskDataset


@dataclass(frozen=True, eq=False)
class Ancestor:
    """An earlier stage of the run; weights: returns what it ended with, parameters and buffers, read when called."""

    datasets: tuple[TaskDataset, ...]
    weights: Callable[[], dict[str, Tensor]]

    def model(self, like: UnifiedModel) -> UnifiedModel:
        """Return a model of the form of `like` as this stage left it, in eval mode."""
        found = copy.deepcopy(like).eval()
        found.load_state_dict(self.weights())
        return found


def frozen_copy(model: UnifiedModel) -> UnifiedModel:
    """Return a copy of `model` in eval mode that no gradient reaches."""
    return copy.deepcopy(model).eval().requires_grad_(False)
