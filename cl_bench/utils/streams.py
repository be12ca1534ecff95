"""Output streams that take every text."""

from __future__ import annotations

import io
import sys


def take_any_text() -> None:
    """Have standard output and errors show `?` for signs that their encoding lacks, in place of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook's, or a test's, is none, and takes all
            stream.reconfigure(errors="replace")
