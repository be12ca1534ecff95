"""Order sensitivity: every strategy's mean drop in every order of the tasks."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cl_bench.metrics.continual import LIMIT
from cl_bench.report.figures.style import (
    GREY,
    PASSES,
    TEXT,
    WIDTH,
    legend_below,
    letters,
    mark,
    marks,
    open_frame,
    sheet,
    within_limit,
)
from cl_bench.report.text import folded
from cl_bench.results.parts import suffix
from cl_bench.results.rows import Results
from cl_bench.results.summary import summary


def order_sensitivity(results: Results, width: float = WIDTH) -> Figure:
    """Return a figure, `width` inches wide, with a line a strategy.

    Marks: its mean drop (see `summary.summary`) in each order, and the mean over orders if all are there.
    """
    runs = summary(results).drop_duplicates(["strategy", "order"])[["strategy", "order", "average_drop"]]
    strategies, orders = runs["strategy"].drop_duplicates().tolist(), runs["order"].drop_duplicates().tolist()
    names = ["\n".join(folded(name, letters(0.3 * width))) for name in strategies]
    lines = max(2, *(name.count("\n") + 1 for name in names))
    figure = sheet(width, 0.5 + 0.16 * lines * len(names))
    ax = figure.subplots()
    average: dict[str, Any] = {"marker": "|", "markersize": 14, "color": "black"}
    for row, strategy in enumerate(strategies):
        mine = runs[runs["strategy"] == strategy]
        drops = 100 * mine["average_drop"]
        ax.hlines(row, drops.min(), drops.max(), color=GREY, linewidth=1)
        for order, drop in zip(mine["order"], drops, strict=True):
            ax.plot(drop, row, linestyle="", markersize=7, **mark(orders.index(order)))
        if 1 < drops.notna().sum() == len(orders):  # a mean over the easy orders alone would flatter
            ax.plot(drops.mean(), row, **average)
    low, high = ax.get_xlim()
    ax.axvspan(low - 100, 100 * LIMIT, **PASSES, zorder=0)
    ax.set_xlim(low, high)
    ax.set_yticks(range(len(strategies)), names, fontsize=TEXT)
    ax.set_ylim(len(strategies) - 0.5, -0.5)
    ax.set_xlabel(f"mean drop{suffix(results)}, %")
    open_frame(ax)
    means = [Line2D([], [], linestyle="", label="mean over orders", **average)] if len(orders) > 1 else []
    legend_below(figure, [*marks([order.replace(">", " > ") for order in orders]), *means, within_limit()])
    return figure
