"""DER, DER++: stored images are held to the outputs that the model gave while it learnt them (and to their labels)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import Tensor

from cl_bench.errors import UserError
from cl_bench.model.unified import frozen_statistics
from cl_bench.plugins.registry import strategy
from cl_bench.strategies.replay import Memory
from cl_bench.tasks.dataset import TaskDataset
from cl_bench.training.harness import Harness
from cl_bench.utils.randomness import derive


@dataclass
class Trajectory:
    """What reservoir sampling keeps of one task's images as training sees them, one after the other.

    views: (index of the image, visit, epoch), which is how it was augmented then; outputs: the raw output (...) that
    the model gave for each; passed: how many images came by.
    """

    views: list[tuple[int, int, int]] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    passed: int = 0

    def place(self, size: int, *stream: str | int) -> int | None:
        """Return where the next image goes among at most `size`; None where it is passed over."""
        self.passed += 1
        if self.passed <= size:
            return self.passed - 1
        drawn = int(np.random.default_rng(derive(*stream, self.passed)).integers(self.passed))
        return drawn if drawn < size else None

    def put(self, place: int, view: tuple[int, int, int], output: Tensor) -> None:
        """Keep an image at `place`, instead of what is there."""
        self.views[place : place + 1] = [view]
        self.outputs[place : place + 1] = [output]

    def sort(self) -> None:
        """Order by image, visit and epoch."""
        order = sorted(range(len(self.views)), key=self.views.__getitem__)
        self.views, self.outputs = [self.views[i] for i in order], [self.outputs[i] for i in order]


class Trajectories(Memory):
    """A reservoir of at most `size` images of every task, each with what the model said of it when it came in.

    An image may be in it twice, as it was in two epochs.
    """

    def __init__(self, size: int, stream: str) -> None:
        super().__init__(size, stream)
        self.kept: dict[str, Trajectory] = {}
        """By the name of the task."""

    def choose(self, strategy: Harness, dataset: TaskDataset) -> list[int]:
        """Return the images in a past task's reservoir, whose order is theirs from now on."""
        if dataset.task.name not in self.kept:
            return []
        self.kept[dataset.task.name].sort()
        return [index for index, *_ in self.kept[dataset.task.name].views]

    @torch.no_grad()
    def gather(self, strategy: Harness) -> None:
        """Let the current images of the step come by, with what the model, which is in training mode, says of them."""
        for dataset in strategy.current if self.size else ():
            task = dataset.task
            positions = (strategy.mb_task_id == task.index).nonzero().flatten()
            kept = self.kept.setdefault(task.name, Trajectory())
            places = [kept.place(self.size, strategy.seed, "der", task.randomness) for _ in positions]
            if all(place is None for place in places):
                continue
            outputs = _raw(strategy, strategy.passes[0][1], task, positions).cpu()
            for place, position, output in zip(places, positions.tolist(), outputs, strict=True):
                if place is not None:
                    visit, epoch = strategy.settings.visit(task.name), strategy.epoch
                    kept.put(place, (int(strategy.mb_y[position]["index"]), visit, epoch), output.clone())

    def recall(self, strategy: Harness) -> tuple[TaskDataset, list[Tensor], Tensor]:
        """Return this step's past task, its images (3, S, S) as they were seen, and what was said of them (B, ...)."""
        which, drawn = self.places(strategy)
        dataset = self.stored[which][0]
        kept = self.kept[dataset.task.name]
        images = [dataset.read(index, visit, epoch)[0] for index, visit, epoch in (kept.views[p] for p, _ in drawn)]
        return dataset, images, torch.stack([kept.outputs[place] for place, _ in drawn])


