"""What there is, and what it means: `list`, `config`, `explain`."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from cl_bench.cli.app import Changes, ExperimentName, Plugins, app


class Listing(str, Enum):
    """What `list` lists."""

    strategies = "strategies"
    experiments = "experiments"
    kinds = "kinds"
    formats = "formats"
    backbones = "backbones"


@app.command(name="list")
def list_(
    what: Annotated[Listing, typer.Argument(help="What to list.")] = Listing.strategies, plugin: Plugins = None
) -> None:
    """List strategies, experiments, kinds, formats, backbones."""
    from cl_bench.cli import listing
    from cl_bench.plugins.plugin_files import load_plugin_files

    load_plugin_files(plugin or ())
    for line in listing.LISTINGS[what.value]():
        typer.echo(line)


@app.command()
def config(experiment: ExperimentName, changes: Changes = None) -> None:
    """Print an experiment's resolved YAML, every default included."""
    from cl_bench.config.presets import load_experiment

    typer.echo(load_experiment(experiment, changes or ()).to_yaml(), nl=False)


@app.command()
def explain(
    key: Annotated[
        str, typer.Argument(help="As in YAML or after --set: learning_rate, tasks.det.levels; none: all.")
    ] = "",
) -> None:
    """Say what a key of the YAML means, takes and is by default."""
    from cl_bench.config.keys import description, find, keys

    if key:
        typer.echo(description(find(key)))
        return
    width = max(map(len, keys()))
    for one in keys().values():
        typer.echo(f"{one.name:<{width}}  {one.means}")
