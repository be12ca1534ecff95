"""Why stages are not there: one JSON file a stage beside the results, shared by all experiments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from cl_bench.errors import UserError
from cl_bench.executors.frontier import Failure
from cl_bench.paths import make_writable
from cl_bench.stages.store import read_json, write_json


class Failures:
    """Failures by key of their stage, in the folder `failed` of `results`."""

    def __init__(self, results: Path) -> None:
        self.folder = results / "failed"

    def path(self, key: str) -> Path:
        """Return where the stage's failure is written, or would be."""
        return self.folder / f"{key}.json"

    def paths(self) -> list[Path]:
        """Return the files of all failures that are known."""
        return sorted(self.folder.glob("*.json"))

    def add(self, key: str, failure: Failure) -> None:
        """Write why the stage is not there."""
        make_writable(self.folder)
        write_json(self.path(key), {"key": key, **asdict(failure)})

    def get(self, key: str) -> Failure | None:
        """Return why the stage is not there; None where nothing is known."""
        if not self.path(key).is_file():
            return None
        try:
            found = read_json(self.path(key))
            log = tuple(map(str, found.get("log") or ()))
            return Failure(found.get("kind", "raised"), str(found.get("reason", "")), log)
        except (UserError, TypeError):
            return Failure("raised", f"it is not known why, as {self.path(key)} is torn")

    def diverged(self, keys: Iterable[str]) -> dict[str, Failure]:
        """Return those of the stages that diverged."""
        known = {key: self.get(key) for key in keys}
        return {key: failure for key, failure in known.items() if failure and failure.kind == "diverged"}

    def forget(self, keys: Iterable[str]) -> None:
        """Forget why these stages are not there; they are tried again, or noted anew."""
        for key in keys:
            self.path(key).unlink(missing_ok=True)
