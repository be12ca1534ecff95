"""What stands in the compact table, before any format."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cl_bench.results import parts
from cl_bench.results.rows import Results

COSTS = {"relative_flops": "FLOPs", "relative_cost": "time"}
"""What the one cost is of, relative to naive: wall time where floating-point operations are not known."""


@dataclass(frozen=True)
class Task:
    """A task of the stream; baseline: the score of the model that learns it alone, nan where not known."""

    name: str
    metric: str
    baseline: float


@dataclass(frozen=True)
class Cell:
    """How a strategy ends on a task.

    final: its score, usually in 0 to 1; drop, low, high: (baseline - final) / baseline with its 95 % interval, shares,
    nan where not known; state: "pass", "fail", "bonus" (at or above the baseline) or "void", and without a verdict
    "failed", "incomplete" or "unscored"; leading: it drops least, or cannot be told from what does.
    """

    final: float
    drop: float
    low: float
    high: float
    state: str
    uncertain: bool = False
    leading: bool = False

    @property
    def counts(self) -> bool:
        """Whether mean and worst drop are of it, too."""
        return self.state in ("pass", "fail", "bonus")


@dataclass(frozen=True)
class Row:
    """A strategy; cells: one a task, None where there is none.

    mean: of the drops that count, a share; cost: relative to naive's; mixed: its stages, or those it is compared with,
    ran in different environments; remark: which seeds are missing, empty where none is.
    """

    strategy: str
    cells: tuple[Cell | None, ...]
    mean: float
    cost: float
    mixed: bool = False
    remark: str = ""


@dataclass(frozen=True)
class Compact:
    """The table of one order of the tasks.

    part: "test", "validation" or a dev part; cost: what `Row.cost` is of, empty where nothing is known of it; remarks:
    sentences without which it cannot be read.
    """

    experiment: str
    order: tuple[str, ...]
    part: str
    seeds: int
    tasks: tuple[Task, ...]
    rows: tuple[Row, ...]
    cost: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def intervals(self) -> bool:
        """Whether any drop has an interval."""
        return any(cell is not None and not math.isnan(cell.low) for row in self.rows for cell in row.cells)

    def worst(self, row: Row) -> tuple[float, str]:
        """Return the largest drop that counts, a share, and its task; nan and nothing where none does."""
        cells = zip(row.cells, self.tasks, strict=True)
        drops = [(cell.drop, task.name) for cell, task in cells if cell is not None and cell.counts]
        return max(drops, default=(math.nan, ""))


def compact(summary: pd.DataFrame, results: Results) -> list[Compact]:
    """Return the compact tables of a summary of `results` (see `summary.summary`), one an order of the tasks."""
    headline = summary[summary["headline"]]
    cost = next((field for field in COSTS if headline[field].notna().any()), "")
    found = []
    for name, part in headline.groupby("order", sort=False):
        order = tuple(str(name).split(">"))
        tasks = [_task(part[part["task"] == task], task) for task in dict.fromkeys(order) if task in set(part["task"])]
        most = int(part["seeds"].max())
        names = [task.name for task in tasks]
        strategies = part.groupby("strategy", sort=False)
        rows = [_row(str(strategy), own.to_dict("records"), names, cost, most) for strategy, own in strategies]
        found.append(
            Compact(
                experiment=results.plan.experiment,
                order=order,
                part=parts.word(results),
                seeds=len(results.seeds),
                tasks=tuple(tasks),
                rows=tuple(rows),
                cost=COSTS.get(cost, ""),
                remarks=tuple(parts.unscored_notes(results)),
            )
        )
    return found


def _task(rows: pd.DataFrame, name: str) -> Task:
    # Where strategies have different seeds, that of the most of them.
    first = rows.sort_values("seeds", ascending=False, kind="stable").iloc[0]
    return Task(name, str(first["metric"]), float(first["baseline"]))


def _row(strategy: str, records: Sequence[Mapping[Any, Any]], tasks: Sequence[str], cost: str, most: int) -> Row:
    own = {record["task"]: record for record in records}
    first = records[0]
    return Row(
        strategy=strategy,
        cells=tuple(_cell(own[task]) if task in own else None for task in tasks),
        mean=float(first["average_drop"]),
        cost=float(first[cost]) if cost else math.nan,
        mixed=any(record["mixed_environment"] for record in records),
        remark=_remark(records, most),
    )


def _cell(record: Mapping[Any, Any]) -> Cell:
    verdict, doubt, _ = str(record["verdict"]).partition(" (uncertain)")
    return Cell(
        final=float(record["final"]),
        drop=float(record["drop"]),
        low=float(record["drop_low"]),
        high=float(record["drop_high"]),
        state=verdict or str(record["status"]),
        uncertain=bool(doubt),
        leading=bool(record["leading"]),
    )


def _remark(records: Sequence[Mapping[Any, Any]], most: int) -> str:
    fewest = min(records, key=lambda record: int(record["seeds"]))
    seeds = int(fewest["seeds"])
    unfinished = [str(record["status"]) for record in records if record["status"] != "done"]
    if unfinished:
        return f"{unfinished[0]}, {seeds} of {fewest['planned_seeds']} seeds"
    return f"{seeds} of {most} seeds" if seeds < most else ""
