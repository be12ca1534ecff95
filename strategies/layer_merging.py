"""Layer-wise merging: of what an expert learnt each layer takes a share of its own, and the shares are learnt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.model.unified import UnifiedModel
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.replay import Memory
from cl_bench.strategies.task_arithmetic import added
from cl_bench.tasks.dataset import TaskDataset, collate
from cl_bench.training.harness import Harness
from cl_bench.utils.randomness import permutation

RATE = 0.05
"""Adam's rate for the shares, which lie in 0..1."""


class LayerMerging(SupervisedPlugin):
    """Starts a stage with parent + share * (the task's own baseline - the run's initial weights), a share a layer.

    Before the stage's first step the shares are learnt by `steps` of Adam: on images of the task at hand and stored
    ones of past tasks, the merged model imitates the parent for past tasks and the baseline for the one at hand.
    Meanwhile the model is in eval mode. What no past task depends on takes the baseline's weights. The baseline's
    training counts as this strategy's.
    """

    acts_from = 2
    follows_expert = True

    def __init__(self, steps: int, share: float, memory: int) -> None:
        super().__init__()
        self.steps, self.share, self.memory = steps, share, Memory(memory)

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Learn the shares, move the model, and record the mean share."""
        # Who asks for the teacher after this must get the model as it was before it is moved.
        parent, expert = strategy.teacher, strategy.expert()
        self.memory.remember(strategy)
        if parent is None or expert is None or not (self.share or self.steps):
            return
        merged = Merge(strategy, parent, expert)
        shares = torch.full((len(merged.layers),), self.share)
        optimizer = torch.optim.Adam([shares], RATE)
        strategy.model.eval()
        strategy.model.zero_grad()  # of the last step of the stage before
        for step in range(self.steps):
            merged.write(shares)
            with torch.enable_grad():
                self._imitation(strategy, parent, expert, step).backward()
            shares.grad = merged.slopes()
            optimizer.step()
            shares.clamp_(0, 1)
        strategy.model.train()
        merged.write(shares)
        strategy.report["share"] = float(shares.mean())

    def _imitation(self, strategy: Harness, parent: UnifiedModel, expert: UnifiedModel, step: int) -> Tensor:
        """Return how far the model is from both on one batch of the task at hand and one of a past task."""
        sources: list[tuple[TaskDataset, Sequence[int]]] = [(strategy.current[0], range(len(strategy.current[0])))]
        if stored := self.memory.stored:
            sources.append(stored[step % len(stored)])
        taught = [(task, parent) for task in strategy.past_tasks] + [(strategy.current[0].task, expert)]
        losses = []
        for dataset, chosen in sources:
            images = _batch(strategy, dataset, chosen, step)
            with strategy.autocast():
                features = strategy.model.features(images)
                with torch.no_grad():
                    shown = {id(teacher): teacher.features(images) for teacher in (parent, expert)}
                for task, teacher in taught:
                    wanted = teacher.raw(shown[id(teacher)], task)
                    losses.append(task.kind.imitation(task, strategy.model.raw(features, task), wanted))
        return torch.stack(losses).sum() / len(sources)


class Merge:
    """The parent, the expert's way from the initial weights, and the layers (modules) that have a share of it each."""

    def __init__(self, strategy: Harness, parent: UnifiedModel, expert: UnifiedModel) -> None:
        self.model, initial = strategy.model, strategy.initial()
        self.parent: Mapping[str, Tensor] = parent.state_dict()
        self.taught: Mapping[str, Tensor] = expert.state_dict()
        self.layers: dict[str, list[tuple[str, Tensor]]] = defaultdict(list)
        """By layer, what is merged in it, with its initial values; batch-norm statistics go the same share."""
        self.new: list[str] = []
        held = {name.rpartition(".")[0] for name in strategy.learnt_parameters()}
        for name, value in self.taught.items():
            layer = name.rpartition(".")[0]
            if value.is_floating_point() and layer in held:
                self.layers[layer].append((name, initial[name].to(value)))
            elif value.is_floating_point():
                self.new.append(name)

    @torch.no_grad()
    def write(self, shares: Tensor) -> None:
        """Give the model the merged weights, for `shares` (layers,)."""
        into = self.model.state_dict()
        for layer, share in zip(self.layers.values(), shares.tolist(), strict=True):
            for name, first in layer:
                into[name].copy_(added(name, self.parent[name], first, self.taught[name], share))
        for name in self.new:
            into[name].copy_(self.taught[name])

    def slopes(self) -> Tensor:
        """Return the loss's slope along each share (layers,), and forget the gradients that it is of."""
        gradients = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}
        found = [
            sum(
                float((gradients[name] * (self.taught[name] - first)).sum())
                for name, first in layer
                if name in gradients
            )
            for layer in self.layers.values()
        ]
        self.model.zero_grad()
        return torch.tensor(found)


def _batch(strategy: Harness, dataset: TaskDataset, chosen: Sequence[int], step: int) -> Tensor:
    order = permutation(len(chosen), strategy.seed, "merging", dataset.task.randomness, step)[: strategy.train_mb_size]
    read = [(*dataset.read(chosen[i], "merging", step, among=list(chosen)), dataset.task.index) for i in order]
    return collate(read)[0].to(strategy.device)


@strategy(
    "layer_merging",
    summary="start each stage with the task's single-task baseline added layer by layer, in shares that imitation of"
    " parent and baseline chooses (AdaMerging's coefficients, not its entropy), then fine-tune",
    paper="arXiv:2310.02575",
    neutral={"steps": 0, "share": 0.0},
)
def layer_merging(
    steps: Annotated[int, Field(ge=0)] = 30,
    share: Annotated[float, Field(ge=0, le=1)] = 0.3,
    memory: Annotated[int, Field(ge=0)] = 10,
) -> list[SupervisedPlugin]:
    """Return the merge.

    steps: of Adam, in which the shares are learnt (0: every layer keeps `share`); share: what every layer begins with,
    .3 as published; memory: images stored of a past task, on which, beside those of the task at hand, they are learnt.
    """
    return [LayerMerging(steps, share, memory)]
