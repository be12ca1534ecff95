"""`run`: train what is missing of an experiment."""

from __future__ import annotations

import json
import math
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.app import Changes, ExperimentName, Plugins, app, numbers
from cl_bench.cli.group import flags
from cl_bench.cli.tables import Format, Output, Table, print_table
from cl_bench.errors import StageFailedError, UserError
from cl_bench.runner.executors.forkserver import start_server
from cl_bench.utils.parsing import split_choice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cl_bench.config.sweeps import SweepPoint
    from cl_bench.results.store.failures import Failure
    from cl_bench.runner.executors.base import Executor
    from cl_bench.runner.prepare import Prepared


class ExecutorName(str, Enum):
    """Who trains the stages."""

    local = "local"
    ray = "ray"


class Retry(str, Enum):
    """What is tried again beside the stages that were cut off."""

    failed = "failed"


STOPPED = (
    "stopped; all is kept, to the last whole epoch of every stage that can be resumed:"
    " run the same command again to go on"
)


@app.command()
def run(
    experiment: ExperimentName,
    strategies: Annotated[str, typer.Option(help="Strategies in place of the experiment's: a,b+c[x=1].")] = "",
    orders: Annotated[
        str,
        typer.Option(help="Orders in place of the experiment's: seg-det-cls,det-seg-cls, all, sample:4 or cycle:2."),
    ] = "",
    seeds: Annotated[str, typer.Option(help="Seeds in place of the experiment's: 0,1,2 or 0-4.")] = "",
    split: Annotated[
        str, typer.Option(help="val, or dev (dev1 to dev3): score a quarter of train while choosing something.")
    ] = "",
    add: Annotated[
        bool,
        typer.Option("--add", help="Beside what the results have, whose rows are kept without training again."),
    ] = False,
    changes: Changes = None,
    plugin: Plugins = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Stages trained side by side.")] = 1,
    executor: Annotated[
        ExecutorName, typer.Option(help="Who trains: this machine, or a Ray cluster.")
    ] = ExecutorName.local,
    address: Annotated[str, typer.Option(help="Of the Ray cluster; `auto`: the one this machine is part of.")] = "",
    retry: Annotated[Retry | None, typer.Option(help="failed: try stages whose loss diverged once more, too.")] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=A,B", help="Run once for each value of a setting; repeatable, for all combinations."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Train what fits into 2h, 90m, ...: whole runs.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")] = False,
    why: Annotated[
        bool, typer.Option("--why", help="With --dry-run: which setting makes a stage train again.")
    ] = False,
) -> None:
    """Train what is missing, and print the table."""
    _refuse_idle_options(jobs, executor, address, why, dry_run)
    if jobs > 1 and not dry_run:
        start_server()
    from cl_bench.config.presets import load_experiment, swept
    from cl_bench.config.sweeps import points
    from cl_bench.runner.budget import duration
    from cl_bench.runner.executors.local import on_this_machine
    from cl_bench.runner.executors.ray import Ray
    from cl_bench.runner.prepare import prepare

    grid, changes = points(sweep or (), swept(experiment)), changes or []
    _refuse_set_and_swept(grid, changes)
    if budget is not None:
        duration(budget)
    base = load_experiment(experiment, [*changes, "sweep={}"]).name
    several = [
        prepare(
            experiment,
            strategies=split_choice(strategies, "--strategies"),
            orders=orders,
            seeds=numbers(seeds),
            split=split,
            changes=[*changes, *point.changes, f"name={json.dumps(base + point.name)}", "sweep={}"],
            plugin_files=plugin or (),
            add=add,
        )
        for point in grid
    ]
    trains = Ray(address) if executor is ExecutorName.ray else on_this_machine(jobs)
    errors = []
    if not dry_run and executor is ExecutorName.local:
        _note_machine(several, jobs)
    if dry_run or not flags.quiet:
        _tell(several)
    several = several if budget is None else _fitted(several, budget, jobs)
    if dry_run or not flags.quiet:
        _note_rows_there(several)
    for prepared in several:
        if dry_run:
            _explain(prepared, why)
        elif failed := _train(prepared, trains, retry is not None):
            errors.append(_what_failed(prepared, failed))
    if len(grid) > 1 and not dry_run:
        _print_sweep(several)
    if errors:
        raise StageFailedError("\n".join(errors))


