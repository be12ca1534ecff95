"""Writes tables of the documentation that tests hold.

fidelity: which test holds which strategy to its paper (docs/reference/fidelity.md). plugins: what Avalanche's own
plug-ins come to here (docs/how-to/avalanche.md), each trained on the stream of `cl-bench check`: a few minutes.

python benchmarks/tables_of_tests.py fidelity
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"


def fidelity() -> None:
    """Import the tests, which say it, and write the page anew."""
    from fidelity import PAGE, page, rows

    PAGE.write_text(page(PAGE.read_text(), rows()))


def plugins() -> None:
    """Train every plug-in, and write the page anew."""
    from stock_plugins import PAGE, SUBJECTS, page, row

    from cl_bench.testing.bench import Bench

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        PAGE.write_text(page(PAGE.read_text(), [row(subject, bench) for subject in SUBJECTS]))


PAGES = {"fidelity": fidelity, "plugins": plugins}


def main() -> None:
    """Write the page that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", choices=PAGES)
    asked = parser.parse_args()
    sys.path[:0] = [str(TESTS), *(str(TESTS / name) for name in ("shared", "strategies"))]
    PAGES[asked.page]()


if __name__ == "__main__":
    main()
