"""Forgetting curves: every task's score over the epochs of the whole stream, a line a strategy."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from cl_bench.metrics.continual import LIMIT
from cl_bench.metrics.statistics import mean
from cl_bench.report.figures.style import GREY, TEXT, WIDTH, diamonds, legend_below, letters, mark, open_frame, sheet
from cl_bench.report.text import folded
from cl_bench.results.plan_file import Plan
from cl_bench.results.rows import BASELINE, Results

_DASHES: tuple[Any, ...] = ("-", (0, (7, 1.5)), "-.", (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)))
_JOINT_DASH = (0, (4, 3))


def forgetting_curves(results: Results, width: float = WIDTH) -> dict[str, Figure]:
    """Return a figure for each order of `results` (see `rows.read_results`), `width` inches wide, a panel a task.

    Lines: means over seeds, with a thin band from the lowest to the highest seed; horizontal line: the task's baseline,
    its band the drop that passes. A run that learns all tasks in one stage is dashed, its epochs stretched over the
    budget of the whole stream. Lines are of val; where the verdict is of the test part, hollow diamonds at the ends of
    stages and a dashed line, the baseline's, are the scores on it.
    """
    curves, scored = results.curves, results.beside_curves
    orders = curves.loc[curves["strategy"] != BASELINE, "order"].unique().tolist()
    return {order: _figure(results.plan, order, curves, scored, width) for order in orders}


def _figure(plan: Plan, order: str, curves: pd.DataFrame, scored: pd.DataFrame, width: float) -> Figure:
    runs = curves[(curves["order"] == order) & (curves["strategy"] != BASELINE)]
    strategies = runs["strategy"].unique().tolist()
    names = order.split(">")
    ends = [sum(plan.by_name[name].epochs for name in names[: place + 1]) for place in range(len(names))]
    panels = list(dict.fromkeys(names))
    height = 1.3 + 0.11 * width
    figure = sheet(width, 0.6 + height * len(panels))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    handles: list[Artist] = []
    baseline: list[Artist] = []
    for ax, name in zip(axes, panels, strict=True):
        metric = plan.headline[name]
        own, tested = (rows[(rows["task"] == name) & (rows["metric"] == metric)] for rows in (curves, scored))
        baseline = _draw_baseline(ax, own[own["strategy"] == BASELINE])
        baseline += _draw_test(ax, tested, order, strategies, ends[-1]) if len(scored) else []
        handles = _draw_strategies(ax, own[own["order"] == order], strategies, ends[-1])
        if runs["seed"].nunique() > 1:
            handles.append(Patch(color="#D55E00", alpha=0.2, linewidth=0, label="lowest to highest seed"))
        _draw_stages(ax, names, ends, name)
        ax.set_ylabel("\n".join(folded(f"{name} ({metric})", letters(0.75 * (height - 0.3)))))
    _name_stages(axes[0], names, ends, letters(width - 0.8))
    axes[-1].set_xlabel("epochs since the stream began")
    figure.align_ylabels()
    legend_below(figure, [*handles, *baseline], handlelength=3.4)
    return figure


def _name_stages(ax: Axes, names: list[str], ends: list[int], room: int) -> None:
    """Write above `ax`, on which `room` letters stand beside each other, what each stage trains."""
    starts = [0, *ends[:-1]]
    rooms = [room * (end - start) / ends[-1] for start, end in zip(starts, ends, strict=True)]
    long = any(len(f"training {name} ") > space for name, space in zip(names, rooms, strict=True))
    steep = any(len(f"{name} ") > space for name, space in zip(names, rooms, strict=True))
    look: dict[str, Any] = {"rotation": 90 if steep else 0, "ha": "center", "fontsize": TEXT, "color": GREY}
    for start, end, name in zip(starts, ends, names, strict=True):
        text = name if long else f"training {name}"
        ax.text((start + end) / 2, 1.03, text, transform=ax.get_xaxis_transform(), **look)


def _draw_baseline(ax: Axes, rows: pd.DataFrame) -> list[Artist]:
    level = mean(rows.loc[rows["last"], "value"].dropna().tolist())
    ax.axhspan((1 - LIMIT) * level, level, color="black", alpha=0.12, linewidth=0, zorder=0)
    ax.axhline(level, color="black", linewidth=0.9, zorder=1)
    return [
        Line2D([], [], color="black", linewidth=0.9, label="baseline"),
        Patch(color="black", alpha=0.12, linewidth=0, label=f"{100 - 100 * LIMIT:.0f} to 100 % of the baseline"),
    ]


def _draw_strategies(ax: Axes, rows: pd.DataFrame, strategies: list[str], budget: int) -> list[Artist]:
    handles: list[Artist] = []
    for place, strategy in enumerate(strategies):
        mine = rows[rows["strategy"] == strategy]
        joint, scale = _stretch(mine, budget)
        curve = mine.groupby("step")["value"].agg(["mean", "min", "max"]).dropna()
        x = curve.index.to_numpy() * scale
        look = mark(place)
        colour = look["color"]
        style: dict[str, Any] = {
            **look,
            # Where strategies share stages, the later and smaller line and mark leave the earlier ones to be seen.
            "linewidth": max(1.0, 2.8 - 0.55 * place),
            "linestyle": _JOINT_DASH if joint else _DASHES[place % len(_DASHES)],
            "markersize": max(3.5, 8.4 * 0.77**place),
            "markerfacecolor": "white" if joint else colour,
            "markeredgecolor": colour if joint else "white",
            "markeredgewidth": 0.9 if joint else 0.5,
        }
        if len(curve):  # an empty line that is not clipped is laid out at the figure's corner
            ax.fill_between(x, curve["min"], curve["max"], color=colour, alpha=0.15, linewidth=0, zorder=2)
            ax.plot(x, curve["mean"], **style, zorder=3 + place, clip_on=False)
        remark = " (all tasks at once)" if joint else ""
        remark += "" if (mine["status"] == "done").all() else " (unfinished)"
        handles.append(Line2D([], [], **style, label=strategy + remark))
    return handles


def _stretch(rows: pd.DataFrame, budget: int) -> tuple[bool, float]:
    """Return whether a strategy's rows are of all tasks in one stage, and by how much its epochs are stretched."""
    joint = bool(rows["trained"].str.contains("+", regex=False).any())
    return joint, budget / rows["step"].max() if joint else 1.0


