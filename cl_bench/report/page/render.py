"""The report: an experiment as one self-contained HTML page; no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from cl_bench.errors import UserError
from cl_bench.metrics.continual import LIMIT
from cl_bench.metrics.statistics import paired
from cl_bench.report.page.data import curves, gallery
from cl_bench.report.tables.drops import DEFINITIONS, Column, known_columns, origin_notes, protocol_notes
from cl_bench.report.tables.layout import Bold
from cl_bench.report.text import breakable, percent
from cl_bench.results import parts
from cl_bench.results.comparison import finals
from cl_bench.results.plan_file import Plan
from cl_bench.results.retention import retained
from cl_bench.results.rows import REFERENCE, Results, read_results
from cl_bench.results.summary import summary, void_tasks
from cl_bench.utils.files import write_whole

LOOKS = {"strategy": "name", "task": "name", "drop": "drop", "verdict": "verdict"}
"""Classes of the columns that a small screen shows at once; of the others it is `detail`."""


def save_report(folder: Path, output: Path | None = None, split: str = "") -> Path:
    """Write the page of the results in `folder` to `output` (report.html beside them where None); return its path.

    split: of which part, as in `Results.chosen`. The gallery needs the stages' pictures in the store, and is left out,
    with a word, where they are not. Raises UserError where there are no results or the file cannot be written.
    """
    results = read_results(folder).chosen(split)
    return write_whole(output or folder / "report.html", render(results, folder).encode())


def render(results: Results, folder: Path) -> str:
    """Return the page of `results`, which were loaded from `folder`; UserError where there are baselines alone."""
    plan = results.plan
    if not plan.runs:
        raise UserError(f"{plan.experiment} has baselines alone, of which cl-bench table and plot tell all")
    table = summary(results)
    strategies = table["strategy"].drop_duplicates().tolist()
    columns = [column for column in known_columns(table) if not column.full]
    columns.insert(-1, Column("mean drop %", "average_drop", lambda row: percent(row["average_drop"])))
    data = {
        "curves": curves(results),
        "matrices": [entry._asdict() for entry in retained(results)],
        "limit": LIMIT,
        "gallery": gallery(folder, plan, strategies),
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    own = files("cl_bench.report.page")
    return environment.from_string(own.joinpath("page.html.j2").read_text(encoding="utf-8")).render(
        name=plan.experiment,
        said=sentences(results, table),
        several_orders=table["order"].nunique() > 1,
        headers=[
            {"text": column.header.replace("-\n", "-").replace("\n", " "), "look": LOOKS.get(column.field, "detail")}
            for column in columns
        ],
        lines=_lines(table, columns),
        notes=[*protocol_notes(results, results.seeds), DEFINITIONS, *origin_notes(results)],
        part=parts.suffix(results),
        tested=not results.beside_curves.empty,
        settings=json.dumps(plan.settings, indent=1),
        provenance=plan.provenance,
        data=_embedded(data),
        together=_at_once(plan),
        has_gallery=bool(data["gallery"]),
        style=own.joinpath("page.css").read_text(encoding="utf-8"),
        script=own.joinpath("page.js").read_text(encoding="utf-8"),
    )


def sentences(results: Results, table: pd.DataFrame) -> list[str]:
    """Return what the experiment shows, in sentences: who forgets least, who passes, and how far to trust it.

    table: `summary.summary` of `results`. Ranked are strategies that are done in every order; runs that learn all
    tasks in one stage are a bound and take no part, void tasks neither.
    """
    headline = table[table["headline"] & (table["verdict"] != "void")]
    means, passing, settled = {}, [], []
    for strategy, own in headline.groupby("strategy", sort=False):
        valid = own["same_run_drop"].notna() & own["average_drop"].notna() & (own["status"] == "done")
        if valid.all() and set(own["order"]) == set(table["order"]):
            means[str(strategy)] = float(own.drop_duplicates("order")["average_drop"].mean())
            if own["verdict"].str.startswith(("pass", "bonus")).all():
                passing.append(str(strategy))
            if own["verdict"].isin(["pass", "bonus"]).all():
                settled.append(str(strategy))
    said = [_least(results, means)] if means else []
    plan = results.plan
    if at_once := _at_once(plan):
        said.append(f"{', '.join(at_once)} learns all tasks at once: a bound, and not ranked.")
    lacking = headline[(headline["status"] != "done") & ~headline["strategy"].isin(at_once)]
    if unfinished := lacking["strategy"].drop_duplicates().tolist():
        said.append(f"Not finished, and not ranked: {', '.join(unfinished)}.")
    if void := sorted(set(table.loc[table["verdict"] == "void", "task"])):
        said.append(
            f"Nothing can be said of {', '.join(void)}: the baseline is hardly better than a trivial predictor."
        )
    other = "other " if void else ""
    if settled:
        said.append(f"Every {other}task stays within the limit under {', '.join(settled)}.")
    elif passing:
        said.append(f"Every {other}task stays within the limit under {', '.join(passing)}, though not for certain.")
    elif means:
        said.append(f"No {'finished ' if unfinished else ''}strategy keeps every {other}task within the limit.")
    if len(results.seeds) == 1:
        said.append("One seed is an example, not evidence.")
    elif table["verdict"].str.contains("uncertain").any():
        said.append("Some verdicts are uncertain, and say so: cl-bench power tells what would settle them.")
    return [*said, *parts.notes(results)]


def _at_once(plan: Plan) -> list[str]:
    return sorted({run.strategy for run in plan.runs if plan.is_joint(run)})


def _least(results: Results, means: dict[str, float]) -> str:
    """Return who loses least, and who may be as good."""
    best, *others = sorted(means, key=means.__getitem__)
    drops = finals(results)
    drops = drops[~drops["task"].isin(void_tasks(results))]
    by_seed = drops.pivot_table(index="seed", columns="strategy", values="drop")
    rivals = []
    for other in others:
        both = by_seed[[best, other]].dropna()
        interval = paired(both[best].tolist(), both[other].tolist()).interval if len(both) > 1 else None
        if interval is not None and interval[1] >= 0:
            rivals.append(other)
    doubt = f" (by no clear margin over {', '.join(rivals)})" if rivals else ""
    naive = f"; {REFERENCE}: {100 * means[REFERENCE]:.1f} %" if REFERENCE in others else ""
    return f"Least is lost by {best}: {100 * means[best]:.1f} % on the mean of its tasks{doubt}{naive}."


def _lines(table: pd.DataFrame, columns: Sequence[Column]) -> list[dict[str, Any]]:
    headline = table[table["headline"]]
    lines = []
    for row in headline.to_dict("records"):
        cells = [
            {
                "parts": breakable(text) if column.field == "strategy" else [text],
                "best": isinstance(text, Bold),
                "sort": _sorted_by(row[column.field]),
                "look": LOOKS.get(column.field, "detail"),
            }
            for column, text in ((column, column.cell(dict(row))) for column in columns)
        ]
        lines.append({"order": row["order"], "cells": cells, "verdict": str(row["verdict"]).partition(" ")[0]})
    return lines


def _sorted_by(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value


def _embedded(data: dict[str, Any]) -> str:
    # "</script>" in a name must not end the element that holds the data.
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
