"""Data of one's own: a folder read, audited and written down as an experiment to begin with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cl_bench.config.schema import validate
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats, kinds
from cl_bench.tasks.audit_report import report
from cl_bench.tasks.catalog import load_catalog
from cl_bench.utils.files import write_whole

PROTOCOL = {"epochs": 12, "batch_size": 4, "image_size": 256, "learning_rate": 3e-4, "schedule": "per_stage"}
MODEL = {"backbone": "tf_efficientnet_lite0", "weights": "bundled"}


def add(
    name: str, kind: str, path: Path, output: Path, format: str = "", classes: Sequence[str] = ()
) -> tuple[Path, str]:
    """Write `output`/NAME.yaml, the baseline of the data in `path` alone; return its path and the audit's report.

    kind: of task; format: how the folder is laid out, the only one that holds such data where empty; classes: the data
    set's own where empty. Raises UserError, naming the culprit, where the data cannot be read, has errors, or the file
    is there already.
    """
    kinds.get(kind)
    fitting = [
        one for one in formats if kind in formats.get(one).kinds and not getattr(formats.get(one), "embedded", False)
    ]
    if not fitting:
        raise UserError(
            f"no data format reads {kind} from a folder; one of your own can: --plugin, or an installed package"
        )
    if not format and len(fitting) != 1:
        raise UserError(f"{kind} data can be in the formats {', '.join(fitting)}: name one by --format")
    place = output / f"{name}.yaml"
    if place.exists():
        raise UserError(f"{place} is there already")
    task: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "data": {"format": format or fitting[0], "path": str(path.resolve())},
        **({"classes": list(classes)} if classes else {}),
    }
    content = {"description": f"{name} alone", "tasks": [task], "strategies": [], "model": MODEL, **PROTOCOL}
    (entry,) = load_catalog(validate({"name": name, **content}, str(path)))
    task["classes"] = list(entry.task.classes)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    return write_whole(place, text.encode()), report([entry.audit])
