"""Rewind: a later stage starts with the backbone part of the way back to its initial, pretrained weights."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench.plugins.registry import strategy
from cl_bench.training.harness import Harness


class Rewind(SupervisedPlugin):
    """Starts the stage with (1 - share) * the weights it found + share * the run's initial ones, of the backbone alone.

    A backbone that a few images have specialised learns the next task worse than the pretrained one; fine-tuned and
    pretrained weights are connected without a barrier (arXiv:2109.01903), so part of the way back costs past tasks
    little, and distillation (the teacher is what the stage found) or replay give it back.
    """

    acts_from = 2

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    @torch.no_grad()
    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Move the backbone back."""
        # Who asks for the teacher after this must get the model as it was before it is moved.
        if not self.share or strategy.teacher is None:
            return
        initial = strategy.initial()
        for name, value in strategy.model.state_dict().items():
            if name.startswith("backbone.") and value.is_floating_point():
                value.lerp_(initial[name].to(value), self.share)


@strategy(
    "rewind",
    summary="start each stage with the backbone part of the way back to its initial weights (own; shrink and perturb"
    " goes towards noise)",
    paper="arXiv:1910.08475",
    neutral={"share": 0.0},
)
def rewind(share: Annotated[float, Field(ge=0, le=1)] = 0.1) -> list[SupervisedPlugin]:
    """Return the move back; share: how far, 1 being the initial weights."""
    return [Rewind(share)]
