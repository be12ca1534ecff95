"""The process that workers are forked from: it imports once what each of them would else import for many seconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext, ForkServerContext, ForkServerProcess

FORKED = sys.platform == "linux" and sys.version_info >= (3, 11)
"""Elsewhere system libraries do not bear forking, or Python has the working folder's files shadow modules."""
IMPORTED = ["cl_bench.runner.executors.local"]
"""Where one cannot be imported the server says nothing, and workers import it themselves."""


def start_server() -> None:
    """Let it import, beside whatever this process does before it has work for workers; nothing if it runs already.

    It stays until this process ends, with what it found then of files, environment and processors.
    """
    if not FORKED:
        return
    from multiprocessing import forkserver, resource_tracker

    multiprocessing.set_forkserver_preload(IMPORTED)
    resource_tracker.ensure_running()  # which would undo the mask
    with _inherited():
        forkserver.ensure_running()


def end_if_imported_by_a_worker() -> None:
    """End this process where it is a worker that imports its parent's script, which must not train in it once more."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing itself finds out
        sys.exit(1)


class _ForkedWorker(ForkServerProcess):
    """A worker before whose start a server that was killed is started as it had been at first."""

    def start(self) -> None:
        start_server()
        super().start()


class _ForkedWorkers(ForkServerContext):
    Process = _ForkedWorker


def worker_context() -> BaseContext:
    """Return how worker processes are made.

    Never by forking this process: a forked child of one that has used OpenMP's threads may hang, and the server has
    used none.
    """
    return _ForkedWorkers() if FORKED else multiprocessing.get_context("spawn")


@contextmanager
def _inherited() -> Iterator[None]:
    """Let a process that is started import from where this one does, and leave Ctrl-C to this one."""
    path = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in path}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(path)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
