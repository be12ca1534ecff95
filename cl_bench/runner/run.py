"""Trains what is missing of an experiment, and exports its results."""

from __future__ import annotations

from dataclasses import replace

from cl_bench.results.export import export
from cl_bench.results.stages import exported_rows, of_training
from cl_bench.results.store.failures import Failure, Failures
from cl_bench.runner.executors.base import Executor, Report
from cl_bench.runner.executors.frontier import Frontier
from cl_bench.runner.executors.local import IN_PROCESS
from cl_bench.runner.extend import refuse_foreign_rows
from cl_bench.runner.lock import exclusive_plan
from cl_bench.runner.plan_record import describe_plan
from cl_bench.runner.prepare import Prepared
from cl_bench.stages.trainer import Progress
from cl_bench.utils.files import make_writable
from cl_bench.utils.paths import results_root


def train(
    prepared: Prepared,
    executor: Executor = IN_PROCESS,
    progress: Progress = lambda *_: None,
    report: Report = lambda *_: None,
    command: str = "",
    retry: bool = False,
) -> dict[str, Failure]:
    """Write the plan, train the stages that the store lacks, export the rows; return why stages are not there, by key.

    retry: try stages that diverged in an earlier run once more, too; what failed otherwise is always tried again.
    """
    executor.check(prepared.experiment)
    if prepared.extended is not None:  # again: much may have come since it was prepared
        refuse_foreign_rows(prepared.folder, prepared.plan, prepared.experiment, prepared.extended)
    with exclusive_plan(make_writable(prepared.folder), describe_plan(prepared, command)):
        return _train(prepared, executor, progress, report, retry)


def _train(
    prepared: Prepared, executor: Executor, progress: Progress, report: Report, retry: bool
) -> dict[str, Failure]:
    folder = prepared.folder
    _discard_damaged(prepared, report)
    failures = Failures(results_root())
    kept = {} if retry else failures.diverged(prepared.plan.stages)
    failures.forget(prepared.plan.stages)

    def record(key: str, state: str | Failure) -> None:
        if isinstance(state, Failure):
            failures.add(key, state)
        report(key, state)

    plan, due = prepared.plan, {stage.key for stage in (*prepared.missing(), *prepared.unscored())}
    before = exported_rows(folder, prepared.satisfied)
    stored = prepared.store.__contains__

    def settled(key: str) -> bool:
        return key not in due or (stored(key) and prepared.scored(plan.stages[key]))

    frontier = Frontier(plan.chains(), plan.parents(), settled, kept, stored)
    for key, failure in frontier.failures.items():
        failures.add(key, failure)
        report(key, replace(failure, reason=f"{failure.reason}, in an earlier run") if key in kept else failure)
    try:
        executor.train(frontier, prepared, progress, record)
    finally:
        export(folder, before)
    for key, found in exported_rows(folder, before).items():
        if of_training(found) != of_training(before[key]):
            report(key, "differs")
    return frontier.failures


def _discard_damaged(prepared: Prepared, report: Report) -> None:
    """Move stages that are not what was written out of the way; weights count where stages start or are scored."""
    store, parents = prepared.store, prepared.plan.parents()
    for key in parents:
        if store.folder(key).exists() and key not in store:
            store.discard(key)
            report(key, "damaged")
    pending, seen = [parent for stage in prepared.missing() for parent in parents[stage.key]], set[str]()
    pending += [stage.key for stage in prepared.unscored()]
    while pending:
        parent = pending.pop()
        if parent in seen:
            continue
        seen.add(parent)
        if parent in store and not store.intact(parent, tensors=True):
            store.discard(parent)
            report(parent, "damaged")
        pending.extend(parents[parent])
