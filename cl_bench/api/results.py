"""Results as Python code has them: a data frame of all evaluations that knows its tables and figures; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from cl_bench.api.arguments import check
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.results import rows
from cl_bench.results.rows import REFERENCE
from cl_bench.utils.parsing import split_choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cl_bench.results.plan_file import Plan


class Printed(str):
    """A text that a prompt shows as it reads."""

    def __repr__(self) -> str:
        return str(self)


class Results(pd.DataFrame):
    """An experiment's results: one row an evaluation, and what is made of them.

    ::

        results = cl_bench.load_results("quickstart")
        results.table()                     # drops and verdicts; .table("latex") for a paper
        results.curves()                    # a matplotlib figure
        results.compare(against="naive")    # a data frame of differences
        results[results["last"]]            # the rows themselves: all that a pandas data frame can

    Columns as in `load_results`. Whatever pandas makes of it, a selection or a copy, is a plain data frame.
    """

    _metadata: ClassVar[list[str]] = ["_found"]  # what pandas keeps beside columns

    def __init__(self, found: rows.Results) -> None:
        super().__init__(found.rows)  # type: ignore[call-arg] # the stubs have it in __new__
        self._found = found

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __dir__(self) -> list[str]:
        # The hundreds of names that pandas has would hide the ten that are ours; `.rows` has them.
        return sorted(name for name in vars(Results) if not name.startswith("_"))

    @property
    def rows(self) -> pd.DataFrame:
        """Every evaluation, as a plain data frame; columns as in `load_results`."""
        return self._found.rows

    @property
    def plan(self) -> Plan:
        """What was planned: tasks, runs, stages, settings and provenance."""
        return self._found.plan

    @property
    def failures(self) -> Mapping[str, str]:
        """Why stages are not there, by their keys; empty where all went well."""
        return self._found.failures

    @property
    def folder(self) -> Path:
        """Where the results lie."""
        return self._found.folder

    def summary(self, split: str = "") -> pd.DataFrame:
        """Return the table's numbers: a row a strategy, order, task and metric, with `drop`, `verdict` and costs.

        split: "test" or "val"; empty: the part that verdicts are of. Of baselines alone: their scores over seeds.
        Example: `results.summary().set_index(["strategy", "task"])["drop"]`.
        """
        check(split=split)
        from cl_bench.results import summary

        found = self._found.chosen(split)
        return summary.summary(found) if found.plan.runs else summary.baselines(found)

    def table(
        self,
        format: str = "terminal",
        split: str = "",
        *,
        width: int = 0,
        columns: str | Sequence[str] = (),
        full: bool = False,
        long: bool = False,
        sort: str = "",
        notes: bool = False,
    ) -> str:
        """Return the comparison table as text: a row a strategy, with its drops against the single-task baselines.

        format: "terminal", "markdown" ("md"), "latex" ("tex"), "html", "csv" or "json" (raw numbers); split: as in
        `summary`; width: in characters, the format's usual one where 0; long: a row a strategy and task, of these
        columns alone where `columns` names some (a list, or "drop,verdict"), with forgetting and backward transfer
        where `full`; sort: strategies by their mean in this column; notes: protocol, definitions and machine below it,
        which the long table always has. Of baselines alone, their scores. Raises UserError for another format or
        column. Example: `print(results.table("markdown"))`.
        """
        check(format=format, split=split, width=width, columns=columns, sort=sort)
        from cl_bench.cli.tables import Format, as_json, format_of, whole
        from cl_bench.report.tables import baselines, strategies

        found, frame, shown = self._found.chosen(split), self.summary(split), format_of(format)
        _refuse(shown.value, bool(found.plan.runs), long or full, bool(columns or sort))
        if shown is Format.json:
            return Printed(as_json(whole(frame, found, of_drops=bool(found.plan.runs))))
        if not found.plan.runs:
            return Printed(baselines.render(frame, found, shown.value))
        columns = split_choice(columns, "columns") if isinstance(columns, str) else columns
        shape: Any = {"long": long, "full": full, "columns": columns, "sort": sort, "notes": notes, "width": width}
        return Printed(strategies.render(frame, found, shown.value, **shape))

    def curves(self, order: str = "", split: str = "", width: float = 7.2) -> Figure:
        """Return the forgetting curves of an order of tasks as a matplotlib figure, a panel a task.

        order: "seg>det>cls" or "seg-det-cls", the first where empty; split: "test" or "val"; width: in inches, 3 to 40.
        Of baselines alone, their learning curves. Example: `results.curves(width=3.4).savefig("curves.pdf")`.
        """
        return self.figure("curves", order, split, width)

    def figure(self, what: str, order: str = "", split: str = "", width: float = 7.2) -> Figure:
        """Return a figure of an order of tasks as matplotlib has it.

        what: "curves", "matrix" (what is left after each stage), "tradeoffs" (drop against cost, memory and
        plasticity), "classes" (drops by class) or "orders" (drops by order); the others as in `curves`. Raises
        UserError for another figure or order, and where there is nothing to draw. Example: `results.figure("matrix")`.
        """
        check(what=what, order=order, split=split, width=width)
        from cl_bench.report.figures.draw import figures

        found = self._found.chosen(split)
        if order:
            known = {spelling: run.stream for run in found.plan.runs for spelling in (run.stream, "-".join(run.order))}
            if order not in known:
                raise unknown_name_error("order", order, set(known.values()))
            found = found.select(orders=[known[order]])
        return next(iter(figures(found, what, width).values()))

    def compare(  # type: ignore[override] # pandas' own, and a name for more
        self, against: Any = REFERENCE, split: str = "", **options: Any
    ) -> pd.DataFrame:
        """Return how much more or less than the strategy `against` the others forget, paired by seed.

        A row a strategy, order and task: `difference` of the drops (negative: less is forgotten) with its 95 % interval
        `low`, `high`, and `p`; see `cl_bench.results.comparison.differences`. Raises UserError where there is nothing
        to compare. split: as in `summary`. A data frame as `against` is compared as pandas does, with its options.
        Example: `results.compare(against="kd")`.
        """
        if isinstance(against, pd.DataFrame):
            return self.rows.compare(against.rows if isinstance(against, Results) else against, **options)
        check(against=against, split=split)
        from cl_bench.results.comparison import differences

        if options:
            raise TypeError(f"compare got an unexpected keyword argument {min(options)!r}")
        return differences(self._found.chosen(split), against)

    def report(self, output: str | Path | None = None, split: str = "", *, card: bool = False, url: str = "") -> Path:
        """Write the results as one self-contained HTML page, and return its path.

        output: a file, `report.html` in the results' folder where None; split: as in `summary`; card: write a PNG
        beside it, too, which links to the page show; url: where the page will lie, as sites want the whole address of
        the PNG. Raises UserError where it cannot be written. Example:
        `webbrowser.open(results.report().resolve().as_uri())`.
        """
        check(output=output, split=split, card=card, url=url)
        from cl_bench.report.page.render import save_report

        return save_report(self.folder, None if output is None else Path(output), split, card, url)

    def _repr_html_(self) -> str:
        return self.table("html")


def _refuse(format: str, of_drops: bool, long: bool, chosen: bool) -> None:
    """Raise UserError where a table has no use for what was asked."""
    if format == "parquet":
        raise UserError("a Parquet file is no text: results.summary().to_parquet(FILE) writes one")
    if chosen and (not of_drops or format in ("csv", "json")):
        raise UserError("columns and sort are for the table of drops, as terminal, markdown, latex or html")
    if long and not of_drops:
        raise UserError("long and full are for the table of drops")


def load_results(path: str | Path) -> Results:
    """Return the results of an experiment: a data frame of every evaluation, with table, curves and report.

    path: an experiment's folder of results, or its name where `results/` (`CL_BENCH_RESULTS`) has it.
    Example: `cl_bench.load_results("quickstart").table()`.

    Columns: `experiment`, `strategy` ("baseline" for single-task runs), `order` ("seg>det>cls"), `seed`; `position`:
    the stage's place in its run, from 0; `stage`: its key; `trained`: its tasks, joined by "+"; `epoch`: from 1 in the
    stage; `step`: epochs since the run began; `last`: whether the epoch ends its stage; `task`, `kind`, `metric`,
    `value` (0..1); `split`: the part that was scored, "val" (or a dev part) or, at the ends of stages, "test";
    `status`: "done" or, where a value is not there (nan), "failed", "missing" or "unscored". Raises UserError where
    there are no results, torn ones, or ones of a newer version.
    """
    check(path=path)
    return Results(rows.read_results(path))
