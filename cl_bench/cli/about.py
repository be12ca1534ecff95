"""What there is: `list`, and `model` with the parts of one."""

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
    from cl_bench.plugins.registry import load_plugin_files

    load_plugin_files(plugin or ())
    for line in listing.LISTINGS[what.value]():
        typer.echo(line)


@app.command()
def model(experiment: ExperimentName, changes: Changes = None, plugin: Plugins = None) -> None:
    """Print a model's parts, parameters and multiply-adds."""
    from cl_bench.deploy.model_card import model_card
    from cl_bench.plugins.registry import load_plugin_files

    load_plugin_files(plugin or ())
    typer.echo(model_card(experiment, changes or ()))
