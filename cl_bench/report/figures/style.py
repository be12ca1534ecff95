"""What all figures share: colours and marks that the colour-blind and grey print can tell apart, and how to save."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cl_bench.report.text import folded
from cl_bench.utils.files import make_writable, write_whole

COLOURS = ("#D55E00", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#AA4499")
"""Okabe and Ito's palette, with Tol's purple in place of its black, which is the baseline's."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#555555"
WIDTH, NARROWEST, WIDEST = 7.2, 3.0, 40.0
"""Inches: a page's text, which a figure has if nothing else is said (a column of a paper has about 3.4), and bounds."""
PASSES: dict[str, Any] = {"color": "black", "alpha": 0.08, "linewidth": 0}
"""The look of the band of drops within the limit."""
TEXT = 8
"""Points; drawn at its width, no text of a figure is smaller."""
_LETTER = 0.55 * TEXT / 72
"""Inches a letter of that size is wide, on the mean."""


def mark(place: int) -> dict[str, Any]:
    """Return colour and marker of what stands at `place` (from 0) among the strategies, orders or tasks of a figure."""
    shift = place // len(COLOURS)  # so that a colour that comes back comes with another mark
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[(place + shift) % len(MARKERS)]}


def diamonds(colour: str, size: float = 9.0) -> dict[str, Any]:
    """Return the look of scores on the test part beside curves of val: hollow diamonds."""
    return {
        **{"color": colour, "linestyle": "", "marker": "D", "markersize": 0.8 * size},
        **{"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": 1.4},
    }


def sheet(width: float, height: float) -> Figure:
    """Return an empty figure, `width` by `height` inches, that makes room for its texts when it is drawn."""
    return Figure(figsize=(width, height), layout="constrained")


def open_frame(ax: Axes) -> None:
    """Take away the upper and right border, and set the size of the ticks' and axes' texts."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=TEXT)
    ax.xaxis.label.set_fontsize(TEXT + 1)
    ax.yaxis.label.set_fontsize(TEXT + 1)


def letters(inches: float) -> int:
    """Return how many letters of the smallest size stand beside each other on so many inches."""
    return int(inches / _LETTER)


def literal(name: str) -> str:
    """Return a name as matplotlib draws it letter by letter: two dollar signs would begin and end a formula."""
    return name.replace("$", r"\$")


def inches(letters: int) -> float:
    """Return how wide so many letters of the smallest size are."""
    return letters * _LETTER


def marks(names: Sequence[str]) -> list[Artist]:
    """Return what a legend needs to tell `names` apart by their marks."""
    return [Line2D([], [], linestyle="", label=name, **mark(place)) for place, name in enumerate(names)]


def within_limit() -> Artist:
    """Return what a legend needs to name the shaded band of drops that pass."""
    return Patch(**PASSES, label="within the limit")


def legend_below(figure: Figure, handles: Sequence[Artist], **style: Any) -> None:
    """Put the legend under the panels, in as many columns as the width holds; the figure grows by its height.

    Labels that are wider than the figure are broken into lines.
    """
    room = figure.bbox.width * 0.98
    limit = letters(figure.get_figwidth() - 0.9)
    for handle in handles:
        handle.set_label(literal("\n".join(folded(str(handle.get_label()), limit))))
    for columns in range(min(5, len(handles)), 0, -1):
        box = figure.legend(
            handles=handles, loc="outside lower center", frameon=False, fontsize=TEXT, ncols=columns, **style
        )
        size = box.get_window_extent()
        if size.width <= room or columns == 1:
            figure.set_figheight(figure.get_figheight() + size.height / figure.dpi)
            return
        box.remove()


def save(figure: Figure, folder: str | Path, stem: str) -> list[Path]:
    """Write `figure` as stem.png (200 dots an inch), stem.svg and stem.pdf into `folder`; equal figures, equal bytes.

    Creates the folder; raises UserError where it cannot be written.
    """
    place, written = make_writable(Path(folder)), []
    formats: dict[str, Any] = {"png": {"dpi": 200}, "svg": {"metadata": {"Date": None}}}
    formats["pdf"] = {"metadata": {"CreationDate": None}}
    with matplotlib.rc_context({"svg.hashsalt": "cl_bench", "pdf.fonttype": 42}):
        for suffix, options in formats.items():
            content = io.BytesIO()
            figure.savefig(content, format=suffix, **options)
            written.append(write_whole(place / f"{stem}.{suffix}", content.getvalue()))
    return written
