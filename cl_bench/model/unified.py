"""The one model: backbone -> neck -> shared layer -> predictors; one forward pass gives every task's output."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from avalanche.models import MultiTaskModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cl_bench.config.schema import ModelConfig
from cl_bench.kinds.base import Predictor, Task
from cl_bench.model.backbone import Weights, build_backbone
from cl_bench.model.flops import uncounted
from cl_bench.model.frozen_layers import frozen_parts, recording, replaced
from cl_bench.model.maps import Layout
from cl_bench.model.pyramid import Pyramid
from cl_bench.utils.randomness import derive, isolated


class Features:
    """Features of one batch of images: the shared layer's output by stride, computed when first asked for.

    frozen: what the frozen layers of the backbone gave, by their names.
    """

    def __init__(self, compute: Callable[[int], Tensor], frozen: Mapping[str, Any]) -> None:
        self.frozen = frozen
        self._compute = compute
        self._levels: dict[int, Tensor] = {}

    def __getitem__(self, level: int) -> Tensor:
        """Return the shared features (B, C, h, w) at stride `level`."""
        if level not in self._levels:
            self._levels[level] = self._compute(level)
        return self._levels[level]


class UnifiedModel(MultiTaskModule):
    """Backbone, neck, shared layer and one predictor a task, or one for all tasks that share a head.

    A MultiTaskModule, because Avalanche's plug-ins pass task labels to no other model. Images are (B, 3, H, W), uint8
    in 0..255 or floating point in 0..1; normalisation happens inside.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        layout: Layout,
        neck: nn.Module,
        shared: nn.Module,
        predictors: Mapping[str, Predictor],
        tasks: Sequence[Task],
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self._layout = layout
        self.neck = neck
        self.shared = shared
        self.predictors = nn.ModuleDict(predictors)
        self.tasks = tuple(tasks)
        self.norm_frozen = False
        """Whether batch norm normalises by its running statistics, and leaves them alone, in training too."""
        self._frozen: tuple[str, ...] = ()
        self._out_of_reach: dict[frozenset[int], list[nn.Parameter]] = {}
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> UnifiedModel:
        """Set training or evaluation mode; frozen batch norm and frozen layers stay in the latter."""
        super().train(mode)
        # Frozen layers would otherwise move by its batch-norm statistics.
        frozen = [layer for part in self.children() for layer in frozen_parts(part).values()]
        for layer in (*frozen, *(_norms(self) if self.norm_frozen else ())):
            layer.eval()
        self._frozen = tuple(frozen_parts(self.backbone))
        return self

    def freeze_norm(self, frozen: bool) -> None:
        """Let batch norm normalise by its running statistics in training too, and leave them alone, or not."""
        self.norm_frozen = frozen
        self.train(self.training)

    def features(self, images: Tensor, frozen: Mapping[str, Any] | None = None) -> Features:
        """Run the backbone once on `images` (B, 3, H, W), and the neck as far as levels are asked for.

        frozen: what some of the backbone's layers give for these images, by their names; they do not run then.
        """
        with recording(self.backbone, self._frozen) as outputs, replaced(self.backbone, frozen or {}):
            maps = self.maps(images)
        learning, known = torch.is_grad_enabled(), dict[tuple[str, int], Tensor]()

        def compute(level: int) -> Tensor:
            # As if all had been computed at once: whoever asks first does not decide for those who ask after.
            with torch.set_grad_enabled(learning):
                return self.shared(self.neck(maps, level, known))

        return Features(compute, outputs)

    def maps(self, images: Tensor) -> Sequence[Tensor]:
        """Return what the backbone makes of `images` (B, 3, H, W): (B, C, h, w) at strides 8, 16 and 32."""
        x = images.to(self.mean.dtype, memory_format=torch.channels_last)
        if not images.is_floating_point():
            x = x / 255
        maps: Sequence[Tensor] = self.backbone((x - self.mean) / self.std)
        return [one.permute(0, 3, 1, 2) for one in maps] if self._layout.channels_last else maps

    def raw(self, features: Features, task: Task, positions: Tensor | None = None) -> Tensor:
        """Return the raw output of `task` for the images at `positions` (all where None)."""
        levels = [features[level] for level in task.levels]
        return self.predictors[task.owner](*(x if positions is None else x[positions] for x in levels))

    def finish(self, raw: Tensor, task: Task) -> Tensor:
        """Bring a raw output of `task` to its final form."""
        predictor = self.predictors[task.owner]
        assert isinstance(predictor, Predictor)
        return predictor.finish(raw, task.image_size)

    def outputs(self, features: Features, labels: Tensor) -> Outputs:
        """Return the finished outputs that the task labels (B,) ask for, by task index."""
        result = Outputs()
        for index in torch.unique(labels).tolist():
            mine = labels == index
            # A batch of one task, the common case, is passed on without a copy.
            positions = None if bool(mine.all()) else mine.nonzero().flatten()
            task = self.tasks[index]
            everything = torch.arange(len(labels)) if positions is None else positions
            where = None if positions is None else positions.to(self.mean.device, non_blocking=True)
            result[index] = (everything, self.finish(self.raw(features, task, where), task))
        return result

    def forward(self, images: Tensor, task_labels: Tensor | None = None) -> Outputs | dict[str, Tensor]:
        """Return every task's finished output by name, or, given task labels (B,), the outputs they ask for."""
        features = self.features(images)
        if task_labels is not None:
            return self.outputs(features, task_labels)
        return {task.name: self.finish(self.raw(features, task), task) for task in self.tasks}

    def out_of_reach(self, active: frozenset[int]) -> list[nn.Parameter]:
        """Return the parameters that no output of the `active` tasks depends on: predictors, unused pyramid levels."""

        def outputs(images: Tensor) -> list[Tensor]:
            features = self.features(images)
            return [self.raw(features, self.tasks[index]) for index in sorted(active)]

        if active not in self._out_of_reach:
            # Of the model's own parts: what a plug-in added may serve losses of the plug-in's.
            own = [p for part in self.parts().values() for p in part.parameters()]
            reached = self._reached(outputs, own)
            self._out_of_reach[active] = [p for p in own if p not in reached]
        return self._out_of_reach[active]

    def early_parameters(self) -> set[nn.Parameter]:
        """Return the parameters that the backbone's finest map, at stride 8, depends on."""
        return self._reached(lambda images: self.maps(images)[:1], list(self.backbone.parameters()))

    def _reached(
        self, outputs: Callable[[Tensor], Sequence[Tensor]], parameters: Sequence[nn.Parameter]
    ) -> set[nn.Parameter]:
        images = torch.zeros(1, 3, self._layout.probe, self._layout.probe, device=self.mean.device)
        learning = _all_learning(parameters)
        with uncounted(), isolated(seed=0), torch.enable_grad(), frozen_statistics(self), learning:
            total = torch.stack([output.float().sum() for output in outputs(images)]).sum()
            found = torch.autograd.grad(total, parameters, allow_unused=True)
        return {p for p, gradient in zip(parameters, found, strict=True) if gradient is not None}

    def adaptation(self, experience: object) -> None:
        """Do nothing: all predictors exist from the start (Avalanche's own wants class ids)."""

    def parts(self) -> dict[str, nn.Module]:
        """Return the parts by the names that tables use."""
        named = {f"{name} predictor": part for name, part in self.predictors.items()}
        return {"backbone": self.backbone, "neck": self.neck, "shared layer": self.shared, **named}


