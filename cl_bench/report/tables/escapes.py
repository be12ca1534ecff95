"""Texts as Markdown and LaTeX show them letter by letter."""

from __future__ import annotations

import re

_LATEX = {char: f"\\{char}" for char in "&%$#_{}"} | {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"},
    **{
        "†": r"$\dagger$",
        "≤": r"$\le$",
        "≥": r"$\ge$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "|": r"\textbar{}",
        "[": "{[}",
        "]": "{]}",
        "±": r"$\pm$",
        "✓": r"$\checkmark$",
        "✗": r"$\times$",
        "∅": r"$\emptyset$",
        "·": r"$\cdot$",
    },
}


def latex(text: str) -> str:
    """Return `text` so that LaTeX sets it letter by letter; a check mark needs amssymb."""
    return "".join(_LATEX.get(char, char) for char in text)


def signed(cell: str) -> str:
    """Return a cell for LaTeX, with a minus before numbers; a missing value is a dash."""
    return "--" if cell == "-" else re.sub(r"(?<!\w)-(?=\d)", "$-$", latex(cell))


def markdown(text: str) -> str:
    """Return `text` so that Markdown shows it letter by letter; what is set as code stays code."""
    return re.sub(r"(?<!\w)_|_(?!\w)|[*<]|&(?=#?\w+;)", r"\\\g<0>", text)


def markdown_cell(text: str) -> str:
    """Return `text` for a cell of a table in Markdown."""
    return markdown(text).replace("|", "\\|")
