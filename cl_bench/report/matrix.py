"""The stage x task matrix: what is left of every task after every stage, a panel a strategy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cl_bench.measures import LIMIT
from cl_bench.report.layout import folded
from cl_bench.report.retained import Retained, retained
from cl_bench.report.style import TEXT, WIDTH, letters, sheet

_CELL = 0.38
"""Inches a side of the smallest cell."""


def matrices(results: pd.DataFrame, width: float = WIDTH) -> dict[str, Figure]:
    """Return a figure for each order of `results` (see `results.load_results`), `width` inches wide.

    A cell: the task's score after the stage in percent of its baseline, both means over seeds, rounded down;
    framed where the drop is within the limit. Runs that learn all tasks in one stage have a single row.
    """
    found = retained(results)
    orders = dict.fromkeys(entry.order for entry in found)
    return {order: _figure([entry for entry in found if entry.order == order], width) for order in orders}


def _figure(entries: Sequence[Retained], width: float) -> Figure:
    tasks, height = len(entries[0].tasks), max(len(entry.stages) for entry in entries)
    columns = max(1, min(len(entries), int((width - 0.3) / (_CELL * tasks + 0.4))))
    rows, panel = -(-len(entries) // columns), (width - 0.3) / columns
    cell = min(0.62, (panel - 0.4) / tasks)
    titles = ["\n".join(folded(entry.strategy, letters(panel - 0.1))) for entry in entries]
    figure = sheet(width, 0.3 + rows * (cell * height + 0.4 + 0.13 * max(title.count("\n") + 1 for title in titles)))
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax in panels[len(entries) :]:
        ax.set_axis_off()
    for ax, entry, title in zip(panels, entries, titles, strict=False):
        _draw(ax, entry, height)
        ax.set_title(title, fontsize=TEXT)
    figure.supxlabel(f"task: % of its baseline (framed: {100 - 100 * LIMIT:.0f} or more)", fontsize=TEXT + 1)
    figure.supylabel("after training", fontsize=TEXT + 1)
    return figure


def _draw(ax: Axes, entry: Retained, height: int) -> None:
    # One stage for all tasks ends where the last of many does.
    above = height - len(entry.stages)
    names = [""] * above + ["all" if "+" in stage else stage for stage in entry.stages]
    table = np.full((len(names), len(entry.tasks)), np.nan)
    table[above:] = np.array(entry.cells, np.float64)  # None becomes nan
    ax.imshow(table, cmap="Blues", vmin=0, vmax=1.8, aspect="equal")
    for (row, column), share in np.ndenumerate(table):
        if np.isnan(share):
            continue
        ax.text(
            column, row, f"{math.floor(100 * share + 1e-7)}", ha="center", va="center", fontsize=TEXT, color="black"
        )
        if entry.tasks[column] not in entry.void and share >= 1 - LIMIT - 1e-9:
            corner = (column - 0.46, row - 0.46)
            ax.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, edgecolor="black", linewidth=1.4))
    ax.set_xticks(range(len(entry.tasks)), entry.tasks, fontsize=TEXT)
    ax.set_yticks(range(len(names)), names, fontsize=TEXT)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
