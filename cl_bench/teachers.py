"""The other models of a stage, as strategies use them: the model as the stage found it, and single-task baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from cl_bench.ancestry import frozen_copy
from cl_bench.model import UnifiedModel
from cl_bench.still import shared_layers


class Teachers:
    """Models of the form of `model`, frozen and in eval mode, each made when it is first asked for.

    experts: by task, what returns the weights of its baseline.
    """

    def __init__(self, model: UnifiedModel, experts: Mapping[str, Callable[[], dict[str, Tensor]]]) -> None:
        self._model = model
        self._weights = experts
        self._experts: dict[str, UnifiedModel] = {}
        self._same: dict[int, frozenset[str]] = {}
        self.in_use: UnifiedModel | None = None
        """The parent, where something has asked for it."""
        self.moved_on = False
        """Whether training has begun, so that the model is no longer as the stage found it."""

    def parent(self) -> UnifiedModel:
        """Return the model as the stage found it; there is one, whatever asks for it."""
        if self.in_use is None:
            if self.moved_on:
                raise RuntimeError("the teacher must be asked for in before_training_exp: the model has moved on")
            self.in_use = frozen_copy(self._model)
        return self.in_use

    def expert(self, task: str) -> UnifiedModel | None:
        """Return the baseline of `task`; None where no term of the stage follows it."""
        if task not in self._experts and task in self._weights:
            self._experts[task] = frozen_copy(self._model)
            self._experts[task].load_state_dict(self._weights[task]())
        return self._experts.get(task)

    def same_layers(self, other: UnifiedModel) -> frozenset[str]:
        """Return the names of the backbone's layers that are held still in the stage and `other` has, too."""
        if id(other) not in self._same:
            self._same[id(other)] = shared_layers(self._model.backbone, other.backbone)
        return self._same[id(other)]
