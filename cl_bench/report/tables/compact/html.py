"""The compact table in HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from cl_bench.report.tables.compact import words
from cl_bench.report.tables.compact.grid import BASELINE, Block, CellText, Detail, Grid, grid, groups
from cl_bench.report.tables.compact.rows import Compact
from cl_bench.report.text import breakable


def render(tables: Sequence[Compact], notes: Sequence[str]) -> str:
    """Return tables of class "compact", a paragraph of class "legend" and, where there are any, a list of notes."""
    lines = []
    for table in tables:
        detail = Detail.intervals if table.intervals else Detail.finals
        block = Block(0, len(table.tasks), totals=True, detail=detail, name=0)
        caption = f"<caption>{escape(words.title(table))}</caption>"
        lines += ['<table class="compact">', caption, *_rows(grid(table, block)), "</table>"]
    known = any(table.intervals for table in tables)
    lines.append(f'<p class="legend">{escape(" · ".join(words.legend(tables, known, bold=True)))}</p>')
    if below := [*words.remarks(tables), *notes]:
        lines += ["<ul>", *(f"<li>{escape(note)}</li>" for note in below), "</ul>"]
    return "\n".join(lines) + "\n"


def _rows(found: Grid) -> list[str]:
    heads = [
        f'<th colspan="{stop - start}" scope="colgroup">{escape(found.columns[start].group)}</th>'
        for start, stop in groups(found.columns)
    ]
    second = "".join(f'<th scope="col">{escape(column.head)}</th>' for column in found.columns)
    lines = ["<thead>", f'<tr><th rowspan="2" scope="col">strategy</th>{"".join(heads)}</tr>', f"<tr>{second}</tr>"]
    lines += ["</thead>", "<tbody>"]
    for name, cells in found.lines:
        kind = ' class="baseline"' if name == BASELINE else ""
        front = "<wbr>".join(map(escape, breakable(name)))
        lines.append(f'<tr{kind}><th scope="row">{front}</th>{"".join(map(_cell, cells))}</tr>')
    return [*lines, "</tbody>"]


def _cell(cell: CellText) -> str:
    text = f"<b>{escape(cell.text)}</b>" if cell.bold else escape(cell.text)
    sign = f' <span class="{escape(cell.state)}" title="{escape(_said(cell))}">{cell.mark}</span>' if cell.mark else ""
    return f"<td>{text}{sign}</td>"


def _said(cell: CellText) -> str:
    return cell.state + (" (uncertain)" if cell.mark.endswith("?") else "")
