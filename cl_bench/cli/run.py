"""`run`: train what is missing of an experiment."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cl_bench.cli.app import Changes, ExperimentName, Plugins, app, numbers
from cl_bench.cli.tables import Table, print_table
from cl_bench.errors import StageFailedError
from cl_bench.lists import split_list

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cl_bench.api import Prepared
    from cl_bench.executors.frontier import Failure


class Executor(str, Enum):
    """Who trains the stages."""

    local = "local"
    ray = "ray"


class Retry(str, Enum):
    """What is tried again beside the stages that were cut off."""

    failed = "failed"


@app.command()
def run(
    experiment: ExperimentName,
    strategies: Annotated[str, typer.Option(help="Strategies in place of the experiment's: a,b+c[x=1].")] = "",
    orders: Annotated[
        str, typer.Option(help="Orders in place of the experiment's: seg-det-cls,det-seg-cls or all.")
    ] = "",
    seeds: Annotated[str, typer.Option(help="Seeds in place of the experiment's: 0,1,2.")] = "",
    split: Annotated[
        str, typer.Option(help="val, or dev: score a quarter of train, split off, while choosing something.")
    ] = "",
    changes: Changes = None,
    plugin: Plugins = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Stages trained side by side.")] = 1,
    executor: Annotated[Executor, typer.Option(help="Who trains: this machine, or a Ray cluster.")] = Executor.local,
    address: Annotated[str, typer.Option(help="Of the Ray cluster; `auto`: the one this machine is part of.")] = "",
    retry: Annotated[Retry | None, typer.Option(help="failed: try stages whose loss diverged once more, too.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")] = False,
    why: Annotated[
        bool, typer.Option("--why", help="With --dry-run: which setting makes a stage train again.")
    ] = False,
) -> None:
    """Train what is missing of an experiment, and print its table."""
    from cl_bench import api, tracking
    from cl_bench.report.progress import StageProgress

    prepared = api.prepare(
        experiment,
        strategies=split_list(strategies),
        orders=orders,
        seeds=numbers(seeds),
        split=split,
        changes=changes or (),
        plugin_files=plugin or (),
    )
    for entry in prepared.catalog:
        for finding in entry.audit.findings:
            typer.echo(f"{entry.task.name}: {finding}")
    typer.echo(_summary(prepared))
    if dry_run:
        _explain(prepared, why)
        return
    missing = {stage.key: (_label(stage), prepared.steps(stage)) for stage in prepared.missing()}
    with StageProgress(missing) as shown:
        cluster = address if executor is Executor.ray else None
        failed = api.train(
            prepared, jobs, shown.step, shown.report, api.command_line(), retry=retry is not None, cluster=cluster
        )
    print_table(prepared.folder, Table())
    if prepared.experiment.trackers:
        tracking.send(prepared.folder, prepared.experiment.trackers)
    if failed:
        raise StageFailedError(_what_failed(prepared, failed))


def _what_failed(prepared: Prepared, failed: Mapping[str, Failure]) -> str:
    """Return what went wrong, a line a stage, the skipped ones only counted, and how to go on."""
    own = {key: failure for key, failure in failed.items() if failure.kind != "skipped"}
    lines = [f"  {_label(prepared.plan.stages[key])}: {failure.kind}: {failure.reason}" for key, failure in own.items()]
    skipped = f", and {len(failed) - len(own)} that descend from them were skipped" if len(failed) > len(own) else ""
    again = "run again to retry them"
    if any(failure.kind == "diverged" for failure in own.values()):
        again += "; one that diverged would again, unless with --retry failed"
    return "\n".join([f"{len(own)} of {len(prepared.plan.stages)} stages failed{skipped}; {again}", *lines])


def _summary(prepared: Prepared) -> str:
    total, missing = len(prepared.plan.stages), len(prepared.missing())
    return (
        f"{total} stages: {total - missing} done, {missing} to train ({prepared.plan.unshared()} if none were shared)"
    )


def _label(stage: Any) -> str:
    after = f" after {', '.join(stage.past)}" if stage.past else ""
    terms = "+".join(term.name for term in stage.terms)
    return f"{'+'.join(stage.trained)}{after}{f' with {terms}' if terms else ''}, seed {stage.seed}"


def _explain(prepared: Prepared, why: bool) -> None:
    missing = {stage.key for stage in prepared.missing()}
    for stage in prepared.plan.stages.values():
        state = "train" if stage.key in missing else "done "
        typer.echo(f"  {state} {stage.key[:12]} {_label(stage)} ({stage.epochs} epochs, {prepared.steps(stage)} steps)")
        if why and stage.key in missing:
            for line in prepared.why(stage) or ["no stage like it is stored"]:
                typer.echo(f"          {line}")
