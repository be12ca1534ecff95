"""Names of presets that were renamed: which is whose."""

from __future__ import annotations

from collections.abc import Iterable

KEPT_AS = {
    "all-strategies": "zoo",
    "voc-coco-imagenette": "unified_onehead",
    "voc-coco-imagenette-best": "unified_onehead_best",
    "voc-coco-imagenette-lite": "unified_onehead_lite",
    "voc-coco-imagenette-orders": "orders",
}
"""Presets that had another name first: it goes on working, and is the one under which their results are kept."""


def kept_as(name: str) -> str:
    """Return the name of the results of the preset `name`; any other name is its own."""
    return KEPT_AS.get(name, name)


def preset_name(name: str) -> str:
    """Return the name of the preset that was called `name` before; any other name is its own."""
    return next((new for new, old in KEPT_AS.items() if old == name), name)


def both_names(names: Iterable[str]) -> list[str]:
    """Return `names` of presets or results, and the other name of each that has one."""
    own = set(names)
    return sorted(own.union(*({new, old} for new, old in KEPT_AS.items() if own & {new, old})))
