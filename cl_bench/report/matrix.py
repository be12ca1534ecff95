"""The stage x task matrix: what is left of every task after every stage, a panel a strategy."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cl_bench.measures import LIMIT
from cl_bench.results import BASELINE

_COLUMNS = 4
"""Panels side by side."""


def matrices(results: pd.DataFrame) -> dict[str, Figure]:
    """Return a figure for each order of `results` (see `results.load_results`).

    A cell: the task's score after the stage in percent of its baseline, both means over seeds; framed where the drop is
    within the limit. Runs that learn all tasks in one stage have a single row.
    """
    headline = {task["name"]: task["metrics"][0] for task in results.attrs["plan"]["tasks"]}
    ends = results[results["last"] & (results["metric"] == results["task"].map(headline))]
    ends.attrs = {}
    single = ends["strategy"] == BASELINE
    baselines = ends[single].groupby("task")["value"].mean()
    return {str(order): _figure(part, baselines) for order, part in ends[~single].groupby("order", sort=False)}


def _figure(ends: pd.DataFrame, baselines: Any) -> Figure:
    tasks, strategies = ends["order"].iloc[0].split(">"), list(dict.fromkeys(ends["strategy"]))
    rows, side = -(-len(strategies) // _COLUMNS), 0.62 * len(tasks)
    size = (0.6 + min(len(strategies), _COLUMNS) * (side + 0.5), 0.3 + rows * (side + 0.55))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, min(len(strategies), _COLUMNS), squeeze=False).flatten()
    for ax, strategy in zip(panels, strategies, strict=False):
        _draw(ax, ends[ends["strategy"] == strategy], tasks, baselines)
        ax.set_title(strategy, fontsize=9)
    for ax in panels[len(strategies) :]:
        ax.set_axis_off()
    figure.supxlabel("task: % of its baseline", fontsize=9)
    figure.supylabel("after training", fontsize=9)
    return figure


def _draw(ax: Axes, ends: pd.DataFrame, tasks: list[str], baselines: Any) -> None:
    means = ends.groupby(["position", "task"])["value"].mean()
    stages = ends.sort_values("position").drop_duplicates("position")["trained"].tolist()
    names = ["all" if "+" in stage else stage for stage in stages]
    names = [""] * (len(tasks) - len(names)) + names  # one stage for all ends where the last of many does
    table = [
        [means.get((position, task), math.nan) / baselines.get(task, math.nan) for task in tasks]
        for position in range(len(stages) - len(names), len(stages))
    ]
    ax.imshow(table, cmap="Blues", vmin=0, vmax=1.8, aspect="equal")
    for row, line in enumerate(table):
        for column, share in enumerate(line):
            if math.isnan(share):
                continue
            ax.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color="black")
            if share >= 1 - LIMIT - 1e-9:
                corner = (column - 0.46, row - 0.46)
                ax.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, edgecolor="black", linewidth=1.4))
    ax.set_xticks(range(len(tasks)), tasks, fontsize=8)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
