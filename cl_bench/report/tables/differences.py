"""The table of strategies against one of them: how much less each forgets, and how sure that is."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cl_bench.report.tables.layout import Heading, Section, write
from cl_bench.report.text import interval, number, percent
from cl_bench.results import parts
from cl_bench.results.rows import Results

HEADINGS = (
    *(Heading("strategy", left=True, free=True), Heading("task", left=True), Heading("difference %\n[95 %]")),
    *(Heading("sd by\nseeds"), Heading("sd by\nimages"), Heading("p"), Heading("p\nadjusted")),
    *(Heading("P(drops\nless)"), Heading("seeds"), Heading("", left=True)),
)
MEANING = (
    "Difference: of the drops, paired by seed, negative where the strategy forgets less, with its 95 % interval over "
    "seeds and images; sd by seeds, by images: the standard deviations that it is made of, in percentage points. p: "
    "exact sign-flip test over seeds; adjusted: for all rows (Holm). P(drops less): that one seed of the strategy "
    "drops less than one of the other. A row says less or more only where the interval lies on one side of 0, row by "
    "row; the rest may be noise."
)


def render(differences: pd.DataFrame, results: Results, against: str, format: str, *, width: int = 120) -> str:
    """Return the table of `comparison.differences` from `against`; format: "terminal", "markdown", "latex" or "csv"."""
    if format == "csv":
        return parts.csv_with_split(differences, results)
    sections = []
    for order, part in differences.groupby("order", sort=False):
        groups = [
            [_line(dict(row), first=not index) for index, row in enumerate(rows.to_dict("records"))]
            for _, rows in part.groupby("strategy", sort=False)
        ]
        title = f"{results.plan.experiment}: {order}, against {against}{parts.suffix(results)}"
        sections.append(Section(title, HEADINGS, groups))
    notes = [*parts.notes(results, "Drops"), MEANING, *_few_seeds(differences)]
    return write(sections, notes, format, width=width)


def settled(row: dict[Any, Any]) -> str:
    """Return "less" or "more" where the row shows that the strategy forgets so, "" where it may be noise."""
    return "less" if row["high"] < 0 else "more" if row["low"] > 0 else ""


def _line(row: dict[Any, Any], first: bool) -> list[str]:
    seeds = f"{percent(row['difference'])}{interval(row['low'], row['high'])}"
    chance = [number(row[name]) for name in ("p", "adjusted_p")]
    chance.append(number(row["probability"], 2) if row["seeds"] > 1 else "-")
    sources = [percent(row[f"{source}_deviation"]) for source in ("seeds", "images")]
    name = str(row["strategy"]) if first else ""
    return [name, str(row["task"]), seeds, *sources, *chance, str(row["seeds"]), settled(row)]


def _few_seeds(differences: pd.DataFrame) -> list[str]:
    least = differences["least_p"].max()
    if not least > 0.05:
        return []
    return [f"With so few seeds p cannot be below {least:.3g}, whatever the difference: it takes 6 for p < 0.05."]
