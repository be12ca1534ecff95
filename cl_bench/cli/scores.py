"""What is told of what is stored, without training: `rescore`, `power`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from cl_bench.cli.app import ExperimentName, Plugins, app, results_folder
from cl_bench.cli.tables import FormatOption, Part, Table, emit, output_of, print_table
from cl_bench.errors import UserError


class Scored(str, Enum):
    """What stages are scored on."""

    test = "test"
    val = "val"


@app.command()
def rescore(
    experiment: ExperimentName,
    split: Annotated[
        Scored, typer.Option(help="test; val: score it again, and say which stored scores come out otherwise.")
    ] = Scored.test,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK=FOLDER",
            help="Images of the same classes in its place, in the task's format if it has a path.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Of the results with --data; EXPERIMENT-rescored otherwise.")] = "",
    plugin: Plugins = None,
) -> None:
    """Score stored stages on test images; nothing is trained.

    With --data results of their own are written, and FOLDER's part of the name --split is what is scored.
    """
    from cl_bench.plugins.plugin_files import load_plugin_files
    from cl_bench.runner import rescore

    load_plugin_files(plugin or ())
    folder, others = results_folder(experiment), _folders(data or ())
    if name and not others:
        raise UserError("--name is of the results that --data makes")
    if split is Scored.val and not others:
        changed = rescore.verify(folder, typer.echo)
        typer.echo("\n".join(changed) or "val: every stored score comes out the same, bit for bit")
        return
    found = rescore.rescore(folder, others, split.value, name, typer.echo)
    print_table(found.folder, Table())
    typer.echo(f"{found.scored} stages were scored; results: {found.folder}")
    if found.lost:
        typer.echo(f"{len(found.lost)} stages have no weights here to be scored: they keep what scores they have")


@app.command()
def power(
    experiment: ExperimentName,
    format: FormatOption = None,
    split: Part = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to a file.")] = None,
) -> None:
    """Say how many seeds, or images, would settle each verdict.

    By the variance that was seen: more seeds lessen one part of it, more test images the other.
    """
    from cl_bench.report.tables.power import render
    from cl_bench.results.parts import with_split
    from cl_bench.results.rows import read_results
    from cl_bench.results.summary import summary

    found = read_results(results_folder(experiment)).chosen(split)
    if not found.plan.runs:
        raise UserError(f"{found.plan.experiment} has baselines alone, of which there are no verdicts")
    frame = summary(found)
    if not (frame["verdict"] != "").any():
        raise UserError(f"{found.plan.experiment} has no verdict yet: its runs are not done, or not scored")
    to = output_of(format, output)
    emit(with_split(frame, found), lambda: render(frame, found, to.format.value), to)


def _folders(data: list[str] | tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in data:
        task, sign, path = one.partition("=")
        if not (task and sign and path):
            raise UserError(f"--data takes TASK=FOLDER, not {one!r}")
        if task in found:
            raise UserError(f"--data names task {task} twice")
        found[task] = path
    return found
