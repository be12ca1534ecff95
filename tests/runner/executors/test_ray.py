"""A Ray cluster of a head and two nodes on this machine, all bound to 127.0.0.1, one of which is lost."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cl_bench.errors import UserError
from cl_bench.plugins.registry import strategies
from cl_bench.results.store.store import Store
from cl_bench.runner.executors.ray import Ray
from cl_bench.runner.prepare import prepare
from cl_bench.runner.run import train

pytestmark = pytest.mark.usefixtures("full_sizes")  # as the processes that are started have

# Has Ray take 127.0.0.1 for this machine's address, as it does where a firewall would ask; read when it is imported.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
# Its workers are otherwise niced, and on a machine that is busy with something else they never get to begin.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so
cluster_utils = pytest.importorskip("ray.cluster_utils")


def artifacts(store: Store) -> dict[str, tuple[bytes, str]]:
    """Return the rows and the weights' hash of every stage."""
    return {
        stage["key"]: ((store.folder(stage["key"]) / "evaluations.csv").read_bytes(), stage["hashes"]["last"])
        for stage in store.stages()
    }


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without processors, and two nodes with one each, all of them processes of their own."""
    here = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
    found = cluster_utils.Cluster(initialize_head=True, head_node_args={**here, "num_cpus": 0})
    for _ in range(2):
        found.add_node(**here, num_cpus=1)
    yield found
    found.shutdown()


NOTED = """
import os
import time
from pathlib import Path
from avalanche.core import SupervisedPlugin
from cl_bench import strategy

class Noted(SupervisedPlugin):
    def state_dict(self): return {{}}
    def load_state_dict(self, tensors): pass
    def before_training_epoch(self, strategy, **_):
        with open({file!r}, "a") as file:
            file.write(f"{{os.getpid()}} {{strategy.epoch}}\\n")
        while strategy.epoch == 1 and not Path({gate!r}).exists():
            time.sleep(0.05)

@strategy("noted")
def noted(x: int = 0): return [Noted()]
"""


def alive(process: str) -> bool:
    """Return whether a process still runs; one that nobody has reaped does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(int(process)).status() != psutil.STATUS_ZOMBIE)
    return False


def resumed(log: str) -> int:
    """Return how often a process began a stage with an epoch that is not the first."""
    last: dict[str, int] = {}
    found = 0
    for process, epoch in (line.split() for line in log.splitlines()):
        found += int(epoch) > 0 and last.get(process) != int(epoch) - 1
        last[process] = int(epoch)
    return found


def test_a_lost_node_costs_no_stage_and_no_bit(
    cluster: Any, tiny: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategies, "entries", {name: strategies.get(name) for name in strategies})
    path, plugin, log, gate = tiny(epochs=3), tmp_path / "noted.py", tmp_path / "epochs.txt", tmp_path / "open"
    plugin.write_text(NOTED.format(file=str(log), gate=str(gate)))
    gate.touch()
    three = [f"noted[x={x}]" for x in (1, 2, 3)]
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "local"))
    here = prepare(path, strategies=three, plugin_files=[plugin])
    assert train(here) == {}
    assert resumed(log.read_text()) == 0
    log.unlink()
    gate.unlink()
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "ray-results"))
    there = prepare(path, strategies=three, plugin_files=[plugin])
    over, lost = threading.Event(), list[str]()

    def lose() -> None:
        """Kill a node while both wait in the middle of a stage, and let the other go on once its worker is gone."""
        places = [there.store.checkpoints.path(key) for run in there.plan.runs for key in run.stages]
        while not over.wait(0.05):
            if not lost and sum(place.exists() for place in places) == 2:
                lost.append("one")
                cluster.remove_node(sorted(cluster.worker_nodes, key=id)[0], allow_graceful=False)  # SIGKILL
            if lost and not all(alive(line.split()[0]) for line in log.read_text().splitlines()):
                gate.touch()
                return

    watch = threading.Thread(target=lose)
    watch.start()
    try:
        assert train(there, Ray(cluster.address)) == {}
    finally:
        over.set()
        watch.join()
    assert lost
    assert resumed(log.read_text()) >= 1, "from its last checkpoint, on the node that was left"
    assert len(artifacts(there.store)) == 12
    assert artifacts(there.store) == artifacts(here.store)


def test_without_an_address_this_machine_is_the_cluster(tiny: Callable[..., str], results: Path) -> None:
    prepared = prepare(tiny(orders=[["seg", "det"]]))
    assert train(prepared, Ray()) == {}
    assert len(artifacts(prepared.store)) == 3


def test_a_cluster_that_does_not_answer_is_named(tiny: Callable[..., str], results: Path) -> None:
    prepared = prepare(tiny())
    with pytest.raises(UserError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"):
        train(prepared, Ray("127.0.0.1:1"))
