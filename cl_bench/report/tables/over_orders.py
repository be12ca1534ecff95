"""The table of strategies over all orders of the tasks: what they drop, and how much the order decides."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cl_bench.report.tables.layout import Heading, Section, write
from cl_bench.report.text import folded, interval, percent
from cl_bench.results import parts
from cl_bench.results.rows import BASELINE, Results

MEANING = (
    "Mean drop: over all orders and tasks, of each a ratio of means over seeds, with its 95 % interval over seeds and "
    "images (over seeds alone where no resamples were kept); "
    "difference: of mean drops, paired over the seeds that both have, negative where the strategy forgets less; "
    "spread: the highest minus the lowest order's mean, in which the seeds' noise is, too; worst: the task that drops "
    "most in any order. Seeds: those of which every order is done. Tasks with a void baseline are left out."
)

NAME_WIDTH = 44
"""Characters that 120 leave of a strategy's name."""


def render(table: pd.DataFrame, results: Results, format: str, *, width: int = 120) -> str:
    """Return the table of `comparison.over_orders`; format: "terminal", "markdown", "latex" or "csv" (raw numbers)."""
    if format == "csv":
        return parts.csv_with_split(table, results)
    against, names = table["against"].iloc[0], results.rows["strategy"].unique()
    left_out = [name for name in names if name not in {BASELINE, *table["strategy"]}]
    headings = [Heading("strategy", left=True, free=True), Heading("mean drop % ↓\n[95 %]")]
    headings += [Heading("difference\n[95 %]"), Heading("spread\n% ↓"), Heading("worst\n% ↓")]
    headings += [Heading("of", left=True), Heading("in", left=True), Heading("seeds")]
    title = f"{results.plan.experiment}: {table['orders'].iloc[0]} orders, differences from {against}"
    title += parts.suffix(results)
    lines = [_line(dict(row), row["strategy"] == against) for row in table.to_dict("records")]
    if format == "terminal":
        lines = [["\n".join(folded(name, NAME_WIDTH)), *cells] for name, *cells in lines]
    notes = [*parts.notes(results, "Drops"), MEANING]
    notes += [f"Left out, as not every order is done: {', '.join(left_out)}."] if left_out else []
    return write([Section(title, headings, [lines])], notes, format, width=width)


def _line(row: dict[Any, Any], itself: bool) -> list[str]:
    drop = percent(row["drop"]) + interval(row["low"], row["high"])
    difference = percent(row["difference"]) + interval(row["difference_low"], row["difference_high"])
    figures = [drop, "" if itself else difference, percent(row["spread"]), percent(row["worst_drop"])]
    return [str(row["strategy"]), *figures, str(row["worst_task"]), str(row["worst_order"]), str(row["seeds"])]
