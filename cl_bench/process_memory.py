"""The peak memory of this process, without PyTorch, which would be in it."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path


def peak_mb() -> float:
    """Return the process's peak memory in MB, on Linux since it was last cleared."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
