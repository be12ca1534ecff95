"""The compact table in every format."""

from __future__ import annotations

from collections.abc import Sequence

from cl_bench.errors import unknown_name_error
from cl_bench.report.tables.compact import html, latex, markdown, terminal
from cl_bench.report.tables.compact.rows import Compact

FORMATS = ("terminal", "markdown", "latex", "html")


def render(
    tables: Compact | Sequence[Compact],
    format: str,
    width: int = 0,
    *,
    notes: Sequence[str] = (),
    colour: bool = False,
) -> str:
    """Return compact tables (see `rows.compact`) below each other, with a legend.

    format: "terminal", "markdown", "latex" (booktabs and amssymb) or "html" (tables and a paragraph, for a page of
    yours); width: characters that there is room for, 0: the format's usual ones (120 of a terminal, GitHub's page,
    LaTeX's article; HTML has all there is); notes: sentences below the legend, in LaTeX a comment above the table;
    colour: with a terminal's colour codes. Intervals are left out where the width is less, then scores, then tasks
    stand below each other. Raises UserError for another format.
    """
    found = [tables] if isinstance(tables, Compact) else list(tables)
    if format == "terminal":
        return terminal.render(found, width or terminal.WIDTH, notes, colour)
    if format == "markdown":
        return markdown.render(found, width or markdown.WIDTH, notes)
    if format == "latex":
        return latex.render(found, width or latex.WIDTH, notes)
    if format == "html":
        return html.render(found, notes)
    raise unknown_name_error("table format", format, FORMATS)
