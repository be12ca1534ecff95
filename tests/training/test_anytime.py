"""Evaluations inside the epochs: they change no bit of the training, and show what is lost and comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cl_bench.report.figures.curves import forgetting_curves
from cl_bench.report.tables.drops import render
from cl_bench.results.rows import load_results, read_results
from cl_bench.results.summary import summary
from cl_bench.runner.prepare import prepare
from cl_bench.runner.run import train


def test_evaluations_between_steps_change_no_bit(
    tiny: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends, rows = [], []
    for steps in (0, 2):
        monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / str(steps)))
        path = tiny(orders=[["seg", "cls"]], evaluate_steps=steps, ema_decay=0.9)
        prepared = prepare(path, strategies=["kd+replay"])
        assert train(prepared) == {}
        last = prepared.plan.runs[0].stages[-1]
        ends.append(prepared.store.describe(last)["hashes"]["last"])
        rows.append(load_results(prepared.folder))
    assert ends[0] == ends[1]
    found = rows[1][(rows[1]["strategy"] == "kd+replay") & (rows[1]["position"] == 1) & (rows[1]["metric"] == "mIoU")]
    assert found["epoch"].tolist() == pytest.approx([2 / 3, 1, 1 + 1 / 3, 2], abs=1e-4), "steps 2, 3, 4 and 6 of 6"
    assert found["last"].tolist() == [False, False, False, True]
    same = rows[0][(rows[0]["strategy"] == "kd+replay") & rows[0]["last"]]["value"].tolist()
    assert rows[1][(rows[1]["strategy"] == "kd+replay") & rows[1]["last"]]["value"].tolist() == same
    assert forgetting_curves(read_results(prepared.folder)).keys() == {"seg>cls"}


def test_lowest_and_stability_gap_are_those_of_the_rows(tiny: Callable[..., str], results: Path) -> None:
    prepared = prepare(tiny(orders=[["seg", "cls"]], evaluate_steps=1), strategies=["naive"])
    assert train(prepared) == {}
    results = read_results(prepared.folder)
    rows = results.rows
    later = rows[(rows["strategy"] == "naive") & (rows["position"] == 1) & (rows["task"] == "seg")]["value"]
    table = summary(results).set_index("task")
    shown = render(summary(results), results, "markdown", full=True)
    assert f"{later.min():.3f} ({later.iloc[-1] - later.min():.2f})" in shown
    assert table.loc["seg", "lowest"] == later.min()
    assert table.loc["seg", "stability_gap"] == pytest.approx(later.iloc[-1] - later.min())
    assert table.loc["cls", ["lowest", "stability_gap"]].isna().all(), "nothing was learnt after it"
