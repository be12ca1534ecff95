"""One table of a sweep: every combination's mean drop, and its drop on each task."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from cl_bench.report.tables.layout import Heading, Section, write
from cl_bench.report.text import number, percent
from cl_bench.results import parts
from cl_bench.results.rows import Results
from cl_bench.results.summary import summary


def render(results: Mapping[str, Results], format: str = "terminal", *, width: int = 120) -> str:
    """Return the table; results: by experiment, all of the same tasks."""
    summaries = {name: summary(one) for name, one in results.items()}
    tasks = list(dict.fromkeys(name for table in summaries.values() for name in table["task"]))
    orders = len({order for table in summaries.values() for order in table["order"]}) > 1
    headings = [Heading("experiment", left=True, free=True)]
    headings += [*([Heading("order", left=True)] if orders else []), Heading("strategy", left=True)]
    headings += [Heading("mean drop %")]
    headings += [Heading(f"{task}\nbaseline > final (drop %)") for task in tasks]
    groups = []
    for name, table in summaries.items():
        rows = table[table["headline"]].groupby(["order", "strategy"], sort=False)
        groups.append(
            [
                [
                    name if not place else "",
                    *([str(order)] if orders else []),
                    str(strategy),
                    percent(own["average_drop"].iloc[0]),
                    *(_cell(own[own["task"] == task]) for task in tasks),
                ]
                for place, ((order, strategy), own) in enumerate(rows)
            ]
        )
    named = {parts.suffix(one) for one in results.values()}
    title = f"sweep{named.pop()}" if len(named) == 1 else "sweep"
    notes = ["Settings are chosen by this part; the test part is for the chosen ones: cl-bench table."]
    return write([Section(title, headings, groups)], notes if title != "sweep" else [], format, width=width)


def _cell(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "-"
    row = rows.iloc[0]
    return f"{number(row['baseline'])} > {number(row['final'])} ({percent(row['drop'])})"
