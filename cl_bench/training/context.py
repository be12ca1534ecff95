"""What strategies see of the stage at hand: its tasks, its ancestors, its other models, and how to add to a step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from cl_bench.kinds.base import Task
from cl_bench.model.unified import Features, UnifiedModel
from cl_bench.results.store.checkpoints import Snapshot
from cl_bench.tasks.dataset import TaskDataset, collate
from cl_bench.training.loss import StreamLoss
from cl_bench.training.optimizer import limit_rate, scale_rate
from cl_bench.training.schedule import StageSettings
from cl_bench.training.teachers import Ancestor, Teachers

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def at_precision(name: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which models are run at the precision `name`, one of `PRECISIONS`."""
    precision = PRECISIONS[name]
    return torch.autocast(device.type, precision, enabled=precision is not torch.float32)


@dataclass
class StageState:
    """What the harness holds for one stage; endings: to be called after its last step; frozen: what learns nothing."""

    teachers: Teachers
    snapshot: Snapshot | None = None
    between_epochs: Callable[[], None] = lambda: None
    endings: list[Callable[[], None]] = field(default_factory=list)
    frozen: list[nn.Parameter] = field(default_factory=list)


@dataclass
class StepState:
    """What the harness holds for one step; active, active_below: tasks to be updated, with their predictors or not."""

    passes: list[tuple[Tensor, Features]] = field(default_factory=list)
    teacher_features: list[Features] | None = None
    added: list[list[Any]] = field(default_factory=list)
    active: set[int] = field(default_factory=set)
    active_below: set[int] = field(default_factory=set)


