"""A network and stages so small that a paper's formula can be written out for them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from cl_bench.kinds.base import Task
from cl_bench.plugins.composition import parse
from cl_bench.plugins.registry import kinds
from cl_bench.training.teachers import Ancestor

KIND = kinds.get("classification")


def task(name: str = "old", classes: int = 3, levels: tuple[int, ...] = (8,), index: int = 0) -> Task:
    return Task(index, name, KIND, tuple(map(str, range(classes))), "linear", levels, 64, KIND.Settings())


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
