"""The protocol of a kind: predictor, targets, losses, metric, trivial predictor and drawing of one sort of task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from cl_bench.data.base import Example, Split
from cl_bench.data.cache import Decoder
from cl_bench.errors import UserError
from cl_bench.kinds.prediction import Answer, Prediction

Target = dict[str, Tensor]


@dataclass(frozen=True)
class Distill:
    """How a teacher's outputs are followed.

    temperature: divides the logits (> 0); direction: "student_teacher" is KL(student || teacher), "teacher_student" is
    KL(teacher || student), the one of Hinton et al. (arXiv:1503.02531) and LwF (arXiv:1606.09282); squared: whether
    the divergence counts temperature^2 times, as in the former and not in the latter.
    """

    temperature: float = 2.0
    direction: str = "student_teacher"
    squared: bool = True


class Settings(BaseModel):
    """What a kind lets one choose for a task, beside the protocol; a kind adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Task:
    """One task of a stream as the model and the kinds see it.

    index: its place in the experiment's list of tasks (Avalanche's task label); levels: the strides of the pyramid
    levels that feed its predictor, finest first; image_size: the side in pixels of the square its images are resized
    to; settings: its kind's own, an instance of `Kind.Settings`; head: the name of the predictor that it shares with
    other tasks, empty where it has its own; learns: indices of the classes whose labels it shows and is scored on,
    empty where these are all.
    """

    index: int
    name: str
    kind: Kind
    classes: tuple[str, ...]
    predictor: str
    levels: tuple[int, ...]
    image_size: int
    settings: Any
    streams: str = ""
    """What its random streams are derived from where that is not its name."""
    head: str = ""
    learns: tuple[int, ...] = ()

    @property
    def owner(self) -> str:
        """The name that its predictor goes by."""
        return self.head or self.name

    @property
    def labels(self) -> tuple[int, ...]:
        """The indices of the classes that it learns."""
        return self.learns or tuple(range(len(self.classes)))

    @property
    def randomness(self) -> str:
        """What its random streams are derived from."""
        return self.streams or self.name


class Predictor(nn.Module):
    """The last layers of one task: the shared features (B, C, h, w) of each of its levels in, one raw output out."""

    def finish(self, raw: Tensor, image_size: int) -> Tensor:
        """Bring a raw output to its final form (segmentation: upsampled to the input size)."""
        return raw


def select_classes(logits: Tensor, classes: Sequence[int]) -> Tensor:
    """Return the channels `classes` of logits (B, C, ...); where these are all, the logits themselves."""
    return logits if len(classes) == logits.shape[1] else logits[:, list(classes)]


def labelled_together(task: Task, beside: Sequence[Task]) -> Task:
    """Return `task` with the labels that images have where the tasks `beside` it are trained in the same stage.

    An image then shows what any of those that share the head learn, as none of these classes is to be background.
    """
    together = {label for other in (task, *beside) if other.owner == task.owner for label in other.labels}
    return replace(task, learns=tuple(sorted(together))) if task.learns else task


GALLERY = 12
"""Validation images whose predictions are kept and shown."""


def gallery_indices(count: int) -> list[int]:
    """Return the indices of at most `GALLERY` of `count` examples, evenly spread."""
    return np.linspace(0, count - 1, min(GALLERY, count)).round().astype(int).tolist()