def _draw_test(ax: Axes, rows: pd.DataFrame, order: str, strategies: list[str], budget: int) -> list[Artist]:
    """Draw a task's scores on the test part, means over seeds, and return what names them in the legend."""
    level = mean(rows.loc[rows["strategy"] == BASELINE, "value"].tolist())
    line: dict[str, Any] = {"color": "black", "linewidth": 0.9, "linestyle": (0, (4, 3))}
    ax.axhline(level, **line, zorder=1)
    for place, strategy in enumerate(strategies):
        mine = rows[(rows["strategy"] == strategy) & (rows["order"] == order)]
        ends = mine.groupby("step")["value"].mean()
        look = diamonds(mark(place)["color"], max(6.0, 10.5 * 0.88**place))
        if len(ends):
            ax.plot(ends.index.to_numpy() * _stretch(mine, budget)[1], ends, **look, zorder=20 + place, clip_on=False)
    named = Line2D([], [], **diamonds(GREY), label="test, at the ends of stages")
    return [Line2D([], [], **line, label="baseline, test"), named]


def _draw_stages(ax: Axes, names: list[str], ends: list[int], task: str) -> None:
    for end in ends[:-1]:
        ax.axvline(end, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    for place in (place for place, name in enumerate(names) if name == task):
        ax.axvspan(ends[place - 1] if place else 0, ends[place], color="#56B4E9", alpha=0.08, linewidth=0, zorder=0)
    ax.margins(y=0.08)
    ax.set_xlim(0, ends[-1])
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    open_frame(ax)
