"""A small fault campaign; `benchmarks/faults.py` runs the large one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "faults.py"


def test_killed_damaged_and_racing_runs_end_with_the_undisturbed_rows() -> None:
    words = [sys.executable, str(SCRIPT), "--kills", "1", "--damages", "1", "--races", "1", "--no-disks"]
    found = subprocess.run(words, capture_output=True, text=True, env={**os.environ}, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    lines = found.stdout.splitlines()
    assert [line.partition(",")[0] for line in lines[1:]] == [
        "SIGKILL at a random moment: 1 faults",
        "damaged file: 1 faults",
        "two runs on one store: 1 faults",
    ]
    assert all("0 finished stages trained again" in line for line in lines[1:3])
