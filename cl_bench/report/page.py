"""The report: an experiment as one self-contained HTML page; no torch."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from cl_bench.errors import UserError
from cl_bench.files import write_whole
from cl_bench.measures import LIMIT
from cl_bench.report import page_data
from cl_bench.report.retained import retained
from cl_bench.report.table import COLUMNS, DEFINITIONS, Row, origin_notes, protocol_notes
from cl_bench.results import REFERENCE, load_results, summary

CELLS = tuple(column for column in COLUMNS if not column.full)
FIELDS = (
    *("strategy", "task", "baseline", "final", "drop", "points", "same_run_drop", "verdict", "stored_images"),
    *("train_seconds", "relative_cost", "peak_memory_mb"),
)
"""What each of the cells is sorted by."""


def save_report(folder: Path, output: Path | None = None) -> Path:
    """Write the page of the results in `folder` to `output` (report.html beside them where None); return its path.

    The gallery needs the stages' pictures in the store, and is left out, with a word, where they are not. Raises
    UserError where there are no results or the file cannot be written.
    """
    return write_whole(output or folder / "report.html", render(load_results(folder)).encode())


def render(results: pd.DataFrame) -> str:
    """Return the page of `results` (see `results.load_results`); UserError where there are baselines alone."""
    plan = results.attrs["plan"]
    if not plan["runs"]:
        raise UserError(f"{plan['experiment']} has baselines alone, of which cl-bench table and plot tell all")
    table = summary(results)
    strategies = table["strategy"].drop_duplicates().tolist()
    data = {
        "curves": page_data.curves(results),
        "matrices": [entry._asdict() for entry in retained(results)],
        "limit": LIMIT,
        "gallery": page_data.gallery(plan, strategies),
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    own = files("cl_bench.report").joinpath("page")
    return environment.from_string(own.joinpath("page.html.j2").read_text(encoding="utf-8")).render(
        name=plan["experiment"],
        said=sentences(table, plan),
        several_orders=table["order"].nunique() > 1,
        headers=[column.header.replace("-\n", "-").replace("\n", " ") for column in CELLS],
        lines=_lines(table),
        notes=[*protocol_notes(plan, table.attrs["seeds"]), DEFINITIONS, *origin_notes(table.attrs)],
        settings=json.dumps(plan.get("settings", {}), indent=1),
        provenance=plan.get("provenance", {}),
        data=_embedded(data),
        has_gallery=bool(data["gallery"]),
        style=own.joinpath("page.css").read_text(encoding="utf-8"),
        script=own.joinpath("page.js").read_text(encoding="utf-8"),
    )


def sentences(table: pd.DataFrame, plan: Row) -> list[str]:
    """Return what the experiment shows, in sentences: who forgets least, who passes, and how far to trust it."""
    seeds = len(table.attrs["seeds"])
    # What is learnt in one stage forgets nothing by construction: it is a bound, not a strategy.
    runs = table[table["same_run_drop"].notna()].drop_duplicates(["strategy", "order"])
    said = []
    means = runs.groupby("strategy", sort=False)["average_drop"].mean().dropna()
    if len(means):
        best = means.idxmin()
        naive = f"; naive: {100 * means[REFERENCE]:.1f} %" if REFERENCE in means and best != REFERENCE else ""
        said.append(f"Least is lost by {best}: {100 * means.min():.1f} % on the mean of its tasks{naive}.")
    verdicts = table[table["headline"]].groupby("strategy", sort=False)["verdict"]
    passing = [
        str(strategy)
        for strategy, found in verdicts
        if strategy in means.index and found.str.startswith(("pass", "bonus")).all()
    ]
    said.append(
        f"Every task stays within the limit under {', '.join(passing)}."
        if passing
        else "No strategy keeps every task within the limit."
    )
    if void := sorted(set(table.loc[table["verdict"] == "void", "task"])):
        said.append(
            f"Nothing can be said of {', '.join(void)}: the baseline is hardly better than a trivial predictor."
        )
    if seeds == 1:
        said.append("One seed is an example, not evidence.")
    elif (table["verdict"].str.contains("uncertain")).any():
        said.append(f"With {seeds} seeds some verdicts stay uncertain, and say so.")
    if plan.get("settings", {}).get("split") == "dev":
        said.append("Scored on dev; val was not looked at.")
    return said


def _lines(table: pd.DataFrame) -> list[dict[str, Any]]:
    headline = table[table["headline"]]
    headline.attrs = {}
    lines = []
    for row in headline.to_dict("records"):
        values = (row[field] for field in FIELDS)
        cells = [
            {"text": column.cell(dict(row)), "sort": "" if isinstance(value, float) and math.isnan(value) else value}
            for column, value in zip(CELLS, values, strict=True)
        ]
        lines.append({"order": row["order"], "cells": cells, "verdict": str(row["verdict"]).partition(" ")[0]})
    return lines


def _embedded(data: dict[str, Any]) -> str:
    # "</script>" in a name must not end the element that holds the data.
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
