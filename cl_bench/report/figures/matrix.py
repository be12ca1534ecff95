"""The stage x task matrix: what is left of every task after every stage, a panel a strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cl_bench.metrics.continual import LIMIT
from cl_bench.report.figures.style import TEXT, WIDTH, inches, letters, sheet
from cl_bench.report.text import folded
from cl_bench.results.parts import suffix
from cl_bench.results.retention import Retained, retained
from cl_bench.results.rows import Results

_CELL, _LARGEST = 0.38, 0.5
"""Inches a side of a cell: what panels side by side leave it at least, and what it is at most."""
_DARK = 1.35
"""The share from which a cell is so dark that its number is white."""
_NAME = 12
"""Letters of a task's name on a line."""


def matrices(results: Results, width: float = WIDTH) -> dict[str, Figure]:
    """Return a figure for each order of `results` (see `rows.read_results`), `width` inches wide.

    A cell: the task's score after the stage in percent of its baseline, both means over seeds, rounded down;
    framed where the drop is within the limit. Runs that learn all tasks in one stage have a single row.
    """
    found, part = retained(results), suffix(results).strip(" ()")
    orders = dict.fromkeys(entry.order for entry in found)
    return {order: _figure([entry for entry in found if entry.order == order], part, width) for order in orders}


def _figure(entries: Sequence[Retained], part: str, width: float) -> Figure:
    tasks, height = len(entries[0].tasks), max(len(entry.stages) for entry in entries)
    names = {task: "\n".join(folded(task, _NAME)) for task in entries[0].tasks}
    longest = max(len(line) for name in names.values() for line in name.split("\n"))
    beside, around = inches(longest) + 0.2, 0.35  # stages' names left of a panel, and the figure's own label
    columns = max(1, min(len(entries), int((width - around) / (_CELL * tasks + beside))))
    cell = min(_LARGEST, ((width - around) / columns - beside) / tasks)
    titles = ["\n".join(folded(entry.strategy, max(8, letters(0.9 * cell * tasks)))) for entry in entries]
    upright = inches(longest) > cell
    below = inches(longest) if upright else 0.13 * max(name.count("\n") + 1 for name in names.values())
    above = 0.13 * max(title.count("\n") + 1 for title in titles)
    rows = -(-len(entries) // columns)
    figure = sheet(width, around + rows * (cell * height + below + above + 0.2))
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax in panels[len(entries) :]:
        ax.set_axis_off()
    for ax, entry, title in zip(panels, entries, titles, strict=False):
        _draw(ax, entry, height, names)
        ax.tick_params(axis="x", labelrotation=90 if upright else 0)
        ax.set_title(title, fontsize=TEXT)
    share = f"% of its {part} baseline" if part else "task: % of its baseline"
    figure.supxlabel(f"{share} (framed: {100 - 100 * LIMIT:.0f} or more)", fontsize=TEXT + 1)
    figure.supylabel("after training", fontsize=TEXT + 1)
    return figure


def _draw(ax: Axes, entry: Retained, height: int, names: Mapping[str, str]) -> None:
    # One stage for all tasks ends where the last of many does.
    above = height - len(entry.stages)
    stages = [""] * above + [names.get(stage, "all") for stage in entry.stages]
    table = np.full((height, len(entry.tasks)), np.nan)
    table[above:] = np.array(entry.cells, np.float64)  # None becomes nan
    ax.imshow(table, cmap="Blues", vmin=0, vmax=1.8, aspect="equal")
    for (row, column), share in np.ndenumerate(table):
        if np.isnan(share):
            continue
        look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": TEXT}
        ax.text(column, row, f"{math.floor(100 * share + 1e-7)}", color="white" if share > _DARK else "black", **look)
        if entry.tasks[column] not in entry.void and share >= 1 - LIMIT - 1e-9:
            corner = (column - 0.46, row - 0.46)
            ax.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, edgecolor="black", linewidth=1.4))
    ax.set_xticks(range(len(entry.tasks)), [names[task] for task in entry.tasks], fontsize=TEXT)
    ax.set_yticks(range(height), stages, fontsize=TEXT)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
