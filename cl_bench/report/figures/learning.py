"""Learning curves: the score of every single-task baseline over its epochs."""

from __future__ import annotations

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cl_bench.report.figures.style import GREY, WIDTH, diamonds, legend_below, mark, open_frame, sheet
from cl_bench.results.rows import BASELINE, Results


def learning_curves(results: Results, width: float = WIDTH) -> Figure:
    """Return a figure, `width` inches wide, with a panel a metric, a line a task.

    Lines: means over seeds, with a band from the lowest to the highest. They are of val; where the verdict is of the
    test part, hollow diamonds at their ends are the scores on it.
    """
    scored, curves = results.beside_curves, results.curves
    tasks = [task for task in results.plan.tasks if (curves["task"] == task.name).any()]
    metrics = list(dict.fromkeys(task.headline for task in tasks))
    figure = sheet(width, 0.4 + (1.3 + 0.11 * width) * len(metrics))
    panels = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
    lines: dict[str, Artist] = {}
    for ax, metric in zip(panels, metrics, strict=True):
        for place, task in enumerate(tasks):
            if task.headline != metric:
                continue
            name, look = task.name, mark(place)
            mine, tested = (
                rows[(rows["strategy"] == BASELINE) & (rows["task"] == name) & (rows["metric"] == metric)]
                for rows in (curves, scored)
            )
            curve = mine.groupby("epoch")["value"].agg(["mean", "min", "max"]).dropna()
            (lines[name],) = ax.plot(curve.index, curve["mean"], markersize=3.5, label=name, **look)
            ax.fill_between(curve.index, curve["min"], curve["max"], color=look["color"], alpha=0.15, linewidth=0)
            ends = tested.groupby("epoch")["value"].mean()
            if len(ends):
                ax.plot(ends.index, ends, **diamonds(look["color"]), zorder=3)
        ax.set_ylabel(metric)
        ax.margins(y=0.08)
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        open_frame(ax)
    panels[-1].set_xlabel("epochs")
    named = [Line2D([], [], **diamonds(GREY), label="test, at the end")] if len(scored) else []
    legend_below(figure, [*(lines[task.name] for task in tasks), *named])
    return figure
