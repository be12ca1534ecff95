"""Writes the table of docs/how-to/avalanche.md: what Avalanche's own plug-ins come to here. A few minutes.

python benchmarks/plugin_tables.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

SHARED = Path(__file__).parent.parent / "tests" / "shared"


def main() -> None:
    """Train every plug-in on the stream of `cl-bench check`, and write the page anew."""
    sys.path.insert(0, str(SHARED))
    from stock_plugins import PAGE, SUBJECTS, page, row

    from cl_bench.testing.bench import Bench

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        PAGE.write_text(page(PAGE.read_text(), [row(subject, bench) for subject in SUBJECTS]))


if __name__ == "__main__":
    main()