def _tell(several: Sequence[Prepared]) -> None:
    """Say what was found in the data, and how much there is to do."""
    for entry in several[0].catalog:
        for finding in entry.audit.findings:
            typer.echo(f"{entry.task.name}: {finding}")
    for prepared in several:
        name = f"{prepared.experiment.name}: " if len(several) > 1 else ""
        typer.echo(f"{name}{_summary(prepared)}")


def _note_rows_there(several: Sequence[Prepared]) -> None:
    """Say which runs leave the tables, and which baselines of those that stay may change."""
    from cl_bench.runner.extend import runs_left_out, trained_on_other_processors

    for prepared in several:
        if gone := runs_left_out(prepared.folder, prepared.plan):
            named, table = ", ".join(dict.fromkeys(run.strategy for run in gone)), prepared.experiment.name
            typer.echo(f"note: without --add the table of {table} loses {len(gone)} of its runs: {named}", err=True)
        if prepared.extended is None:
            continue
        again = trained_on_other_processors(prepared.folder, {stage.key for stage in prepared.missing()})
        for other, count in again.items():
            typer.echo(
                f"note: {count} stages of {prepared.folder.name} that {other} trained must be trained again here. If"
                " their scores change, so do the baselines of the runs that are there."
                " --set name=... keeps both results apart",
                err=True,
            )


def _refuse_idle_options(jobs: int, executor: ExecutorName, address: str, why: bool, dry_run: bool) -> None:
    if address and executor is not ExecutorName.ray:
        raise UserError("--address is of a Ray cluster: it needs --executor ray")
    if jobs > 1 and executor is ExecutorName.ray:
        raise UserError("-j is for this machine alone: with --executor ray the cluster's resources say how many")
    if why and not dry_run:
        raise UserError("--why explains a --dry-run: it needs that option")


def _refuse_set_and_swept(grid: Sequence[SweepPoint], changes: Sequence[str]) -> None:
    swept = {change.partition("=")[0].strip() for point in grid for change in point.changes}
    if both := swept & {change.partition("=")[0].strip() for change in changes}:
        raise UserError(f"--set {min(both)}: it is swept")


def _train(prepared: Prepared, executor: Executor, retry: bool) -> dict[str, Failure]:
    from cl_bench.cli.progress import StageProgress
    from cl_bench.report.trackers.send import send_results
    from cl_bench.runner.run import train
    from cl_bench.utils.provenance import command_line

    try:
        with StageProgress(prepared.to_show(), partial(_scores, prepared), flags.quiet) as shown:
            failed = train(prepared, executor, shown.step, shown.report, command_line(), retry)
    except KeyboardInterrupt:
        typer.echo(STOPPED, err=True)
        raise
    markdown = Output(Format.markdown, prepared.folder / "table.md", notes=True)
    print_table(prepared.folder, Table(), [Output(), markdown, Output(Format.csv, prepared.folder / "table.csv")])
    if prepared.experiment.trackers:
        send_results(prepared.folder, prepared.experiment.trackers)
    return failed


def _scores(prepared: Prepared, key: str) -> str:
    """Return what a stage scored in the end, in the headline metric of each task: "validation fruit .833, parts .1"."""
    found = prepared.store.scores(key)
    named = {entry.task.name: found.get((entry.task.name, entry.task.kind.metrics[0])) for entry in prepared.catalog}
    told = [f"{n} {f'{value:.3f}'.removeprefix('0')}" for n, value in named.items() if value is not None]
    part = "validation" if prepared.experiment.split == "val" else prepared.experiment.split
    return f"{part} {', '.join(told)}" if told else ""


