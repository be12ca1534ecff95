"""What reads results and trains nothing: `status`, `table`, `compare`, `plot`, `report`, `track`, `gallery`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cl_bench.cli.app import ExperimentName, Plugins, app, numbers, results_folder
from cl_bench.cli.tables import FormatOption, Part, Table, emit, output_of, print_table
from cl_bench.utils.parsing import split_choice


@app.command()
def status(
    experiment: ExperimentName,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds, until Ctrl-C.")] = False,
) -> None:
    """Show what every stage is doing, from any terminal.

    Done, being trained, stopped, failed, skipped or waiting.
    """
    from rich.console import Console

    from cl_bench.report.status import render, status

    folder = results_folder(experiment)
    while watch:
        Console().clear()
        typer.echo(render(status(folder)))
        time.sleep(2)
    typer.echo(render(status(folder)))


@app.command()
def table(
    experiment: ExperimentName,
    format: FormatOption = None,
    long: Annotated[bool, typer.Option("--long", help="A row a strategy and task.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="That with forgetting, backward transfer and intransigence.")
    ] = False,
    costs: Annotated[bool, typer.Option("--costs", help="What strategies cost: time, FLOPs, memory, images.")] = False,
    notes: Annotated[
        bool, typer.Option("--notes", help="Add protocol, definitions and machine, which --long has.")
    ] = False,
    baselines: Annotated[bool, typer.Option("--baselines", help="The tasks on their own, over seeds.")] = False,
    against: Annotated[str, typer.Option(help="A strategy: how much more or less the others forget.")] = "",
    over_orders: Annotated[
        bool, typer.Option("--over-orders", help="Mean drop over all orders, spread, worst task.")
    ] = False,
    strategies: Annotated[str, typer.Option(help="These alone: a,b+c[x=1].")] = "",
    orders: Annotated[str, typer.Option(help="These alone: seg-det-cls,det-seg-cls.")] = "",
    seeds: Annotated[str, typer.Option(help="These alone: 0,1,2.")] = "",
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="Rows of which this holds: 'drop<=5%', 'verdict=bonus'; repeatable."),
    ] = None,
    columns: Annotated[str, typer.Option(help="These beside strategy and task: drop,verdict,train_seconds.")] = "",
    sort: Annotated[str, typer.Option(help="Strategies by their mean in this column, smallest first: drop.")] = "",
    split: Part = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to a file.")] = None,
) -> None:
    """Print every strategy's drops against the baselines.

    A row a strategy, and of each task its score, its drop and a verdict.
    """
    wanted = Table(
        long=long,
        full=full,
        costs=costs,
        baselines=baselines,
        over_orders=over_orders,
        against=against,
        strategies=tuple(split_choice(strategies, "--strategies")),
        orders=orders,
        seeds=tuple(numbers(seeds)),
        filters=tuple(filters or ()),
        columns=tuple(split_choice(columns, "--columns")),
        sort=sort,
        split=split,
    )
    print_table(results_folder(experiment), wanted, [output_of(format, output)._replace(notes=notes)])


@app.command()
def compare(
    first: ExperimentName,
    second: Annotated[str, typer.Argument(help="Another, or another version of it: a name or a folder of results.")],
    split: Part = "",
    format: FormatOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to a file.")] = None,
) -> None:
    """Print two experiments side by side, and how they differ.

    Scores, drops, verdicts, and the settings that are not the same.
    """
    from cl_bench.report.tables.versions import render
    from cl_bench.results.comparison import of_one_part, versions
    from cl_bench.results.parts import with_split
    from cl_bench.results.rows import read_results

    one, other = (read_results(results_folder(experiment)) for experiment in (first, second))
    sides = of_one_part(one, other, split)
    frame = versions(*sides)
    to = output_of(format, output)
    emit(with_split(frame, *sides), lambda: render(frame, *sides, to.format.value), to)


def _figure_name(what: str) -> str:
    from cl_bench.report.figures.draw import figure_name  # not above: matplotlib takes a second

    return figure_name(what)


@app.command()
def plot(
    experiment: ExperimentName,
    what: Annotated[
        str,
        typer.Option(
            parser=_figure_name,
            metavar="FIGURE",
            help="curves: scores over epochs; matrix: after each stage; tradeoffs: against cost, memory and plasticity;"
            " classes: by class; orders: drops by order.",
        ),
    ] = "curves",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; the experiment's own otherwise.")
    ] = None,
    width: Annotated[float, typer.Option(help="Inches, 3 to 40; 3.4 is a column of a paper.")] = 7.2,
    split: Part = "",
) -> None:
    """Draw forgetting curves as PNG, SVG and PDF.

    Where there are only baselines, their learning curves.
    """
    from cl_bench.report.figures.draw import figures
    from cl_bench.report.figures.style import save
    from cl_bench.results.rows import read_results

    folder = results_folder(experiment)
    for stem, figure in figures(read_results(folder).chosen(split), what, width).items():
        for path in save(figure, output or folder, stem):
            typer.echo(path)


@app.command()
def report(
    experiment: ExperimentName,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File; report.html in the experiment's folder otherwise.")
    ] = None,
    split: Part = "",
    card: Annotated[
        bool, typer.Option("--card", help="Also a PNG beside it, 1200 x 630, that links to it show.")
    ] = False,
    url: Annotated[
        str, typer.Option(metavar="URL", help="Where the page will lie: sites want the whole address of its card.")
    ] = "",
) -> None:
    """Write one self-contained HTML page of the results.

    Verdicts, curves, what is left after each stage, and the gallery.
    """
    from cl_bench.report.page.render import save_report

    page = save_report(results_folder(experiment), output, split, card, url)
    for path in (page, page.with_suffix(".png")) if card else (page,):
        typer.echo(path)


@app.command()
def track(
    experiment: ExperimentName,
    trackers: Annotated[list[str], typer.Argument(help="tensorboard, wandb, mlflow or one of yours; several.")],
    split: Part = "",
    plugin: Plugins = None,
) -> None:
    """Send runs, curves and table to trackers.

    What they have already is not sent again.
    """
    from cl_bench.plugins.plugin_files import load_plugin_files
    from cl_bench.report.trackers.send import check_trackers, send_results

    load_plugin_files(plugin or ())
    check_trackers(trackers)
    for name, place in send_results(results_folder(experiment), trackers, split).items():
        typer.echo(f"{name}: {place}")


@app.command()
def gallery(
    experiment: ExperimentName,
    strategy: Annotated[str, typer.Option(help="Whose final model; the tasks' baselines otherwise.")] = "",
    seed: Annotated[int | None, typer.Option(help="The run's seed; the first otherwise.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; the experiment's own otherwise.")
    ] = None,
) -> None:
    """Draw truth and prediction of validation images.

    A JPEG for every task, side by side.
    """
    from cl_bench.report.gallery import save_galleries

    folder = results_folder(experiment)
    for path in save_galleries(folder, output or folder, strategy, seed):
        typer.echo(path)
