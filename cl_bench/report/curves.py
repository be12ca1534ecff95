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

from cl_bench.measures import LIMIT, mean
from cl_bench.report.layout import folded
from cl_bench.report.style import (
    GREY,
    TEXT,
    WIDTH,
    legend_below,
    letters,
    mark,
    open_frame,
    sheet,
)
from cl_bench.results import BASELINE

_DASHES: tuple[Any, ...] = ("-", (0, (7, 1.5)), "-.", (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)))
_JOINT_DASH = (0, (4, 3))


def forgetting_curves(results: pd.DataFrame, width: float = WIDTH) -> dict[str, Figure]:
    """Return a figure for each order of `results` (see `results.load_results`), `width` inches wide, a panel a task.

    Lines: means over seeds, with a thin band from the lowest to the highest seed; horizontal line: the task's baseline,
    its band the drop that passes. A run that learns all tasks in one stage is dashed, its epochs stretched over the
    budget of the whole stream.
    """
    single = results["strategy"] == BASELINE
    baselines, runs = results[single], results[~single]
    tasks = {task["name"]: task for task in results.attrs["plan"]["tasks"]}
    orders = runs.groupby("order", sort=False)
    return {str(order): _figure(tasks, str(order), part, baselines, width) for order, part in orders}


def _figure(tasks: dict[str, Any], order: str, runs: pd.DataFrame, baselines: pd.DataFrame, width: float) -> Figure:
    names = order.split(">")
    ends = [sum(tasks[name]["epochs"] for name in names[: place + 1]) for place in range(len(names))]
    panels = list(dict.fromkeys(names))
    height = 1.3 + 0.11 * width
    figure = sheet(width, 0.6 + height * len(panels))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    handles: list[Artist] = []
    baseline: list[Artist] = []
    for ax, name in zip(axes, panels, strict=True):
        metric = tasks[name]["metrics"][0]
        chosen = runs[(runs["task"] == name) & (runs["metric"] == metric)]
        baseline = _draw_baseline(ax, baselines[(baselines["task"] == name) & (baselines["metric"] == metric)])
        handles = _draw_strategies(ax, chosen, runs["strategy"].unique().tolist(), ends[-1])
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
        joint = mine["trained"].str.contains("+", regex=False).any()
        scale = budget / mine["step"].max() if joint else 1
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
        ax.fill_between(x, curve["min"], curve["max"], color=colour, alpha=0.15, linewidth=0, zorder=2)
        ax.plot(x, curve["mean"], **style, zorder=3 + place, clip_on=False)
        remark = " (all tasks at once)" if joint else ""
        remark += "" if (mine["status"] == "done").all() else " (unfinished)"
        handles.append(Line2D([], [], **style, label=strategy + remark))
    return handles


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
