"""Python code in processes of its own, without waiting for imports: each is forked from a server that has done them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from cl_bench.runner.executors.forkserver import worker_context


def begin(code: str, said: Path, **environment: str) -> BaseProcess:
    """Run `code` as the leader of a new session, with this process's environment variables and those given.

    What it prints goes to the file `said`, and its errors to the one beside it that ends in `.err`.
    """
    process = worker_context().Process(target=_run, args=(code, said, {**os.environ, **environment}))
    process.start()
    return process


def ended(process: BaseProcess) -> int:
    """Wait for the end; return the exit code. One that does not come to an end in five minutes is killed."""
    process.join(timeout=300)
    if process.exitcode is None:
        end(process)
        raise AssertionError("it has not come to an end")
    return process.exitcode


def end(process: BaseProcess) -> None:
    """Kill a process and all that it has started."""
    process.kill()
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def errors(said: Path) -> str:
    """Return what was said of errors by the process that prints to `said`."""
    return said.with_suffix(".err").read_text()


def _run(code: str, said: Path, environment: dict[str, str]) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    for path, descriptor in ((said, 1), (said.with_suffix(".err"), 2)):
        with path.open("w") as file:
            os.dup2(file.fileno(), descriptor)
    # A shell's background job starts deaf to Ctrl-C, and the server blocks it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    exec(code, {"__name__": "__main__"})
