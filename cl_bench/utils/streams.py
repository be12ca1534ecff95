"""Output streams that take every text."""

from __future__ import annotations

import io
import sys
from typing import TextIO

_LOOKS = {"✓": "P", "✗": "F", "∅": "V", "─": "-", "†": "#", "·": "/", "↑": "^", "↓": "v", "≤": "<=", "±": "+-"}
"""ASCII for the signs of tables: a letter for a letter where their columns depend on it."""


def take_any_text() -> None:
    """Have standard output and errors show `?` for signs that their encoding lacks, in place of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook's, or a test's, is none, and takes all
            stream.reconfigure(errors="replace")


def readable(text: str, stream: TextIO) -> str:
    """Return `text` with ASCII for those of a table's signs that `stream` cannot show."""
    encoding = getattr(stream, "encoding", None) or "utf-8"  # a notebook's, or a test's, may have none
    return text.translate({ord(sign): look for sign, look in _LOOKS.items() if not _shown(sign, encoding)})


def _shown(sign: str, encoding: str) -> bool:
    try:
        sign.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
