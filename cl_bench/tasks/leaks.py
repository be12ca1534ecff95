"""Images that stand where they must not: in two parts of a task, or in what another task trains on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cl_bench.data.base import Split
from cl_bench.data.cache import file_hashes

if TYPE_CHECKING:
    from cl_bench.tasks.audit import Audit

SHOWN = 5
"""Names in a sentence."""


def by_hash(splits: Mapping[str, Split]) -> tuple[list[dict[str, list[str]]], list[str]]:
    """Return of each split the names of its images by their hash, and a sentence where it holds one more than once."""
    found, findings = [], []
    for where, split in splits.items():
        names: dict[str, list[str]] = defaultdict(list)
        for example, digest in zip(split.examples, file_hashes([e.image for e in split.examples]), strict=True):
            names[digest].append(example.name)
        groups = [group for group in names.values() if len(group) > 1]
        if groups:
            same = "; ".join(" = ".join(group) for group in groups)
            findings.append(f"{where} holds {len(groups)} images more than once, byte for byte: {same}")
        found.append(names)
    return found, findings


def in_both(own: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> list[str]:
    """Return the names of the images of `own` that `other` holds, too; both as of `by_hash`."""
    return sorted(name for digest, names in own.items() if digest in other for name in names)


def between_tasks(audits: Sequence[Audit]) -> list[Audit]:
    """Return the audits, each with a finding for each other task that trains on images which it is scored on.

    Tasks share a model: what a stream has seen of such images, the baseline of a task has not.
    """
    trained = [by_hash({"train": one.train})[0][0] for one in audits]
    noted = []
    for one in audits:
        scored = {"val": one.val, **({"test": one.test.split} if one.test else {})}
        own = dict(zip(scored, by_hash(scored)[0], strict=True))
        findings = [
            _sentence(where, len(scored[where].examples), other, names)
            for other, theirs in zip(audits, trained, strict=True)
            if other is not one
            for where in scored
            if (names := in_both(own[where], theirs))
        ]
        noted.append(replace(one, findings=(*one.findings, *findings)))
    return noted


def _sentence(where: str, images: int, other: Audit, names: Sequence[str]) -> str:
    listed = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return (
        f"{len(names)} of {images} images of {where} are in train of task {other.task.name}, byte for byte: streams "
        f"see them, the baseline does not: {listed}"
    )
