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

from cl_bench.errors import UserError, unknown_name_error
from cl_bench.utils.files import write_whole
from cl_bench.utils.streams import readable

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
    html = "html"
    json = "json"
    parquet = "parquet"


_ENDINGS = {"txt": Format.terminal, "md": Format.markdown, "tex": Format.latex, "htm": Format.html}
_BY_NAME = {**{format.value: format for format in Format}, **_ENDINGS}
_RAW = (Format.csv, Format.json, Format.parquet)


def format_of(name: str) -> Format:
    """Return the format of a name, or of what files of it end in; UserError for another."""
    if name.lower() not in _BY_NAME:
        raise unknown_name_error("table format", name, _BY_NAME)
    return _BY_NAME[name.lower()]


def output_of(format: Format | None, path: Path | None) -> Output:
    """Return how and where a table is written; the format is that of the file's name where none is given.

    Raises UserError for a name whose ending is that of no format.
    """
    ending = path.suffix[1:] if path else ""
    return format or (format_of(ending) if ending else Format.terminal), path


FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format",
        "-f",
        parser=format_of,
        metavar="FORMAT",
        help="terminal, markdown (md), latex (tex), html, csv, json, parquet; as OUTPUT ends otherwise.",
    ),
]
Output = tuple[Format, Path | None]
"""How a table is printed, and the file it is written to; None: to the terminal."""


@dataclass(frozen=True)
class Table:
    """Which table is wanted, and of what; empty: everything.

    long: a row a strategy and task; full: that with all measures; costs: those of strategies alone; notes: protocol,
    definitions and machine below it; over_orders: means over all orders; against: the differences from this strategy;
    filters: as in `filters.filtered`; columns, sort: fields of `summary.summary`; split: as in `Results.chosen`.
    """

    long: bool = False
    full: bool = False
    costs: bool = False
    notes: bool = False
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

    @property
    def rows_of_tasks(self) -> bool:
        """Whether a strategy has a row a task: what filters and chosen columns are of stands there alone."""
        return self.long or self.full or bool(self.columns or self.filters)


def print_table(folder: Path, wanted: Table, outputs: Sequence[Output] = ((Format.terminal, None),)) -> None:
    """Print a table, or write it to files, once for each output; of the baselines where nothing else was run."""
    from cl_bench.config.orders import parse_orders
    from cl_bench.report.tables.everything import everything
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
    _refuse_what_is_not_for(wanted, of_drops, runs, any(format in _RAW for format, _ in outputs))
    frame = _frame(found, wanted)
    shown = everything(frame, found) if of_drops else with_split(frame, found)
    for format, output in outputs:
        seen = output is None and sys.stdout.isatty()
        emit(shown, partial(_text, frame, found, wanted, format.value, seen), format, output)


def _refuse_what_is_not_for(wanted: Table, of_drops: bool, runs: bool, raw: bool) -> None:
    """Raise UserError for an option that the kind of table, or its format, has no use for."""
    if wanted.filters and not of_drops:
        raise UserError("--filter is for the table of drops")
    for option in ("long", "full", "costs"):
        if getattr(wanted, option) and runs and not of_drops:
            raise UserError(f"--{option} is for the table of drops")
    if wanted.costs and wanted.rows_of_tasks:
        raise UserError("--costs has a row a strategy, and goes with none of --long, --full, --columns and --filter")
    if (wanted.columns or wanted.sort) and (not of_drops or raw):
        raise UserError("--columns and --sort are for the table of drops in the terminal, in Markdown, LaTeX or HTML")


def emit(frame: pd.DataFrame, text: Callable[[], str], format: Format, output: Path | None) -> None:
    """Print `text`, or write it to a file and print its path; of Parquet and JSON the content is `frame`."""
    if format is Format.json:
        records = frame.to_json(orient="records", indent=1)
        text = partial(str, records)
    if format is Format.parquet:
        if output is None:
            raise UserError("a Parquet file is not for the terminal: name one with --output")
        typer.echo(write_whole(output, frame.to_parquet(index=False)))
    elif output is None:
        typer.echo(readable(text(), sys.stdout))
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
    from cl_bench.report.tables import baselines, differences, over_orders

    if wanted.baselines or not found.plan.runs:
        return baselines.render(frame, found, format)
    if wanted.over_orders:
        return over_orders.render(frame, found, format)
    if wanted.against:
        return differences.render(frame, found, wanted.against, format)
    return _of_drops(frame, found, wanted, format, seen)


def _of_drops(frame: pd.DataFrame, found: Results, wanted: Table, format: str, seen: bool) -> str:
    from cl_bench.report.tables import costs, drops
    from cl_bench.report.tables.compact import compact, render

    width = shutil.get_terminal_size().columns if seen else 120
    colour = seen and "NO_COLOR" not in os.environ
    if format == Format.csv.value or wanted.rows_of_tasks:
        return drops.render(
            frame,
            found,
            format,
            full=wanted.full,
            columns=wanted.columns,
            sort=wanted.sort,
            width=width,
            colour=colour,
        )
    frame = drops.ordered(frame, wanted.sort)
    notes = drops.notes(frame, found) if wanted.notes else []
    if wanted.costs:
        return costs.render(frame, found, format, notes=notes, width=width)
    return render(compact(frame, found), format, width if format == "terminal" else 0, notes=notes, colour=colour)
