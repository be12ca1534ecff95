"""Remembers what opening files told, in one JSON file per folder, so that no index grows with other data sets."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cl_bench.utils.files import replacing
from cl_bench.utils.paths import cache_root


def by_folder(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """Return the files by the folder that each lies in."""
    found: dict[Path, list[Path]] = {}
    for path in paths:
        found.setdefault(path.parent, []).append(path)
    return found


def place(what: str, folder: Path) -> Path:
    """Return the file that keeps what is known of the files of a folder."""
    name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()
    return cache_root() / what / f"{name}.json"


def read(what: str, schema: int, folder: Path) -> dict[str, list[Any]]:
    """Return what is known; nothing where that is damaged or of another schema, as it only saves time."""
    try:
        content = json.loads(place(what, folder).read_bytes())
        files = content["files"] if content["schema"] == schema else {}
        return {str(name): list(values) for name, values in files.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def write(what: str, schema: int, folder: Path, known: dict[str, list[Any]]) -> None:
    """Keep what is known. Where two processes write at once, the last one's file stays, whole."""
    with replacing(place(what, folder)) as file:
        file.write(json.dumps({"schema": schema, "files": known}).encode())
