"""One plan at a time in a folder of results: two commands on it must mean the same experiment."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cl_bench.errors import UserError
from cl_bench.plan_file import read_plan
from cl_bench.stages.store import write_json


@contextmanager
def planned(folder: Path, plan: Mapping[str, Any]) -> Iterator[None]:
    """Write `plan` as the folder's plan.json, and keep other plans away until the context ends.

    Raises UserError where another command is at work there on other runs. The lock is the kernel's (flock), which frees
    it when its owner ends, however it ends; on a file system that has none, nothing is kept away.
    """
    with (folder / ".running").open("a") as lock:
        with contextlib.suppress(OSError):
            _take(lock.fileno(), folder, plan)
        write_json(folder / "plan.json", plan)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _take(lock: int, folder: Path, plan: Mapping[str, Any]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        fcntl.flock(lock, fcntl.LOCK_SH)  # at once, or when another one has written its plan
        if any(read_plan(folder)[part] != plan[part] for part in ("runs", "baselines")):
            raise UserError(
                f"another command is running {plan['experiment']} with other strategies, orders, seeds or settings:"
                " wait for it, or give this one a name of its own, --set name=..."
            ) from error
