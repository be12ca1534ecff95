"""Trains a plan on this machine: in this process, or in persistent worker processes."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

from cl_bench.catalog import load_catalog
from cl_bench.config import Experiment
from cl_bench.errors import StageFailedError
from cl_bench.registry import load_plugin_files
from cl_bench.resources import set_up_numerics
from cl_bench.stages.plan import Plan, make_plan
from cl_bench.stages.store import Store
from cl_bench.stages.train import Progress, Trainer
from cl_bench.weights import load_weights

Report = Callable[[str, str], None]
"""Called with a stage's key and what became of it: "started", "done", or the reason of its failure."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to make its own trainer."""

    experiment: Experiment
    plugin_files: tuple[str, ...]
    store: Path
    logs: Path | None


def execute(plan: Plan, trainer: Trainer, job: Job, workers: int, progress: Progress, report: Report) -> dict[str, str]:
    """Train every stage the store lacks; return the reasons of failed ones by key (their descendants are left out)."""
    units = [unit for unit in plan.units() if any(key not in trainer.store for key in unit)]
    if workers == 1:
        return _in_turn(plan, trainer, units, progress, report)
    return _in_workers(plan, job, units, workers, progress, report)


def _ready(plan: Plan, unit: Sequence[str], waiting: set[str]) -> bool:
    return plan.stages[unit[0]].parent not in waiting


def _in_turn(
    plan: Plan, trainer: Trainer, units: Sequence[tuple[str, ...]], progress: Progress, report: Report
) -> dict[str, str]:
    failed: dict[str, str] = {}
    for unit in units:
        if plan.stages[unit[0]].parent in failed:
            _fail(unit, "its parent failed", failed, report)
            continue
        report(unit[0], "started")
        try:
            trainer.train(plan, unit, progress)
        except Exception as error:  # a failed stage is recorded and the rest of the plan goes on
            _fail(unit, _reason(error), failed, report)
        else:
            for key in unit:
                report(key, "done")
    return failed


def _fail(unit: Sequence[str], reason: str, failed: dict[str, str], report: Report) -> None:
    for key in unit:
        failed[key] = reason
        report(key, reason)


def _reason(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({Path(where[0].filename).name}:{where[0].lineno})" if where else ""
    return f"{type(error).__name__}: {error}{place}"


_worker: dict[str, Any] = {}


def _start_worker(job: Job, queue: Any) -> None:
    set_up_numerics(job.experiment.threads)
    load_plugin_files(job.plugin_files)
    catalog = load_catalog(job.experiment)
    weights = load_weights(job.experiment.model.backbone, job.experiment.model.weights)
    _worker["plan"] = make_plan(job.experiment, catalog, weights)
    _worker["trainer"] = Trainer(job.experiment, catalog, weights, Store(job.store), job.logs)
    _worker["queue"] = queue


def _train_in_worker(unit: tuple[str, ...]) -> None:
    _worker["trainer"].train(_worker["plan"], unit, lambda *event: _worker["queue"].put(event))


def _in_workers(
    plan: Plan, job: Job, units: Sequence[tuple[str, ...]], workers: int, progress: Progress, report: Report
) -> dict[str, str]:
    failed: dict[str, str] = {}
    todo, running = list(units), dict[Future[None], tuple[str, ...]]()
    # Spawned, not forked: a forked child of a process with OpenMP threads may hang.
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        queue = manager.Queue()
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(job, queue))
        try:
            while todo or running:
                waiting = {key for unit in (*todo, *running.values()) for key in unit}
                for unit in [unit for unit in todo if plan.stages[unit[0]].parent in failed]:
                    todo.remove(unit)
                    _fail(unit, "its parent failed", failed, report)
                for unit in [unit for unit in todo if _ready(plan, unit, waiting)][: workers - len(running)]:
                    todo.remove(unit)
                    report(unit[0], "started")
                    running[pool.submit(_train_in_worker, unit)] = unit
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                _drain(queue, progress)
                for future in done:
                    _finish(future, running.pop(future), failed, report)
        except BrokenProcessPool as error:
            raise StageFailedError("a worker process ended before its stage did; run again to go on") from error
        finally:
            pool.shutdown(cancel_futures=True)
    return failed


def _finish(future: Future[None], unit: tuple[str, ...], failed: dict[str, str], report: Report) -> None:
    try:
        future.result()
    except BrokenProcessPool:
        raise
    except Exception as error:
        _fail(unit, _reason(error), failed, report)
    else:
        for key in unit:
            report(key, "done")


def _drain(queue: Any, progress: Progress) -> None:
    while True:
        try:
            progress(*queue.get_nowait())
        except Empty:
            return
