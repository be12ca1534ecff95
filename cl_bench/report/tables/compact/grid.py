"""The compact table as columns and lines of text, and which of them a width has room for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from rich.cells import cell_len

from cl_bench.report.tables.compact import words
from cl_bench.report.tables.compact.rows import Cell, Compact, Row, Task
from cl_bench.report.text import folded, number, percent


class Detail(IntEnum):
    """What is told of a task beside its drop and mark."""

    drops = 0
    finals = 1
    intervals = 2


@dataclass(frozen=True)
class Block:
    """Columns that stand beside each other: tasks from `start` up to `stop`; totals: mean, worst and cost, too.

    name: characters of a strategy's name on a line.
    """

    start: int
    stop: int
    totals: bool
    detail: Detail
    name: int


class Column(NamedTuple):
    """group: what stands above it and its neighbours of the same task; head: above it; alone: where no group is."""

    group: str
    head: str
    alone: str


class CellText(NamedTuple):
    """A cell's text, the sign behind it, and the state that the sign tells of."""

    text: str
    mark: str = ""
    state: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Grid:
    """columns: without that of names; lines: name and cells, the baseline's first where it has any."""

    columns: Sequence[Column]
    lines: Sequence[tuple[str, Sequence[CellText]]]


BASELINE = "baseline"


def grid(table: Compact, block: Block) -> Grid:
    """Return what stands in a block of a table."""
    shown = slice(block.start, block.stop)
    columns = [column for task in table.tasks[shown] for column in _columns(task, block.detail)]
    lines = [
        (
            row.strategy + (" †" if row.mixed else ""),
            [text for c in row.cells[shown] for text in _texts(c, block.detail)],
        )
        for row in table.rows
    ]
    if block.detail > Detail.drops and columns:
        scores = [text for task in table.tasks[shown] for text in (CellText(words.score(task.baseline)), CellText(""))]
        lines.insert(0, (BASELINE, scores))
    if block.totals:
        totals = _totals(table)
        columns += [column for column, _ in totals]
        rows: list[Row | None] = [None] * (len(lines) - len(table.rows)) + list(table.rows)
        for (_, cells), row in zip(lines, rows, strict=True):
            cells += [CellText(of(row) if row else "") for _, of in totals]
    return Grid(columns, lines)


def _columns(task: Task, detail: Detail) -> list[Column]:
    head = "drop % [95 %]" if detail is Detail.intervals else "drop %"
    group = f"{task.name} ({task.metric})"
    drop = Column(group, head, f"{head} ↓" if detail else f"{task.name} {head} ↓")
    return [Column(group, "final", f"{task.name} {task.metric} ↑"), drop] if detail else [drop]


def _texts(cell: Cell | None, detail: Detail) -> list[CellText]:
    if cell is None:
        return [CellText("")] * (2 if detail else 1)
    drop = CellText(words.drop(cell, detail is Detail.intervals), words.mark(cell), cell.state, cell.leading)
    return [CellText(words.score(cell.final)), drop] if detail else [drop]


def _totals(table: Compact) -> list[tuple[Column, Callable[[Row], str]]]:
    def worst(row: Row) -> str:
        drop, task = table.worst(row)
        return f"{percent(drop)} {task}".strip()

    found: list[tuple[Column, Callable[[Row], str]]] = []
    if len(table.tasks) > 1:
        found.append((Column("mean", "drop", "mean drop % ↓"), lambda row: percent(row.mean)))
        found.append((Column("worst", "drop", "worst drop % ↓"), worst))
    if table.cost:
        found.append((Column(table.cost, "x", f"{table.cost} x naive"), lambda row: number(row.cost, 2)))
    return found


def names(grid: Grid, block: Block) -> list[list[str]]:
    """Return the lines of every name; a long one is without its settings, and with a star, where it stays distinct."""
    short = shortened(grid, block)
    shown = [f"{_bare(name)}*" if name in short else name for name, _ in grid.lines]
    return [folded(name, block.name) if cell_len(name) > block.name else [name] for name in shown]


