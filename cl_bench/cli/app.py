"""The application: what all commands share, and how errors end a command."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cl_bench.cli.group import App, Root, flags
from cl_bench.errors import RenamedWarning, StageFailedError, UserError
from cl_bench.utils.parsing import split_choice
from cl_bench.utils.streams import take_any_text

app = App(
    name="cl-bench",
    cls=Root,
    help="Learn a stream of different vision tasks one after the other, and measure what is forgotten.",
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _experiments(incomplete: str) -> list[str]:
    """Return what the shell may complete an experiment's name to."""
    from cl_bench.config.names import both_names
    from cl_bench.config.presets import presets
    from cl_bench.utils.paths import names_of_results

    return [name for name in both_names([*presets(), *names_of_results()]) if name.startswith(incomplete)]


ExperimentName = Annotated[
    str,
    typer.Argument(
        help="A preset's name (`cl-bench list experiments`), that of results, or a YAML file.",
        autocompletion=_experiments,
    ),
]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; repeatable.")]
Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="FILE", help="A Python file of yours; repeatable.")
]
MOST_SEEDS = 10_000
"""Seeds that a range may name: more is a mistake."""


def _version(asked: bool) -> None:
    if asked:
        from cl_bench import __version__

        typer.echo(f"cl-bench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; anywhere on the line.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print results and errors alone; anywhere on the line.")
    ] = False,
) -> None:
    """Learn a stream of different vision tasks one after the other, and measure what is forgotten."""


def results_folder(experiment: str) -> Path:
    """Return the folder of an experiment's results, named by preset, file or folder; a bare name is an experiment's."""
    from cl_bench.config.names import both_names, kept_as
    from cl_bench.config.presets import name_of, presets
    from cl_bench.config.values import DEV
    from cl_bench.errors import unknown_name_error
    from cl_bench.utils.paths import names_of_results, results_root

    path, name = Path(experiment), name_of(Path(experiment))
    written = path.suffix in (".yaml", ".yml") and os.path.isfile(path)
    named = (results_root() / name, results_root() / kept_as(name)) if written or len(path.parts) == 1 else ()
    for folder in (*named, path):
        if os.path.isfile(folder / "plan.json"):  # which is False, not an error, for a name that no file system takes
            return folder
    name, ran = kept_as(name), names_of_results()
    if on_dev := sorted({f"{name}-{split}" for split in DEV}.intersection(ran)):
        raise UserError(f"experiment {name} was scored on dev alone: its results are {', '.join(on_dev)}")
    if written or experiment in both_names(presets()):
        raise UserError(
            f"experiment {name} has no results in {results_root().absolute()} yet: cl-bench run {experiment}"
        )
    asked = name if len(path.parts) == 1 else experiment
    known = both_names(ran)
    raise unknown_name_error("experiment with results", asked, known, f" (in {results_root().absolute()})")


def numbers(seeds: str) -> list[int]:
    """Return the seeds of a list such as 0,1,2 or 0-4,7; ranges have both their ends."""
    found: list[int] = []
    for part in split_choice(seeds, "--seeds"):
        ends = re.fullmatch(r"(\d+)-(\d+)", part)
        try:
            first, last = (int(ends[1]), int(ends[2])) if ends else (int(part), int(part))
        except ValueError as error:
            raise UserError(f"--seeds takes whole numbers such as 0,1,2 or 0-4, not {seeds!r}") from error
        if not 0 <= last - first < MOST_SEEDS:
            raise UserError(f"--seeds {part}: a range goes from the smaller number to the larger, {MOST_SEEDS} at most")
        found += range(first, last + 1)
    return found


@contextmanager
def _renames_noted() -> Iterator[None]:
    """Show what was renamed as a note of one sentence, and any other warning as ever."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def shown(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, RenamedWarning):
                show(message, category, *where, **more)
            elif not flags.quiet:
                typer.echo(f"note: {message}", err=True)

        warnings.showwarning = shown
        yield


def main() -> None:
    """Run the command line: bad input exits with 2 and one sentence, a failed stage with 1, a stopped one with 130."""
    take_any_text()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's way to say Ctrl-C
    try:
        with _renames_noted():
            app()
    except UserError as error:
        if flags.debug:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except StageFailedError as error:
        if flags.debug:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if flags.debug or error.errno != errno.ENAMETOOLONG:
            raise
        typer.echo(f"error: {error.strerror}: {error.filename}", err=True)
        sys.exit(2)
