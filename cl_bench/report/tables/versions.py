"""Two experiments, or two versions of one, side by side: what changed, and in which settings they differ."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cl_bench.report.tables.layout import Heading, Section, write
from cl_bench.report.text import number, percent
from cl_bench.results import parts
from cl_bench.results.plan_file import Plan, settings_by_name
from cl_bench.results.rows import BASELINE, Results
from cl_bench.utils.nested import differences

HEADINGS = (
    *(Heading("strategy", left=True, free=True), Heading("task (metric)", left=True), Heading("A"), Heading("B")),
    *(Heading("B - A, points\n[95 % seeds]"), Heading("drop %\nA"), Heading("drop %\nB")),
    *(Heading("verdict\nA", left=True), Heading("verdict\nB", left=True)),
)
MEANING = (
    "A and B: the headline metric after the run's last stage, a mean over the seeds of each; B - A: paired by seed, "
    "over those that both have, with its 95 % t interval."
)
_SHOWN = 12
_NAMES = ("name", "description")
_DATA = ("classes", "train_images", "val_images")


def render(versions: pd.DataFrame, first: Results, second: Results, format: str, *, width: int = 120) -> str:
    """Return the table of `comparison.versions`; format: "terminal", "markdown", "latex" or "csv" (all rows).

    What only one of the two has is named below it.
    """
    if format == "csv":
        return parts.csv_with_split(versions, first, second)
    sections, alone = [], []
    runs = {side: _runs(results) for side, results in (("A", first), ("B", second))}
    orders = versions["order"].where(versions["strategy"] != BASELINE, "single-task baselines")
    for order, part in versions.groupby(orders, sort=False):
        groups = []
        for strategy, rows in part.groupby("strategy", sort=False):
            asked = {(strategy, one) for one in rows["order"]}
            sides = [side for side, planned in runs.items() if asked & planned]
            if len(sides) == 1:
                alone.append(f"Only in {sides[0]}: {strategy}, {order}.")
                continue
            lines = enumerate(rows.to_dict("records"))
            groups.append([_line(dict(row), first=not index) for index, row in lines])
        if groups:
            sections.append(Section(str(order), HEADINGS, groups))
    names = [f"A: {first.folder}.", f"B: {second.folder}."]
    plans, splits = [first.plan, second.plan], [first.of().split, second.of().split]
    notes = [*names, *_part(plans, splits), MEANING, *alone, *_unlike(plans, splits)]
    return write(sections, notes, format, width=width)


def _runs(results: Results) -> set[tuple[str, str]]:
    """Return strategy and order of all that was planned, baselines among it."""
    plan = results.plan
    return {(run.strategy, run.stream) for run in plan.runs} | {(BASELINE, line.task) for line in plan.baselines}


def _line(row: dict[Any, Any], first: bool) -> list[str]:
    ends = "" if math.isnan(row["low"]) else f" [{number(row['low'], 1)}, {number(row['high'], 1)}]"
    return [
        str(row["strategy"]) if first else "",
        f"{row['task']} ({row['metric']})",
        *(number(row[f"final_{side}"]) for side in ("first", "second")),
        number(row["change"], 1, sign="+") + ends,
        *(percent(row[f"drop_{side}"]) for side in ("first", "second")),
        *(str(row[f"verdict_{side}"]) for side in ("first", "second")),
    ]


def _part(plans: list[Plan], splits: list[str]) -> list[str]:
    """Return which part of their data the two are of."""
    if splits == ["test", "test"]:
        return ["Both are of the test part."]
    if splits[0] != splits[1]:
        return [f"A is of {splits[0]}, B of {splits[1]}."]
    sides = [side for side, plan in zip("AB", plans, strict=True) if "test" not in plan.splits]
    why = f": {' and '.join(sides)} {'has' if len(sides) == 1 else 'have'} no test part" if sides else ""
    return [f"Both are of {'the validation images' if splits[0] == 'val' else splits[0]}{why}."]


def _unlike(plans: list[Plan], splits: list[str]) -> list[str]:
    """Return in what the two differ: settings, data, and what they were made with."""
    lines = differences(*map(_settings, plans))
    lines += differences(*({task.name: {of: getattr(task, of) for of in _DATA} for task in p.tasks} for p in plans))
    if splits == ["test", "test"]:
        lines += differences(*({f"{task}.test": identity[:12] for task, identity in p.tests.items()} for p in plans))
    notes = [f"Differs in {line}." for line in lines[:_SHOWN]]
    if len(lines) > _SHOWN:
        notes.append(f"Differs in {len(lines) - _SHOWN} settings more.")
    made = differences(*({k: v for k, v in p.provenance.items() if k != "command"} for p in plans))
    return [*notes, *(f"Made with another {line}." for line in made)]


def _settings(plan: Plan) -> dict[str, Any]:
    return settings_by_name({key: value for key, value in plan.settings.items() if key not in _NAMES})
