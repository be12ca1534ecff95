"""The compact table in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from cl_bench.report.tables.compact import words
from cl_bench.report.tables.compact.grid import BASELINE, Block, CellText, Grid, groups, laid_out, names
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
        layout = laid_out([table], width, _GAP, _NAMES)
        lines += [r"\begin{table}", r"\centering\footnotesize", rf"\caption{{{latex(words.title(table))}}}"]
        lines.append(r"\setlength{\tabcolsep}{3pt}")
        for number, (block, found) in enumerate(layout.blocks[0]):
            lines += [*([r"\par\medskip"] if number else []), *_block(found, block)]
        said = " · ".join([*words.legend([table], layout.intervals, True, layout.settings), *words.remarks([table])])
        lines.append(rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize {latex(said)}}}")
        lines += [r"\end{table}", ""]
    return "\n".join(lines)


def _block(found: Grid, block: Block) -> list[str]:
    spans = groups(found.columns)
    lines = [rf"\begin{{tabular}}{{l {' '.join('r' * (stop - start) for start, stop in spans)}}}", r"\toprule"]
    heads = [_head(found.columns[start].group, stop - start) for start, stop in spans]
    lines.append(" & ".join(["", *heads]) + r" \\")
    rules = [rf"\cmidrule(lr){{{start + 2}-{stop + 1}}}" for start, stop in spans if stop - start > 1]
    lines += ["".join(rules)] if rules else []
    lines += [" & ".join(["strategy", *(_times(column.head) for column in found.columns)]) + r" \\", r"\midrule"]
    for (name, cells), pieces in zip(found.lines, names(found, block), strict=True):
        shown = r"\\".join(map(latex, pieces))
        front = shown if len(pieces) == 1 else rf"\begin{{tabular}}[t]{{@{{}}l@{{}}}}{shown}\end{{tabular}}"
        lines.append(" & ".join([front, *map(_cell, cells)]) + r" \\")
        lines += [r"\midrule"] if name == BASELINE else []
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _head(text: str, columns: int) -> str:
    return rf"\multicolumn{{{columns}}}{{c}}{{{latex(text)}}}" if columns > 1 else latex(text)


def _times(head: str) -> str:
    return r"$\times$" if head == "x" else latex(head).replace(r" \%", r"\,\%")


def _cell(cell: CellText) -> str:
    text = rf"\textbf{{{signed(cell.text)}}}" if cell.bold else signed(cell.text)
    return text + (f"\\textsuperscript{{{latex(cell.mark)}}}" if cell.mark else "")
