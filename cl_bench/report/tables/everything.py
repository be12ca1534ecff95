"""All that a summary holds, and what it was made with, as numbers."""

from __future__ import annotations

import pandas as pd

from cl_bench.results.rows import Results


def everything(summary: pd.DataFrame, results: Results) -> pd.DataFrame:
    """Return every column of a summary, a row a strategy and task, with protocol and origin beside it."""
    plan, tasks = results.plan, [results.plan.by_name[name] for name in summary["task"]]
    table = summary.copy()
    table.insert(0, "experiment", plan.experiment)
    table["schedule"] = plan.settings.get("schedule", "")
    table["split"] = results.of().split
    for field in ("epochs", "image_size", "train_images", "val_images"):
        table[field] = [getattr(task, field) for task in tasks]
    if plan.tests:
        table["test_images"] = [task.test.images if task.test else None for task in tasks]
    origin = {"commit": "", "machine": "", "version": "", **plan.provenance}
    origin.pop("command", None)
    for field, value in origin.items():  # of what `--add` kept, `added_to` says what it was made with
        table[field] = value
    return table
