"""What arguments of Python functions take, by their names: what is of another type is refused in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

from cl_bench.errors import UserError


class _Takes(NamedTuple):
    words: str
    fits: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_place(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number, which True and False are not meant as."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _are(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda values: isinstance(values, Sequence) and all(map(fits, values))


def _are_orders(value: Any) -> bool:
    return _is_text(value) or _are(lambda order: _is_text(order) or _are(_is_text)(order))(value)


def _are_changes(value: Any) -> bool:
    return _are(_is_text)(list(value)) if isinstance(value, Mapping | list | tuple) else _is_text(value)


_TEXT = _Takes("a text", _is_text)
_PLACE = _Takes("a folder or an experiment's name", _is_place)
_TAKES = {
    **dict.fromkeys(("against", "filter", "format", "order", "sort", "split", "strategy", "url", "what"), _TEXT),
    "card": _Takes("True or False", lambda value: isinstance(value, bool)),
    "changes": _Takes('settings by dotted keys, such as {"epochs": 2}, or texts such as "epochs=2"', _are_changes),
    "columns": _Takes("names of columns", lambda value: _is_text(value) or _are(_is_text)(value)),
    "experiment": _Takes(
        "a preset's name, a YAML file, a dict or a cl_bench.Experiment",
        lambda value: _is_place(value) or isinstance(value, Mapping) or hasattr(value, "model_dump"),
    ),
    "orders": _Takes('"all" or lists of task names', _are_orders),
    "output": _Takes("a file", lambda value: value is None or _is_place(value)),
    "path": _PLACE,
    "plugin_files": _Takes("Python files", lambda value: _is_place(value) or _are(_is_place)(value)),
    "results": _PLACE,
    "seed": _Takes("a whole number", lambda value: value is None or is_whole(value)),
    "width": _Takes("a number", lambda value: isinstance(value, Real)),
    "workers": _Takes("a whole number from 1", lambda value: is_whole(value) and value >= 1),
}
"""What an argument of a name takes, whichever function has it."""


def check(**given: Any) -> None:
    """Raise UserError, which names the argument and what it takes, for the first of `given` that is something else."""
    for name, value in given.items():
        if not _TAKES[name].fits(value):
            raise UserError(f"{name} takes {_TAKES[name].words}, not {value!r}")


def as_list(given: Any) -> list[Any]:
    """Return what was given as a list; a single text or path is a list of one."""
    return [given] if _is_place(given) or not isinstance(given, Iterable) else list(given)
