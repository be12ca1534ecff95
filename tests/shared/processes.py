"""Commands in processes of their own which begin at once: they are forked from one that has imported what they need."""

from __future__ import annotations

import os
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

from cl_bench.runner.executors.forkserver import start_server, worker_context


def begin(code: str, said: Path, **environment: str) -> BaseProcess:
    """Run Python code as the leader of a session, in today's environment; what it prints is appended to `said`."""
    start_server()
    process = worker_context().Process(target=_run, args=(code, said, {**os.environ, **environment}))
    process.start()
    return process


def ended(process: BaseProcess) -> int:
    """Wait for the end; return the exit code."""
    process.join(timeout=300)
    assert process.exitcode is not None, "it has not come to an end"
    return process.exitcode


def _run(code: str, said: Path, environment: dict[str, str]) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    with said.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    exec(code, {"__name__": "__main__"})
