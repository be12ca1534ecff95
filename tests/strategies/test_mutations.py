"""The faults of `benchmarks/mutations.yaml` fit the code as it is, and the kept record is of them."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent
FAULTS = yaml.safe_load((ROOT / "benchmarks" / "mutations.yaml").read_text())


def test_every_fault_has_its_text_once_and_tests_to_run() -> None:
    for fault in FAULTS:
        assert (ROOT / fault["file"]).read_text().count(fault["old"]) == 1, fault["what"]
        for word in fault["tests"].split():
            assert list(ROOT.glob(f"tests/strategies/test_*{word}.py")), fault["what"]


def test_the_record_has_every_fault_and_who_caught_it() -> None:
    kept = json.loads((ROOT / "results" / "benchmarks" / "mutations.json").read_text())["faults"]
    assert [row["fault"] for row in kept] == [fault["what"] for fault in FAULTS]
    assert all(row["caught by"] for row in kept)
    assert f"plants {len(FAULTS)} faults" in (ROOT / "docs" / "reference" / "fidelity.md").read_text()
