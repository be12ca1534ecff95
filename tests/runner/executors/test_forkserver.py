"""What the process that workers are forked from inherits."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import TINY

from cl_bench.runner.executors.forkserver import FORKED, start_server, worker_context


def run(experiment: str, jobs: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = str(Path(sys.executable).parent / "cl-bench")
    return subprocess.run(
        [command, "run", experiment, "-j", jobs], cwd=folder, capture_output=True, text=True, check=False
    )


pytestmark = pytest.mark.skipif(not FORKED, reason="workers are spawned here")


def test_files_of_the_working_folder_are_not_taken_for_modules(
    tiny: Callable[..., str], results: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    for name in ("cl_bench", "torch"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise SystemExit('not this one')\n")
    found = run(tiny(orders=[["seg", "det"]]), "2", folder)
    assert found.returncode == 0, found.stderr
    assert "not this one" not in found.stderr


def test_a_worker_takes_as_much_memory_as_a_process_by_itself(
    tiny: Callable[..., str], results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = []
    for jobs in ("1", "2"):
        monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / jobs))
        assert run(tiny(tasks=TINY["tasks"][:1]), jobs, tmp_path).returncode == 0
        rows = (tmp_path / jobs / "tiny" / "stages.csv").read_text().splitlines()
        peaks.append(float(next(csv.DictReader(rows))["peak_memory_mb"]))
    assert peaks[1] == pytest.approx(peaks[0], rel=0.15)


def test_an_interrupt_in_its_first_seconds_is_not_its_business(tmp_path: Path) -> None:
    code = (
        "import os, signal, time; from cl_bench.runner.executors.forkserver import start_server; start_server();"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(1); os.killpg(0, signal.SIGINT)"
    )
    heard = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {code}"
    words = [sys.executable, "-W", "ignore", "-c", heard]
    found = subprocess.run(words, capture_output=True, text=True, start_new_session=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


def test_one_that_was_killed_is_started_again_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('not this one')\n")
    monkeypatch.chdir(tmp_path)
    start_server()
    context = worker_context()
    for _ in range(2):
        worker = context.Process(target=os.getpid)
        worker.start()
        worker.join()
        assert worker.exitcode == 0
        for child in psutil.Process().children():
            if "forkserver" in " ".join(child.cmdline()):
                child.kill()
                os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
