"""One plan at a time in a folder of results: two commands on it must mean the same experiment."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cl_bench.errors import UserError
from cl_bench.results.plan_file import read_record
from cl_bench.results.store.json_files import write_json


@contextmanager
def exclusive_plan(folder: Path, plan: Mapping[str, Any]) -> Iterator[None]:
    """Write `plan` as the folder's plan.json, and keep other plans away until the context ends.

    Raises UserError where another command is at work there on other runs. The lock is the kernel's (flock), which frees
    it when its owner ends, however it ends; on a file system that has none, nothing is kept away.
    """
    path = folder / ".running"
    try:
        lock = path.open("a+")  # NFS lets nobody share a lock on what is not open for reading
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    with lock:
        _enter(lock.fileno(), folder, plan)
        yield


def _enter(lock: int, folder: Path, plan: Mapping[str, Any]) -> None:
    for _ in range(2):  # the one that was there may have ended meanwhile
        try:
            if _take(lock):
                write_json(folder / "plan.json", plan)
            fcntl.flock(lock, fcntl.LOCK_SH)
        except OSError:
            write_json(folder / "plan.json", plan)
            return
        # Read again in any case: between the two locks another command may have come in.
        found = read_record(folder)
        if all(found[part] == plan[part] for part in ("runs", "baselines")):
            return
    raise UserError(
        f"another command is running {plan['experiment']} with other strategies, orders, seeds or settings:"
        " wait for it, or give this one a name of its own, --set name=..."
    )


def _take(lock: int) -> bool:
    """Return whether nobody else is at work; then nobody can come until the lock is shared."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
