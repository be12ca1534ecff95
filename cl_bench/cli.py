"""The command line: one small function a subcommand; what is slow to import is imported inside."""

from __future__ import annotations

import signal
import sys
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cl_bench.errors import StageFailedError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cl_bench.api import Prepared
    from cl_bench.executors.frontier import Failure

app = typer.Typer(
    name="cl-bench",
    help="Learn a stream of different vision tasks one after the other, and measure what is forgotten.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(name="data", help="Prepare, audit and show data sets.", no_args_is_help=True)
app.add_typer(data_app)

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C or SIGTERM stopped, which typer sets without a word."""
ExperimentName = Annotated[str, typer.Argument(help="A preset's name (`cl-bench list experiments`) or a YAML file.")]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; repeatable.")]
Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="FILE", help="A Python file of yours; repeatable.")
]


class Format(str, Enum):
    """How a table is printed."""

    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"


class Executor(str, Enum):
    """Who trains the stages."""

    local = "local"
    ray = "ray"


class Retry(str, Enum):
    """What is tried again beside the stages that were cut off."""

    failed = "failed"


class Listing(str, Enum):
    """What `list` lists."""

    strategies = "strategies"
    experiments = "experiments"
    kinds = "kinds"
    formats = "formats"
    backbones = "backbones"


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Learn a stream of different vision tasks one after the other, and measure what is forgotten."""
    context.obj = debug


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
    from cl_bench import api
    from cl_bench.composition import split_list
    from cl_bench.report.progress import StageProgress

    prepared = api.prepare(
        experiment,
        strategies=split_list(strategies),
        orders=orders,
        seeds=_numbers(seeds),
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
    _print_table(prepared.folder, Format.terminal, full=False)
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


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise UserError(f"--seeds takes whole numbers such as 0,1,2, not {text!r}") from error


@app.command()
def status(
    experiment: ExperimentName,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds, until Ctrl-C.")] = False,
) -> None:
    """Show which stages are done, being trained, stopped, failed, skipped or waiting, live from any terminal."""
    from rich.console import Console

    from cl_bench.report.status import render, status

    folder = _folder(experiment)
    while watch:
        Console().clear()
        typer.echo(render(status(folder)))
        time.sleep(2)
    typer.echo(render(status(folder)))


@app.command()
def table(
    experiment: ExperimentName,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.terminal,
    full: Annotated[bool, typer.Option("--full", help="Add forgetting, backward transfer and intransigence.")] = False,
    baselines: Annotated[bool, typer.Option("--baselines", help="The tasks on their own, over seeds.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to a file.")] = None,
) -> None:
    """Print the drops of every strategy against the tasks' baselines."""
    _print_table(_folder(experiment), format, full, output, baselines)


def _print_table(folder: Path, format: Format, full: bool, output: Path | None = None, baselines: bool = False) -> None:
    from cl_bench import results
    from cl_bench.report import baselines as single
    from cl_bench.report.table import render

    found = results.load_results(folder)
    if baselines or not found.attrs["plan"]["runs"]:
        text = single.render(results.baselines(found), format.value)
    else:
        text = render(results.summary(found), found.attrs["plan"], format.value, full=full)
    if output is None:
        typer.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from error


@app.command()
def plot(
    experiment: ExperimentName,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; the experiment's own otherwise.")
    ] = None,
) -> None:
    """Draw the forgetting curves as PNG and SVG; where there are only baselines, their learning curves."""
    from cl_bench.report.curves import forgetting_curves, save
    from cl_bench.report.learning import learning_curves
    from cl_bench.results import load_results

    folder = _folder(experiment)
    found = load_results(folder)
    figures = forgetting_curves(found)
    if not figures:
        for path in save(learning_curves(found), output or folder, "baselines"):
            typer.echo(path)
    for order, figure in figures.items():
        stem = "curves" if len(figures) == 1 else f"curves-{order.replace('>', '-')}"
        for path in save(figure, output or folder, stem):
            typer.echo(path)


@app.command()
def gallery(
    experiment: ExperimentName,
    strategy: Annotated[str, typer.Option(help="Whose final model; the tasks' baselines otherwise.")] = "",
    seed: Annotated[int | None, typer.Option(help="The run's seed; the first otherwise.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; the experiment's own otherwise.")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Draw validation images of every task with truth and prediction, side by side, as JPEG."""
    from cl_bench.registry import load_plugin_files
    from cl_bench.report.gallery import save_galleries

    load_plugin_files(plugin or ())
    folder = _folder(experiment)
    for path in save_galleries(folder, output or folder, strategy, seed):
        typer.echo(path)


def _folder(experiment: str) -> Path:
    from cl_bench.config import presets
    from cl_bench.errors import unknown
    from cl_bench.paths import results_root

    path = Path(experiment)
    if (path / "plan.json").is_file():
        return path
    folder = results_root() / path.stem
    if not (folder / "plan.json").is_file():
        ran = [found.parent.name for found in results_root().glob("*/plan.json")]
        if path.stem in presets():
            raise UserError(f"experiment {path.stem} has no results in {results_root()} yet: cl-bench run {experiment}")
        raise unknown("experiment with results", path.stem, ran)
    return folder


@app.command(name="list")
def list_(
    what: Annotated[Listing, typer.Argument(help="What to list.")] = Listing.strategies, plugin: Plugins = None
) -> None:
    """List strategies, experiments, kinds, data formats or backbones."""
    from cl_bench import listing
    from cl_bench.registry import load_plugin_files

    load_plugin_files(plugin or ())
    for line in listing.LISTINGS[what.value]():
        typer.echo(line)


@app.command()
def model(experiment: ExperimentName, changes: Changes = None, plugin: Plugins = None) -> None:
    """Print the parts of the experiment's model with parameters and multiply-adds."""
    from cl_bench.deploy.model_card import model_card
    from cl_bench.registry import load_plugin_files

    load_plugin_files(plugin or ())
    typer.echo(model_card(experiment, changes or ()))


@data_app.command()
def audit(experiment: ExperimentName, changes: Changes = None, plugin: Plugins = None) -> None:
    """Check the data of every task: labels, values, leaks between train and val, unreadable files."""
    from cl_bench.catalog import load_catalog
    from cl_bench.config import load_experiment
    from cl_bench.data.audit import report
    from cl_bench.registry import load_plugin_files

    load_plugin_files(plugin or ())
    typer.echo(report([entry.audit for entry in load_catalog(load_experiment(experiment, changes or ()))]))


@data_app.command()
def show(
    experiment: ExperimentName,
    task: Annotated[str, typer.Argument(help="A task of the experiment.")],
    split: Annotated[str, typer.Option(help="train or val.")] = "train",
    count: Annotated[int, typer.Option(min=1, help="Images on the sheet.")] = 24,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write.")] = Path("sheet.png"),
    changes: Changes = None,
    plugin: Plugins = None,
) -> None:
    """Draw a contact sheet of a task's images with their masks, boxes or labels."""
    from cl_bench.catalog import read_task
    from cl_bench.config import load_experiment
    from cl_bench.data.audit import contact_sheet
    from cl_bench.errors import unknown
    from cl_bench.registry import load_plugin_files

    load_plugin_files(plugin or ())
    loaded = load_experiment(experiment, changes or ())
    names = [config.name for config in loaded.tasks]
    if task not in names:
        raise unknown("task", task, names)
    if split not in ("train", "val"):
        raise unknown("split", split, ("train", "val"))
    index = names.index(task)
    shown, train, val = read_task(loaded, index, loaded.tasks[index])
    try:
        contact_sheet(shown, train if split == "train" else val, count).save(output)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {output}: {error}") from error
    typer.echo(output)


@app.command()
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; otherwise it is only listed.")] = False,
    others: Annotated[
        list[Path] | None,
        typer.Option("--results", metavar="DIR", help="A further folder of results that uses the store; repeatable."),
    ] = None,
) -> None:
    """List, or remove, what the store holds for no experiment of the results folders."""
    from cl_bench.paths import results_root, store_root
    from cl_bench.stages.storage import garbage, remove
    from cl_bench.stages.store import Store

    roots = [results_root(), *(others or ())]
    if not store_root().resolve().is_relative_to(results_root().resolve()) and not others:
        raise UserError(f"the store {store_root()} may serve more results than {results_root()}: name all by --results")
    found = garbage(Store(store_root()), sorted(plan for root in roots for plan in root.glob("*/plan.json")))
    for one in found:
        typer.echo(f"{one.path}: {one.what}, {one.size / 1e6:.1f} MB")
    if delete:
        remove(found)
    total = sum(one.size for one in found) / 1e6
    typer.echo(f"{len(found)} entries, {total:.1f} MB {'removed' if delete else 'can go: --delete removes them'}")


@app.command(name="export-results")
def export_results(
    experiment: ExperimentName,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="EXPERIMENT.tar otherwise.")] = None,
) -> None:
    """Write an experiment's results and stages, weights included, into one file with checksums."""
    from cl_bench.paths import store_root
    from cl_bench.stages import storage
    from cl_bench.stages.store import Store

    folder = _folder(experiment)
    typer.echo(storage.export_results(folder, Store(store_root()), output or Path(f"{folder.name}.tar")))


