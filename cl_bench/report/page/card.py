"""The picture that a link to the report shows where it is shared: 1200 x 630 pixels, as sites expect it; no torch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cl_bench.report.figures.style import COLOURS, GREY, literal
from cl_bench.report.page.headline import Card
from cl_bench.results.rows import REFERENCE

SIZE = (1200, 630)
"""Pixels."""
_DOTS = 100
_INK, _PALE = "#1f2328", "#c8ced5"
_PANELS, _NAMED = 4, 24
"""Tasks that are drawn at most, and letters of a name that the legend has room for."""


def draw(name: str, cards: Sequence[Card], curves: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a PNG: what was learnt, who forgets least and how much, and the scores of every task.

    name: the experiment's; cards: as `headline.cards` has them; curves: as `data.curves` has them, of which the first
    order is drawn. The best strategy and naive are coloured, the others grey.
    """
    shown = curves[0]
    figure = Figure(figsize=(SIZE[0] / _DOTS, SIZE[1] / _DOTS), dpi=_DOTS, facecolor="white")
    _text(figure, 0.04, 0.9, f"{name}: what is forgotten", 28, 0.74, weight="bold", color=_INK)
    _text(figure, 0.04, 0.825, " > ".join(shown["stages"]), 15, 0.92)
    figure.text(0.96, 0.9, "cl_bench", fontsize=18, color=GREY, ha="right", va="center")
    for left, room, card in zip((0.04, 0.5, 0.8), (0.42, 0.26, 0.16), cards, strict=False):
        _text(figure, left, 0.735, card.label, 15, room)
        _text(figure, left, 0.655, card.value, 30, room, weight="bold", color=_INK)
        _text(figure, left, 0.59, card.note, 11, room)
    best = cards[0].value if cards else ""
    panels = shown["panels"][:_PANELS]
    axes = figure.subplots(1, len(panels), squeeze=False, gridspec_kw={"wspace": 0.22})[0]
    figure.subplots_adjust(left=0.065, right=0.96, bottom=0.16, top=0.5)
    for ax, panel in zip(axes, panels, strict=True):
        _panel(ax, panel, shown["ends"], best)
    _legend(figure, best, {line["strategy"] for panel in panels for line in panel["lines"]})
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DOTS)
    return content.getvalue()


def _text(figure: Figure, x: float, y: float, text: str, size: float, room: float, **look: Any) -> float:
    """Write a line no wider than `room`, a share of the width, smaller where it must be; return how wide it is."""
    shown = figure.text(x, y, literal(text), **{"fontsize": size, "color": GREY, "va": "center", **look})
    width = shown.get_window_extent().width / SIZE[0]
    if width > room:
        shown.set_fontsize(size * room / width)
    return min(width, room)


def _panel(ax: Axes, panel: Mapping[str, Any], ends: Sequence[int], best: str) -> None:
    looks = _looks(best)
    for line in sorted(panel["lines"], key=lambda line: line["strategy"] in looks):
        steps, means = zip(*((step, mean) for step, mean, *_ in line["points"]), strict=True)
        # A task that was scored once has a point and no line.
        ax.plot(
            steps, means, marker="o", markevery=[-1], **looks.get(line["strategy"], {"color": _PALE, "linewidth": 1.5})
        )
    if panel["baseline"] is not None:
        ax.axhline(panel["baseline"], color=_INK, linewidth=1.5, linestyle=(0, (4, 3)))
    for end in ends[:-1]:
        ax.axvline(end, color=_PALE, linewidth=0.8)
    ax.set_title(literal(f"{panel['task']} ({panel['metric']})"), fontsize=15, color=_INK, loc="left")
    ax.set_ylim(bottom=0)
    ax.set_xlim(0, 1.03 * ends[-1])
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=12, colors=GREY)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(4))


def _looks(best: str) -> dict[str, dict[str, Any]]:
    return {
        REFERENCE: {"color": COLOURS[0], "linewidth": 3.0},
        best: {"color": COLOURS[1], "linewidth": 3.5},
    }


def _legend(figure: Figure, best: str, drawn: set[str]) -> None:
    """Name the colours below the panels."""
    entries = [(COLOURS[1], best if len(best) <= _NAMED else "forgets least")] if best in drawn else []
    entries += [(COLOURS[0], REFERENCE)] if REFERENCE in drawn - {best} else []
    entries += [(GREY, "others")] if drawn - {best, REFERENCE} else []
    left = 0.065
    for colour, text in [*entries, (_INK, "- - learnt alone (baseline)")]:
        left += _text(figure, left, 0.045, text, 15, 0.25, weight="bold", color=colour) + 0.03
    figure.text(0.96, 0.045, "epochs, validation", fontsize=13, color=GREY, ha="right", va="center")
