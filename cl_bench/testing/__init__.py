"""Does a strategy keep to the contract: `strategy check`, `check_strategy`, the template; knows none by name."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path


def check_strategy(text: str, plugin_files: Sequence[str | Path] = ()) -> None:
    """Train a strategy on a tiny stream (under a minute) and raise AssertionError where it breaks the contract.

    text: as written in an experiment, with settings if need be; plugin_files: Python files that declare it. The error
    names every check that failed and what was seen. Raises UserError for a file that cannot be imported.
    """
    # Not at import: `strategy new`, which needs this package, waits for no torch.
    from cl_bench.plugins.plugin_files import load_plugin_files
    from cl_bench.testing.bench import Bench
    from cl_bench.testing.checks import check

    load_plugin_files(plugin_files)
    with tempfile.TemporaryDirectory() as folder:
        failed = [finding for finding in check(text, Bench(Path(folder))) if finding.state == "failed"]
    if failed:
        raise AssertionError("; ".join(f"{finding.check}: {finding.said}" for finding in failed))
