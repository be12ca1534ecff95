"""What all figures share: colours and marks that the colour-blind and grey print can tell apart, and how to save."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cl_bench.files import write_whole
from cl_bench.paths import make_writable

COLOURS = ("#D55E00", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#AA4499")
"""Okabe and Ito's palette, with Tol's purple in place of its black, which is the baseline's."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#555555"


def mark(place: int) -> dict[str, Any]:
    """Return colour and marker of the strategy at `place` (from 0) in its experiment."""
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


def open_frame(ax: Axes) -> None:
    """Take away the upper and right border, and set the ticks' size."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=9)


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
