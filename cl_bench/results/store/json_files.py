"""JSON and CSV files of results, with a schema version, whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cl_bench.errors import NewerVersionError, UserError
from cl_bench.utils.files import write_whole

SCHEMA = 2


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in `path`; UserError where it is torn, NewerVersionError where a newer version wrote it."""
    content = read_mapping(path)
    refuse_newer(path, content)
    return content


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in `path`, of whatever version; UserError where it is torn or none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable: {error}") from error
    if not (isinstance(content, dict) and isinstance(content.get("schema", 0), int)):
        raise UserError(f"{path} is not a file of cl_bench")
    return content


def refuse_newer(path: Path, content: Mapping[str, Any]) -> None:
    """Raise NewerVersionError where a newer version wrote `path`."""
    if content.get("schema", 0) > SCHEMA:
        raise NewerVersionError(f"{path} was written by a newer version of cl_bench")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` with its schema version, whole or not at all."""
    write_whole(path, (json.dumps({"schema": SCHEMA, **content}, indent=1) + "\n").encode())


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> None:
    """Write `rows` under `columns`; floats so that they read back as the same bits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: repr(value) if isinstance(value, float) else value for key, value in row.items()})
