"""What a stage takes of the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

PEAKS = """
import torch
from cl_bench.resources import keep_memory, peak_memory_mb, reset_peak_memory
keep_memory()
large = torch.ones(100_000_000)
before = peak_memory_mb("cpu")
del large
reset_peak_memory("cpu")
print(before - peak_memory_mb("cpu"))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks cannot be reset on this system")
def test_memory_that_is_kept_does_not_count_for_the_next_stage() -> None:
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", PEAKS], capture_output=True, text=True, check=True)
    assert float(found.stdout) > 300, "of the 400 MB that were freed"
