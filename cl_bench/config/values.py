"""What values of settings look like: names, counts, shares, strides."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field


def file_name(name: str) -> str:
    """Return `name`; ValueError where it cannot be a file's."""
    if not re.fullmatch(NAME, name):
        raise ValueError("may hold letters, digits, '_' and '-' only, 100 of them at most")
    return name


def folder_name(name: str) -> str:
    """Return `name`; ValueError where it cannot be that of an experiment's folder."""
    if name in RESERVED:
        raise ValueError(f"{name!r} is a folder of the results that is no experiment's")
    return file_name(name)


NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"
"""What names of experiments and tasks look like, which become names of files."""
RESERVED = ("stages", "failed")
Name = Annotated[str, AfterValidator(file_name)]
FolderName = Annotated[str, AfterValidator(folder_name)]
Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=32, le=4096, multiple_of=32)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Zoom = Annotated[float, Field(ge=0.1, le=10)]
BatchNorm = Literal["train", "frozen"]
Level = Literal[8, 16, 32, 64]
Scored = Literal["val", "dev", "dev1", "dev2", "dev3"]
DEV: tuple[str, ...] = get_args(Scored)[1:]


def _one_or_more(levels: Any) -> Any:
    return levels if levels is None or isinstance(levels, (list, tuple)) else (levels,)


def _finest_first(levels: tuple[Level, ...] | None) -> tuple[Level, ...] | None:
    if levels is not None and (not levels or list(levels) != sorted(set(levels))):
        raise ValueError(f"must name at least one stride, each once, the finest first, not {list(levels)}")
    return levels


Levels = Annotated[tuple[Level, ...] | None, BeforeValidator(_one_or_more), AfterValidator(_finest_first)]
"""Strides, the finest first."""
