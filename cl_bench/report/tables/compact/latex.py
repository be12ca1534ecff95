"""The compact table in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from cl_bench.report.tables.compact import words
from cl_bench.report.tables.compact.grid import (
    BASELINE,
    Detail,
    Grid,
    Part,
    Text,
    arranged,
    grid,
    groups,
    names,
    shortened,
)
from cl_bench.report.tables.compact.rows import Compact
from cl_bench.report.tables.escapes import latex, signed

WIDTH = 80
"""Characters of a table in \\footnotesize, each column with one of margin, that a line of an article has room for."""
_GAP = 1
_NAMES = (14, 11)


def render(tables: Sequence[Compact], width: int, notes: Sequence[str]) -> str:
    """Return a float a table, with booktabs, each with the legend below it; notes are a comment above."""
    lines = [r"% needs \usepackage{amssymb,booktabs}", *(f"% {line}" for note in notes for line in note.splitlines())]
    for table in tables:
        parts = arranged(table, width, _GAP, _NAMES)
        lines += [r"\begin{table}", r"\centering\footnotesize", rf"\caption{{{latex(words.title(table))}}}"]
        lines.append(r"\setlength{\tabcolsep}{3pt}")
        settings: list[str] = []
        for number, part in enumerate(parts):
            found = grid(table, part)
            settings += shortened(found, part)
            lines += [*([r"\par\medskip"] if number else []), *_part(found, part)]
        intervals = any(part.detail is Detail.intervals for part in parts)
        said = " · ".join([*words.legend([table], intervals, True, settings), *words.remarks([table])])
        lines.append(rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize {latex(said)}}}")
        lines += [r"\end{table}", ""]
    return "\n".join(lines)


def _part(found: Grid, part: Part) -> list[str]:
    spans = groups(found.columns)
    lines = [rf"\begin{{tabular}}{{l {' '.join('r' * (stop - start) for start, stop in spans)}}}", r"\toprule"]
    heads = [_head(found.columns[start].group, stop - start) for start, stop in spans]
    lines.append(" & ".join(["", *heads]) + r" \\")
    rules = [rf"\cmidrule(lr){{{start + 2}-{stop + 1}}}" for start, stop in spans if stop - start > 1]
    lines += ["".join(rules)] if rules else []
    lines += [" & ".join(["strategy", *(_times(column.head) for column in found.columns)]) + r" \\", r"\midrule"]
    for (name, cells), pieces in zip(found.lines, names(found, part), strict=True):
        shown = r"\\".join(map(latex, pieces))
        front = shown if len(pieces) == 1 else rf"\begin{{tabular}}[t]{{@{{}}l@{{}}}}{shown}\end{{tabular}}"
        lines.append(" & ".join([front, *map(_cell, cells)]) + r" \\")
        lines += [r"\midrule"] if name == BASELINE else []
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _head(text: str, columns: int) -> str:
    return rf"\multicolumn{{{columns}}}{{c}}{{{latex(text)}}}" if columns > 1 else latex(text)


def _times(head: str) -> str:
    return r"$\times$" if head == "x" else latex(head).replace(r" \%", r"\,\%")


def _cell(cell: Text) -> str:
    text = rf"\textbf{{{signed(cell.text)}}}" if cell.bold else signed(cell.text)
    return text + (f"\\textsuperscript{{{latex(cell.mark)}}}" if cell.mark else "")
