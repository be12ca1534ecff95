"""`cl_bench.run`: an experiment trained from Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cl_bench.api.arguments import as_list, check
from cl_bench.api.results import Results, load_results
from cl_bench.api.strategies import as_seeds, as_texts, is_of_this_process
from cl_bench.config.presets import Source
from cl_bench.errors import StageFailedError, UserError, unknown_name_error
from cl_bench.plugins.plugin_files import load_plugin_files
from cl_bench.report.trackers.send import send_results
from cl_bench.results.store.failures import Failure
from cl_bench.runner.executors.forkserver import end_if_imported_by_a_worker
from cl_bench.runner.executors.local import on_this_machine
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.runner.run import train

Strategy = str | Callable[..., Any]
"""A name with settings, a function that returns plug-ins, a plug-in class or a plug-in."""
ON_FAILURE = ("raise", "keep")


def run(
    experiment: Source,
    *,
    strategies: Strategy | Sequence[Strategy] = (),
    orders: str | Sequence[Sequence[str]] = (),
    seeds: int | Sequence[int] = (),
    split: str = "",
    changes: Mapping[str, Any] | str | Sequence[str] = (),
    plugin_files: str | Path | Sequence[str | Path] = (),
    add: bool = False,
    workers: int = 1,
    progress: bool = False,
    on_failure: Literal["raise", "keep"] = "raise",
) -> Results:
    """Train what is missing of an experiment, and return its results.

    ::

        results = cl_bench.run("quickstart", strategies="naive,kd", seeds=range(3), progress=True)
        results.table()

    experiment: a preset's name, a YAML file, a dict as such a file holds it, or a `cl_bench.Experiment`; what follows
    takes the place of what it says. strategies: a text ("naive,kd+replay"), or a list of names and of objects:
    functions that return plug-ins, plug-in classes or plug-ins, which texts may name from then on. Where one was typed
    in a notebook, stages follow the cell that defines it, and not what it calls from other cells. orders: "all" or
    lists of task names; seeds: one, a range or a list; split: "dev" to score a quarter of train while choosing
    something; changes: further settings by dotted keys ({"epochs": 2, "tasks.det.levels": 8}), or as `--set` has them
    ("epochs=2"); plugin_files: Python files that declare strategies, kinds, formats or trackers; add: beside what the
    results have, whose rows are kept; workers: processes that train stages side by side; progress: whether to show it;
    on_failure: "raise", or "keep" to return the results in spite of stages that failed (`results.failures`).

    Raises UserError for bad input before anything is trained, and StageFailedError, when all else is trained and kept,
    where a stage failed.
    """
    end_if_imported_by_a_worker()
    if on_failure not in ON_FAILURE:
        raise unknown_name_error("on_failure", str(on_failure), ON_FAILURE)
    check(experiment=experiment, orders=orders, split=split, changes=changes)
    check(plugin_files=plugin_files, workers=workers)
    files = as_list(plugin_files)
    load_plugin_files(files)
    prepared = prepare(
        experiment,
        strategies=as_texts(strategies),
        orders=orders,
        seeds=as_seeds(seeds),
        split=split,
        changes=changes if isinstance(changes, Mapping) else as_list(changes),
        plugin_files=files,
        add=add,
    )
    _refuse_unknown_to_workers(prepared, workers)
    failed = _train(prepared, workers, progress)
    if prepared.experiment.trackers:
        send_results(prepared.folder, prepared.experiment.trackers)
    if failed and on_failure == "raise":
        raise StageFailedError(_what_failed(prepared, failed))
    return load_results(prepared.folder)


def _refuse_unknown_to_workers(prepared: Prepared, workers: int) -> None:
    for text in prepared.experiment.strategies if workers > 1 else ():
        if is_of_this_process(text):
            raise UserError(
                f"strategy {text} is an object of this process, which workers do not have: train it with workers=1, "
                "or name its file in plugin_files"
            )


def _train(prepared: Prepared, workers: int, progress: bool) -> dict[str, Failure]:
    if not progress:
        return train(prepared, on_this_machine(workers))
    from cl_bench.cli.progress import StageProgress

    with StageProgress(prepared.to_show()) as shown:
        return train(prepared, on_this_machine(workers), shown.step, shown.report)


def _what_failed(prepared: Prepared, failed: Mapping[str, Failure]) -> str:
    own = {key: failure for key, failure in failed.items() if failure.kind != "skipped"}
    key, failure = next(iter((own or failed).items()))
    more = f", and {len(failed) - 1} more were not trained" if len(failed) > 1 else ""
    reason = " ".join(failure.reason.split())
    how = "failed" if failure.kind == "raised" else failure.kind
    return (
        f"{prepared.plan.stages[key].label} {how}: {reason}{more}; what else was trained is kept in {prepared.folder}"
    )