def _note_machine(several: list[Prepared], jobs: int) -> None:
    """Say where this machine is used badly: too many threads at once, or a GPU left idle."""
    from cl_bench.utils.machine import crowded, idle_gpu

    waiting = [prepared.experiment for prepared in several if prepared.missing()]
    if not waiting or waiting[0].device != "cpu" or flags.quiet:
        return
    if remark := crowded(waiting[0].threads, jobs):
        typer.echo(f"note: {remark}", err=True)
    if gpu := idle_gpu():
        typer.echo(f"note: {gpu} is idle: --set device=cuda trains on it", err=True)


def _fitted(several: list[Prepared], budget: str, jobs: int) -> list[Prepared]:
    """Return what fits of each, the first getting what it needs first; raise UserError where nothing does."""
    from cl_bench.runner.budget import duration, fitting

    left, fits, paid = duration(budget), [], set[str]()
    for prepared in several:
        fits.append(fit := fitting(prepared, left, jobs, paid))
        left -= fit.seconds
        paid |= fit.prepared.plan.stages.keys()
        name = f"{prepared.experiment.name}: " if len(several) > 1 else ""
        fitted, planned = len(fit.prepared.plan.runs), len(prepared.plan.runs)
        typer.echo(f"{name}{fitted} of {planned} runs fit: about {fit.seconds:.0f} s")
        for run in fit.left_out:
            typer.echo(f"  left out: {run.strategy}, {'>'.join(run.order)}, seed {run.seed}")
    if not any(fit.prepared.plan.runs for fit in fits):
        shortest = min(fit.shortest for fit in fits)
        raise UserError(f"no run fits into {budget}: the shortest takes about {math.ceil(shortest)} s")
    return [fit.prepared for fit in fits if fit.prepared.plan.runs]


def _print_sweep(several: list[Prepared]) -> None:
    from cl_bench.report.tables.sweep import render
    from cl_bench.results.rows import read_results

    # By what is chosen: the test part is for the one that was.
    found = {one.folder.name: read_results(one.folder).of(one.experiment.split) for one in several}
    typer.echo(render({name: results for name, results in found.items() if results.plan.runs}))


def _what_failed(prepared: Prepared, failed: Mapping[str, Failure]) -> str:
    """Return what went wrong, a line a stage, the skipped ones only counted, and how to go on."""
    from cl_bench.results.store.failures import Failures

    own = {key: failure for key, failure in failed.items() if failure.kind != "skipped"}
    records = Failures(prepared.folder.parent)
    lines = []
    for key, failure in own.items():
        lines.append(f"  {prepared.plan.stages[key].label}: {failure.kind}: {failure.reason}")
        lines += [f"    the last lines of its log are in {records.path(key)}"] if failure.log else []
    skipped = f", and {len(failed) - len(own)} that descend from them were skipped" if len(failed) > len(own) else ""
    diverged = sum(failure.kind == "diverged" for failure in own.values())
    again = ["run again to try them once more"] if diverged < len(own) else []
    again += ["what diverged is tried again with --retry failed only"] if diverged else []
    first = f"{len(own)} of {len(prepared.plan.stages)} stages failed{skipped}; {'; '.join(again)}"
    return "\n".join([first, *lines])


def _summary(prepared: Prepared) -> str:
    total, missing, unscored = len(prepared.plan.stages), len(prepared.missing()), len(prepared.unscored())
    score = f", {unscored} of them to score on test" if unscored else ""
    unshared = prepared.plan.unshared()
    return f"{total} stages: {total - missing} done{score}, {missing} to train ({unshared} if none were shared)"


def _explain(prepared: Prepared, why: bool) -> None:
    missing, unscored = ({stage.key for stage in some} for some in (prepared.missing(), prepared.unscored()))
    for stage in prepared.plan.stages.values():
        state = "train" if stage.key in missing else "score" if stage.key in unscored else "done "
        typer.echo(f"  {state} {stage.key[:12]} {stage.label} ({stage.epochs} epochs, {prepared.steps(stage)} steps)")
        if why and stage.key in missing:
            for line in prepared.why(stage) or ["no stage like it is stored"]:
                typer.echo(f"          {line}")
