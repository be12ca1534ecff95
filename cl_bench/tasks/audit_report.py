"""An audit as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from cl_bench.tasks.audit import Audit


def report(audits: Sequence[Audit]) -> str:
    """Return the audits as plain text: a block a task with its counts, scores and findings."""
    return "\n\n".join(map(_block, audits))


def _block(result: Audit) -> str:
    task, test = result.task, result.test
    counts = {"train": result.train_counts, "val": result.val_counts, **({"test": test.counts} if test else {})}
    images = {"train": result.train, "val": result.val, **({"test": test.split} if test else {})}
    sizes = [f"{len(split.examples)} {where}" for where, split in images.items()]
    trivial = {"": result.trivial, **({" on test": test.trivial} if test else {})}
    figures = {**result.figures, **({f"{name} on test": value for name, value in test.figures.items()} if test else {})}
    width = max(len("class"), *map(len, task.classes))
    *others, last = images
    clean = [] if result.leaked else [f"  leaks, byte for byte, between {', '.join(others)} and {last}: none"]
    lines = [
        f"{task.name}: {task.kind.name}, {len(task.classes)} classes, {', '.join(sizes[:-1])} and {sizes[-1]} images",
        f"  {'class':<{width}} {' '.join(f'{where:>12}' for where in counts)}",
        *(f"  {c:<{width}} {' '.join(f'{count[c]:>12,}' for count in counts.values())}" for c in task.classes),
        *(f"  trivial {task.kind.metrics[0]}{where}: {value:.4f}" for where, value in trivial.items()),
        *(f"  {name}: {value:.4f}" for name, value in figures.items()),
        *clean,
        *(f"  - {finding}" for finding in (*result.details, *result.findings)),
    ]
    return "\n".join(lines)
