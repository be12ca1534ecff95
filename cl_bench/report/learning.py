"""Learning curves: the score of every single-task baseline over its epochs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cl_bench.report.style import open_frame
from cl_bench.results import BASELINE


def learning_curves(results: pd.DataFrame) -> Figure:
    """Return a figure with a panel a metric and a line a task: the mean over seeds, its band lowest to highest."""
    tasks = [task for task in results.attrs["plan"]["tasks"] if (results["task"] == task["name"]).any()]
    metrics = list(dict.fromkeys(task["metrics"][0] for task in tasks))
    figure = Figure(figsize=(7.2, 0.6 + 2.4 * len(metrics)), layout="constrained")
    panels = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
    for ax, metric in zip(panels, metrics, strict=True):
        for name in (task["name"] for task in tasks if task["metrics"][0] == metric):
            mine = results[
                (results["strategy"] == BASELINE) & (results["task"] == name) & (results["metric"] == metric)
            ]
            curve = mine.groupby("epoch")["value"].agg(["mean", "min", "max"]).dropna()
            (line,) = ax.plot(curve.index, curve["mean"], marker="o", markersize=3.5, label=name)
            ax.fill_between(curve.index, curve["min"], curve["max"], color=line.get_color(), alpha=0.15, linewidth=0)
        ax.set_ylabel(metric)
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        open_frame(ax)
        ax.legend(frameon=False, fontsize=8, ncols=3)
    panels[-1].set_xlabel("epochs")
    return figure