def shortened(grid: Grid, block: Block) -> list[str]:
    """Return the names that stand in a block without their settings."""
    bare = Counter(_bare(name) for name, _ in grid.lines)
    long = (name for name, _ in grid.lines if cell_len(name) > block.name)
    return [name for name in long if _bare(name) != name and bare[_bare(name)] == 1]


def _bare(name: str) -> str:
    return re.sub(r"\[[^\[\]]*\]", "", name)


def widths(found: Grid) -> list[tuple[int, int]]:
    """Return the width of every column: of its text, and of the signs behind it with the space before them."""
    sizes = []
    for place, column in enumerate(found.columns):
        cells = [line[place] for _, line in found.lines]
        sign = max((1 + cell_len(cell.mark) for cell in cells if cell.mark), default=0)
        text = max([cell_len(cell.text) for cell in cells] + [cell_len(column.head) - sign])
        sizes.append((text, sign))
    for start, stop in groups(found.columns):
        spare = cell_len(found.columns[start].group) - sum(map(sum, sizes[start:stop])) - (stop - start - 1)
        sizes[stop - 1] = (sizes[stop - 1][0] + max(spare, 0), sizes[stop - 1][1])
    return sizes


def groups(columns: Sequence[Column]) -> list[tuple[int, int]]:
    """Return where each group of columns starts and stops."""
    starts = [place for place, one in enumerate(columns) if not place or one.group != columns[place - 1].group]
    return list(zip(starts, [*starts[1:], len(columns)], strict=True))


def width_of(table: Compact, block: Block, gap: int) -> int:
    """Return how wide a block is; gap: characters between groups, and one less inside of them."""
    found = grid(table, block)
    name = max(cell_len(line) for lines in [["strategy"], *names(found, block)] for line in lines)
    between = sum(gap + (gap - 1) * (stop - start - 1) for start, stop in groups(found.columns))
    return name + between + sum(map(sum, widths(found)))


class Layout(NamedTuple):
    """Tables as a width has room for them.

    blocks: of each table those that stand below each other; settings: the names that stand there without theirs;
    intervals: whether any block has them.
    """

    blocks: list[list[tuple[Block, Grid]]]
    settings: list[str]
    intervals: bool


def laid_out(tables: Sequence[Compact], width: int, gap: int, name_widths: Sequence[int]) -> Layout:
    """Return the blocks of every table; width, gap, name_widths: as `arranged` takes them."""
    blocks = [[(block, grid(table, block)) for block in arranged(table, width, gap, name_widths)] for table in tables]
    flat = [pair for of_table in blocks for pair in of_table]
    settings = [name for block, found in flat for name in shortened(found, block)]
    return Layout(blocks, settings, any(block.detail is Detail.intervals for block, _ in flat))


def arranged(table: Compact, width: int, gap: int, name_widths: Sequence[int]) -> list[Block]:
    """Return the blocks, below each other, in which a table fits: as few as there can be, with all that has room.

    Intervals go first, then scores; then tasks stand below each other. name_widths: lengths on a line that a
    strategy's name may have, the best one first. What fits in no way is as narrow as it can be.
    """
    count = len(table.tasks)
    details = list(Detail) if table.intervals else [Detail.drops, Detail.finals]
    for rows, apart in [*((rows, False) for rows in range(1, count + 1)), (count, True)]:
        for detail in reversed(details):
            for name in name_widths:
                blocks = _split(count, rows, detail, name, apart)
                if all(width_of(table, block, gap) <= width for block in blocks):
                    return blocks
    return blocks


def _split(count: int, rows: int, detail: Detail, name: int, apart: bool) -> list[Block]:
    """Return the blocks of so many rows of tasks; apart: the totals are a block of their own."""
    most = -(-count // rows)
    bounds = [(start, min(start + most, count)) for start in range(0, count, most)]
    blocks = [Block(*bound, bound[1] == count and not apart, detail, name) for bound in bounds]
    return [*blocks, Block(count, count, True, detail, name)] if apart else blocks
