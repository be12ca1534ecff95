"""The table of single-task baselines: what each task reaches on its own, over seeds."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cl_bench.report.tables.drops import origin_notes, protocol_notes
from cl_bench.report.tables.layout import Heading, Section, write
from cl_bench.report.text import number
from cl_bench.results import parts
from cl_bench.results.rows import Results

MEANING = (
    "Score: mean ± standard deviation over seeds, with the mean's 95 % t interval; void: less than 0.05 above the "
    "trivial score, so no drop from it means anything; train s: of one stage, a mean over seeds."
)


def render(baselines: pd.DataFrame, results: Results, format: str, *, width: int = 120) -> str:
    """Return the table of `summary.baselines`; format: "terminal", "markdown", "latex" or "csv" (raw numbers)."""
    if format == "csv":
        return parts.csv_with_split(baselines, results)
    headings = [Heading("task", left=True, free=True), Heading("metric", left=True), Heading("score")]
    headings += [Heading("95 %"), Heading("trivial"), Heading("", left=True), Heading("seeds"), Heading("train\ns")]
    groups = [
        [_line(dict(row), first=not index) for index, row in enumerate(rows.to_dict("records"))]
        for _, rows in baselines.groupby("task", sort=False)
    ]
    seeds = sorted({line.seed for line in results.plan.baselines})
    notes = [*parts.notes(results, "Scores"), *protocol_notes(results, seeds), MEANING, *origin_notes(results)]
    title = f"{results.plan.experiment}: single-task baselines{parts.suffix(results)}"
    section = Section(title, headings, groups)
    return write([section], notes, format, width=width, styles={"void": "yellow"})


def _line(row: dict[Any, Any], first: bool) -> list[str]:
    score = number(row["score"]) + ("" if math.isnan(row["deviation"]) else f" ± {number(row['deviation'])}")
    interval = "" if math.isnan(row["low"]) else f"[{number(row['low'])}, {number(row['high'])}]"
    done = str(row["seeds"]) if row["seeds"] == row["planned"] else f"{row['seeds']}/{row['planned']}"
    trivial = number(row["trivial"]) if row["headline"] else ""
    void = "void" if row["void"] and row["seeds"] else ""
    name = str(row["task"]) if first else ""
    seconds = number(row["train_seconds"], 0) if first else ""
    return [name, str(row["metric"]), score, interval, trivial, void, done, seconds]