@app.command(name="import-results")
def import_results(file: Annotated[Path, typer.Argument(help="What `export-results` wrote.")]) -> None:
    """Take results and stages from another machine, checked against their checksums."""
    from cl_bench.paths import results_root, store_root
    from cl_bench.stages import storage
    from cl_bench.stages.store import Store

    typer.echo(storage.import_results(file, results_root(), Store(store_root())))


@data_app.command(name="prepare")
def prepare_data(
    names: Annotated[
        list[str] | None, typer.Argument(help="mini_voc_seg, mini_coco_det, imagenette_160; none: all.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to; CL_BENCH_DATA otherwise.")] = None,
) -> None:
    """Download VOC2012, COCO 2017 and Imagenette and cut the Mini sets of 240 / 60 images from them."""
    from cl_bench.data.prepare import RECIPES, prepare
    from cl_bench.paths import data_root
    from cl_bench.report.progress import download_progress

    with download_progress() as progress:
        for name in names or list(RECIPES):
            typer.echo(prepare(name, output or data_root(), progress=progress))


def main() -> None:
    """Run the command line: bad input exits with 2 and one sentence, a failed stage with 1."""
    debug = "--debug" in sys.argv
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's way to say Ctrl-C
    try:
        app()
    except UserError as error:
        if debug:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except StageFailedError as error:
        if debug:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except SystemExit as ended:
        if ended.code != INTERRUPTED:
            raise
        typer.echo(
            "stopped; all is kept to the last whole epoch of every stage: run the same command again to go on", err=True
        )
        raise
