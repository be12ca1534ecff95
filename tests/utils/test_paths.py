"""Where things lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import message

from cl_bench.utils.paths import expand


def test_paths_are_filled_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SOME_WHERE", "/there")
    monkeypatch.setenv("CL_BENCH_DATA", "/data")
    assert expand("~/x") == tmp_path / "x"
    assert expand("${SOME_WHERE}/${CL_BENCH_DATA}/x") == Path("/there//data/x")
    assert expand("plain/x") == Path("plain/x")
    monkeypatch.delenv("CL_BENCH_DATA")
    monkeypatch.setenv("CL_BENCH_CACHE", "/cache")
    assert expand("${CL_BENCH_DATA}/x") == Path("/cache/data/x")
    monkeypatch.delenv("SOME_WHERE")
    expected = "path '${SOME_WHERE}/x' needs the environment variable SOME_WHERE, which is not set"
    assert message(expand, "${SOME_WHERE}/x") == expected