class TaskMetric(Protocol):
    """Scores the outputs for one task's images in their original frame."""

    def update(self, output: Tensor, indices: Sequence[int]) -> None:
        """Take the finished outputs (B, ...) of the examples at `indices`."""
        ...

    def compute(self) -> dict[str, float]:
        """Return every metric of the kind by name, each in 0..1."""
        ...

    def resampled(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the headline metric (resamples,) where the images count as in `weights` (resamples, images), > 0.

        Equal weights give what `compute` gives.
        """
        ...

    def per_class(self) -> npt.NDArray[np.float64]:
        """Return the headline metric of each class alone (classes,), nan of those it cannot be told of."""
        ...

    def per_image(self) -> dict[str, npt.NDArray[Any]]:
        """Return what the gallery needs: arrays whose meaning the kind documents."""
        ...


def expected_excess(metric: TaskMetric) -> float | None:
    """Return by how much the headline metric of so few images is expected to exceed that of many.

    None where the metric has no method `expected_excess() -> float`, which is optional. Raises as `compute`.
    """
    told: Callable[[], float] | None = getattr(metric, "expected_excess", None)
    return None if told is None else told()


class Kind(ABC):
    """What sets one kind of task apart; stateless, one instance serves all tasks of the kind."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    """Names of its metrics; the verdict uses the first."""
    metric_version: ClassVar[int] = 1
    """To be raised when its metrics give other numbers: stored stages are then scored again on test, and not trained.

    Scores on val stay as the stage took them while it was trained.
    """
    predictors: ClassVar[tuple[str, ...]]
    """Names of its predictors; the first is the default."""
    levels: ClassVar[tuple[int, ...]]
    """The strides that feed its predictor where the task names none."""
    whole_image: ClassVar[bool] = False
    """Whether a target is about the image as a whole, so that images cannot be put together from several."""
    boxes: ClassVar[bool] = False
    """Whether a target is `boxes` with `labels`, so that objects can be pasted into an image."""
    learns_parts: ClassVar[bool] = False
    """Whether a task may learn some of its classes only, as `Task.labels` says; what follows must heed it then."""
    background: ClassVar[int | None] = None
    """The class of what shows none of the others; a task that learns any classes learns it along."""
    Settings: ClassVar[type[Settings]] = Settings
    """What a task of the kind may set under `settings`."""

    @property
    def decode_target(self) -> Decoder | None:
        """The function that reads a target file resized to a square, where targets are as large as images (masks)."""
        return None

    @abstractmethod
    def predictor(self, task: Task, channels: int) -> Predictor:
        """Build the predictor of `task` on features of `channels` channels."""

    @abstractmethod
    def target(self, task: Task, example: Example, resized: npt.NDArray[np.uint8] | None) -> Target:
        """Return the training target in the resized frame; `resized` is the cached mask where the kind has masks."""

    @abstractmethod
    def loss(self, task: Task, output: Tensor, targets: Sequence[Target]) -> Tensor:
        """Return the task loss, a mean per element, of finished outputs (B, ...)."""

    @abstractmethod
    def distillation(self, task: Task, student: Tensor, teacher: Tensor, how: Distill) -> Tensor:
        """Return the distance of two raw outputs (B, ...), a mean per element; 0 where they are equal."""

    def imitation(self, task: Task, student: Tensor, teacher: Tensor) -> Tensor:
        """Return how far raw outputs (B, ...) are from a teacher's that stand for labels: here, KL at T = 2."""
        return self.distillation(task, student, teacher, Distill(direction="teacher_student"))

    @abstractmethod
    def metric(self, task: Task, val: Split) -> TaskMetric:
        """Return an empty metric over the images of `val`."""

    @abstractmethod
    def trivial(self, task: Task, train: Split, val: Split) -> float:
        """Return the headline score on `val` of a predictor that looks at no image."""

    @abstractmethod
    def predicted(self, arrays: Mapping[str, npt.NDArray[Any]], index: int) -> Any:
        """Return what was predicted for validation example `index`, one of `gallery_indices`, as `draw` takes it.

        arrays: as from `TaskMetric.per_image`.
        """

    @abstractmethod
    def check(self, example: Example, classes: tuple[str, ...]) -> None:
        """Raise UserError, naming the image, where its target is not valid (opens the files)."""

    @abstractmethod
    def count(self, split: Split) -> npt.NDArray[np.int64]:
        """Return how often each class occurs in `split`: pixels, boxes (no crowds) or images; shape (classes,)."""

    def held(self, split: Split) -> npt.NDArray[np.bool_]:
        """Return which examples of `split` show which classes; shape (examples, classes)."""
        counts = [self.count(replace(split, examples=(example,))) for example in split.examples]
        return np.stack(counts) > 0 if counts else np.zeros((0, len(split.classes)), bool)

    @abstractmethod
    def draw(self, image: Image.Image, target: Any, classes: tuple[str, ...]) -> Image.Image:
        """Return `image` with an example's target (as in `Example.target`) drawn on it."""

    def as_drawn(self, target: Target, left_out: Target | None = None) -> Any:
        """Return a training target, as `target` makes it, as `draw` takes it; None where the kind has no way to.

        left_out: the target of the example that `left_out` gives.
        """
        return None

    def left_out(self, example: Example) -> Example | None:
        """Return `example` with what training leaves out of its target as its target; None where that is nothing."""
        return None

    def answer(self, task: Task, output: Tensor, size: tuple[int, int]) -> tuple[Any, Any]:
        """Return what is predicted for one image of `size` (width, height): as `draw` takes it, and as plain values.

        output: finished, (1, ...). Raises UserError where the kind has no such answer.
        """
        raise UserError(f"{self.name} has no answer to an image from outside an experiment")

    def prediction(self, found: Any, plain: Any, classes: tuple[str, ...]) -> Prediction:
        """Return what `answer` gave (`found`, `plain`) as Python code is given it."""
        return Answer(plain)

    def remarks(self, split: Split) -> list[str]:
        """Return what should be known of the targets of `split` beside the counts of the classes, a sentence each."""
        return []

    def weakness(self, task: Task, counts: Sequence[int]) -> str:
        """Return a sentence that names the classes too rare for the headline metric to rest on; empty where none is.

        counts: as from `count`, of the images that are scored.
        """
        return ""

    def notes(self, task: Task, val: Split) -> Mapping[str, float]:
        """Return figures about the data that only this kind knows (detection: the AP ceiling of the task's grid)."""
        return {}
