"""How tables are set: the same sections for the terminal, Markdown and LaTeX."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from cl_bench.errors import unknown_name_error
from cl_bench.report.tables.escapes import latex, markdown, markdown_cell, signed
from cl_bench.report.text import breakable, folded

FORMATS = ("terminal", "markdown", "csv", "latex", "html")

NARROW = 110
"""Characters of a terminal from which a table of drops stands beside its costs."""


class Heading(NamedTuple):
    """What stands above a column; left: its cells are text, not numbers; free: they may be of any length."""

    text: str
    left: bool = False
    free: bool = False


class Bold(str):
    """A cell that stands out."""


class Section(NamedTuple):
    """One table: groups of lines of cells, ruled off from each other."""

    title: str
    headings: Sequence[Heading]
    groups: Sequence[Sequence[Sequence[str]]]


def write(
    sections: Sequence[Section],
    notes: Sequence[str],
    format: str,
    *,
    width: int = 120,
    styles: Mapping[str, str] | None = None,
    colour: bool = False,
) -> str:
    """Return the sections with the notes below them.

    format: "terminal", "markdown", "latex" (booktabs) or "html"; width: of the terminal, in characters; styles: of
    cells in it, by their first word; colour: with the terminal's colour codes. Raises UserError for another format.
    """
    if format == "terminal":
        return _terminal(sections, notes, width, styles or {}, colour)
    if format == "markdown":
        return _markdown(sections, notes)
    if format == "latex":
        return _latex(sections, notes)
    if format == "html":
        return _html(sections, notes)
    raise unknown_name_error("table format", format, FORMATS)


def _terminal(
    sections: Sequence[Section], notes: Sequence[str], width: int, styles: Mapping[str, str], colour: bool
) -> str:
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=colour, no_color=not colour, highlight=False)
    for section in sections:
        console.print(_rich(section, styles, wrap=width < 80), "")
    for note in notes:
        console.print(Text(note, style="dim"))
    return text.getvalue()


def _rich(section: Section, styles: Mapping[str, str], wrap: bool) -> Table:
    title = Text(section.title, style="italic")  # as a string it would lose what stands in brackets
    table = Table(box=box.HORIZONTALS, pad_edge=False, padding=0, show_edge=False, title=title)
    for heading in section.headings:
        side: JustifyMethod = "left" if heading.left else "right"
        free = wrap or heading.free
        table.add_column(
            Text(heading.text), justify=side, no_wrap=not free, overflow="fold", min_width=9 if heading.free else None
        )
    for group in section.groups:
        lines = _run_on(group) if section.headings[0].free else group
        for index, line in enumerate(lines):
            cells = [Text(cell, style=_style(cell, styles)) for cell in line]
            table.add_row(*cells, end_section=index == len(group) - 1)
    return table


def _run_on(group: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the lines with a long name in front running on over the empty cells below it, as far as there are any."""
    name = folded(group[0][0])
    empty = next((place for place, line in enumerate(group[1:]) if line[0]), len(group) - 1)
    pieces = [*name[:empty], "\n".join(name[empty:])]
    fronts = [*pieces, *(line[0] for line in group[len(pieces) :])]
    return [[front, *line[1:]] for front, line in zip(fronts, group, strict=True)]


def _style(cell: str, styles: Mapping[str, str]) -> str:
    return "bold" if isinstance(cell, Bold) else styles.get(cell.partition(" ")[0], "")


def _markdown(sections: Sequence[Section], notes: Sequence[str]) -> str:
    lines = []
    for section in sections:
        lines += [f"**{section.title}**", ""]
        lines.append(_piped([_one_line(heading.text) for heading in section.headings]))
        lines.append(_piped([":--" if heading.left else "--:" for heading in section.headings]))
        lines += [_piped(line) for group in section.groups for line in group] + [""]
    return "\n".join([*lines, *(f"- {markdown(note)}" for note in notes), ""])


def _one_line(header: str) -> str:
    return header.replace("-\n", "-").replace("\n", " ")


def _piped(cells: Sequence[str]) -> str:
    escaped = [markdown_cell(cell) for cell in cells]
    return (
        "| " + " | ".join(f"**{e}**" if isinstance(c, Bold) else e for c, e in zip(cells, escaped, strict=True)) + " |"
    )


def _latex(sections: Sequence[Section], notes: Sequence[str]) -> str:
    lines = [r"% needs \usepackage{booktabs,graphicx}"]
    for section in sections:
        title, headings = latex(section.title), section.headings
        lines += [r"\begin{table}", r"\centering\footnotesize", rf"\caption{{{title}}}", r"\setlength{\tabcolsep}{3pt}"]
        lines.append(r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%")
        lines.append(rf"\begin{{tabular}}{{{''.join(map(_aligned, headings))}}}")
        lines += [r"\toprule", " & ".join(map(_stacked, headings)) + r" \\"]
        for group in section.groups:
            lines += [r"\midrule", *(_row(line, headings) for line in group)]
        lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""]
    below = latex(" ".join(notes))
    lines[-2:-2] = [rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize {below}}}"]
    return "\n".join(lines)


def _aligned(heading: Heading) -> str:
    return r"p{32mm}" if heading.free else "l" if heading.left else "r"


def _stacked(heading: Heading) -> str:
    lines = [latex(line) for line in heading.text.split("\n")]
    side, stack = "l" if heading.left else "r", r"\\".join(lines)
    return stack if len(lines) == 1 else rf"\shortstack[{side}]{{{stack}}}"


def _row(cells: Sequence[str], headings: Sequence[Heading]) -> str:
    texts = [
        r"\raggedright " + r"\allowbreak ".join(map(latex, breakable(cell))) if heading.free else signed(cell)
        for cell, heading in zip(cells, headings, strict=True)
    ]
    set_bold = [rf"\textbf{{{text}}}" if isinstance(c, Bold) else text for c, text in zip(cells, texts, strict=True)]
    return " & ".join(set_bold) + r" \\"


def _html(sections: Sequence[Section], notes: Sequence[str]) -> str:
    lines = []
    for section in sections:
        lines += ["<table>", f"<caption>{html.escape(section.title)}</caption>"]
        lines.append(_html_row("th", [_one_line(heading.text) for heading in section.headings]))
        lines += [_html_row("td", line) for group in section.groups for line in group]
        lines.append("</table>")
    return "\n".join([*lines, "<ul>", *(f"<li>{html.escape(note)}</li>" for note in notes), "</ul>"])


def _html_row(tag: str, cells: Sequence[str]) -> str:
    texts = [f"<b>{html.escape(cell)}</b>" if isinstance(cell, Bold) else html.escape(cell) for cell in cells]
    return "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in texts) + "</tr>"
