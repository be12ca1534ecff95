"""Results and the store: `results export`, `results import`, `results gc`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cl_bench.cli.app import ExperimentName, app, results_folder
from cl_bench.cli.group import App
from cl_bench.errors import UserError

results_app = App(name="results", help="Move results, and make room.")
app.add_typer(results_app)


@app.command(name="gc", hidden=True)
@results_app.command(name="gc")
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; otherwise it is only listed.")] = False,
    others: Annotated[
        list[Path] | None,
        typer.Option("--results", metavar="DIR", help="A further folder of results that uses the store; repeatable."),
    ] = None,
) -> None:
    """List, or remove, stages that no experiment needs.

    Experiments are those of the results folders.
    """
    from cl_bench.results.garbage import garbage, remove
    from cl_bench.results.store.store import Store
    from cl_bench.utils.paths import results_root, store_root

    roots = [results_root(), *(others or ())]
    if empty := [root for root in others or () if not any(root.glob("*/plan.json"))]:
        raise UserError(f"{empty[0]} holds no results of any experiment")
    if not store_root().resolve().is_relative_to(results_root().resolve()) and not others:
        raise UserError(f"the store {store_root()} may serve more results than {results_root()}: name all by --results")
    found = garbage(
        Store(store_root(), writable=delete), sorted(plan for root in roots for plan in root.glob("*/plan.json"))
    )
    for one in found:
        typer.echo(f"{one.path}: {one.what}, {one.size / 1e6:.1f} MB")
    if delete:
        remove(found)
    total = sum(one.size for one in found) / 1e6
    typer.echo(f"{len(found)} entries, {total:.1f} MB {'removed' if delete else 'can go: --delete removes them'}")


@app.command(name="export-results", hidden=True)
@results_app.command(name="export")
def export_results(
    experiment: ExperimentName,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="EXPERIMENT.tar otherwise.")] = None,
) -> None:
    """Write an experiment's results and stages into one file.

    Weights are included, and checksums of all.
    """
    from cl_bench.results import archive
    from cl_bench.results.plan_file import read_plan
    from cl_bench.results.store.store import Store
    from cl_bench.utils.paths import store_root

    folder = results_folder(experiment)
    target, planned = output or Path(f"{folder.name}.tar"), len(read_plan(folder).stages)
    packed = archive.export_results(folder, Store(store_root(), writable=False), target)
    typer.echo(
        f"{target}: {packed} of {planned} stages" + ("; the others are not in the store" if packed < planned else "")
    )


@app.command(name="import-results", hidden=True)
@results_app.command(name="import")
def import_results(file: Annotated[Path, typer.Argument(help="What `results export` wrote.")]) -> None:
    """Take results and stages from another machine.

    They are checked against their checksums.
    """
    from cl_bench.results import archive
    from cl_bench.results.store.store import Store
    from cl_bench.utils.paths import results_root, store_root

    typer.echo(archive.import_results(file, results_root(), Store(store_root())))
