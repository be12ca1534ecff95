"""Which classes are forgotten: every class' score at the end of a run against its single-task baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cl_bench import per_class
from cl_bench.comparison import finals
from cl_bench.errors import UserError
from cl_bench.report.style import GREY, mark, open_frame


def class_changes(results: pd.DataFrame) -> dict[str, Figure]:
    """Return a figure for each order of `results` (see `results.load_results`), a panel a task, a line a class.

    A mark is a strategy: its score on the class minus the baseline's, in points, a mean over seeds; the classes stand
    in the order of their baseline's score, which is beside the name. Raises UserError where the stages kept no scores
    by class.
    """
    changes = _changes(results)
    if changes.empty:
        raise UserError("these stages kept no scores by class; run the experiment anew to have them")
    return {str(order): _figure(part, _strategies(results)) for order, part in changes.groupby("order", sort=False)}


def _changes(results: pd.DataFrame) -> pd.DataFrame:
    """Return a row a strategy, order, task and class: `baseline` and `change` in points, means over seeds."""
    ends = finals(results).drop(columns=["final", "baseline", "drop"])
    table = per_class.load(Path(results.attrs["folder"]), [*ends["final_stage"], *ends["baseline_stage"]])
    final = table.rename(columns={"stage": "final_stage", "value": "final"})
    single = table.rename(columns={"stage": "baseline_stage", "value": "baseline"})
    both = ends.merge(final, on=["final_stage", "task"]).merge(single, on=["baseline_stage", "task", "class"])
    both = both.dropna(subset=["final", "baseline"])
    both["change"] = 100 * (both["final"] - both["baseline"])
    return both.groupby(["order", "task", "class", "strategy"], sort=False)[["baseline", "change"]].mean().reset_index()


def _strategies(results: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(run["strategy"] for run in results.attrs["plan"]["runs"]))


def _figure(changes: pd.DataFrame, strategies: Sequence[str]) -> Figure:
    parts = list(changes.groupby("task", sort=False))
    lines = max(part["class"].nunique() for _, part in parts)
    figure = Figure(figsize=(2.6 * len(parts) + 0.8, 0.19 * lines + 1.3), layout="constrained")
    axes = figure.subplots(1, len(parts), squeeze=False)[0]
    axes[0].set_ylabel("class, and its baseline's score", fontsize=9)
    for ax, (task, part) in zip(axes, parts, strict=True):
        _panel(ax, str(task), part, strategies)
    handles = [Line2D([], [], linestyle="", label=name, **mark(place)) for place, name in enumerate(strategies)]
    columns = 4 if max(map(len, strategies)) < 16 else 2
    figure.legend(handles=handles, loc="outside lower center", frameon=False, fontsize=8, ncols=columns)
    return figure


def _panel(ax: Axes, task: str, part: pd.DataFrame, strategies: Sequence[str]) -> None:
    single = part.groupby("class", sort=False)["baseline"].mean().sort_values()
    heights = {name: height for height, name in enumerate(single.index)}
    for place, strategy in enumerate(strategies):
        own = part[part["strategy"] == strategy]
        ax.plot(own["change"], own["class"].map(heights), linestyle="", markersize=5, alpha=0.9, **mark(place))
    ax.axvline(0, color=GREY, linewidth=0.7)
    ax.set_yticks(range(len(single)), [f"{name} {score:.2f}" for name, score in single.items()])
    ax.grid(axis="y", color="#dddddd", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.set_title(task, fontsize=10)
    ax.set_xlabel("final - baseline, points", fontsize=9)
    open_frame(ax)
    ax.tick_params(labelsize=8)
