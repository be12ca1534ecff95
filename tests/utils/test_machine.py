"""What a stage takes of the machine."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from cl_bench.stages import trainer
from cl_bench.testing.bench import Bench
from cl_bench.utils import machine

PEAKS = """
import torch
from cl_bench.utils.machine import keep_memory, peak_memory_mb, reset_peak_memory
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


@pytest.mark.parametrize("strategy", ["consolidate", "gem+si", "avalanche.training.plugins.EWCPlugin[ewc_lambda=0.5]"])
def test_a_trained_stage_leaves_no_model_for_the_collector(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref] = []

    class Chain(trainer._Chain):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            made.extend((weakref.ref(self.harness), weakref.ref(self.harness.model)))

        def train(self, *args: Any) -> None:
            super().train(*args)
            assert self.harness.average is not None
            made.append(weakref.ref(self.harness.average))

    monkeypatch.setattr(trainer, "_Chain", Chain)
    bench = Bench(tmp_path)
    gc.disable()
    try:
        assert bench.train(bench.plan(strategy)) is None
        assert made
        assert not [reference for reference in made if reference() is not None]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("threads", "jobs", "load", "said"),
    [
        (2, 1, 0.2, ""),
        (2, 1, 2.0, "2 threads on 2 of the machine's cores, whose load is 2.0"),
        (2, 2, 0.0, "2 x 2 threads on 2"),
        (1, 2, 3.0, ""),
    ],
)
def test_threads_that_have_to_share_cores_are_told(monkeypatch, threads, jobs, load, said):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    remark = machine.crowded(threads, jobs)
    assert bool(remark) == bool(said)
    assert said in remark
