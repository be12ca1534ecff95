"""What is made of stored stages without training: `rescore`."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from cl_bench.cli.app import ExperimentName, Plugins, app, results_folder
from cl_bench.cli.tables import Table, print_table
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
        typer.Option(metavar="TASK=FOLDER", help="Images of the same format and classes in place of its own."),
    ] = None,
    name: Annotated[str, typer.Option(help="Of the results with --data; EXPERIMENT-rescored otherwise.")] = "",
    plugin: Plugins = None,
) -> None:
    """Score stored stages on test images; nothing is trained.

    With --data results of their own are written, and FOLDER's part of the name --split is what is scored.
    """
    from cl_bench import rescoring
    from cl_bench.registry import load_plugin_files

    load_plugin_files(plugin or ())
    folder, others = results_folder(experiment), _folders(data or ())
    if name and not others:
        raise UserError("--name is of the results that --data makes")
    if split is Scored.val and not others:
        changed = rescoring.verify(folder, typer.echo)
        typer.echo("\n".join(changed) or "val: every stored score comes out the same, bit for bit")
        return
    found = rescoring.rescore(folder, others, split.value, name, typer.echo)
    print_table(found.folder, Table())
    typer.echo(f"{found.scored} stages were scored; results: {found.folder}")
    if found.lost:
        typer.echo(f"{len(found.lost)} stages are not in the store, so that they keep what scores they have")


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
