"""Names and numbers as texts, for tables, figures and the page."""

from __future__ import annotations

import math
import re

_NAME_WIDTH = 14
"""Characters of a strategy's name on a line: what 120 leave beside the numbers."""


def breakable(name: str) -> list[str]:
    """Return the parts of a composed strategy's name, or of other words, between which it is best broken."""
    return re.split(r"(?<=[+,=_ -])|(?=\[)", name)


def folded(name: str, width: int = _NAME_WIDTH) -> list[str]:
    """Return a name's lines, none over `width` characters: broken between its parts, and in those that are longer."""
    lines = [""]
    parts = (part[start : start + width] for part in breakable(name) for start in range(0, len(part), width))
    for part in parts:
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return lines


def number(value: float, places: int = 3, factor: float = 1, sign: str = "") -> str:
    """Return `factor * value` with `places` decimals, "-" where there is none."""
    if math.isnan(value):
        return "-"
    return f"{round(factor * value, places) + 0.0:{sign}.{places}f}"  # + 0.0 turns -0.0 into 0.0


def percent(value: float) -> str:
    """Return a share as a percentage with one decimal."""
    return number(value, 1, 100)


def interval(low: float, high: float) -> str:
    """Return " [low, high]" of two shares, in percent; nothing where they are not known."""
    return "" if math.isnan(low) else f" [{percent(low)}, {percent(high)}]"


def count(value: float) -> str:
    """Return a whole number with separators."""
    return "-" if math.isnan(value) else f"{int(value):,}"
