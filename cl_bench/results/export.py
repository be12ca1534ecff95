"""Tables beside the plan, from which a clone without the store rebuilds every other; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cl_bench.results import per_class, resamples
from cl_bench.results.plan_file import Plan, experiment_folder, read_plan
from cl_bench.results.stages import (
    ENVIRONMENT,
    NUMBERS,
    Evaluation,
    Record,
    lines_of,
    of_training,
    read_cost,
    read_stages,
)
from cl_bench.utils.files import write_whole

EXPORTED = ("rows.csv", "stages.csv", resamples.FILE, per_class.FILE)
"""Files beside the plan that all tables are rebuilt from."""
ROWS = ("stage", "epoch", "task", "split", "data", "metric", "value")
"""The columns of rows.csv."""


def stage_costs(path: str | Path) -> pd.DataFrame:
    """Return cost and environment of every stage that was trained, one row a stage.

    Seconds, megabytes and counts as in `stage.json`; `stored_images`: the most stored for one past task;
    `training_flops`: floating-point operations of the stage and of the experts that it follows; `multiply_adds`: of one
    image's forward pass, all tasks answered.
    """
    folder = experiment_folder(path)
    plan = read_plan(folder)
    return _cost_table(plan, read_stages(folder, plan)[1])


def _cost_table(plan: Plan, costs: Mapping[str, Record]) -> pd.DataFrame:
    rows = [{"stage": key, "tasks": "+".join(plan.stages[key].tasks), **cost} for key, cost in costs.items()]
    return pd.DataFrame(rows, columns=["stage", "tasks", *NUMBERS, *ENVIRONMENT])


def export(path: str | Path, before: Mapping[str, list[Evaluation]] | None = None) -> list[Path]:
    """Write what a clone without the store rebuilds every table from beside the plan; return the paths.

    before: rows that were there, by stage. What was trained again and gives them once more keeps its earlier cost, so
    that all costs of what was published are of one machine.
    """
    folder = experiment_folder(path)
    plan = read_plan(folder)
    evaluations, costs = read_stages(folder, plan, store_first=True)
    same = {key for key, rows in (before or {}).items() if of_training(evaluations.get(key, [])) == of_training(rows)}
    costs |= dict(lines_of(same, folder / "stages.csv", read_cost))
    curves = plan.splits[-1]
    rows = [
        {"stage": key, "split": "test" if row.data else curves, **row._asdict()}
        for key, stage in evaluations.items()
        for row in stage
    ]
    table = pd.DataFrame(rows, columns=list(ROWS))
    tables = {"rows.csv": table, "stages.csv": _cost_table(plan, costs).drop(columns="tasks")}
    contents = {name: table.to_csv(index=False, lineterminator="\n").encode() for name, table in tables.items()}
    written = [write_whole(folder / name, content) for name, content in contents.items()]
    return written + resamples.export(folder, plan) + per_class.export(folder, plan)
