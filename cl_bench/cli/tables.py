"""How `run` and `table` print a table."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import typer

from cl_bench.errors import UserError


class Format(str, Enum):
    """How a table is printed."""

    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"


def print_table(
    folder: Path,
    format: Format,
    full: bool,
    output: Path | None = None,
    baselines: bool = False,
    against: str = "",
) -> None:
    """Print a table, or write it to a file; of the baselines alone where nothing else was run."""
    from cl_bench import results
    from cl_bench.report import baselines as single
    from cl_bench.report.table import render

    found = results.load_results(folder)
    if baselines or not found.attrs["plan"]["runs"]:
        text = single.render(results.baselines(found), format.value)
    elif against:
        from cl_bench.comparison import differences
        from cl_bench.report import differences as paired

        text = paired.render(differences(found, folder, against), format.value)
    else:
        text = render(results.summary(found), found.attrs["plan"], format.value, full=full)
    if output is None:
        typer.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from error
