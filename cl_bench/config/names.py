"""Names of presets and keys that were renamed: which is whose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

KEPT_AS = {
    "all-strategies": "zoo",
    "voc-coco-imagenette": "unified_onehead",
    "voc-coco-imagenette-best": "unified_onehead_best",
    "voc-coco-imagenette-lite": "unified_onehead_lite",
    "voc-coco-imagenette-orders": "orders",
}
"""Presets that had another name first: it goes on working, and is the one under which their results are kept."""

NEW_TASK_KEYS = {"streams": "randomness"}
"""A task's former keys, each with the name that it has now (`KEPT_AS` goes the other way)."""


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


def current_keys(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's settings under the names that keys have now; ValueError where a key is set under both."""
    for old, new in NEW_TASK_KEYS.items():
        if task.get(old) is not None and task.get(new) is not None:
            raise ValueError(f"{old} is what {new} was called before, and both are set")
    known = {old: value for old, value in task.items() if old not in NEW_TASK_KEYS or value is not None}
    return {NEW_TASK_KEYS.get(key, key): value for key, value in known.items()}


def former_keys(tasks: Any) -> list[str]:
    """Return a sentence for each key of an experiment's `tasks`, as a file has them, that is named as before."""
    listed = [task for task in tasks if isinstance(task, Mapping)] if isinstance(tasks, list) else []
    used = [(task, old) for task in listed for old in NEW_TASK_KEYS if task.get(old) is not None]
    return [f"{old} of task {task.get('name')} is called {NEW_TASK_KEYS[old]} now" for task, old in used]
