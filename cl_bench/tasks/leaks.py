"""Images that stand where they must not: in two parts of a task, or in what another task trains on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from cl_bench.data.base import Split
from cl_bench.data.cache import file_hashes

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


def between_tasks(trained: Mapping[str, Split], scored: Mapping[str, Mapping[str, Split]]) -> dict[str, list[str]]:
    """Return by task a sentence for each other task that trains on images which it is scored on.

    trained: by task, its training images; scored: by task, its other parts by their names. Tasks share a model: what a
    stream has seen of such images, the baseline of a task has not.
    """
    in_train = dict(zip(trained, by_hash(trained)[0], strict=True))
    found: dict[str, list[str]] = {task: [] for task in scored}
    for task, parts in scored.items():
        for (where, split), own in zip(parts.items(), by_hash(parts)[0], strict=True):
            for other, theirs in in_train.items():
                if other != task and (names := in_both(own, theirs)):
                    listed = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if names[SHOWN:] else "")
                    found[task].append(
                        f"{len(names)} of {len(split.examples)} images of {where} are in train of task {other}, byte "
                        f"for byte: streams see them, the baseline does not: {listed}"
                    )
    return found
