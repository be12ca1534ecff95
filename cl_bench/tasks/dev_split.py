"""The dev part: split off train, so that whatever is chosen is not chosen on val."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cl_bench.data.base import Example, Split
from cl_bench.errors import UserError
from cl_bench.utils.randomness import derive

if TYPE_CHECKING:  # it imports torch
    from cl_bench.kinds.base import Kind

EVERY = 4
"""One in so many examples goes to dev."""


def dev_split(kind: Kind, train: Split, fold: int = 0) -> tuple[Split, Split]:
    """Split `train` into what is left of it and dev, a quarter, deterministically and stratified by class.

    fold: which of the quarters, from 0.
    """
    ordered = [example for stratum in strata(kind, train, "dev") for example in stratum]
    # Every fourth of the strata laid end to end: a quarter of each, to within one, and of the whole.
    dev = {example.name for example in ordered[(EVERY // 2 + fold) % EVERY :: EVERY]}
    parts = [tuple(e for e in train.examples if (e.name in dev) == wanted) for wanted in (False, True)]
    if not all(parts):
        raise UserError(
            f"dev needs more training images than {len(train.examples)}: one in {EVERY} is split off for it"
        )
    rest, split_off = (replace(train, examples=part, notes=()) for part in parts)
    return rest, split_off


def strata(kind: Kind, split: Split, purpose: str) -> list[list[Example]]:
    """Return the examples of `split` by class, the rarest first, each in an order drawn for `purpose`.

    An example stands in the stratum of the class, of those it holds, that the fewest examples hold: so the rarest
    classes are divided best. All depends on the examples' names and targets alone; those that hold none come last.
    """
    held = kind.held(split)
    rarity = np.argsort(np.argsort(held.sum(0), kind="stable"))
    found: dict[int, list[Example]] = defaultdict(list)
    for example, holds in zip(split.examples, held, strict=True):
        found[int(rarity[holds].min()) if holds.any() else len(rarity)].append(example)
    return [sorted(stratum, key=lambda e: derive(purpose, e.name)) for _, stratum in sorted(found.items())]