class DarkReplay(SupervisedPlugin):
    """Adds alpha * the mean squared distance to stored outputs of a memory batch, beta * the task loss of another one.

    Outputs are stored as the paper has it, in the steps in which the images came in. They are of whole maps, so an
    image is shown again as it was augmented then, not in another way. There is one reservoir a task, of which batches
    are drawn by the tasks in turn, and which is rehearsed from the next stage on.
    """

    acts_from, draws_stored = 1, True

    def __init__(self, memory: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.memory, self.labelled = Trajectories(memory, "der"), Memory(memory, "der, labels")
        self.alpha, self.beta = alpha, beta
        self.rehearses = beta > 0

    def state_dict(self) -> dict[str, Tensor]:
        """Return the reservoirs by task."""
        found: dict[str, Tensor] = {}
        for name, kept in self.memory.kept.items():
            found[f"passed of {name}"] = torch.tensor(kept.passed)
            found[f"views of {name}"] = torch.tensor(kept.views)
            found[f"outputs of {name}"] = torch.stack(kept.outputs)
        return found

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go on with these reservoirs."""
        names = [name.removeprefix("passed of ") for name in tensors if name.startswith("passed of ")]
        self.memory.kept = {
            name: Trajectory(
                [(index, visit, epoch) for index, visit, epoch in tensors[f"views of {name}"].tolist()],
                list(tensors[f"outputs of {name}"]),
                int(tensors[f"passed of {name}"]),
            )
            for name in names
        }

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Take up what is stored of every past task; raise UserError where its images cannot be shown again."""
        for dataset in strategy.current if self.memory.size else ():
            if dataset.augment.mosaic or dataset.augment.paste:
                raise UserError(
                    f"strategy der stores single images, and {dataset.task.name} shows parts of several (mosaic, paste)"
                )
        self.memory.remember(strategy)
        self.labelled.stored = self.memory.stored
        for dataset, _images in self.memory.stored if self.beta else ():
            strategy.weigh(dataset.task, self.beta)

    def before_forward(self, strategy: Harness, **_: Any) -> None:
        """Add this step's memory batch with labels."""
        if self.memory.stored and self.beta:
            strategy.add_batch(self.labelled.batch(strategy))

    def after_forward(self, strategy: Harness, **_: Any) -> None:
        """Store the outputs of the current images: once a step, as `sam` takes the rest of it twice."""
        self.memory.gather(strategy)

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        """Add the distance to the stored outputs."""
        if self.memory.stored and self.alpha:
            strategy.loss += self.alpha * self.distance(strategy)

    def distance(self, strategy: Harness) -> Tensor:
        """Return the mean squared distance of a memory batch's outputs, in training mode, to those stored."""
        dataset, images, wanted = self.memory.recall(strategy)
        strategy.activate([dataset.task])
        batch = torch.stack(images).contiguous(memory_format=torch.channels_last).to(strategy.device)
        with frozen_statistics(strategy.model), strategy.autocast():
            features = strategy.model.features(batch)
        found = _raw(strategy, features, dataset.task)
        return F.mse_loss(found, wanted.to(strategy.device))


def _raw(strategy: Harness, features: Any, task: Any, positions: Tensor | None = None) -> Tensor:
    """Return the raw output (B, ...) in float32, batch-norm statistics left alone."""
    where = None if positions is None else positions.to(strategy.device)
    with frozen_statistics(strategy.model), strategy.autocast():
        return strategy.model.raw(features, task, where).float()


@strategy(
    "der",
    summary="replay with the outputs stored while training (DER; `beta` > 0: DER++), from a reservoir a past task",
    paper="arXiv:2004.07211",
    neutral={"memory": 0},
)
def der(
    memory: Annotated[int, Field(ge=0)] = 10,
    alpha: Annotated[float, Field(ge=0)] = 0.1,
    beta: Annotated[float, Field(ge=0)] = 0.0,
) -> list[SupervisedPlugin]:
    """Return the replay; alpha: of the stored outputs, beta: of the labels (0: DER; the paper's DER++ has .5 to 1)."""
    return [DarkReplay(memory, alpha, beta)]
