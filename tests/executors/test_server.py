"""What the process that workers are forked from inherits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cl_bench.executors.server import FORKED

pytestmark = pytest.mark.skipif(not FORKED, reason="workers are spawned here")


def test_files_of_the_working_folder_are_not_taken_for_modules(
    tiny: Callable[..., str], results: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    for name in ("cl_bench", "torch"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise SystemExit('not this one')\n")
    command = Path(sys.executable).parent / "cl-bench"
    words = [str(command), "run", tiny(orders=[["seg", "det"]]), "-j", "2"]
    found = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "not this one" not in found.stderr


def test_an_interrupt_in_its_first_seconds_is_not_its_business(tmp_path: Path) -> None:
    code = (
        "import os, signal, time; from cl_bench.executors.server import start_server; start_server();"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(1); os.killpg(0, signal.SIGINT)"
    )
    heard = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {code}"
    words = [sys.executable, "-W", "ignore", "-c", heard]
    found = subprocess.run(words, capture_output=True, text=True, start_new_session=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
