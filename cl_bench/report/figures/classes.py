"""Which classes are forgotten: every class' score at the end of a run against its single-task baseline."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cl_bench.errors import UserError
from cl_bench.report.figures.style import (
    GREY,
    TEXT,
    WIDTH,
    inches,
    legend_below,
    literal,
    mark,
    marks,
    open_frame,
    sheet,
)
from cl_bench.report.text import folded
from cl_bench.results import per_class
from cl_bench.results.comparison import finals
from cl_bench.results.parts import suffix
from cl_bench.results.rows import Results


def class_changes(results: Results, width: float = WIDTH) -> dict[str, Figure]:
    """Return a figure for each order of `results` (see `rows.read_results`), `width` inches wide, a panel a task.

    A line is a class, a mark a strategy: its score on the class minus the baseline's, in points, a mean over seeds; the
    classes stand in the order of their baseline's score, which is beside the name. Raises UserError where the stages
    kept no scores by class.
    """
    results = results.of()
    changes, part = _changes(results), suffix(results)
    if changes.empty:
        raise UserError("these stages kept no scores by class; run the experiment anew to have them")
    by_order = changes.groupby("order", sort=False)
    return {str(order): _figure(rows, _strategies(results), part, width) for order, rows in by_order}


def _changes(results: Results) -> pd.DataFrame:
    """Return a row a strategy, order, task and class: `baseline` and `change` in points, means over seeds."""
    ends = finals(results).drop(columns=["final", "baseline", "drop"])
    stages = [*ends["final_stage"], *ends["baseline_stage"]]
    table = per_class.load(results.folder, stages, results.scored_on).drop(columns="data")
    final = table.rename(columns={"stage": "final_stage", "value": "final"})
    single = table.rename(columns={"stage": "baseline_stage", "value": "baseline"})
    both = ends.merge(final, on=["final_stage", "task"]).merge(single, on=["baseline_stage", "task", "class"])
    both = both.dropna(subset=["final", "baseline"])
    both["change"] = 100 * (both["final"] - both["baseline"])
    return both.groupby(["order", "task", "class", "strategy"], sort=False)[["baseline", "change"]].mean().reset_index()


def _strategies(results: Results) -> list[str]:
    return list(dict.fromkeys(run.strategy for run in results.plan.runs))


def _figure(changes: pd.DataFrame, strategies: Sequence[str], part: str, width: float) -> Figure:
    panels = list(changes.groupby("task", sort=False))
    longest = max(map(len, changes["class"])) + len(" (0.00)")
    across = max(1, min(len(panels), int(width / (inches(longest) + 1.1))))
    rows = [panels[start : start + across] for start in range(0, len(panels), across)]
    lines = [max(own["class"].nunique() for _, own in row) for row in rows]
    figure = sheet(width, sum(0.19 * max(4, count) + 0.7 for count in lines))
    grid = figure.subplots(len(rows), across, squeeze=False, height_ratios=lines)
    for ax in grid[:, 0]:
        ax.set_ylabel("class (baseline)")
    axes = grid.flatten()
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for ax, (task, own) in zip(axes, panels, strict=False):
        _panel(ax, f"{task}{part}", own, strategies)
    figure.align_ylabels()
    legend_below(figure, marks(strategies))
    return figure


def _panel(ax: Axes, title: str, part: pd.DataFrame, strategies: Sequence[str]) -> None:
    single = part.groupby("class", sort=False)["baseline"].mean().sort_values()
    heights = {name: height for height, name in enumerate(single.index)}
    for place, strategy in enumerate(strategies):
        own = part[part["strategy"] == strategy]
        ax.plot(own["change"], own["class"].map(heights), linestyle="", markersize=5, alpha=0.9, **mark(place))
    ax.axvline(0, color=GREY, linewidth=0.7)
    ax.set_yticks(range(len(single)), [f"{literal(str(name))} ({score:.2f})" for name, score in single.items()])
    ax.grid(axis="y", color="#dddddd", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set_title("\n".join(folded(title, 18)), fontsize=TEXT + 1)
    ax.set_xlabel("change, points")
    open_frame(ax)
