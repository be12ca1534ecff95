"""Images of one's own in place of a task's test part, whatever its data came from."""

from __future__ import annotations

from pathlib import Path

from cl_bench.config.schema import Experiment, TaskConfig
from cl_bench.data.base import Split
from cl_bench.data.layouts import ALL, layouts, part_folder
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.tasks import split_off
from cl_bench.tasks.catalog import read_split


def other_images(experiment: Experiment, task: str, path: str, split: str) -> Split:
    """Return the part `split` of what lies in `path`, with the classes of `task`.

    It is read in the task's own format or, of a task whose data go by a name and not by a path (torchvision's, embedded
    ones), in the format that the folder is found to have. A folder without parts counts whole, in the first case where
    the task's own parts are split off. A folder may be torchvision's with another copy of the data set. Raises
    UserError, naming task and folder, for what cannot be read.
    """
    configs = {config.name: config for config in experiment.tasks}
    if task not in configs:
        raise unknown_name_error("task", task, configs)
    config = configs[task]
    if "path" not in config.data:
        return _found(config, path, split)
    data = {name: value for name, value in config.data.items() if name != split_off.KEY} | {"path": path}
    whole = split_off.KEY in config.data and not _has(config, Path(path), split)
    return read_split(config.model_copy(update={"data": data}), ALL if whole else split)


def _has(config: TaskConfig, folder: Path, split: str) -> bool:
    """Return whether a folder has the part `split`, with or without others beside it."""
    if folder.is_dir() and part_folder(folder, split).is_dir():
        return True
    name = config.data["format"]
    found = layouts(folder, name).get(name, ())
    return any(layout.kind == config.kind and split in layout.splits for layout in found)


def _found(config: TaskConfig, path: str, split: str) -> Split:
    if not Path(path).is_dir():
        raise UserError(f"--data {config.name}={path}: {path} is no folder")
    fitting = [
        (name, layout, part)
        for name, found in layouts(Path(path)).items()
        for layout in found
        for part in (split, ALL)
        if layout.kind == config.kind and part in layout.splits
    ]
    if len(fitting) == 1:
        name, layout, part = fitting[0]
        data = {"format": name, "path": path, **layout.options}
        classes = config.classes or read_split(config, "train").classes
        return read_split(config.model_copy(update={"data": data, "classes": classes}), part)
    if not fitting and "root" in config.data:
        try:
            return read_split(config.model_copy(update={"data": {**config.data, "root": path}}), split)
        except UserError as error:
            reason = f", and is no other copy of its data set: {error}"
    else:
        reason = f": {', '.join(name for name, *_ in fitting)} fit" if fitting else ""
    raise UserError(
        f"--data {config.name}={path}: the task's data (format {config.data['format']}) go by a name, so that the "
        f"folder must hold {split} images for {config.kind} in one layout that `cl-bench data add` finds{reason}"
    )
