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
from typing import TYPE_CHECKING, Annotated, NamedTuple

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


class Output(NamedTuple):
    """How a table is printed, and the file it is written to (None: to the terminal); notes: of drops or costs, with
    protocol, definitions and machine below."""

    format: Format = Format.terminal
    path: Path | None = None
    notes: bool = False


def output_of(format: Format | None, path: Path | None) -> Output:
    """Return how and where a table is written; the format is that of the file's name where none is given.

    Raises UserError for a name whose ending is that of no format.
    """
    ending = path.suffix[1:] if path else ""
    return Output(format or (format_of(ending) if ending else Format.terminal), path)


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


@dataclass(frozen=True)
class Table:
    """Which table is wanted, and of what; empty: everything.

    long: a row a strategy and task; full: that with all measures; costs: those of strategies alone; over_orders: means
    over all orders; against: the differences from this strategy; filters: as in `filters.filtered`; columns, sort:
    fields of `summary.summary`; split: as in `Results.chosen`.
    """

    long: bool = False
    full: bool = False
    costs: bool = False
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


def print_table(folder: Path, wanted: Table, outputs: Sequence[Output] = (Output(),)) -> None:
    """Print a table, or write it to files, once for each output; of the baselines where nothing else was run."""
    from cl_bench.config.orders import parse_orders
    from cl_bench.results.rows import read_results

    found = read_results(folder).chosen(wanted.split)
    if found.plan.runs:
        names = [task.name for task in found.plan.tasks]
        orders = parse_orders(wanted.orders, names) if wanted.orders else ()
        strategies = wanted.strategies
        if strategies and wanted.against:
            strategies += (wanted.against,)
        found = found.select(strategies, [">".join(order) for order in orders], wanted.seeds)
    elif wanted.strategies or wanted.orders:
        raise UserError("--strategies and --orders choose among runs, and there are baselines alone")
    elif wanted.seeds:
        found = found.select(seeds=wanted.seeds)
    runs = bool(found.plan.runs)
    if (wanted.over_orders or wanted.against) and (wanted.baselines or not runs):
        raise UserError("--over-orders and --against compare strategies, and are not for baselines alone")
    of_drops = runs and not (wanted.baselines or wanted.against or wanted.over_orders)
    if any(to.notes for to in outputs) and (wanted.against or wanted.over_orders):
        raise UserError("--notes is for the tables of drops, costs and baselines")
    _refuse_what_is_not_for(wanted, of_drops, any(to.format in _RAW for to in outputs))
    frame = _frame(found, wanted)
    shown = whole(frame, found, of_drops)
    for to in outputs:
        emit(shown, partial(_text, frame, found, wanted, to), to)


def _refuse_what_is_not_for(wanted: Table, of_drops: bool, raw: bool) -> None:
    """Raise UserError for an option that the kind of table, or its format, has no use for."""
    if wanted.filters and not of_drops:
        raise UserError("--filter is for the table of drops")
    for option in ("long", "full", "costs"):
        if getattr(wanted, option) and not of_drops:
            raise UserError(f"--{option} is for the table of drops")
    if wanted.costs and wanted.rows_of_tasks:
        raise UserError("--costs has a row a strategy, and goes with none of --long, --full, --columns and --filter")
    if (wanted.columns or wanted.sort) and (not of_drops or raw):
        raise UserError("--columns and --sort are for the table of drops in the terminal, in Markdown, LaTeX or HTML")


def emit(frame: pd.DataFrame, text: Callable[[], str], to: Output) -> None:
    """Print `text`, or write it to a file and print its path; of Parquet and JSON the content is `frame`."""
    if to.format is Format.json:
        text = partial(as_json, frame)
    if to.format is Format.parquet:
        if to.path is None:
            raise UserError("a Parquet file is not for the terminal: name one with --output")
        typer.echo(write_whole(to.path, frame.to_parquet(index=False)))
    elif to.path is None:
        typer.echo(readable(text(), sys.stdout))
    else:
        typer.echo(write_whole(to.path, (text() + "\n").encode()))


def whole(frame: pd.DataFrame, found: Results, of_drops: bool) -> pd.DataFrame:
    """Return a table's numbers as JSON and Parquet have them; of_drops: whether it is that of the drops."""
    from cl_bench.report.tables.everything import everything
    from cl_bench.results.parts import with_split

    return everything(frame, found) if of_drops else with_split(frame, found)


def as_json(frame: pd.DataFrame) -> str:
    """Return a table's numbers as JSON, an object a row."""
    return str(frame.to_json(orient="records", indent=1))


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


def _text(frame: pd.DataFrame, found: Results, wanted: Table, to: Output) -> str:
    """Return the table as text; on a terminal it may have its width and colours."""
    from cl_bench.report.tables import baselines, costs, differences, drops, over_orders, strategies

    format, seen = to.format.value, to.path is None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if seen and to.format is Format.terminal else 0
    if wanted.baselines or not found.plan.runs:
        return baselines.render(frame, found, format)
    if wanted.over_orders:
        return over_orders.render(frame, found, format)
    if wanted.against:
        return differences.render(frame, found, wanted.against, format)
    if wanted.costs and to.format is not Format.csv:
        below = drops.notes(frame, found) if to.notes else []
        return costs.render(drops.ordered(frame, wanted.sort), found, format, notes=below, width=width or 120)
    return strategies.render(
        frame,
        found,
        format,
        long=wanted.rows_of_tasks,
        full=wanted.full,
        columns=wanted.columns,
        sort=wanted.sort,
        notes=to.notes,
        width=width,
        colour=seen and "NO_COLOR" not in os.environ,
    )
