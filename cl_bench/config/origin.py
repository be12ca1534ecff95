"""Where an experiment comes from: what it names lies beside its file, and results know what they were made of."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cl_bench.config.names import current_keys
from cl_bench.config.values import DEV
from cl_bench.errors import UserError

PLAN = "plan.json"
_PLACES = ("path", "root")
"""Keys of a task's data that name a folder or a file; the latter is torchvision's."""


def beside(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the settings with the paths that are relative to `folder`, that of their file, as this process has them.

    A path is looked for in `folder` first, then in the current folder, which is where it stays if neither has it.
    """
    tasks = content.get("tasks")
    if isinstance(tasks, list):
        content = {**content, "tasks": [_with_data(task, folder) for task in tasks]}
    model = content.get("model")
    if isinstance(model, dict) and _names_weights(model.get("weights")):
        content = {**content, "model": {**model, "weights": _placed(model["weights"], folder)}}
    for key, value in content.items():
        # What is set of another file's task, or model, by a dotted key.
        words = str(key).split(".")
        of_data = (words[0], *words[2:-1]) == ("tasks", "data") and words[-1] in _PLACES
        if of_data or (words == ["model", "weights"] and _names_weights(value)):
            content = {**content, key: _placed(value, folder)}
    return content


def _with_data(task: Any, folder: Path) -> Any:
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        return task
    return {**task, "data": {**data, **{key: _placed(data[key], folder) for key in _PLACES if key in data}}}


def _names_weights(weights: Any) -> bool:
    return isinstance(weights, str) and weights.endswith((".safetensors", ".pth", ".pt"))


def _placed(path: Any, folder: Path) -> Any:
    if not isinstance(path, str) or not path or path.startswith(("~", "$")) or os.path.isabs(path):
        return path
    place = folder / path
    if os.path.exists(place):
        here = Path.cwd()
        absolute = Path(os.path.abspath(place))
        # Below the current folder it stays relative, so that results hold no more of this machine than they need.
        return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)
    return path


def experiment_of(plan: Path) -> dict[str, Any]:
    """Return the settings that results were made of, as their plan.json holds them, under the name of their folder.

    Raises UserError where the file holds none, or the scores are of other images than the experiment's own.
    """
    try:
        record = json.loads(plan.read_bytes())
        settings = dict(record["settings"])
        settings["tasks"] = [current_keys(task) for task in settings["tasks"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{plan} holds no settings of an experiment: {error}") from error
    name, split = plan.parent.name, settings.get("split")
    if "other_data" in record:
        raise UserError(f"the results {name} are scores on other images (`rescore --data`): name what they are of")
    return {**settings, "name": name.removesuffix(f"-{split}") if split in DEV else name}
