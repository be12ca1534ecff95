"""What lies in a folder: which format's layout it has, and how its parts are called there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

ALL = "all"
"""What a reader is asked for in place of "train" where a folder has no parts: all of its examples."""

NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
    ALL: ("",),
}
"""What tools call each part; "" is the folder itself."""

SHOWN = 20
"""Rows of a file that an error lists; it says how many more there are."""


@dataclass(frozen=True)
class Layout:
    """What a format finds in a folder that it can read.

    kind: of task; splits: of "train", "val" and "test", those there, or `ALL` alone; how: in a few words, where images
    and labels lie; options: what the format must be told beside `path`.
    """

    kind: str
    splits: tuple[str, ...]
    how: str
    options: Mapping[str, Any] = field(default_factory=dict)


def layouts(root: Path, only: str = "") -> dict[str, tuple[Layout, ...]]:
    """Return by format what it finds in `root`; only: the one format to ask, where not empty.

    Formats say so by a method `layouts(root) -> Iterable[Layout]`. Raises UserError where none finds anything and one
    says why: what is broken for one format may be of no account to the one whose data they are.
    """
    found: dict[str, tuple[Layout, ...]] = {}
    broken: list[UserError] = []
    for name in [only] if only else formats:
        ask = getattr(formats.get(name), "layouts", None)
        try:
            found[name] = tuple(ask(root)) if ask is not None else ()
        except UserError as error:
            broken.append(error)
    there = {name: what for name, what in found.items() if what}
    if broken and not there:
        raise broken[0]
    return there


def called(split: str) -> tuple[str, ...]:
    """Return what tools call `split`."""
    return NAMES.get(split, (split,))


def standing_for(split: str, there: Iterable[str]) -> list[str]:
    """Return those of the names `there` that stand for `split`: the usual ones first, then others like them."""
    names = sorted(there)
    usual = [name for name in called(split) if name in names]
    return [*usual, *(name for name in names if split_of(name) == split and name not in usual)]


def to_try(split: str, there: Iterable[str]) -> list[str]:
    """Return the names that `split` may go by: the usual ones, there or not, then those of `there` like them."""
    return list(dict.fromkeys([*called(split), *standing_for(split, there)]))


def part_folder(root: Path, split: str) -> Path:
    """Return the folder of `split` in `root`, by the first of its `NAMES` that is there, else by its own.

    A name may be in capitals, or have "set" behind it, where no other is there; "dev" is val.
    """
    names = standing_for(split, (path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else ())
    return root / names[0] if names else root / split


def split_of(name: str) -> str:
    """Return the split that a folder's name stands for, however it is written, else ""."""
    plain = name.lower().removesuffix("set").rstrip("_-")
    plain = {"dev": "val"}.get(plain, plain)
    return next((split for split in ("train", "val", "test") if plain in called(split)), "")


def parts(there: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the splits of a layout by what was found of each: `ALL` counts only where train is not there."""
    found = tuple(split for split in ("train", "val", "test") if there.get(split))
    if "train" in found:
        return found
    return (ALL,) if there.get(ALL) else ()


def refuse(problems: list[str], cure: str) -> None:
    """Raise UserError with all of `problems`, each of which names its file, and how they are cured; none are fine."""
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        count = f"{len(problems)} things are wrong: " if len(problems) > 1 else ""
        raise UserError(f"{count}{'; '.join(problems[:SHOWN])}{more}; {cure}")
