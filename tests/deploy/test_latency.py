"""Latencies are measured, kept, merged, and refused where they are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import message
from typer.testing import CliRunner

from cl_bench.cli.app import app
from cl_bench.deploy import latency


def test_every_runtime_has_a_record_and_machines_are_merged(tiny: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    found = latency.measure(tiny(), repeats=4, batch=2)
    assert [one.runtime for one in found] == list(latency.LIBRARIES)
    for one in found:
        assert 0 < one.p50 <= one.p95 <= one.p99
        assert one.throughput == pytest.approx(2000 / one.p50, rel=1.0)
        assert one.memory_mb > 50
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    here.write_text(latency.to_json(found))
    there.write_text(latency.to_json([replace(found[0], processor="another | one", p50=0.1)]))
    lines = latency.table(latency.load([here, there])).splitlines()
    assert len(lines) == 2 + len(found) + 1
    assert sum("another / one" in line for line in lines) == 1
    assert {line.count("|") for line in lines} == {12}
    assert "onnxruntime (onnxruntime 1." in latency.table(found)
    assert latency.load([here, here]) == found
    merged = CliRunner().invoke(app, ["model", "latency", str(here), str(there), "-o", str(tmp_path / "merged.json")])
    assert merged.exit_code == 0, merged.output
    assert latency.load([tmp_path / "merged.json"]) == latency.load([here, there])
    eager, *others = (one.memory_mb for one in found)
    assert max(others) < eager, "which need no PyTorch"
    here.write_text(latency.to_json([replace(found[0], p50=float("nan"))]))
    assert "p50 is nan, which is no measurement" in message(latency.load, [here])
    here.write_text(latency.to_json([replace(found[0], parameters=10**400)]))
    assert "parameters is 1000000000" in message(latency.load, [here])
    here.write_text(latency.to_json([replace(found[0], p50=found[0].p99 + 1)]))
    assert "of eager, p50, p95 and p99 do not rise" in message(latency.load, [here])


def test_what_is_no_latency_is_refused(tiny: Callable[..., str], tmp_path: Path) -> None:
    assert "did you mean 'openvino'?" in message(latency.measure, tiny(), names=["opnvino"])
    assert "unknown key" in message(latency.measure, tiny(), ["eppochs=1"])
    file = tmp_path / "file.json"
    for content in ("{", "[1]", "[{}]", json.dumps([{"runtime": "eager"}])):
        file.write_text(content)
        assert "file.json" in message(latency.load, [file])
