"""Rows of a summary that meet conditions, as `--filter` takes them; no torch."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from cl_bench.errors import UserError, unknown_name_error

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    **{"<=": operator.le, ">=": operator.ge, "!=": operator.ne},
    **{"=": operator.eq, "<": operator.lt, ">": operator.gt},
}
_CONDITION = re.compile(rf"([^=!<>]+)({'|'.join(_COMPARISONS)})(.+)", re.DOTALL)


def filtered(summary: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """Return the rows of a summary that meet all `conditions`: a column, = != < <= > or >=, and a value ("drop<=5%").

    Shares may be written as such (0.05) or in percent; a verdict without brackets stands for the uncertain one, too.
    Raises UserError for what is no such condition, and where no row is left.
    """
    for condition in conditions:
        found = _CONDITION.fullmatch(condition)
        if not found:
            raise UserError(f"{condition!r} is no filter: write a column, one of = != < <= > >=, and a value: drop<=5%")
        name, sign, text = (part.strip() for part in found.groups())
        if name not in summary:
            raise unknown_name_error("column", name, map(str, summary))
        summary = summary[_COMPARISONS[sign](*_comparable(summary[name], sign, text))]
    if conditions and summary.empty:
        raise UserError(f"no row of the table has {' and '.join(conditions)}")
    return summary


def _comparable(values: pd.Series, sign: str, text: str) -> tuple[pd.Series, str | float]:
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        if sign not in ("=", "!="):
            raise UserError(f"{values.name} holds no numbers, so it is only = or != to something")
        words = values.astype(str)
        return (words.str.partition(" ")[0] if values.name == "verdict" and " " not in text else words), text
    try:
        wanted = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise UserError(f"{values.name} holds numbers, and {text!r} is none") from error
    if values.name == "points" and text.endswith("%"):
        raise UserError(f"points are percentage points: write points{sign}{text.removesuffix('%')}")
    if "drop" in str(values.name) and abs(wanted) > 1 and not text.endswith("%"):
        raise UserError(f"{values.name} is a share, at most 1: write {values.name}{sign}{text}%")
    return values, wanted
