"""Pages of which a part is written by code, between two marks."""

from __future__ import annotations


def rewritten(text: str, begin: str, content: str, end: str) -> str:
    """Return the page `text` with `content` in place of what it has between `begin` and `end`."""
    before, _, rest = text.partition(begin)
    return before + begin + content + end + rest.partition(end)[2]
