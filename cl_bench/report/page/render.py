"""The report: an experiment as one self-contained HTML page; no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pandas as pd
from jinja2 import Environment, StrictUndefined

from cl_bench.errors import UserError
from cl_bench.metrics.continual import LIMIT
from cl_bench.report.page.card import SIZE, draw
from cl_bench.report.page.data import curves, gallery
from cl_bench.report.page.headline import cards, learnt_at_once, sentences
from cl_bench.report.tables.compact import compact
from cl_bench.report.tables.compact import render as render_compact
from cl_bench.report.tables.drops import DEFINITIONS, Column, known_columns, origin_notes, protocol_notes
from cl_bench.report.tables.everything import everything
from cl_bench.report.tables.layout import Bold
from cl_bench.report.text import breakable, percent
from cl_bench.results import parts
from cl_bench.results.retention import retained
from cl_bench.results.rows import Results, read_results
from cl_bench.results.summary import summary
from cl_bench.utils.files import write_whole

BIBTEX = """@software{cl_bench,
  title  = {cl\\_bench: a continual-learning benchmark harness for streams of different kinds of vision tasks},
  author = {{The cl\\_bench authors}},
  year   = {2026}
}
"""
LOOKS = {"strategy": "name", "task": "name", "drop": "drop", "verdict": "verdict"}
"""Classes of the columns that a small screen shows at once; of the others it is `detail`."""


def save_report(folder: Path, output: Path | None = None, split: str = "", card: bool = False, url: str = "") -> Path:
    """Write the page of the results in `folder` to `output` (report.html beside them where None); return its path.

    split: of which part, as in `Results.chosen`; card: write the picture that links show, too, beside the page under
    its name with .png; url: where the page will lie, as sites want the picture's whole address. The gallery needs the
    stages' pictures in the store, and is left out, with a word, where they are not. Raises UserError where there are no
    results or a file cannot be written.
    """
    if url and not card:
        raise UserError("a url gives the page's picture its whole address, and without the card there is none")
    results = read_results(folder).chosen(split)
    page = output or folder / "report.html"
    picture = page.with_suffix(".png")
    if not card:
        return write_whole(page, render(results, folder).encode())
    if picture == page:
        raise UserError(f"{page} is the name of the page's picture: a page's ends with .html")
    text = render(results, folder, urljoin(url, picture.name))
    write_whole(picture, draw(results.plan.experiment, cards(summary(results)), curves(results)))
    return write_whole(page, text.encode())


def render(results: Results, folder: Path, picture: str = "") -> str:
    """Return the page of `results`, which were loaded from `folder`; UserError where there are baselines alone.

    picture: the address of the picture that links to the page show; none where empty.
    """
    plan = results.plan
    if not plan.runs:
        raise UserError(f"{plan.experiment} has baselines alone, of which cl-bench table and plot tell all")
    table = summary(results)
    strategies = table["strategy"].drop_duplicates().tolist()
    columns = [column for column in known_columns(table) if not column.full]
    columns.insert(-1, Column("mean drop %", "average_drop", lambda row: percent(row["average_drop"])))
    short = compact(table, results)
    copies = {
        "LaTeX": render_compact(short, "latex"),
        "CSV": everything(table, results).to_csv(index=False),
        "BibTeX": BIBTEX,
    }
    data = {
        "curves": curves(results),
        "matrices": [entry._asdict() for entry in retained(results)],
        "limit": LIMIT,
        "gallery": gallery(folder, plan, strategies),
        "copies": copies,
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    own = files("cl_bench.report.page")
    return environment.from_string(own.joinpath("page.html.j2").read_text(encoding="utf-8")).render(
        name=plan.experiment,
        picture=picture,
        picture_size=SIZE,
        said=sentences(results, table),
        cards=cards(table),
        compact=render_compact(short, "html"),
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
        together=learnt_at_once(plan),
        copies=list(copies),
        has_gallery=bool(data["gallery"]),
        style=own.joinpath("page.css").read_text(encoding="utf-8"),
        script=own.joinpath("page.js").read_text(encoding="utf-8"),
    )


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
