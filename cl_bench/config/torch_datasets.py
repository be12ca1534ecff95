"""Data sets that are given as objects, in place of where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cl_bench.errors import UserError

FORMAT = "torch_dataset"
"""The data format of what was given as objects."""


class HeldDataset:
    """Holds a data set as it was given, so that nobody who copies or dumps an experiment looks inside."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __repr__(self) -> str:
        return f"<{type(self.dataset).__name__}>"


def hold_datasets(data: Any) -> Any:
    """Return a task's data with what are data sets in it held, and with their format named."""
    if not isinstance(data, Mapping) or not any(map(_is_dataset, data.values())):
        return data
    return {"format": FORMAT, **{key: HeldDataset(part) if _is_dataset(part) else part for key, part in data.items()}}


def refuse_datasets(data: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UserError where data, by task, hold an object, which no file can."""
    for task, parts in data.items():
        if any(isinstance(part, HeldDataset) for part in parts.values()):
            raise UserError(f"the data of task {task} were given as objects, which YAML cannot hold")


def _is_dataset(part: Any) -> bool:
    """Return whether `part` has items to ask for and is no plain value, as a torch data set that counts its images."""
    if part is None or isinstance(part, str | bytes | int | float | list | tuple | set | Mapping | HeldDataset):
        return False
    return callable(getattr(part, "__getitem__", None)) and not isinstance(part, type)