def build_model(config: ModelConfig, tasks: Sequence[Task], weights: Weights, seed: int) -> UnifiedModel:
    """Build the model; each part's random weights depend on (seed, part) alone, so tasks and orders share them."""

    def seeded(name: str) -> int:
        return derive(seed, "weights", name)

    layout = weights.layout
    with isolated(seeded("backbone")):
        backbone = build_backbone(config.backbone, layout, weights.state)
    with isolated(seeded("neck")):
        neck = Pyramid(list(layout.channels), config.neck_channels)
    with isolated(seeded("shared")):
        shared = nn.Sequential(nn.Conv2d(config.neck_channels, config.shared_channels, 3, padding=1), nn.ReLU())
    predictors: dict[str, Predictor] = {}
    for task in tasks:
        if task.owner not in predictors:
            with isolated(seeded(f"predictor {task.head or task.randomness}")):
                predictors[task.owner] = task.kind.predictor(task, config.shared_channels)
    model = UnifiedModel(backbone, layout, neck, shared, predictors, tasks, weights.mean, weights.std)
    return model.to(memory_format=torch.channels_last)


def _norms(model: nn.Module) -> list[_BatchNorm]:
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]


@contextmanager
def _all_learning(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Have gradients taken for all of `parameters`, frozen ones included."""
    frozen = [p for p in parameters if not p.requires_grad]
    for p in frozen:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p in frozen:
            p.requires_grad_(False)


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Let batch norm normalise as it does in training without moving its running statistics."""
    layers = [layer for layer in _norms(model) if layer.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


class Outputs(dict[int, tuple[Tensor, Tensor]]):
    """Task index -> (positions of its images in the batch, its predictor's finished output for them)."""


def frozen_copy(model: UnifiedModel) -> UnifiedModel:
    """Return a copy of `model` in eval mode that no gradient reaches."""
    return copy.deepcopy(model).eval().requires_grad_(False)
