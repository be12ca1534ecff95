"""One tiny stream from the command line to the table, in this process: what `make quick` has of training."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cl_bench import cli


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a command, which must succeed, and returns what it printed."""

    def call(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["cl-bench", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        shown = capsys.readouterr()
        assert left.value.code in (None, 0), shown.err
        return shown.out

    return call


@pytest.mark.quick
def test_a_stream_is_trained_resumed_and_told(
    command: Callable[..., str], tiny: Callable[..., str], results: Path
) -> None:
    experiment = tiny(epochs=1)
    command("run", experiment, "--strategies", "naive,kd+replay")
    rows = pd.read_csv(results / "tiny" / "rows.csv")
    assert set(rows["task"]) == {"seg", "det", "cls"}
    assert "0 to train" in command("run", experiment, "--strategies", "naive,kd+replay", "--dry-run")
    table = pd.read_csv(io.StringIO(command("table", "tiny", "-f", "csv")))
    assert set(table["strategy"]) == {"naive", "kd+replay"}
    command("plot", "tiny")
    assert (results / "tiny" / "curves.png").stat().st_size > 10_000
