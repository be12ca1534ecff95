"""The store of trained stages: one folder a stage, there whole or not at all; nothing in it is ever unpickled."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, SoftFileLock, Timeout

from cl_bench.errors import UserError
from cl_bench.results.store.checkpoints import Checkpoints
from cl_bench.results.store.json_files import SCHEMA, read_json, read_mapping, refuse_newer, write_json
from cl_bench.utils.files import make_writable, sync
from cl_bench.utils.hashing import file_hash
from cl_bench.utils.paths import store_root

if TYPE_CHECKING:
    from torch import Tensor

LARGE = ("model.safetensors", "state.safetensors", "predictions.safetensors")
"""Files that are looked at only before a stage starts from them: what reads results does not need them."""


class Store:
    """Stages by key under `root`."""

    def __init__(self, root: Path, writable: bool = True) -> None:
        """Open the store, and create it where there is none; writable: False to look at it only."""
        self.root = make_writable(root) if writable else root
        self.checkpoints = Checkpoints(self.root / ".checkpoints")
        self._intact: set[str] = set()

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Yield whether the stage is this process' to train until the context ends; False where another is at it.

        The lock is the kernel's (flock), which frees it when its owner ends, however it ends.
        """
        lock = FileLock(self.root / ".locks" / f"{key}.lock", timeout=0)
        try:
            (self.root / ".locks").mkdir(exist_ok=True)
            lock.acquire()
        except Timeout:
            yield False
            return
        except OSError as error:
            raise UserError(f"cannot write {lock.lock_file}: {error.strerror}") from error
        try:
            if isinstance(lock, SoftFileLock):  # what it turns into where the file system has no flock
                raise UserError(f"{self.root} lies on a file system without locks (flock): a stage needs them")
            yield True
        finally:
            lock.release()

    def is_claimed(self, key: str) -> bool:
        """Return whether a process, this one or another, is training the stage."""
        if not (self.root / ".locks" / f"{key}.lock").exists():
            return False
        try:
            with self.claim(key) as free:
                return not free
        except UserError:  # a store that is only read: nobody here can be training
            return False

    def folder(self, key: str) -> Path:
        """Return where the stage lies, or would lie."""
        return self.root / key

    def __contains__(self, key: str) -> bool:
        if not (self.folder(key) / "stage.json").is_file():
            return False
        if key not in self._intact and self.intact(key):
            self._intact.add(key)  # but never that it is damaged: another process may train it again
        return key in self._intact

    def intact(self, key: str, tensors: bool = False) -> bool:
        """Return whether the stage's files are those that were written; tensors: look at the large ones, too.

        Raises UserError where a newer version wrote them: they are its, and whole for all we know.
        """
        return intact(self.folder(key), tensors)

    def discard(self, key: str) -> None:
        """Move a damaged stage out of the way, so that it can be trained again; it is kept for a look at it."""
        self._intact.discard(key)
        aside = self.root / ".damaged"
        aside.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            self.folder(key).rename(aside / f"{key}-{time.time_ns()}")

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

    def add(self, key: str, description: Mapping[str, Any], write: Callable[[Path], None]) -> bool:
        """Let `write` fill a folder, describe it in stage.json, and move it into place, whole; return whether it is.

        Of two writers of one key the first one wins; what is damaged makes room.
        """
        draft = self.root / f".draft-{key}-{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            write(draft)
            files = {path.name: _hash_of(path) for path in sorted(draft.iterdir())}
            content = {"schema": SCHEMA, **description, "files": files}
            write_json(draft / "stage.json", {**content, "sha256": _seal(content)})
            placed = self.place(key, draft)
            self.checkpoints.drop(key)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return placed

    def place(self, key: str, draft: Path) -> bool:
        """Move a finished folder, which lies in the same file system, to where the stage belongs.

        Return whether it lies there: where another one of the stage does, that one stays.
        """
        for path in [*draft.iterdir(), draft]:
            sync(path)
        if self.folder(key).exists() and key not in self:
            self.discard(key)
        placed = True
        try:
            draft.rename(self.folder(key))
        except OSError:
            if key not in self:
                raise
            placed = False
        sync(self.root)
        return placed

    def stages(self) -> Iterable[dict[str, Any]]:
        """Yield the stage.json of every stage."""
        for path in sorted(self.root.glob("[!.]*/stage.json")):
            yield read_json(path)


def intact(folder: Path, tensors: bool = False) -> bool:
    """Return whether the files of a stage's folder are those that were written; tensors: the large ones, too.

    Stages of schema 1 kept no hashes, so they are not. Raises UserError where a newer version wrote them.
    """
    path = folder / "stage.json"
    try:
        description = read_mapping(path)
    except UserError:
        return False
    if description.pop("sha256", None) != _seal(description):
        return False
    refuse_newer(path, description)
    files = description.get("files")
    return isinstance(files, dict) and all(
        _hash_of(folder / name) == digest for name, digest in files.items() if tensors or name not in LARGE
    )


def set_damaged_aside(folders: Iterable[Path]) -> None:
    """Move those folders of stages away whose files, weights included, are not those that were written.

    Raises UserError where there are any: only a run can make them anew, and it does where it finds none.
    """
    damaged = [folder for folder in folders if not intact(folder, tensors=True)]
    for folder in damaged:
        try:
            Store(folder.parent, writable=False).discard(folder.name)
        except OSError as error:
            raise UserError(f"{folder} is damaged, and cannot be set aside: {error.strerror}") from error
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise UserError(f"{damaged[0]}{more}: damaged, and set aside; run the experiment again, which trains anew")


def _seal(description: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def _hash_of(path: Path) -> str | None:
    """Return the SHA-256 of a file; None where there is none that can be read."""
    try:
        return file_hash(path)
    except OSError:
        return None


def find_stage(results: Path, key: str) -> Path | None:
    """Return the folder of a stage of the experiment whose results lie in `results`, where there is one.

    It is in the store, or in one beside the results, which may have been moved here together.
    """
    candidates = (store_root() / key, results.parent / "stages" / key)
    return next((folder for folder in candidates if (folder / "stage.json").is_file()), None)
