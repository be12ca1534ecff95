"""A strategy of one's own: `strategy new` writes its files, `strategy check` says what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.app import Plugins, app
from cl_bench.cli.group import App

if TYPE_CHECKING:
    from cl_bench.testing.checks import Finding

strategy_app = App(name="strategy", help="Write and check a strategy of your own.")
app.add_typer(strategy_app)


@app.command(name="new-strategy", hidden=True)
@strategy_app.command(name="new")
def new_strategy(
    name: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits and '_'.")],
    folder: Annotated[Path, typer.Option("--folder", help="Where to put the files.")] = Path(),
) -> None:
    """Write a strategy that works, and its test, to begin with."""
    from cl_bench.testing.template import new_strategy as write

    first, test = write(name, folder)
    typer.echo(f"{first} and {test}; next:")
    typer.echo(f"  cl-bench strategy check {name} --plugin {first}")
    typer.echo(
        "then, for a row beside those that quickstart has already (two stages, three in a fresh clone: minutes):"
    )
    typer.echo(f"  cl-bench run quickstart --add --strategies {name} --plugin {first}")
    typer.echo("or results of their own (where the cores are not free, with --set threads=1 from the start):")
    typer.echo(f"  cl-bench run quickstart --set name={name} --strategies naive,{name} --plugin {first}")


@app.command(name="check", hidden=True)
@strategy_app.command(name="check")
def check(
    strategies: Annotated[list[str], typer.Argument(help="Strategies as an experiment names them, or `all`.")],
    plugin: Plugins = None,
) -> None:
    """Train strategies on a tiny stream, and say what is wrong.

    Exits with 1 where something is.
    """
    import tempfile

    from cl_bench.plugins import registry
    from cl_bench.plugins.plugin_files import load_plugin_files
    from cl_bench.testing.bench import Bench
    from cl_bench.testing.checks import check as examine

    load_plugin_files(plugin or ())
    names = list(registry.strategies) if strategies == ["all"] else strategies
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for name in names:
            findings = examine(name, bench)
            failed += any(finding.state == "failed" for finding in findings)
            _show(name, findings, brief=len(names) > 1)
    if failed:
        raise typer.Exit(1)


def _show(name: str, findings: Sequence[Finding], brief: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    worst = next((state for state in ("failed", "note") if any(f.state == state for f in findings)), "OK")
    shown = [finding for finding in findings if not brief or finding.state != "OK"]
    console = Console(highlight=False, markup=False)  # brackets are settings here
    console.print(f"{name}: {worst}")
    if shown:
        table = Table("check", "", "what was seen", box=None)
        for finding in shown:
            table.add_row(Text(finding.check), Text(finding.state), Text(finding.said))
        console.print(table)
