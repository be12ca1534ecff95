"""Two commands on one folder of results."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import message

from cl_bench.runner.prepare import prepare
from cl_bench.runner.run import train

pytestmark = pytest.mark.usefixtures("full_sizes")  # as the processes that are started have

HOLD = """
import json, sys
from pathlib import Path
from cl_bench.runner.lock import exclusive_plan
with exclusive_plan(Path(sys.argv[1]), json.loads(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path) -> Any:
    """Return a function that has another process hold a folder with a plan."""
    processes = []

    def hold(folder: Path, plan: dict[str, Any]) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", HOLD, str(folder), json.dumps(plan)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        processes.append(process)
        return process

    yield hold
    for process in processes:
        process.kill()
        process.communicate()


def test_another_plan_is_kept_away_while_one_is_trained_and_the_same_is_not(
    held: Any, tiny: Callable[..., str], results: Path
) -> None:
    naive, kd = (prepare(tiny(orders=[["seg", "det"]], epochs=1), strategies=[name]) for name in ("naive", "kd"))
    assert train(naive) == {}
    before = (naive.folder / "plan.json").read_bytes()
    other = held(naive.folder, json.loads(before))
    said = message(train, kd)
    assert "another command is running tiny with other strategies" in said
    assert "--set name=" in said
    assert json.loads((naive.folder / "plan.json").read_bytes())["runs"] == json.loads(before)["runs"]
    assert train(naive) == {}, "two commands may share the work"
    other.kill()
    other.wait()
    assert train(kd) == {}, "the lock went with its owner"
