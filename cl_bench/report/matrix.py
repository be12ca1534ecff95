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
from cl_bench.report.retained import Retained, retained

_COLUMNS = 4
"""Panels side by side."""


def matrices(results: pd.DataFrame) -> dict[str, Figure]:
    """Return a figure for each order of `results` (see `results.load_results`).

    A cell: the task's score after the stage in percent of its baseline, both means over seeds, rounded down;
    framed where the drop is within the limit. Runs that learn all tasks in one stage have a single row.
    """
    found = retained(results)
    orders = dict.fromkeys(entry.order for entry in found)
    return {order: _figure([entry for entry in found if entry.order == order]) for order in orders}


def _figure(entries: Sequence[Retained]) -> Figure:
    rows, columns, side = -(-len(entries) // _COLUMNS), min(len(entries), _COLUMNS), 0.62 * len(entries[0].tasks)
    height = max(len(entry.stages) for entry in entries)
    inches = (0.6 + columns * (side + 0.5), 0.3 + rows * (0.62 * height + 0.55))
    figure = Figure(figsize=inches, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax in panels[len(entries) :]:
        ax.set_axis_off()
    for ax, entry in zip(panels, entries, strict=False):
        _draw(ax, entry, height)
        ax.set_title(entry.strategy, fontsize=9)
    figure.supxlabel("task: % of its baseline", fontsize=9)
    figure.supylabel("after training", fontsize=9)
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
        ax.text(column, row, f"{math.floor(100 * share + 1e-7)}", ha="center", va="center", fontsize=8, color="black")
        if entry.tasks[column] not in entry.void and share >= 1 - LIMIT - 1e-9:
            corner = (column - 0.46, row - 0.46)
            ax.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, edgecolor="black", linewidth=1.4))
    ax.set_xticks(range(len(entry.tasks)), entry.tasks, fontsize=8)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
