"""Lists as they are written on the command line."""

from __future__ import annotations


def split_list(text: str) -> list[str]:
    """Split a comma-separated list of strategies or settings; commas inside brackets belong to what they enclose."""
    return [part for part in split(text, ",") if part]


def split(text: str, separator: str) -> list[str]:
    """Split at separators outside of brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "[{") - (sign in "]}")
        if sign == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]
