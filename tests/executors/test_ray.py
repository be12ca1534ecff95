"""A Ray cluster of a head and two nodes on this machine, all bound to 127.0.0.1, one of which is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cl_bench import api
from cl_bench.errors import UserError
from cl_bench.stages.store import Store

# Has Ray take 127.0.0.1 for this machine's address, as it does where a firewall would ask; read when it is imported.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
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


def test_a_lost_node_costs_no_stage_and_no_bit(
    cluster: Any, tiny: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, strategies = tiny(epochs=6), ["naive", "kd", "kd+replay"]
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "local"))
    here = api.prepare(path, strategies=strategies)
    assert api.train(here) == {}
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "ray-results"))
    there = api.prepare(path, strategies=strategies)
    lost: list[str] = []

    def lose(key: str, state: object) -> None:
        if state == "done" and not lost:
            lost.append(key)
            cluster.remove_node(sorted(cluster.worker_nodes, key=id)[0], allow_graceful=False)  # SIGKILL

    assert api.train(there, report=lose, cluster=cluster.address) == {}
    assert lost
    assert len(artifacts(there.store)) == 9
    assert artifacts(there.store) == artifacts(here.store)


def test_without_an_address_this_machine_is_the_cluster(tiny: Callable[..., str], results: Path) -> None:
    prepared = api.prepare(tiny(orders=[["seg", "det"]]))
    assert api.train(prepared, cluster="") == {}
    assert len(artifacts(prepared.store)) == 3


def test_a_cluster_that_does_not_answer_is_named(tiny: Callable[..., str], results: Path) -> None:
    prepared = api.prepare(tiny())
    with pytest.raises(UserError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"):
        api.train(prepared, cluster="127.0.0.1:1")
