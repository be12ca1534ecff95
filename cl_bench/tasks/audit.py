"""The audit: what a task's splits really hold, before anything is trained on them or scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cl_bench.data.base import Boxes, Example, Split
from cl_bench.data.cache import file_hashes, fingerprint
from cl_bench.data.images import open_image
from cl_bench.data.readings import readings, told
from cl_bench.errors import UserError
from cl_bench.plugins.code_origin import code_identity, source_of
from cl_bench.tasks.leaks import by_hash, in_both
from cl_bench.tasks.unturned import unturned
from cl_bench.utils.files import replacing
from cl_bench.utils.paths import cache_root

if TYPE_CHECKING:  # it imports torch
    from cl_bench.kinds.base import Task

Measured = TypeVar("Measured", "_Measured", "_MeasuredTest")

VERSION = 5
"""To be raised when the audit, or what a kind measures with code outside its own file, becomes another."""


@dataclass(frozen=True, eq=False)
class ScoredPart:
    """The images that a verdict is of, without those that train or val holds too.

    counts, trivial, figures: as an `Audit` has them of val.
    """

    split: Split
    fingerprint: str
    counts: Mapping[str, int]
    trivial: float
    figures: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Audit:
    """The splits of `task` as they are to be used, and what was found in them.

    train: without the images that validation holds too; findings, details: one sentence each, as `Split.notes` and
    `Split.details`; train_counts, val_counts: class -> pixels, boxes or images; trivial: the headline score (0..1) of
    looking at no image; figures: `Kind.notes`; test: None where the data set has none; leaked: what was dropped.
    """

    task: Task
    train: Split
    val: Split
    findings: tuple[str, ...]
    train_fingerprint: str
    val_fingerprint: str
    train_counts: Mapping[str, int]
    val_counts: Mapping[str, int]
    trivial: float
    figures: Mapping[str, float]
    test: ScoredPart | None = None
    details: tuple[str, ...] = ()
    leaked: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Measured:
    """What takes time, as it is cached; `leaked` are names of training images."""

    leaked: list[str]
    findings: list[str]
    train_fingerprint: str
    train_counts: list[int]
    val_counts: list[int]
    trivial: float
    figures: dict[str, float]


@dataclass(frozen=True)
class _MeasuredTest:
    """Of the test part, likewise; `leaked` are names of its images. Cached apart: train and val are as without."""

    leaked: list[str]
    findings: list[str]
    fingerprint: str
    counts: list[int]
    trivial: float
    figures: dict[str, float]


def audit(task: Task, train: Split, val: Split, test: Split | None = None) -> Audit:
    """Check every example of all splits, drop what two of them hold, and measure what is left.

    What is in train and in val is dropped from train; what is in test and in either of them from test, so that train
    and val, and with them all keys of stages, are the same with any test part. Labels are brought to the order of
    `task.classes`. Raises UserError for a file that cannot be decoded, a target that is not valid, and a class without
    an example in train. The result is cached by the contents of the files.
    """
    parts = (("train", train), ("val", val))
    notes = [f"{where}: {one}" for where, split in parts for one in (*split.notes, *unturned(split.examples))]
    if set(train.classes) - set(val.classes):
        notes.append(f"val does not know {_listed(sorted(set(train.classes) - set(val.classes)))}")
    train, val = _part(task, _aligned(task, train, "train")), _aligned(task, val, "val")
    if task.kind.whole_image:
        val = _part(task, val)
    train_fingerprint, val_fingerprint = fingerprint(train), fingerprint(val)
    measured = _cached(_place(task, train_fingerprint, val_fingerprint), _Measured, lambda: _measure(task, train, val))
    if weakness := task.kind.weakness(task, measured.val_counts):
        notes.append(f"val: {weakness}")
    found = Audit(
        task,
        _without(train, measured.leaked),
        val,
        (*notes, *measured.findings),
        measured.train_fingerprint,
        val_fingerprint,
        dict(zip(task.classes, measured.train_counts, strict=True)),
        dict(zip(task.classes, measured.val_counts, strict=True)),
        measured.trivial,
        measured.figures,
        details=tuple(f"{where}: {one}" for where, split in parts for one in split.details),
        leaked=tuple(measured.leaked),
    )
    return found if test is None else _with_test(found, test)


def _with_test(found: Audit, test: Split) -> Audit:
    task, notes = found.task, [f"test: {note}" for note in (*test.notes, *unturned(test.examples))]
    if set(task.classes) - set(test.classes):
        notes.append(f"test does not know {_listed(sorted(set(task.classes) - set(test.classes)))}")
    test = _aligned(task, test, "test")
    if task.kind.whole_image:
        test = _part(task, test)
    place = _place(task, "test", found.train_fingerprint, found.val_fingerprint, fingerprint(test))
    measured = _cached(place, _MeasuredTest, lambda: _measure_test(found, test))
    if weakness := task.kind.weakness(task, measured.counts):
        notes.append(f"test: {weakness}")
    part = ScoredPart(
        _without(test, measured.leaked),
        measured.fingerprint,
        dict(zip(task.classes, measured.counts, strict=True)),
        measured.trivial,
        measured.figures,
    )
    details, leaked = (*found.details, *(f"test: {one}" for one in test.details)), (*found.leaked, *measured.leaked)
    findings = (*found.findings, *notes, *measured.findings)
    return replace(found, findings=findings, test=part, details=details, leaked=leaked)


def _place(task: Task, *fingerprints: str) -> Path:
    code = code_identity(task.kind) or hashlib.sha256(Path(source_of(task.kind)).read_bytes()).hexdigest()
    identity = [VERSION, *fingerprints, task.kind.name, code, task.predictor, task.levels, task.image_size]
    identity += [task.learns] if task.learns else []
    if task.settings != task.kind.Settings():
        identity.append(task.settings.model_dump(mode="json"))
    return cache_root() / "audit" / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()}.json"


def _cached(place: Path, kind: type[Measured], measure: Callable[[], Measured]) -> Measured:
    try:
        content = json.loads(place.read_bytes())
        if content.pop("schema") == 1:
            return kind(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    measured = measure()
    with replacing(place) as file:
        file.write(json.dumps({"schema": 1, **asdict(measured)}).encode())
    return measured


def _measure(task: Task, train: Split, val: Split) -> _Measured:
    for split in (train, val):
        _check(task, split)
    (in_train, in_val), findings = by_hash({"train": train, "val": val})
    findings += _told(task, train, "train") + _told(task, val, "val")
    leaked = in_both(in_train, in_val)
    if leaked:
        findings.append(
            f"{len(leaked)} of {len(train.examples)} training images are in val too, byte for byte, "
            f"and are dropped from train: {', '.join(leaked)}"
        )
    train = _without(train, leaked)
    train_counts, val_counts = task.kind.count(train).tolist(), task.kind.count(val).tolist()
    for label in task.labels:
        if not train_counts[label]:
            why = "".join(f"; {remark}" for remark in task.kind.remarks(train))
            why += f"; {len(leaked)} of its images are in val too, byte for byte, and left out" if leaked else ""
            raise UserError(f"class {task.classes[label]!r} of task {task.name} has no example in train{why}")
    findings += _absent(task, val_counts, "val")
    return _Measured(leaked, findings, fingerprint(train), train_counts, val_counts, *_scored(task, train, val))


def _measure_test(found: Audit, test: Split) -> _MeasuredTest:
    task = found.task
    _check(task, test)
    (in_test,), findings = by_hash({"test": test})
    findings += _told(task, test, "test")
    (in_train, in_val), _ = by_hash({"train": found.train, "val": found.val})
    leaked = {where: in_both(in_test, other) for where, other in (("train", in_train), ("val", in_val))}
    for where, names in leaked.items():
        if names:
            findings.append(
                f"{len(names)} of {len(test.examples)} test images are in {where} too, byte for byte, "
                f"and are dropped from test: {', '.join(names)}"
            )
    dropped = sorted({name for names in leaked.values() for name in names})
    test = _without(test, dropped)
    if not test.examples:
        raise UserError(f"every image of test of task {task.name} is in train or val too, so that none is left")
    counts = task.kind.count(test).tolist()
    findings += _absent(task, counts, "test")
    return _MeasuredTest(dropped, findings, fingerprint(test), counts, *_scored(task, found.train, test))


def _told(task: Task, split: Split, where: str) -> list[str]:
    """Return how files of the part `where` are read where it is not as they are stored, and what the kind remarks."""
    found = readings(images := [example.image for example in split.examples], file_hashes(images))
    return [f"{where}: {sentence}" for sentence in (*told(found), *task.kind.remarks(split))]


def _absent(task: Task, counts: Sequence[int], where: str) -> list[str]:
    """Return a sentence where the part `where` lacks classes that `task` learns; raise UserError where it lacks all."""
    absent = [task.classes[label] for label in task.labels if not counts[label]]
    if len(absent) == len(task.labels):
        raise UserError(f"{where} of task {task.name} has no example of any class that it learns: {_listed(absent)}")
    return [f"{where} has no example of {_listed(absent)}"] if absent else []


def _scored(task: Task, train: Split, part: Split) -> tuple[float, dict[str, float]]:
    """Return the trivial score on `part`, and what the kind has to say of it."""
    figures = {name: float(value) for name, value in task.kind.notes(task, part).items()}
    return float(task.kind.trivial(task, train, part)), figures


def _check(task: Task, split: Split) -> None:
    for example in split.examples:
        open_image(example.image)
        task.kind.check(example, task.classes)


def _without(split: Split, names: Sequence[str]) -> Split:
    dropped = set(names)
    return replace(split, examples=tuple(example for example in split.examples if example.name not in dropped))


def _part(task: Task, split: Split) -> Split:
    """Return the examples of `split` that show a class which `task` learns, beside the background."""
    if not task.learns:
        return split
    wanted = [label for label in task.labels if label != task.kind.background]
    kept = (one for one in split.examples if task.kind.count(replace(split, examples=(one,)))[wanted].any())
    return replace(split, examples=tuple(kept))


def _aligned(task: Task, split: Split, where: str) -> Split:
    """Return `split` with labels into `task.classes`, as the readers may list the classes of each split differently."""
    if split.classes == task.classes:
        return split
    others = sorted(set(split.classes) - set(task.classes))
    if others:
        raise UserError(f"{where} of task {task.name} holds {_listed(others)}, which the task does not have")
    places = np.array([task.classes.index(name) for name in split.classes])

    def moved(example: Example) -> Example:
        target: Any = example.target
        if isinstance(target, Boxes):
            return replace(example, target=replace(target, labels=places[target.labels]))
        if isinstance(target, int | np.integer):
            return replace(example, target=int(places[target]))
        raise UserError(f"{where} of task {task.name} must list the classes of the task: {_listed(task.classes)}")

    return replace(split, classes=task.classes, examples=tuple(map(moved, split.examples)))


def _listed(names: Sequence[str]) -> str:
    return f"{'class' if len(names) == 1 else 'classes'} {', '.join(names)}"
