"""The table of docs/how-to/avalanche.md: each row is what its plug-in comes to with the Avalanche that is installed."""

from __future__ import annotations

import pytest
from stock_plugins import PAGE, SUBJECTS, row

from cl_bench.testing.bench import Bench


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.filterwarnings("ignore")
def test_a_row_is_what_its_plug_in_comes_to(subject: str, bench: Bench) -> None:
    if subject.startswith("GEMPlugin"):
        pytest.importorskip("quadprog")
    assert row(subject, bench) in PAGE.read_text().splitlines(), "make plugins writes the table anew"
