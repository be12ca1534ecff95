"""The compact table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from cl_bench.report.tables.compact import words
from cl_bench.report.tables.compact.grid import BASELINE, Block, CellText, Grid, laid_out, names
from cl_bench.report.tables.compact.rows import Compact
from cl_bench.report.tables.escapes import markdown, markdown_cell

WIDTH = 104
"""Characters of a table, each column with three of margin, that GitHub's 830 pixels show."""
_GAP = 3
_NAMES = (24, 16)


def render(tables: Sequence[Compact], width: int, notes: Sequence[str]) -> str:
    """Return tables, legend and notes; a long name has lines of its own."""
    lines, layout = list[str](), laid_out(tables, width, _GAP, _NAMES)
    for table, blocks in zip(tables, layout.blocks, strict=True):
        lines += [f"**{markdown(words.title(table))}**", ""]
        for block, found in blocks:
            lines += [*_block(found, block), ""]
    legend = words.legend(tables, layout.intervals, bold=True, settings=layout.settings)
    lines += [markdown(" · ".join(legend)), ""]
    if below := [*words.remarks(tables), *notes]:
        lines += [*(f"- {markdown(note)}" for note in below), ""]
    return "\n".join(lines)


def _block(found: Grid, block: Block) -> list[str]:
    lines = [_piped(["strategy", *(column.alone for column in found.columns)])]
    lines.append(_piped([":--", *("--:" for _ in found.columns)]))
    for (name, cells), pieces in zip(found.lines, names(found, block), strict=True):
        shown = "<br>".join(map(markdown_cell, pieces))
        lines.append(_piped([f"*{BASELINE}*" if name == BASELINE else shown, *map(_cell, cells)]))
    return lines


def _cell(cell: CellText) -> str:
    text = markdown_cell(cell.text)
    return " ".join(filter(None, [f"**{text}**" if cell.bold else text, markdown_cell(cell.mark)]))


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
