"""How far unfinished stages have got: one file a stage, replaced whole after every epoch; never unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from cl_bench.utils.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1


class Checkpoints:
    """Snapshots by the key of their stage, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Return where the snapshot of the stage lies, or would lie."""
        return self.folder / f"{key}.safetensors"

    def save(self, key: str, snapshot: Snapshot) -> None:
        """Keep `snapshot` in place of the one before."""
        from safetensors.torch import save  # here, as what only looks how far stages have got needs no torch

        values = json.dumps(snapshot.values)
        content = save(
            snapshot.tensors, metadata={"schema": str(SCHEMA), "values": values, "sha256": _hash(snapshot, values)}
        )
        write_whole(self.path(key), content)

    def load(self, key: str) -> Snapshot | None:
        """Return the snapshot of the stage; None where there is none, or one that is torn or of another version."""
        try:
            with safe_open(self.path(key), framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            snapshot = Snapshot(tensors, json.loads(metadata["values"]))
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        known = metadata.get("schema") == str(SCHEMA)
        return snapshot if known and _hash(snapshot, metadata["values"]) == metadata.get("sha256") else None

    def epochs_done(self, key: str) -> int:
        """Return how many epochs the snapshot of the stage holds, by its header alone; 0 where there is none."""
        try:
            with safe_open(self.path(key), framework="np") as file:
                return int(json.loads(file.metadata()["values"])["epoch"])
        except (OSError, SafetensorError, KeyError, ValueError, TypeError):
            return 0

    def drop(self, key: str) -> None:
        """Forget the snapshot of a stage that is done."""
        self.path(key).unlink(missing_ok=True)


def _hash(snapshot: Snapshot, values: str) -> str:
    from cl_bench.utils.hashing import digest

    return hashlib.sha256(f"{digest(snapshot.tensors)} {values}".encode()).hexdigest()


@dataclass(frozen=True)
class Snapshot:
    """What `take` takes; values: as JSON holds them."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]