class StageContext:
    """The part of the Harness that plug-ins may use, beside what Avalanche's template has.

    initial: returns the weights (parameters and buffers by name) that the run began with; current: data sets of the
    tasks trained in this stage; ancestors: the stages before it, the first one first; step, epoch: how many of them
    the stage has done; report: what strategies record about themselves (stored images, plain values), kept with the
    stage.
    """

    settings: StageSettings
    initial: Callable[[], Mapping[str, Tensor]]
    current: Sequence[TaskDataset]
    ancestors: Sequence[Ancestor]
    step: int
    epoch: int
    report: dict[str, Any]
    model: UnifiedModel
    optimizer: torch.optim.Optimizer
    device: torch.device
    loss: Tensor
    mbatch: Any
    """Avalanche's: the batch at hand, [images, Targets, task labels]."""
    _criterion: StreamLoss
    _stage: StageState
    _step: StepState

    def add_batch(self, samples: Sequence[tuple[Tensor, Any, int]]) -> tuple[int, slice]:
        """Train on `samples` (of one task) in this step too; call it in `before_forward`.

        Images of the current batch's size join its forward pass, so that batch-norm statistics move once; others get
        a pass of their own, which leaves the statistics alone. Returns which of the step's `passes` they go through,
        and where in it they are.
        """
        images, targets, labels = collate(samples)
        moved = [images.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True), labels]
        assert self.mbatch is not None
        current = self.mbatch[0]
        if images.shape[1:] == current.shape[1:]:
            before = len(current)
            self.mbatch = [torch.cat(pair) for pair in zip(self.mbatch, moved, strict=True)]
            return 0, slice(before, before + len(images))
        self._step.added.append(moved)
        return len(self._step.added), slice(0, len(images))

    def activate(self, tasks: Sequence[Task], predictors: bool = True) -> None:
        """Let what the outputs of `tasks` depend on be updated in this step, though it has no sample of theirs.

        predictors: or all of it but their predictors. What nobody activates stays as it is, to the byte.
        """
        chosen = self._step.active if predictors else self._step.active_below
        chosen.update(task.index for task in tasks)

    @property
    def active(self) -> frozenset[int]:
        """The indices of the tasks that this step is about: those of its batch, and those that plug-ins activated."""
        return frozenset(self._step.active | self._step.active_below)

    def weigh(self, task: Task, weight: float) -> None:
        """Let the loss of `task` count `weight` times from now on."""
        self._criterion.weights[task.index] = weight

    def scale_rate(self, parameters: Iterable[nn.Parameter], factor: float) -> None:
        """Let `parameters` learn `factor` times as fast in this stage; call it in `before_training_exp`."""
        scale_rate(self.optimizer, parameters, factor)

    def limit_rate(self, parameters: Iterable[nn.Parameter], most: float) -> None:
        """Let `parameters` learn at most `most` times as fast as the stage's rate; call it as `scale_rate`."""
        limit_rate(self.optimizer, parameters, most)

    def learnt_parameters(self) -> dict[str, nn.Parameter]:
        """Return by name the parameters that outputs of tasks learnt before depend on; none in a run's first stage.

        Names begin with their part: `backbone.`, `neck.`, `shared.`, or `predictors.` and the task's.
        """
        learnt = frozenset(dataset.task.index for ancestor in self.ancestors for dataset in ancestor.datasets)
        if not learnt:
            return {}
        others = set(self.model.out_of_reach(learnt))
        own = {p for part in self.model.parts().values() for p in part.parameters()}
        return {name: p for name, p in self.model.named_parameters() if p in own - others}

    def at_end(self, change: Callable[[], None]) -> None:
        """Call `change` when the stage's last step is done, before its last evaluation; it may change the model."""
        self._stage.endings.append(change)

    @property
    def teacher(self) -> UnifiedModel | None:
        """The model as the stage found it, frozen and in eval mode; None in a run's first stage.

        There is one, whatever asks for it; the first to do so must ask in `before_training_exp`.
        """
        return self._stage.teachers.parent() if self.ancestors else None

    @property
    def teacher_in_use(self) -> UnifiedModel | None:
        """The teacher where something has asked for it."""
        return self._stage.teachers.in_use

    def expert(self, task: Task | None = None) -> UnifiedModel | None:
        """Return the baseline of a task (None: of the one at hand), frozen and in eval mode.

        None where no term acts whose plug-in says `follows_expert` (of past tasks: `follows_past_experts`).
        """
        return self._stage.teachers.expert((task or self.current[0].task).name)

    @property
    def passes(self) -> list[tuple[Tensor, Features]]:
        """The images and the features of every forward pass of the step."""
        return self._step.passes

    def teacher_features(self) -> list[Features]:
        """Return the teacher's features of each of the step's `passes`; it runs once a step, whatever asks for it."""
        if self._step.teacher_features is None:
            assert self.teacher is not None, "a run's first stage has no teacher"
            self._step.teacher_features = self.features_by(self.teacher)
        return self._step.teacher_features

    def features_by(self, other: UnifiedModel) -> list[Features]:
        """Return the features that another model, in eval mode, has of each of the step's `passes`; without gradient.

        Layers of the backbone that are frozen in the stage do not run again where the other one has the same; with
        `teacher_cache` a teacher runs once for every image.
        """
        teachers = self._stage.teachers
        with torch.no_grad(), self.autocast():
            if self.settings.teacher_cache and (stored := teachers.stored(other, self._versions())):
                return [stored(images) for images, _ in self.passes]
            same = teachers.same_layers(other)
            return [
                other.features(images, {name: output for name, output in features.frozen.items() if name in same})
                for images, features in self.passes
            ]

    def _versions(self) -> int:
        """Return how many different training images there can be: each one, and each one flipped."""
        return 2 * sum(len(dataset) for dataset in (*self.past, *self.current))

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which models are run at the configured precision."""
        return at_precision(self.settings.precision, self.device)

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.settings.seed

    @property
    def past(self) -> list[TaskDataset]:
        """The data sets of the tasks learnt before this stage, in order; not of one that comes back in it."""
        learnt = dict.fromkeys(dataset for ancestor in self.ancestors for dataset in ancestor.datasets)
        return [dataset for dataset in learnt if dataset not in self.current]

    @property
    def past_tasks(self) -> list[Task]:
        """The tasks of `past`."""
        return [dataset.task for dataset in self.past]
