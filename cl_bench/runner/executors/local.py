"""Trains a plan on this machine: in this process, or in persistent worker processes."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from cl_bench.errors import StageFailedError, describe_error
from cl_bench.results.store.failures import Failure
from cl_bench.runner.executors.base import POLL, Executor, Job, Report, record_outcome
from cl_bench.runner.executors.forkserver import worker_context
from cl_bench.runner.executors.frontier import Chain, Frontier
from cl_bench.runner.prepare import Prepared
from cl_bench.stages.attempt import LINES, Outcome, attempt
from cl_bench.stages.trainer import Progress, Trainer
from cl_bench.utils.streams import take_any_text

MUTE = 5.0
"""Seconds after which a process that is gone, and of whose end the pool says nothing, is given up."""
NO_WORKERS = (
    "no worker process can be started (its own words, if any, are above; a script that trains in workers must do so"
    " below `if __name__ == '__main__':`)"
)


class InProcess(Executor):
    """Trains every chain in this process, one after the other."""

    def train(self, frontier: Frontier, prepared: Prepared, progress: Progress, report: Report) -> None:
        """Train with what was prepared in this process."""
        trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)
        while len(frontier):
            chain = frontier.take()
            assert chain is not None, "nothing is running, so something can be trained"
            report(chain[0], "started")
            record_outcome(frontier, chain, attempt(trainer, prepared.plan, chain, progress), report)


@dataclass(frozen=True)
class Workers(Executor):
    """Trains in `count` processes; one that is killed fails its chain, and another takes its place."""

    count: int

    def train(self, frontier: Frontier, prepared: Prepared, progress: Progress, report: Report) -> None:
        """Train as many chains side by side as there are processes."""
        job = Job.of(prepared)
        owners, running = _Owners(), dict[Future[Outcome], Chain]()
        # Datagrams, as a worker that is killed while it sends leaves no lock taken and no message half-sent.
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with here, there:
            given = (job, there, dict(os.environ))
            pool = ProcessPool(self.count, initializer=_start_worker, initargs=given, context=worker_context())
            try:
                while len(frontier):
                    while len(running) < self.count and (chain := frontier.take()):
                        report(chain[0], "started")
                        running[_schedule(pool, chain)] = chain
                    ended, _ = wait(running, timeout=POLL, return_when=FIRST_COMPLETED)
                    owners.listen(here, progress)
                    if not pool.active:  # it does not tell of all that it was given
                        raise StageFailedError(NO_WORKERS)
                    for future in running:
                        if owners.are_gone(running[future]):
                            future.cancel()
                    for future in ended:
                        chain = running.pop(future)
                        owners.forget(chain)
                        record_outcome(frontier, chain, _outcome(future, job, chain), report)
            finally:
                pool.stop()
                pool.join()


IN_PROCESS = InProcess()


def on_this_machine(workers: int) -> Executor:
    """Return what trains in so many processes; one is this process."""
    return IN_PROCESS if workers == 1 else Workers(workers)


def _schedule(pool: ProcessPool, chain: Chain) -> Future[Outcome]:
    try:
        found: Future[Outcome] = pool.schedule(_train_in_worker, args=[chain])
    except RuntimeError as error:  # it comes to every call, once a process cannot be started
        raise StageFailedError(NO_WORKERS) from error
    return found


def _outcome(future: Future[Outcome], job: Job, chain: Chain) -> Outcome:
    try:
        return future.result()
    except ProcessExpired as error:
        ended = f"signal {-error.exitcode}" if error.exitcode < 0 else f"exit code {error.exitcode}"
        return Failure("killed", f"its process ended ({ended})", _last_lines(job, chain))
    except CancelledError:
        return Failure("killed", "its process is gone", _last_lines(job, chain))
    except Exception as error:  # the worker could not be set up, or its answer not be read
        return Failure("raised", describe_error(error), _last_lines(job, chain))


class _Owners:
    """Which process is at which chain: the pool tells of no worker that ends with exit code 0."""

    def __init__(self) -> None:
        self._process: dict[str, int] = {}
        self._gone: dict[str, float] = {}

    def listen(self, wire: socket.socket, progress: Progress) -> None:
        """Take up what workers have told since: with one word that they are at a chain, with more how far they are."""
        with contextlib.suppress(BlockingIOError):
            while True:
                key, *told = json.loads(wire.recv(1024, socket.MSG_DONTWAIT))
                if len(told) == 1:
                    self._process[key] = told[0]
                else:
                    progress(key, *told)

    def forget(self, chain: Chain) -> None:
        """Nobody is at the chain any more."""
        self._process.pop(chain[0], None)
        self._gone.pop(chain[0], None)

    def are_gone(self, chain: Chain) -> bool:
        """Return whether the chain's process ended a while ago."""
        key = chain[0]
        if key not in self._process or _is_alive(self._process[key]):
            return False
        return time.monotonic() - self._gone.setdefault(key, time.monotonic()) > MUTE


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):  # or the number is another user's process by now
        return False
    return True


_worker: dict[str, Any] = {}


def _start_worker(job: Job, wire: socket.socket, environment: dict[str, str]) -> None:
    _watch_parent()
    take_any_text()
    os.environ.clear()  # it is the server's, of when that was started, as is the mask
    os.environ.update(environment)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _worker["job"], _worker["wire"] = job, wire


def _tell(*event: str | int) -> None:
    # Where nobody listens, or not as fast, progress is dropped: it is for the eye only.
    with contextlib.suppress(OSError):
        _worker["wire"].send(json.dumps(event).encode(), socket.MSG_DONTWAIT)


def _watch_parent() -> None:
    """Let this process end when its parent does, however that ends; Ctrl-C is the parent's, too (pebble sees to it)."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _train_in_worker(chain: Chain) -> Outcome:
    _worker["wire"].send(json.dumps([chain[0], os.getpid()]).encode())  # waits for room: this must not be lost
    with _log_file(_worker["job"], chain).open("a") as log:  # another process may be writing to it
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
        faulthandler.enable(log)
        try:
            if "trainer" not in _worker:  # not when the worker starts, where an error would have no one to tell it
                _worker["plan"], _worker["trainer"] = _worker["job"].trainer()
            return attempt(_worker["trainer"], _worker["plan"], chain, _tell, begin=lambda: log.truncate(0))
        finally:
            faulthandler.disable()
            sys.stdout.flush()


def _log_file(job: Job, chain: Chain) -> Path:
    folder = job.store / ".logs"
    folder.mkdir(exist_ok=True)
    return folder / f"{chain[0]}.log"


def _last_lines(job: Job, chain: Chain) -> tuple[str, ...]:
    try:
        return tuple(_log_file(job, chain).read_text(errors="replace").splitlines()[-LINES:])
    except OSError:
        return ()
