"""The names that a data set in memory has for its classes, as texts, each another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cl_bench.errors import UserError


def class_names(dataset: Any, what: str) -> list[str]:
    """Return the names in `dataset.classes`, none where there are none; synonyms, as ImageNet has, become one name.

    A name that several classes have is followed by their numbers. Raises UserError, in which the data set is called
    `what`, for what is no list of texts.
    """
    found: Any = getattr(dataset, "classes", None)
    found = found.tolist() if hasattr(found, "tolist") else found
    if found is None:
        return []
    if isinstance(found, str) or not isinstance(found, Sequence):
        raise UserError(f"{what}: its `classes` must be a list of names, not {_kind_of(found)}")
    names = [", ".join(map(str, name)) if isinstance(name, tuple) else name for name in found]
    if others := [name for name in names if not isinstance(name, str | int)]:
        raise UserError(f"{what}: its `classes` must be a list of names, and one is {_kind_of(others[0])}")
    counts = Counter(map(str, names))
    return [f"{name} ({label})" if counts[str(name)] > 1 else str(name) for label, name in enumerate(names)]


def _kind_of(value: Any) -> str:
    return "a method" if callable(value) else f"of type {type(value).__name__}"
