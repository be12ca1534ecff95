"""The table of strategies, compact or long as its options ask."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cl_bench.report.tables import drops
from cl_bench.report.tables.compact import compact
from cl_bench.report.tables.compact import render as render_compact
from cl_bench.results.rows import Results


def render(
    summary: pd.DataFrame,
    results: Results,
    format: str,
    *,
    long: bool = False,
    full: bool = False,
    columns: Sequence[str] = (),
    sort: str = "",
    notes: bool = False,
    width: int = 0,
    colour: bool = False,
) -> str:
    """Return the table of a summary (see `summary.summary`).

    A row a strategy; with `long`, `full` or `columns`, and as CSV, a row a strategy and task, as `drops.render` has it.
    notes: protocol, definitions and machine below it, which the long table always has; width: in characters, 0: the
    format's usual one. Raises UserError for another format or column.
    """
    if long or full or columns or format == "csv":
        shape = {"width": width} if width else {}
        return drops.render(summary, results, format, full=full, columns=columns, sort=sort, colour=colour, **shape)
    below = drops.notes(summary, results) if notes else []
    return render_compact(compact(drops.ordered(summary, sort), results), format, width, notes=below, colour=colour)
