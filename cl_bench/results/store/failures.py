"""Why stages are not there: one JSON file a stage beside the results, shared by all experiments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cl_bench.errors import UserError
from cl_bench.results.store.json_files import read_json, write_json
from cl_bench.utils.files import make_writable


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


@dataclass(frozen=True)
class Failure:
    """Why a stage is not there.

    kind: "raised" (an exception), "diverged" (a loss that is not finite: the same bits would do so again), "killed"
    (its process ended) or "skipped" (what it descends from failed); log: the last lines it wrote.
    """

    kind: Literal["raised", "diverged", "killed", "skipped"]
    reason: str
    log: tuple[str, ...] = ()
