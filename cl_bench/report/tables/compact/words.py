"""The words and signs of the compact table, the same in every format."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cl_bench.metrics.continual import LIMIT
from cl_bench.report.tables.compact.rows import Cell, Compact
from cl_bench.report.text import number, percent

SIGNS = {"pass": "✓", "fail": "✗", "bonus": "+", "void": "∅", "failed": "!", "incomplete": "!", "unscored": "!"}
_MEANINGS = {
    "✓": f"pass (drop ≤ {100 * LIMIT:.0f} %)",
    "✗": "fail",
    "+": "at or above baseline",
    "∅": "void (baseline near trivial, in no mean)",
    "!": "not finished",
}


def mark(cell: Cell) -> str:
    """Return the sign of a verdict, with a question mark where it is uncertain."""
    return SIGNS[cell.state] + ("?" if cell.uncertain else "")


def score(value: float) -> str:
    """Return a score without the zero that all of them begin with."""
    text = number(value)
    return text[1:] if text.startswith("0.") else text


def drop(cell: Cell, with_interval: bool) -> str:
    """Return a drop in percent, with its interval, in whole ones, where that is wanted and known."""
    known = with_interval and not math.isnan(cell.low)
    return percent(cell.drop) + (f" [{number(cell.low, 0, 100)}, {number(cell.high, 0, 100)}]" if known else "")


def title(table: Compact) -> str:
    """Return what stands above a table: experiment, order, part of the data, seeds."""
    seeds = "1 seed" if table.seeds == 1 else f"{table.seeds} seeds"
    return f"{table.experiment}: {' > '.join(table.order)}, {table.part} part, {seeds}"


def legend(tables: Sequence[Compact], intervals: bool, bold: bool, settings: Sequence[str] = ()) -> list[str]:
    """Return what the signs that occur mean, each by itself.

    bold: the format shows it; settings: the whole names of strategies that stand there without their settings.
    """
    cells = [cell for table in tables for row in table.rows for cell in row.cells if cell]
    there = {SIGNS[cell.state] for cell in cells}
    # First, as Markdown takes a line that begins with a plus for a list.
    said = ["drop: % of the baseline that is lost" + (" [95 % interval]" if intervals else "")]
    said += [f"{sign} {meaning}" for sign, meaning in _MEANINGS.items() if sign in there]
    if any(cell.uncertain for cell in cells):
        said.append("? uncertain" + (" (one seed)" if all(table.seeds == 1 for table in tables) else ""))
    if any(row.mixed for table in tables for row in table.rows):
        said.append("† ran in different environments")
    costs = dict.fromkeys(table.cost for table in tables if table.cost)
    said += [f"{cost}: x naive's" for cost in costs]
    if bold and any(cell.leading for cell in cells):
        aside = " (joint aside)" if any(row.strategy == "joint" for table in tables for row in table.rows) else ""
        said.append(f"bold: the least drop{aside}, and what cannot be told from it")
    return [*said, f"* {', '.join(dict.fromkeys(settings))}"] if settings else said


def remarks(tables: Sequence[Compact]) -> list[str]:
    """Return sentences on what is missing, each once."""
    rows = [f"{row.strategy}: {row.remark}" for table in tables for row in table.rows if row.remark]
    return list(dict.fromkeys([*rows, *(line for table in tables for line in table.remarks)]))
