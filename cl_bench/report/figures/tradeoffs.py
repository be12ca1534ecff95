"""What forgetting less costs: stability against plasticity, and drops against training time and memory."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cl_bench.metrics.continual import LIMIT
from cl_bench.report.figures.style import (
    GREY,
    PASSES,
    WIDTH,
    legend_below,
    mark,
    marks,
    open_frame,
    sheet,
    within_limit,
)
from cl_bench.results.parts import suffix
from cl_bench.results.rows import Results
from cl_bench.results.summary import summary


def tradeoffs(results: Results, width: float = WIDTH) -> dict[str, Figure]:
    """Return a figure, `width` inches wide, for each order of `results` (see `rows.read_results`), a mark a strategy.

    Plasticity: how far a task's score right after it was learnt lies above its baseline, in percent of it; stability:
    how much of that score is left at the end; both means over tasks, of tasks whose baseline is not void (the last one
    takes no part in stability). Then the mean drop against training's floating-point operations relative to naive (its
    time, where some were not counted), and against the images stored of each past task. Strategies without a value have
    no mark: what learns all tasks at once has neither stability nor a memory.
    """
    table = summary(results)
    headline = table[table["headline"] & (table["verdict"] != "void")]
    counted = bool(headline["relative_flops"].notna().all())
    part = suffix(results)
    return {str(order): _figure(rows, part, width, counted) for order, rows in headline.groupby("order", sort=False)}


def _figure(rows: pd.DataFrame, part: str, width: float, counted: bool) -> Figure:
    wide = width > 6
    figure = sheet(width, 2.4 if wide else 6.3)
    left, middle, right = figure.subplots(1, 3) if wide else figure.subplots(3, 1)
    for place, (_, own) in enumerate(rows.groupby("strategy", sort=False)):
        run = own.iloc[0]
        learnt = own["baseline"] - own["intransigence"]
        plasticity = 100 * (learnt / own["baseline"] - 1).mean()
        past = own["task"] != str(run["order"]).rsplit(">", 1)[-1]
        kept = 100 * (own["final"] / learnt)[past].mean()
        drop = 100 * run["average_drop"]
        for ax, x, y in (
            (left, plasticity, kept),
            (middle, run["relative_flops" if counted else "relative_cost"], drop),
            # A run that learns all tasks at once has all images.
            (right, math.nan if run["together"] else run["stored_images"], drop),
        ):
            if not (math.isnan(x) or math.isnan(y)):
                ax.plot(x, y, linestyle="", markersize=7, markeredgecolor="white", **mark(place))
    _label(left, "plasticity: learnt vs baseline, %", f"stability{part}: % kept" if part else "stability: % of it kept")
    left.axhline(100, color=GREY, linewidth=0.7, linestyle=":")
    left.axvline(0, color=GREY, linewidth=0.7, linestyle=":")
    _label(middle, f"training {'FLOPs' if counted else 'time'}, x naive", f"mean drop{part}, %")
    _label(right, "stored images a task", f"mean drop{part}, %")
    for ax in (middle, right):
        ax.margins(0.12)
        low, high = ax.get_ylim()
        ax.axhspan(low - 100, 100 * LIMIT, **PASSES, zorder=0)
        ax.set_ylim(low, high)
    names = rows["strategy"].drop_duplicates().tolist()
    legend_below(figure, [*marks(names), within_limit()])
    return figure


def _label(ax: Axes, x: str, y: str) -> None:
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    open_frame(ax)
