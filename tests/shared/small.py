"""A network and stages so small that a paper's formula can be written out for them, and what looks into real ones."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from spy import Spy
from torch import Tensor, nn

from cl_bench.kinds.base import Task
from cl_bench.model.unified import UnifiedModel
from cl_bench.plugins.composition import parse
from cl_bench.plugins.registry import kinds
from cl_bench.strategies.replay import Memory, Replay
from cl_bench.training.harness import Harness
from cl_bench.training.teachers import Ancestor

KIND = kinds.get("classification")
T = 2.0
"""The temperature of all distillation here."""
EXACT = {"rtol": 1e-5, "atol": 1e-7}
ROUNDING = {"rtol": 1e-4, "atol": 1e-6}
"""Of sums over a whole network in float32."""


def task(name: str = "old", classes: int = 3, levels: tuple[int, ...] = (8,), index: int = 0) -> Task:
    return Task(index, name, KIND, tuple(map(str, range(classes))), "linear", levels, 64, KIND.Settings())


def softened(logits: Tensor) -> Tensor:
    """Return y' of LwF, equation (3): y^(1/T) / sum of y^(1/T), which is Hinton et al.'s equation (1)."""
    powers = logits.softmax(1) ** (1 / T)
    return powers / powers.sum(1, keepdim=True)


def hinton(student: Tensor, teacher: Tensor) -> Tensor:
    """Hinton et al. 2015 (arXiv:1503.02531), section 2: KL to the soft targets, times T^2."""
    p, q = softened(teacher), softened(student)
    return T**2 * (p * (p / q).log()).sum(1).mean()


def plugin(text: str) -> Any:
    """Return the first plug-in of a strategy as written."""
    return parse(text).terms[0].build()[0]


class Net(nn.Module):
    """Batch norm and one linear layer: the logits of images (B, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.last = nn.Linear(4, 3)
        with torch.no_grad():
            self.norm.running_mean.normal_()  # type: ignore[union-attr] # which it has
            self.norm.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]

    def features(self, images: Tensor, still: object = None) -> Tensor:
        return self.norm(images)

    def raw(self, features: Tensor, task: Task) -> Tensor:
        return self.last(features)

    def finish(self, raw: Tensor, task: Task) -> Tensor:
        return raw

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.norm(images))


class Data:
    """Images with labels, as a stage's data set."""

    def __init__(self, images: Tensor, labels: Tensor, task: Task) -> None:
        self.task = task
        self.plain = [(image, {"label": label}) for image, label in zip(images, labels, strict=True)]

    def __len__(self) -> int:
        return len(self.plain)


def ancestor(net: Net, *data: Any) -> Ancestor:
    """Return a stage that ended with the weights that `net` has now."""
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    return Ancestor(data, lambda: weights)


def stage(model: nn.Module, ancestors: Sequence[Any] = (), **more: Any) -> Any:
    """Return what the plug-ins look at of a stage; all of the model counts as learnt where there is an ancestor."""
    past = [data for one in ancestors for data in getattr(one, "datasets", ("a data set",))]
    found = SimpleNamespace(model=model, ancestors=ancestors, past=past, device="cpu", seed=0, endings=[], **more)
    found.at_end = found.endings.append
    found.learnt_parameters = lambda: dict(model.named_parameters()) if ancestors else {}
    found.autocast = contextlib.nullcontext
    found.activate = lambda *_, **__: None
    found.past_tasks = getattr(found, "past_tasks", None) or [getattr(data, "task", None) for data in past]
    return found


def plugin_of(strategy: Harness, kind: type) -> Any:
    """Return the plug-in of a kind that trains along in a real stage."""
    return next(plugin for plugin in strategy.plugins if isinstance(plugin, kind))


def said(model: UnifiedModel, images: Tensor, task: Task, training: bool = True) -> Tensor:
    """Return the raw output of a copy of the model, whose batch norm may move."""
    twin = copy.deepcopy(model).train(training)
    return twin.raw(twin.features(images), task)


def task_loss(strategy: Harness, images: Tensor, targets: Any, index: int, model: UnifiedModel) -> Tensor:
    """Return the mean loss of `model` on images of the task `index`."""
    task = strategy.model.tasks[index]
    return task.kind.loss(task, model.finish(model.raw(model.features(images), task), task), targets)


class Rehearsed(Spy):
    """Holds the loss of steps with stored images to the new ones' mean + weight * the stored ones' mean."""

    def __init__(self, weight: float, memory: Callable[[int], Memory] | None) -> None:
        super().__init__()
        self.weight, self.memory, self.steps = weight, memory, 0

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        if not strategy.past:
            return
        if self.memory is not None:
            other = self.memory(5)
            other.remember(strategy)
            assert plugin_of(strategy, Replay).memory.stored == other.stored
        assert strategy.mb_task_id.tolist() == [1] * 4 + [0] * 4
        twin = copy.deepcopy(strategy.model).train()
        features = twin.features(strategy.mb_x)  # together, as the paper's batches are
        new, stored = (
            task.kind.loss(task, twin.finish(twin.raw(features, task, torch.tensor(where)), task), strategy.mb_y[part])
            for task, where, part in (
                (strategy.model.tasks[1], [0, 1, 2, 3], slice(0, 4)),
                (strategy.model.tasks[0], [4, 5, 6, 7], slice(4, 8)),
            )
        )
        wanted = float((new + self.weight * stored).detach())
        assert float(strategy.loss.detach()) == pytest.approx(wanted, rel=1e-5)
        self.steps += 1
