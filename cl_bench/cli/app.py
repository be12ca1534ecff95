"""The application: what all commands share, and how errors end a command."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from cl_bench.errors import StageFailedError, UserError
from cl_bench.utils.streams import take_any_text

app = typer.Typer(
    name="cl-bench",
    help="Learn a stream of different vision tasks one after the other, and measure what is forgotten.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing it takes as long as all else that `--help` does
)
ExperimentName = Annotated[str, typer.Argument(help="A preset's name (`cl-bench list experiments`) or a YAML file.")]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; repeatable.")]
Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="FILE", help="A Python file of yours; repeatable.")
]


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Learn a stream of different vision tasks one after the other, and measure what is forgotten."""
    context.obj = debug


def results_folder(experiment: str) -> Path:
    """Return the folder of an experiment's results, named by preset, file or folder; a bare name is an experiment's."""
    from cl_bench.config.presets import name_of, presets
    from cl_bench.config.schema import DEV
    from cl_bench.errors import unknown_name_error
    from cl_bench.utils.paths import results_root

    path, name = Path(experiment), name_of(Path(experiment))
    written = path.suffix in (".yaml", ".yml") and os.path.isfile(path)
    for folder in (results_root() / name, path) if written or len(path.parts) == 1 else (path,):
        if os.path.isfile(folder / "plan.json"):  # which is False, not an error, for a name that no file system takes
            return folder
    ran = [found.parent.name for found in results_root().glob("*/plan.json")]
    if on_dev := sorted({f"{name}-{split}" for split in DEV}.intersection(ran)):
        raise UserError(f"experiment {name} was scored on dev alone: its results are {', '.join(on_dev)}")
    if written or experiment in presets():
        raise UserError(f"experiment {name} has no results in {results_root()} yet: cl-bench run {experiment}")
    raise unknown_name_error("experiment with results", name if len(path.parts) == 1 else experiment, ran)


def numbers(seeds: str) -> list[int]:
    """Return the seeds of a list such as 0,1,2."""
    try:
        return [int(part) for part in seeds.split(",") if part.strip()]
    except ValueError as error:
        raise UserError(f"--seeds takes whole numbers such as 0,1,2, not {seeds!r}") from error


def main() -> None:
    """Run the command line: bad input exits with 2 and one sentence, a failed stage with 1, a stopped one with 130."""
    debug = "--debug" in sys.argv
    take_any_text()
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
    except OSError as error:
        if debug or error.errno != errno.ENAMETOOLONG:
            raise
        typer.echo(f"error: {error.strerror}: {error.filename}", err=True)
        sys.exit(2)
