"""The table of costs: a row a strategy."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cl_bench.report.tables.drops import OF_COSTS, known_columns
from cl_bench.report.tables.layout import Heading, Section, write
from cl_bench.results.rows import Results

MEANING = (
    "Costs of a whole run, means over seeds (peak MB: the largest). Stored: images kept of each past task; "
    f"{OF_COSTS}; added: to the model, and forward passes a step."
)


def render(
    summary: pd.DataFrame,
    results: Results,
    format: str,
    *,
    notes: Sequence[str] = (),
    width: int = 120,
) -> str:
    """Return what strategies cost (see `summary.summary`); a table an order of the tasks.

    format: "terminal", "markdown", "latex" (booktabs) or "html"; notes: sentences below it; width: of the terminal, in
    characters. Raises UserError for another format.
    """
    columns = [column for column in known_columns(summary) if column.once]
    headings = [Heading(c.header, left=c.field == "strategy", free=c.field == "strategy") for c in columns]
    sections = []
    for order, part in summary.groupby("order", sort=False):
        rows = part.drop_duplicates("strategy").to_dict("records")
        lines = [[column.cell(dict(row)) for column in columns] for row in rows]
        sections.append(Section(f"{results.plan.experiment}: {order}, costs", headings, [lines]))
    return write(sections, [MEANING, *notes], format, width=width)
