"""The tasks of an experiment with their data: read, audited, and ready to be trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from torch import nn

from cl_bench.config.complaints import explain
from cl_bench.config.schema import Corruption, Experiment, Protocol, TaskConfig
from cl_bench.config.values import DEV
from cl_bench.data import cache
from cl_bench.data.base import Split, has_test
from cl_bench.data.formats.reading import missing
from cl_bench.data.images import decode_image
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.kinds.base import Kind, Settings, Task
from cl_bench.plugins.code_origin import code_identity
from cl_bench.plugins.registry import formats, kinds
from cl_bench.tasks import split_off
from cl_bench.tasks.audit import Audit, audit
from cl_bench.tasks.corruptions import check_corruption, corruption_identity, decoder
from cl_bench.tasks.dev_split import dev_split
from cl_bench.tasks.leaks import between_tasks
from cl_bench.utils.paths import expand

BACKGROUNDS = ("background", "bg", "other", "others", "none", "nothing", "unlabeled", "unlabelled")
"""What a class is called that shows none of the others."""

LOGGED = ("epoch", "learning_rate", "seconds", "total", "gradient_norm")
"""What a stage's log has under names of their own, beside a loss by the name of each task."""


@dataclass(frozen=True, eq=False)
class TaskEntry:
    """One task with its protocol and its audited data."""

    task: Task
    protocol: Protocol
    audit: Audit
    code: tuple[str | None, ...]
    """Hashes of the files of a kind or data format from outside the package."""
    corruption: Corruption | None = None

    def identity(self) -> dict[str, Any]:
        """Return what the task's training contributes to a stage's key."""
        protocol = self.protocol.model_dump(mode="json")
        if not self.protocol.augment.paste:
            del protocol["augment"]["paste"]  # it came later, and stages of before keep their keys
        return {
            "task": self.task.name,
            "train_data": self.audit.train_fingerprint,
            "validation_data": self.audit.val_fingerprint,
            **protocol,
            **({"corruption": corruption_identity(self.corruption)} if self.corruption else {}),
            # Other objects in the rectangle of a pasted one had no box, and classes that are not learnt were pasted.
            **({"pasted": "with all in it"} if self.protocol.augment.paste else {}),
            # Flipped points lay a pixel off, and left ones stayed left ones.
            **({"flipped": "sides"} if self.protocol.augment.flip and self.task.kind.name == "keypoints" else {}),
        }

    @property
    def test_id(self) -> str:
        """What scores on the task's test part go by, beside their stage; empty where it has none."""
        test = self.audit.test
        return score_id(self.task, test.fingerprint) if test else ""

    def predictor_identity(self) -> dict[str, Any]:
        """Return what the task contributes to the model."""
        task = self.task
        return {
            "task": task.name,
            "kind": task.kind.name,
            "predictor": task.predictor,
            "streams": task.randomness,
            "levels": list(task.levels),
            "settings": task.settings.model_dump(mode="json"),
            "image_size": task.image_size,
            "classes": list(task.classes),
            # What few tasks have is named where they have it, so that the stages of all others keep their keys.
            **({"head": task.head} if task.head else {}),
            **({"learns": list(task.learns)} if task.learns else {}),
            "code": list(self.code),
        }


def score_id(task: Task, fingerprint: str) -> str:
    """Return what a score of `task` goes by, beside its stage: the data that it is of, and the metric's version."""
    identity = [task.name, task.kind.name, task.kind.metric_version, fingerprint]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def load_catalog(experiment: Experiment, others: Mapping[str, Split] | None = None) -> tuple[TaskEntry, ...]:
    """Read and audit the data of every task; raise UserError, naming the culprit, for the first thing that is wrong.

    others: by task, images that take the place of its test part.
    """
    tests = others or {}
    entries = tuple(
        _entry(experiment, index, config, tests.get(config.name)) for index, config in enumerate(experiment.tasks)
    )
    check_heads([entry.task for entry in entries])
    return _noted(entries)


