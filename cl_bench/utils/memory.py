"""The peak memory of this process, without PyTorch, which would be in it."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import sys
from pathlib import Path


def peak_mb() -> float:
    """Return the process's peak memory in MB, on Linux since it was last cleared.

    A forked process has no pages of its own for libraries that its parent has read, and would seem smaller than one
    that has read them itself: these count for it, too.
    """
    own = _memory("self")
    if "VmHWM" not in own:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    files = own.get("RssFile", 0.0)
    return own["VmHWM"] + max(_files_of_the_server() - files, 0.0)


def _files_of_the_server() -> float:
    """Return the MB of files in memory of the server that this process was forked from; zero where it was not."""
    started_by = multiprocessing.parent_process()
    if started_by is None or started_by.pid == os.getppid():
        return 0.0
    return _memory(str(os.getppid())).get("RssFile", 0.0)


def _memory(process: str) -> dict[str, float]:
    """Return what Linux says of a process's memory, in MB; nothing where it does not."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return {}
    return {name: int(amount) * 1024 / 1e6 for name, amount in re.findall(r"(\w+):\s+(\d+) kB", status)}
