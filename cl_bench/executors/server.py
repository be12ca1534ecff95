"""The process that workers are forked from: it imports once what each of them would else import for many seconds."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from multiprocessing.context import BaseContext

IMPORTED = ["cl_bench.executors.local"]


def start_server() -> None:
    """Let it import, beside whatever this process does before it has work for workers; nothing if it runs already."""
    if sys.platform == "linux":
        from multiprocessing import forkserver

        multiprocessing.set_forkserver_preload(IMPORTED)
        # It inherits the mask: Ctrl-C is this process' business.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def worker_context() -> BaseContext:
    """Return how worker processes are made.

    Never by forking this process: a forked child of one that has used OpenMP's threads may hang, and the server has
    used none. Elsewhere than on Linux system libraries do not bear forking, and workers import for themselves.
    """
    start_server()
    return multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