def _noted(entries: Sequence[TaskEntry]) -> tuple[TaskEntry, ...]:
    """Return the entries with a finding where a task is scored on what another one trains on."""
    audits = {entry.task.name: entry.audit for entry in entries}
    scored = {name: {"val": one.val, **({"test": one.test.split} if one.test else {})} for name, one in audits.items()}
    said = between_tasks({name: one.train for name, one in audits.items()}, scored)
    found = {name: replace(one, findings=(*one.findings, *said[name])) for name, one in audits.items()}
    return tuple(replace(entry, audit=found[entry.task.name]) for entry in entries)


def _entry(experiment: Experiment, index: int, config: TaskConfig, other: Split | None) -> TaskEntry:
    task, train, val = read_task(experiment, index, config)
    if config.corruption:
        check_corruption(config.name, config.corruption, experiment.protocol(config))
    source = formats.get(config.data["format"])
    # Whoever chooses something on dev must not see what the verdict will be.
    has_one = experiment.split == "val" and test_part(config)
    test = other or (read_split(config, "test") if has_one else None)
    audited = audit(task, train, val, test)
    if experiment.split != "val":
        rest, dev = dev_split(task.kind, audited.train, DEV.index(experiment.split))
        images = f"{len(dev.examples)} of {len(audited.train.examples)} training images"
        note = f"{experiment.split}: {images} are scored in place of val"
        inner = audit(task, rest, dev)
        said = (f"with {experiment.split} in place of val: {finding}" for finding in inner.findings)
        leaked, findings = (*audited.leaked, *inner.leaked), (*audited.findings, note, *said)
        audited = replace(inner, findings=findings, leaked=leaked, details=audited.details)
    code = (code_identity(task.kind), code_identity(source))
    return TaskEntry(task, experiment.protocol(config), audited, code, config.corruption)


def read_task(experiment: Experiment, index: int, config: TaskConfig) -> tuple[Task, Split, Split]:
    """Return the task as the model sees it, and its two splits as the reader found them."""
    check_task(config)
    train, val = read_split(config, "train"), read_split(config, "val")
    return make_task(experiment, index, config, train.classes), train, val


def check_task(config: TaskConfig) -> None:
    """Raise UserError where kind, format, predictor or settings are none, or the place of the data is not there.

    Nothing is read for it, so it comes before whatever takes long.
    """
    try:
        kind, source = kinds.get(config.kind), formats.get(config.data["format"])
    except UserError as error:
        raise UserError(f"task {config.name}: {error}") from error
    if kind.name not in source.kinds:
        raise UserError(
            f"task {config.name}: data format {source.name} has no {kind.name} data, only {', '.join(source.kinds)}"
        )
    _predictor(kind, config)
    _settings(kind, config)
    path = config.data.get("path")
    if (
        isinstance(path, str)
        and path
        and not getattr(source, "embedded", False)
        and not (place := expand(path)).exists()
    ):
        raise UserError(f"task {config.name}: {missing(place.absolute(), config.data)}")


def test_part(config: TaskConfig) -> bool:
    """Return whether a task's data have a test part."""
    ask = split_off.has_test if split_off.KEY in config.data else has_test
    return ask(formats.get(config.data["format"]), _options(config), config.kind)


def read_split(config: TaskConfig, split: str) -> Split:
    """Return a part of a task's data as the reader found it."""
    source = formats.get(config.data["format"])
    if split_off.KEY in config.data:
        return split_off.read(source, _options(config), config.kind, split, config.classes)
    return source.read(_options(config), config.kind, split, config.classes)


def _options(config: TaskConfig) -> dict[str, Any]:
    return {name: value for name, value in config.data.items() if name != "format"}


