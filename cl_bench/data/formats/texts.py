"""Text files as people have them: in any encoding that says so, a line a name, numbers written out in digits."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from cl_bench.errors import UserError

DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)", re.ASCII)
"""Python's own float() takes 1_0 for 10, and digits of other scripts, too, as which a damaged file may be misread."""


def read_text(file: Path) -> str:
    """Return what a text file says, without the mark that editors put in front of their encoding.

    Raises UserError, naming the file, where it cannot be read; without a mark it must be UTF-8.
    """
    try:
        content = file.read_bytes()
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if marked else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error


def split_lines(text: str) -> list[str]:
    """Return the lines of `text`, which end as any system ends them, and as nothing else does."""
    return re.split(r"\r\n|\r|\n", text)


def read_list(file: Path) -> list[str]:
    """Return the names in a list, one a line, which may hold blanks; raise UserError as `read_text` does."""
    return [line.strip() for line in split_lines(read_text(file)) if line.strip()]


def exists_as_file(path: Path) -> bool:
    """Return whether a file that a text names is there; a name that is too long for any is of none."""
    try:
        return path.is_file()
    except OSError:
        return False


def parse_number(text: str) -> float:
    """Return the decimal number that `text` is; raise ValueError for anything else."""
    if not DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is no number")
    return float(text)
