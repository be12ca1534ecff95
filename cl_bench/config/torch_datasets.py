"""Data sets that are given as objects, in place of where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationInfo

from cl_bench.errors import UserError

FORMAT = "torch_dataset"
"""The data format of what was given as objects."""
PARTS = ("train", "val", "test", "all")
"""The keys under which data sets are given; "all" is divided by `split_off`."""
CONTAINERS = (str, bytes, int, float, list, tuple, set, Mapping)


class HeldDataset:
    """Holds a data set as it was given, so that nobody who copies or dumps an experiment looks inside."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __repr__(self) -> str:
        return f"<{type(self.dataset).__name__}>"


def hold_datasets(data: Any, info: ValidationInfo) -> Any:
    """Return a task's data with what are data sets in it held, and with their format named.

    Raises UserError for what is given in place of a data set and is none, and for one that is given as no part.
    """
    task = info.data.get("name", "")
    if data is None or isinstance(data, str | int | float):
        return data
    if not isinstance(data, Mapping):
        raise UserError(
            f"data of task {task} must be a mapping of settings, or of data sets, {{'train': ..., 'val': ...}}, not of "
            f"type {type(data).__name__}"
        )
    if "format" not in data:
        _refuse_others(data, task)
    if not any(map(_is_dataset, data.values())):
        return data
    given = {key: part for key, part in data.items() if part is not None}
    return {"format": FORMAT, **{key: HeldDataset(part) if _is_dataset(part) else part for key, part in given.items()}}


def refuse_datasets(data: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UserError where data, by task, hold an object, which no file can."""
    for task, parts in data.items():
        if any(isinstance(part, HeldDataset) for part in parts.values()):
            raise UserError(f"the data of task {task} were given as objects, which YAML cannot hold")


def _refuse_others(data: Mapping[str, Any], task: str) -> None:
    """Raise UserError for a part that is meant as a data set and is none, with what makes one of it."""
    texts = () if any(map(_is_dataset, data.values())) else (str,)
    for key in PARTS:
        part = data.get(key)
        if part is None or isinstance(part, (HeldDataset, *texts)) or _is_dataset(part):
            continue
        cure = "wrap it in a torch.utils.data.Dataset, whose items are pairs of an image and its target"
        if isinstance(part, type):
            raise UserError(f"data of task {task}: {key!r} is the class {part.__name__}: give a data set of that class")
        if hasattr(part, "dataset"):
            cure = "give what it loads, its `dataset`"
        raise UserError(f"data of task {task}: {key!r} is of type {type(part).__name__}, and no data set: {cure}")


def _is_dataset(part: Any) -> bool:
    """Return whether `part` has items to ask for and is no plain value, as a torch data set that counts its images."""
    if part is None or isinstance(part, (*CONTAINERS, HeldDataset, type)):
        return False
    # Arrays, tensors and tables are asked for numbers, too.
    return callable(getattr(part, "__getitem__", None)) and not (hasattr(part, "shape") and hasattr(part, "ndim"))
