"""Order sensitivity: every strategy's mean drop in every order of the tasks."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from cl_bench.measures import LIMIT
from cl_bench.report.style import GREY, mark, open_frame


def order_sensitivity(summary: pd.DataFrame) -> Figure:
    """Return a figure with a line a strategy: its mean drop (see `summaries.summary`) in each order, and their mean."""
    runs = summary.drop_duplicates(["strategy", "order"])[["strategy", "order", "average_drop"]]
    strategies, orders = runs["strategy"].drop_duplicates().tolist(), runs["order"].drop_duplicates().tolist()
    figure = Figure(figsize=(7.2, 1.3 + 0.42 * len(strategies)), layout="constrained")
    ax = figure.subplots()
    for row, strategy in enumerate(strategies):
        mine = runs[runs["strategy"] == strategy]
        drops = 100 * mine["average_drop"]
        ax.hlines(row, drops.min(), drops.max(), color=GREY, linewidth=1)
        for order, drop in zip(mine["order"], drops, strict=True):
            place = orders.index(order)
            ax.plot(
                drop,
                row,
                linestyle="",
                markersize=7,
                label=order.replace(">", " > ") if not row else None,
                **mark(place),
            )
        if drops.notna().sum() == len(orders):  # a mean over the easy orders alone would flatter
            ax.plot(drops.mean(), row, marker="|", markersize=16, color="black")
    low, high = ax.get_xlim()
    ax.axvspan(low - 100, 100 * LIMIT, color="black", alpha=0.08, linewidth=0, zorder=0)
    ax.set_xlim(low, high)
    ax.set_yticks(range(len(strategies)), strategies, fontsize=9)
    ax.set_ylim(len(strategies) - 0.5, -0.5)
    ax.set_xlabel("mean drop, % (|: mean over orders; shaded: within the limit)", fontsize=9)
    open_frame(ax)
    figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=3)
    return figure
