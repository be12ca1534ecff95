"""YAML from anyone: plain values only, of a size and depth that fill no memory however its aliases multiply."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import cycle
from typing import Any

from cl_bench.errors import UserError

_NUMBER = re.compile(r"(?<==)[-+]?\d*\.?\d+(e[-+]?\d+)?(?=[],])", re.IGNORECASE)
LARGEST, DEEPEST = 100_000, 40
"""Values that a text may hold once its aliases are written out, and how deep they may lie in each other."""


def load_yaml(text: str) -> Any:
    """Return what `text` holds; ValueError of one line where it is no YAML or too much."""
    import yaml  # not above: it takes a tenth of the time of `--help`

    try:
        content = yaml.safe_load(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError) as error:
        # The last four come of scalars that look like a date or carry a tag and are none.
        raise ValueError(" ".join(str(error).split())) from error
    _measure(content)
    return content


def _measure(content: Any) -> None:
    pending, count = [(content, 1)], 0
    while pending:
        value, depth = pending.pop()
        count += 1
        if count > LARGEST:
            raise ValueError(f"it holds more than {LARGEST} values")
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        pending.extend((one, depth + 1) for one in inner)


def split_list(text: str) -> list[str]:
    """Split a comma-separated list of strategies or settings; commas inside brackets belong to what they enclose."""
    return [part for part in split(text, ",") if part]


def split_choice(text: str, what: str) -> list[str]:
    """Split a list in which empty means all; UserError for one such as `,`, which is not empty and names none."""
    chosen = split_list(text)
    if text.strip() and not chosen:
        raise UserError(f"{what} {text!r}: nothing is in it")
    return chosen


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


def spelled(text: str, known: Iterable[str]) -> str:
    """Return the strategy of `known` that `text` is but for blanks and how numbers are written, else `text` itself."""
    names = list(known)
    return text if text in names else next((name for name in names if _plain(name) == _plain(text)), text)


def _plain(strategy: str) -> str:
    return _NUMBER.sub(lambda number: repr(float(number[0])), without_blanks(strategy))


def without_blanks(text: str) -> str:
    """Return `text` without the blanks that stand outside of quotes."""
    parts = re.split(r"""("[^"]*"|'[^']*')""", text)
    return "".join(part if quoted else part.replace(" ", "") for part, quoted in zip(parts, cycle((False, True))))
