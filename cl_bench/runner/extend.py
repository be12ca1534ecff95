"""What comes beside results that are there already: their plan and rows are kept, whether their stages are or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_bench.config.schema import Experiment, validate
from cl_bench.errors import UserError
from cl_bench.results.plan_file import PlannedRun, read_plan, settings_by_name
from cl_bench.results.stages import exported_rows, exported_stages, lines_of, of_training, read_cost
from cl_bench.stages.plan import Plan
from cl_bench.tasks.catalog import TaskEntry
from cl_bench.utils.machine import processor
from cl_bench.utils.nested import differences
from cl_bench.utils.parsing import spelled


def requested_so_far(folder: Path, own: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """Return what the results of `folder` were asked for, and what is asked for now after it."""
    if not (folder / "plan.json").is_file():
        raise UserError(f"{folder.absolute()} holds no results to add to; without --add they are begun")
    before = read_plan(folder).settings
    if absent := own.keys() - before.keys():
        raise UserError(f"{folder / 'plan.json'} lacks {min(absent)!r} among its settings")
    there = {**before, "orders": map(tuple, before["orders"])}
    named = {**own, "strategies": tuple(spelled(text, there["strategies"]) for text in own["strategies"])}
    return {key: tuple(dict.fromkeys([*there[key], *values])) for key, values in named.items()}


def refuse_foreign_rows(folder: Path, plan: Plan, experiment: Experiment, extended: Collection[str]) -> None:
    """Raise UserError, with the first things that differ, where the folder has rows that the plan would drop.

    extended: strategies that were asked for, whose own rows may go, as when their code was edited.
    """
    there = read_plan(folder)
    free, due = set[str](), {single.stage for single in there.baselines}
    for run in there.runs:
        (free if run.strategy in extended else due).update(run.stages)
    if exported_stages(folder) - (free - due) - plan.stages.keys():
        changed = _changed_settings(folder, experiment)
        reason = f"other settings ({'; '.join(changed[:3])})" if changed else "another version, other libraries or data"
        raise UserError(f"the results in {folder} were made with {reason}: name these otherwise")


def runs_left_out(folder: Path, plan: Plan) -> list[PlannedRun]:
    """Return the runs that the results of `folder` have and those of `plan` in their place will not have."""
    if not (folder / "plan.json").is_file():
        return []
    asked = {(run.strategy, ">".join(run.order), run.seed) for run in plan.runs}
    try:
        exported = exported_stages(folder)
        runs = read_plan(folder).runs
    except UserError:  # of another version, or damaged: nothing can be told of it
        return []
    return [run for run in runs if run.stages[-1] in exported and (run.strategy, run.stream, run.seed) not in asked]


def trained_on_other_processors(folder: Path, stages: Collection[str]) -> dict[str, int]:
    """Return, by processor, how many of `stages` have rows in `folder` from another processor than this one.

    Trained again here, such a stage may score otherwise, and runs that stay would be held against another baseline.
    """
    costs = lines_of(stages, folder / "stages.csv", read_cost)
    return Counter(cost["processor"] for _, cost in costs if cost["processor"] not in ("", processor()))


def _changed_settings(folder: Path, experiment: Experiment) -> list[str]:
    """Return what else the folder's results were made with; none where another version's settings are unreadable."""
    free = {"name", "description", "strategies", "orders", "seeds", "resources", "trackers"}
    try:
        # Read anew, as it may be older than a setting, which then has its default.
        before = validate(read_plan(folder).settings, str(folder / "plan.json"))
    except UserError:
        return []
    return differences(*(settings_by_name(one.model_dump(mode="json", exclude=free)) for one in (before, experiment)))


def kept_stages(folder: Path, plan: Plan, catalog: Sequence[TaskEntry]) -> frozenset[str]:
    """Return the stages of which all that tables need lies in `folder`."""
    metrics, kept = {entry.task.name: entry.task.kind.metrics for entry in catalog}, set()
    for key, found in exported_rows(folder, plan.stages).items():
        stage = plan.stages[key]
        due = {(stage.epochs, task, metric) for task in (*stage.past, *stage.trained) for metric in metrics[task]}
        if due <= {(row.epoch, row.task, row.metric) for row in of_training(found)}:
            kept.add(key)
    return frozenset(kept)
