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
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from cl_bench.config.schema import Experiment
from cl_bench.errors import StageFailedError, describe_error
from cl_bench.model.backbone import load_weights
from cl_bench.plugins.registry import load_plugin_files
from cl_bench.results.store.failures import Failure
from cl_bench.results.store.store import Store
from cl_bench.runner.executors.forkserver import worker_context
from cl_bench.runner.executors.frontier import Frontier, Unit
from cl_bench.stages.attempt import BUSY, DONE, LINES, Outcome, attempt
from cl_bench.stages.plan import Plan, make_plan
from cl_bench.stages.trainer import Progress, Trainer
from cl_bench.tasks.catalog import load_catalog
from cl_bench.utils.machine import set_up_numerics

Report = Callable[[str, str | Failure], None]
"""Called with a stage's key and what became of it: "damaged" (it is trained again), "started", "busy" (another
process is at it), "done", "differs" (from the rows that it was added to), its failure."""
POLL = 0.2
"""Seconds between looks at progress, and at units that other processes are training."""
MUTE = 5.0
"""Seconds after which a process that is gone, and of whose end the pool says nothing, is given up."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to make its own trainer."""

    experiment: Experiment
    plugin_files: tuple[str, ...]
    store: Path

    def trainer(self) -> tuple[Plan, Trainer]:
        """Return the plan and a trainer, in a process that has nothing yet."""
        set_up_numerics(self.experiment.threads)
        load_plugin_files(self.plugin_files)
        catalog = load_catalog(self.experiment)
        weights = load_weights(self.experiment.model.backbone, self.experiment.model.weights)
        store = Store(self.store)
        return make_plan(self.experiment, catalog, weights), Trainer(self.experiment, catalog, weights, store)


def train_here(frontier: Frontier, plan: Plan, trainer: Trainer, progress: Progress, report: Report) -> None:
    """Train every unit in this process, one after the other."""
    while len(frontier):
        unit = frontier.take()
        assert unit is not None, "nothing is running, so something can be trained"
        report(unit[0], "started")
        settle(frontier, unit, attempt(trainer, plan, unit, progress), report)


def train_in_workers(frontier: Frontier, job: Job, workers: int, progress: Progress, report: Report) -> None:
    """Train the units in `workers` processes; one that is killed fails its unit, and another takes its place."""
    running: dict[Future[Outcome], Unit] = {}
    owners = _Owners()
    # Datagrams, as a worker that is killed while it sends leaves no lock taken and no message half-sent.
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        given = (job, there, dict(os.environ))
        pool = ProcessPool(workers, initializer=_start_worker, initargs=given, context=worker_context())
        try:
            while len(frontier):
                while len(running) < workers and (unit := frontier.take()):
                    report(unit[0], "started")
                    running[_schedule(pool, unit)] = unit
                ended, _ = wait(running, timeout=POLL, return_when=FIRST_COMPLETED)
                owners.listen(here, progress)
                for future in running:
                    if owners.are_gone(running[future]):
                        future.cancel()
                for future in ended:
                    unit = running.pop(future)
                    owners.forget(unit)
                    settle(frontier, unit, _outcome(future, job, unit), report)
        finally:
            pool.stop()
            pool.join()


def _schedule(pool: ProcessPool, unit: Unit) -> Future[Outcome]:
    try:
        found: Future[Outcome] = pool.schedule(_train_in_worker, args=[unit])
    except RuntimeError as error:  # it comes to every call, once a process cannot be started
        raise StageFailedError(
            "no worker process can be started (its own words, if any, are above; a script that trains in workers must"
            " do so below `if __name__ == '__main__':`)"
        ) from error
    return found


def settle(frontier: Frontier, unit: Unit, outcome: Outcome, report: Report) -> None:
    """Take note of how an attempt ended."""
    if isinstance(outcome, Failure):
        for key in frontier.failed(unit, outcome):
            report(key, frontier.failures[key])
    elif outcome == BUSY:
        frontier.later(unit)
        report(unit[0], BUSY)
        time.sleep(POLL)
    else:
        frontier.done(unit)
        for key in unit:
            report(key, DONE)


def _outcome(future: Future[Outcome], job: Job, unit: Unit) -> Outcome:
    try:
        return future.result()
    except ProcessExpired as error:
        ended = f"signal {-error.exitcode}" if error.exitcode < 0 else f"exit code {error.exitcode}"
        return Failure("killed", f"its process ended ({ended})", _last_lines(job, unit))
    except CancelledError:
        return Failure("killed", "its process is gone", _last_lines(job, unit))
    except Exception as error:  # the worker could not be set up, or its answer not be read
        return Failure("raised", describe_error(error), _last_lines(job, unit))


class _Owners:
    """Which process is at which unit: the pool tells of no worker that ends with exit code 0."""

    def __init__(self) -> None:
        self._process: dict[str, int] = {}
        self._gone: dict[str, float] = {}

    def listen(self, wire: socket.socket, progress: Progress) -> None:
        """Take up what workers have told since: with one word that they are at a unit, with more how far they are."""
        with contextlib.suppress(BlockingIOError):
            while True:
                key, *told = json.loads(wire.recv(1024, socket.MSG_DONTWAIT))
                if len(told) == 1:
                    self._process[key] = told[0]
                else:
                    progress(key, *told)

    def forget(self, unit: Unit) -> None:
        """Nobody is at the unit any more."""
        self._process.pop(unit[0], None)
        self._gone.pop(unit[0], None)

    def are_gone(self, unit: Unit) -> bool:
        """Return whether the unit's process ended a while ago."""
        key = unit[0]
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


def _train_in_worker(unit: Unit) -> Outcome:
    _worker["wire"].send(json.dumps([unit[0], os.getpid()]).encode())  # waits for room: this must not be lost
    with _log_file(_worker["job"], unit).open("a") as log:  # another process may be writing to it
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
        faulthandler.enable(log)
        try:
            if "trainer" not in _worker:  # not when the worker starts, where an error would have no one to tell it
                _worker["plan"], _worker["trainer"] = _worker["job"].trainer()
            return attempt(_worker["trainer"], _worker["plan"], unit, _tell, begin=lambda: log.truncate(0))
        finally:
            faulthandler.disable()
            sys.stdout.flush()


def _log_file(job: Job, unit: Unit) -> Path:
    folder = job.store / ".logs"
    folder.mkdir(exist_ok=True)
    return folder / f"{unit[0]}.log"


def _last_lines(job: Job, unit: Unit) -> tuple[str, ...]:
    try:
        return tuple(_log_file(job, unit).read_text(errors="replace").splitlines()[-LINES:])
    except OSError:
        return ()
