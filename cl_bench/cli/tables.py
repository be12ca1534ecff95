"""How commands print a table."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.errors import UserError
from cl_bench.utils.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

    from cl_bench.results.rows import Results


Part = Annotated[str, typer.Option("--split", help="test or val: the part to tell of; that of the verdict otherwise.")]


class Format(str, Enum):
    """How a table is printed."""

    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"
    parquet = "parquet"


_RAW = (Format.csv, Format.parquet)
Output = tuple[Format, Path | None]
"""How a table is printed, and the file it is written to; None: to the terminal."""


@dataclass(frozen=True)
class Table:
    """Which table is wanted, and of what; empty: everything.

    split: as in `Results.chosen`; over_orders: means over all orders; against: the differences from this strategy;
    filters: as in `filters.filtered`; columns, sort: fields of `summary.summary`.
    """

    full: bool = False
    baselines: bool = False
    over_orders: bool = False
    against: str = ""
    strategies: tuple[str, ...] = ()
    orders: str = ""
    seeds: tuple[int, ...] = ()
    filters: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    sort: str = ""
    split: str = ""


def print_table(folder: Path, wanted: Table, outputs: Sequence[Output] = ((Format.terminal, None),)) -> None:
    """Print a table, or write it to files, once for each output; of the baselines where nothing else was run."""
    from cl_bench.config.orders import parse_orders
    from cl_bench.results.parts import with_split
    from cl_bench.results.rows import read_results

    found = read_results(folder).chosen(wanted.split)
    if found.plan.runs:
        names = [task.name for task in found.plan.tasks]
        orders = parse_orders(wanted.orders, names) if wanted.orders else ()
        strategies = wanted.strategies
        if strategies and wanted.against:
            strategies += (wanted.against,)
        found = found.select(strategies, [">".join(order) for order in orders], wanted.seeds)
    runs = bool(found.plan.runs)
    if (wanted.over_orders or wanted.against) and (wanted.baselines or not runs):
        raise UserError("--over-orders and --against compare strategies, and are not for baselines alone")
    of_drops = runs and not (wanted.baselines or wanted.against or wanted.over_orders)
    if wanted.filters and not of_drops:
        raise UserError("--filter is for the table of drops")
    if wanted.full and runs and not of_drops:
        raise UserError("--full is for the table of drops")
    if (wanted.columns or wanted.sort) and (not of_drops or any(format in _RAW for format, _ in outputs)):
        raise UserError("--columns and --sort are for the table of drops in the terminal, in Markdown or LaTeX")
    frame = _frame(found, wanted)
    shown = with_split(frame, found)
    for format, output in outputs:
        seen = output is None and sys.stdout.isatty()
        emit(shown, partial(_text, frame, found, wanted, format.value, seen), format, output)


def emit(frame: pd.DataFrame, text: Callable[[], str], format: Format, output: Path | None) -> None:
    """Print `text`, or write it to a file and print its path; of a Parquet file the content is `frame`."""
    if format is Format.parquet:
        if output is None:
            raise UserError("a Parquet file is not for the terminal: name one with --output")
        typer.echo(write_whole(output, frame.to_parquet(index=False)))
    elif output is None:
        typer.echo(text())
    else:
        typer.echo(write_whole(output, (text() + "\n").encode()))


def _frame(found: Results, wanted: Table) -> pd.DataFrame:
    """Return the table's numbers, every column of them."""
    from cl_bench.results import summary
    from cl_bench.results.filters import filtered

    if wanted.baselines or not found.plan.runs:
        table = summary.baselines(found)
    elif wanted.over_orders:
        from cl_bench.results.comparison import over_orders

        table = over_orders(found, wanted.against)
    elif wanted.against:
        from cl_bench.results.comparison import differences

        table = differences(found, wanted.against)
    else:
        table = filtered(summary.summary(found), wanted.filters)
    return table


def _text(frame: pd.DataFrame, found: Results, wanted: Table, format: str, seen: bool) -> str:
    """Return the table as text; seen: on a terminal, whose width and colours it may have."""
    from cl_bench.report.tables import baselines, differences, drops, over_orders

    if wanted.baselines or not found.plan.runs:
        return baselines.render(frame, found, format)
    if wanted.over_orders:
        return over_orders.render(frame, found, format)
    if wanted.against:
        return differences.render(frame, found, wanted.against, format)
    return drops.render(
        frame,
        found,
        format,
        full=wanted.full,
        columns=wanted.columns,
        sort=wanted.sort,
        width=shutil.get_terminal_size().columns if seen else 120,
        colour=seen and "NO_COLOR" not in os.environ,
    )
