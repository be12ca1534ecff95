"""Data of one's own: a folder read, audited and written down as an experiment, or as one more task of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cl_bench.config.schema import validate
from cl_bench.data.formats.mask_colours import BINARY
from cl_bench.errors import UserError
from cl_bench.tasks.audit_report import report
from cl_bench.tasks.catalog import load_catalog
from cl_bench.tasks.found import Found, check_classes, described, find
from cl_bench.tasks.one_more import description_of, with_task
from cl_bench.utils.files import write_whole

PROTOCOL = {"epochs": 12, "batch_size": 4, "image_size": 256, "learning_rate": 3e-4, "schedule": "per_stage"}
MODEL = {"backbone": "tf_efficientnet_lite0", "weights": "bundled"}


def add(
    name: str,
    kind: str,
    path: Path,
    output: Path,
    format: str = "",
    classes: Sequence[str] = (),
    *,
    to: Path | None = None,
    split_off: bool = False,
    options: Mapping[str, Any] | None = None,
) -> tuple[Path, str]:
    """Write `output`/NAME.yaml, the baseline of the data in `path` alone; return its path and what was found.

    kind, format: found out where empty; classes: the data set's own where empty; to: an experiment that the task is
    added to instead; split_off: val and test, of data that have none; options: of the data, beside `path`. Raises
    UserError, naming the culprit, where the data cannot be read, has errors, or the file is there already.
    """
    place = to or output / f"{name}.yaml"
    if to is None and place.exists():
        raise UserError(f"{place} is there already; --to {place} adds the task to it")
    found = find(path, kind, format, options or {}, split_off)
    task: dict[str, Any] = {
        "name": name,
        "kind": found.layout.kind,
        "data": _data(found, classes),
        **({"classes": list(classes)} if classes else {}),
    }
    content = {"description": description_of([name]), "tasks": [task], "strategies": [], "model": MODEL, **PROTOCOL}
    experiment = validate({"name": name, **content}, str(path))
    if to:
        with_task(to, task)  # what is wrong with the file is said before the audit, which may take minutes
    if not classes:
        check_classes(experiment.tasks[0])
    (entry,) = load_catalog(experiment)
    task["classes"] = list(entry.task.classes)
    text = with_task(to, task) if to else yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    said = f"{described(found, entry.audit)}\n\n{report([entry.audit])}"
    return write_whole(place, text.encode()), said


def _data(found: Found, classes: Sequence[str]) -> dict[str, Any]:
    """Return the data of the task; the two values of masks of 0 and 255 get the two names that are asked for."""
    data, table = found.data(), BINARY["colours"]
    if len(classes) == len(table) and found.layout.options == BINARY and data["colours"] == table:
        data["colours"] = dict(zip(classes, table.values(), strict=True))
    return data
