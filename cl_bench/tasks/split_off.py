"""Parts for data that have none: `split_off: {val: 0.1, test: 0.1}` in a task's data, whatever their format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from cl_bench.config.complaints import explain
from cl_bench.data import base
from cl_bench.data.base import DataFormat, Split
from cl_bench.data.cache import fingerprint
from cl_bench.errors import UserError
from cl_bench.kinds.base import Kind
from cl_bench.plugins.code_origin import code_identity
from cl_bench.plugins.registry import kinds
from cl_bench.tasks.dev_split import strata
from cl_bench.utils.files import write_whole
from cl_bench.utils.paths import cache_root

KEY = "split_off"
VERSION = 1
"""To be raised when the parts become others."""

ENOUGH = 3
"""Images of a stratum from which on some go to every part."""


class Shares(BaseModel, frozen=True, extra="forbid", strict=True):
    """Shares of val and test, 0..1; of: what they are taken from, all images, or train where there is one.

    test: 0 leaves it to the data, which may have a test part of their own.
    """

    of: Literal["all", "train"] = "all"
    val: float = Field(0.1, gt=0, lt=0.5)
    test: float = Field(0.1, ge=0, lt=0.5)


def read(
    source: DataFormat, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None
) -> Split:
    """Read `split` as `DataFormat.read` does, of data that have no such part, by the shares in `options`."""
    shares, rest = _shares(options)
    if split == "test" and not shares.test:
        return source.read(rest, kind, "test", classes)
    whole = source.read(rest, kind, shares.of, classes)
    parts = _parts(kinds.get(kind), whole, shares)
    note = f"{len(parts[split])} of {len(whole.examples)} images, split off by class"
    examples = tuple(example for example in whole.examples if example.name in parts[split])
    if not examples:
        place = options.get("path", f"the data of format {source.name}")
        raise UserError(f"{place} has {len(whole.examples)} images, too few to split {split} off")
    return replace(whole, examples=examples, notes=(*whole.notes, note))


def has_test(source: DataFormat, options: Mapping[str, Any], kind: str) -> bool:
    """Return whether a test part is split off, or the data have one."""
    shares, rest = _shares(options)
    return shares.test > 0 or base.has_test(source, rest, kind)


def _shares(options: Mapping[str, Any]) -> tuple[Shares, dict[str, Any]]:
    try:
        shares = Shares.model_validate(options[KEY])
    except ValidationError as error:
        raise UserError(f"`{KEY}` in the data: {explain(error, lambda _: list(Shares.model_fields))}") from error
    return shares, {key: value for key, value in options.items() if key != KEY}


def _parts(kind: Kind, whole: Split, shares: Shares) -> dict[str, set[str]]:
    """Return the names of each part, from the cache where the same data were divided before."""
    code = code_identity(kind)
    identity = json.dumps([VERSION, kind.name, fingerprint(whole), shares.val, shares.test, *([code] if code else [])])
    place = cache_root() / "split_off" / f"{hashlib.sha256(identity.encode()).hexdigest()}.json"
    try:
        found = json.loads(place.read_bytes())
        return {part: set(found[part]) for part in ("train", "val", "test")}
    except (OSError, ValueError, KeyError, TypeError):
        parts = divide(kind, whole, shares.val, shares.test)
    write_whole(place, json.dumps({part: sorted(names) for part, names in parts.items()}).encode())
    return parts


def divide(kind: Kind, whole: Split, val: float, test: float) -> dict[str, set[str]]:
    """Return the names of train, val and test: shares `val` and `test` of each class, by names and targets alone.

    A stratum (`strata`) of three images or more goes to each part, and one image of each at least to train.
    """
    parts: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    seen = 0
    for stratum in strata(kind, whole, KEY):
        seen += len(stratum)
        names, start = [example.name for example in stratum], 0
        for part, share in (("val", val), ("test", test)):
            # What rounding left out of earlier classes is made good in later ones.
            due = round(seen * share - len(parts[part]))
            least = 1 if share and len(names) >= ENOUGH else 0
            count = min(max(due, least), len(names) - 1 - start)
            parts[part] |= set(names[start : start + max(count, 0)])
            start += max(count, 0)
        parts["train"] |= set(names[start:])
    return parts
