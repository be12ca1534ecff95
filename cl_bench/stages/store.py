"""The store of trained stages: one folder a stage, there whole or not at all; nothing in it is ever unpickled."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_bench.errors import UserError
from cl_bench.paths import make_writable

if TYPE_CHECKING:
    from torch import Tensor

    from cl_bench.stages.checkpoint import Checkpoints

SCHEMA = 1


class Store:
    """Stages by key under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = make_writable(root)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """How far unfinished stages have got."""
        from cl_bench.stages.checkpoint import Checkpoints

        return Checkpoints(self.root / ".checkpoints")

    def folder(self, key: str) -> Path:
        """Return where the stage lies, or would lie."""
        return self.root / key

    def __contains__(self, key: str) -> bool:
        return (self.folder(key) / "stage.json").is_file()

    def describe(self, key: str) -> dict[str, Any]:
        """Return the stage's stage.json."""
        return read_json(self.folder(key) / "stage.json")

    def weights(self, key: str) -> dict[str, Tensor]:
        """Return the stage's last weights, parameters and buffers."""
        from safetensors.torch import load_file

        return load_file(self.folder(key) / "model.safetensors")

    def states(self, key: str) -> dict[str, Tensor]:
        """Return what plug-ins carried out of the stage; nothing where they carried nothing."""
        from safetensors.torch import load_file

        path = self.folder(key) / "state.safetensors"
        return load_file(path) if path.is_file() else {}

    def scores(self, key: str) -> dict[tuple[str, str], float]:
        """Return the last evaluation: (task, metric) -> value."""
        with (self.folder(key) / "evaluations.csv").open(newline="", encoding="utf-8") as file:
            return {(row["task"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)}

    def add(self, key: str, write: Callable[[Path], None]) -> None:
        """Let `write` fill a folder and move it into place; of two writers of one key the first one wins."""
        draft = self.root / f".draft-{key}-{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            write(draft)
            for path in [*draft.iterdir(), draft]:
                _sync(path)
            try:
                draft.rename(self.folder(key))
            except OSError:
                if key not in self:
                    raise
            _sync(self.root)
            self.checkpoints.drop(key)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def stages(self) -> Iterable[dict[str, Any]]:
        """Yield the stage.json of every stage."""
        for path in sorted(self.root.glob("[!.]*/stage.json")):
            yield read_json(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in `path`; UserError where it is torn or from a newer version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not readable: {error}") from error
    if not isinstance(content, dict) or content.get("schema", 0) > SCHEMA:
        raise UserError(f"{path} was written by a newer version of cl_bench")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` with its schema version, whole or not at all."""
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        draft.write_text(json.dumps({"schema": SCHEMA, **content}, indent=1) + "\n", encoding="utf-8")
        _sync(draft)
        draft.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> None:
    """Write `rows` under `columns`; floats so that they read back as the same bits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: repr(value) if isinstance(value, float) else value for key, value in row.items()})


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
