"""The table of what would settle each verdict: how many seeds, or how many images."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cl_bench.report.tables.layout import Heading, Section, write
from cl_bench.report.text import count, interval, percent
from cl_bench.results import parts
from cl_bench.results.rows import Results

HEADINGS = (
    *(Heading("strategy", left=True, free=True), Heading("task", left=True), Heading("drop %\n[95 %]")),
    *(Heading("verdict", left=True), Heading("sd by\nseeds"), Heading("sd by\nimages"), Heading("seeds")),
    *(Heading("settled\nby seeds"), Heading("images"), Heading("settled\nby images")),
)
MEANING = (
    "Settled by: how many seeds, or how many images, in all would make the interval lie beside the word's border (5 % "
    "for pass and fail, 0 for bonus) with a chance of 87 %, if the drop and its variance are what they seem to be; "
    "none: no number of these alone is enough (up to 1,000 seeds, 1,000,000 images); ?: too little is known, as of "
    "one seed (`run --add --seeds` adds some). sd: standard deviations of the drop, in percentage points. All are "
    "estimates, and those of three seeds are rough."
)


def render(summary: pd.DataFrame, results: Results, format: str, *, width: int = 120) -> str:
    """Return the table of a summary's verdicts; format: "terminal", "markdown", "latex" or "csv" (raw numbers)."""
    rows = summary[summary["headline"] & ~summary["verdict"].isin(["", "void"])]
    if format == "csv":
        return parts.csv_with_split(rows, results)
    sections = []
    for order, part in rows.groupby("order", sort=False):
        groups = [
            [_line(dict(row), not index) for index, row in enumerate(own.to_dict("records"))]
            for _, own in part.groupby("strategy", sort=False)
        ]
        title = f"{results.plan.experiment}: {order}{parts.suffix(results)}"
        sections.append(Section(title, HEADINGS, groups))
    return write(sections, [*parts.notes(results), MEANING], format, width=width)


def settled_by(row: dict[Any, Any], by: str) -> str:
    """Return how many "seeds" or "images" in all settle a row's verdict, in a word."""
    if not str(row["verdict"]).endswith("(uncertain)"):
        return "-"
    needed = row[f"settling_{by}"]
    return "?" if math.isnan(needed) else "none" if math.isinf(needed) else f"{int(needed):,}"


def _line(row: dict[Any, Any], first: bool) -> list[str]:
    drop = percent(row["drop"]) + interval(row["drop_low"], row["drop_high"])
    deviations = [percent(row[f"{source}_deviation"]) for source in ("seeds", "images")]
    needed = [count(row["seeds"]), settled_by(row, "seeds"), count(row["scored"]), settled_by(row, "images")]
    return [str(row["strategy"]) if first else "", str(row["task"]), drop, row["verdict"], *deviations, *needed]
