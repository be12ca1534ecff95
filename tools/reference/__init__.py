"""Pages of docs/reference that are built from the code: name -> text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tools.reference import commands, experiment, files, interface, registered

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs" / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "experiment.md": experiment.page,
    "cli.md": commands.page,
    "strategies.md": registered.strategies_page,
    "kinds.md": registered.kinds_page,
    "files.md": files.page,
    "environment.md": interface.environment_page,
    "python.md": interface.python_page,
}
