"""Writes the tables of docs/reference/fidelity.md that say which test holds which strategy to its paper.

python benchmarks/fidelity_tables.py
"""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"


def main() -> None:
    """Import the tests, which say it, and write the page anew."""
    sys.path[:0] = [str(TESTS), *(str(TESTS / name) for name in ("shared", "strategies"))]
    from fidelity import PAGE, page, rows

    PAGE.write_text(page(PAGE.read_text(), rows()))


if __name__ == "__main__":
    main()