def make_task(experiment: Experiment, index: int, config: TaskConfig, classes: tuple[str, ...]) -> Task:
    """Return the task as the model sees it, without touching data."""
    kind: Kind = kinds.get(config.kind)
    predictor = _predictor(kind, config)
    protocol = experiment.protocol(config)
    if kind.whole_image and protocol.augment.mosaic:
        raise UserError(f"task {config.name}: a mosaic of four images has no one label; {kind.name} needs mosaic 0")
    if protocol.augment.paste and not kind.boxes:
        raise UserError(f"task {config.name}: objects are pasted with their boxes; {kind.name} needs paste 0")
    return Task(
        index=index,
        name=config.name,
        kind=kind,
        classes=classes,
        predictor=predictor,
        levels=config.levels or kind.levels,
        image_size=protocol.image_size,
        settings=_settings(kind, config),
        streams=config.randomness or config.name,
        head=config.head or "",
        learns=_learns(kind, config, classes),
    )


def _learns(kind: Kind, config: TaskConfig, classes: tuple[str, ...]) -> tuple[int, ...]:
    """Return the indices of the classes that the task learns, empty where it learns all."""
    if config.learns is None:
        return ()
    if not kind.learns_parts:
        raise UserError(f"task {config.name}: {kind.name} has no parts, so that a task cannot learn some classes only")
    for name in config.learns:
        if name not in classes:
            raise UserError(f"task {config.name} (learns): {unknown_name_error('class', name, classes)}")
    found = tuple(sorted({classes.index(name) for name in config.learns}))
    if kind.background is not None and (first := classes[kind.background]).casefold().strip("_ ") not in BACKGROUNDS:
        raise UserError(
            f"task {config.name} (learns): pixels of classes that it does not learn become the first class, {first!r}: "
            "name the background first"
        )
    if found == (kind.background,):
        raise UserError(
            f"task {config.name} (learns): nothing is learnt from the background {config.learns[0]!r} alone"
        )
    return found if len(found) < len(classes) else ()


def check_heads(tasks: Sequence[Task]) -> None:
    """Raise UserError where tasks that share a predictor want different ones, or where one cannot have its name."""
    owners: dict[str, Task] = {}
    for task in tasks:
        if taken := [name for name in (task.name, task.owner) if name in LOGGED or hasattr(nn.ModuleDict(), name)]:
            raise UserError(f"no task or head can be called {taken[0]!r}: it is the name of something else in a stage")
    for task in tasks:
        first = owners.setdefault(task.owner, task)
        if bool(first.head) != bool(task.head):
            raise UserError(f"the head {task.owner!r} has the name of a task; tasks and heads need different names")
        for what in ("kind", "predictor", "levels", "classes"):
            if getattr(first, what) != getattr(task, what):
                raise UserError(f"tasks {first.name} and {task.name} share the head {task.head!r} but not their {what}")


def _predictor(kind: Kind, config: TaskConfig) -> str:
    predictor = config.predictor or kind.predictors[0]
    if predictor not in kind.predictors:
        raise UserError(f"task {config.name}: {unknown_name_error('predictor', predictor, kind.predictors)}")
    return predictor


def _settings(kind: Kind, config: TaskConfig) -> Settings:
    try:
        return kind.Settings(**config.settings)
    except ValidationError as error:
        raise UserError(f"task {config.name}: {explain(error, lambda _: list(kind.Settings.model_fields))}") from error


def pixels(
    task: Task, split: Split, fingerprint: str, size: int, corruption: Corruption | None = None
) -> tuple[Any, Any]:
    """Return the images of `split` and, for a kind that has them, its masks, `size` pixels a side, from the cache."""
    paths = [example.image for example in split.examples]
    if corruption is None:
        images = cache.resized(fingerprint, paths, size, decode_image)
    else:
        images = cache.resized(f"{fingerprint} {corruption_identity(corruption)}", paths, size, decoder(corruption))
    decode = task.kind.decode_target
    if decode is None:
        return images, None
    return images, cache.resized(fingerprint, [e.target for e in split.examples], size, decode)
