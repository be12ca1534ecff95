"""The compact table in a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from cl_bench.report.tables.compact import words
from cl_bench.report.tables.compact.grid import Block, CellText, Grid, groups, laid_out, names, widths
from cl_bench.report.tables.compact.rows import Compact

WIDTH = 120
_GAP = 2
_NAMES = (36, 14, 9)
_CODES = {"pass": "32", "bonus": "1;32", "fail": "31", "failed": "1;31", "void": "33"}
_MORE = "cl-bench table: --costs, --long, --full (forgetting, BWT), --notes (protocol)"


def render(tables: Sequence[Compact], width: int, notes: Sequence[str], colour: bool) -> str:
    """Return tables, legend and notes, no line wider than `width` where names allow it."""
    lines, layout = list[str](), laid_out(tables, width, _GAP, _NAMES)
    for table, blocks in zip(tables, layout.blocks, strict=True):
        lines += _wrapped([words.title(table)], width)
        for block, found in blocks:
            lines += [*_block(found, block, colour), ""]
    below = _items(words.legend(tables, layout.intervals, colour, layout.settings), width)
    below += _wrapped(words.remarks(tables), width)
    below += _wrapped(notes or [_MORE], width)
    return "\n".join([*lines, *(_styled(line, "2", colour) for line in below)])


def _block(found: Grid, block: Block, colour: bool) -> Iterator[str]:
    """Yield the lines of one block: two of headings, a rule, and the strategies."""
    lines_of_names = names(found, block)
    front = max(cell_len(line) for lines in [["strategy"], *lines_of_names] for line in lines)
    sizes, spans = widths(found), groups(found.columns)
    heads = []
    for start, stop in spans:
        across = sum(map(sum, sizes[start:stop])) + (_GAP - 1) * (stop - start - 1)
        group = found.columns[start].group
        heads.append(_centred(group, across) if stop - start > 1 else _right(group, across))
    yield (" " * front + "".join(" " * _GAP + head for head in heads)).rstrip()
    second = [CellText(column.head) for column in found.columns]
    gaps = [_GAP if any(place == start for start, _ in spans) else _GAP - 1 for place in range(len(sizes))]
    yield "strategy".ljust(front) + "".join(
        " " * gap + _right(text.text, sum(size)) for gap, text, size in zip(gaps, second, sizes, strict=True)
    )
    yield "─" * (front + sum(gaps) + sum(map(sum, sizes)))
    for (_, cells), lines in zip(found.lines, lines_of_names, strict=True):
        row = (" " * gap + _set(cell, size, colour) for gap, cell, size in zip(gaps, cells, sizes, strict=True))
        yield (_left(lines[0], front) + "".join(row)).rstrip()
        yield from lines[1:]


def _set(cell: CellText, size: tuple[int, int], colour: bool) -> str:
    text, sign = size
    mark = f" {cell.mark}" if cell.mark else ""
    if not mark and not cell.state:  # what has no sign may use its room
        return _right(cell.text, text + sign)
    shown = _styled(cell.text, "1", colour and cell.bold)
    front = " " * (text - cell_len(cell.text)) + shown
    return front + _styled(mark, _CODES.get(cell.state, ""), colour) + " " * (sign - cell_len(mark))


def _styled(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code and text else text


def _items(items: Sequence[str], width: int) -> list[str]:
    """Return items on as few lines as they need, broken between them where they fit."""
    lines: list[str] = []
    for item in items:
        if lines and cell_len(lines[-1]) + 2 + cell_len(item) <= width:
            lines[-1] += f"  {item}"
        else:
            lines.append(item)
    return _wrapped(lines, width)


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    return [
        piece
        for line in lines
        for piece in ([line] if cell_len(line) <= width else textwrap.wrap(line, max(width, 20)))
    ]


def _left(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _right(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text


def _centred(text: str, width: int) -> str:
    before = (width - cell_len(text)) // 2
    return " " * before + _left(text, width - before)
