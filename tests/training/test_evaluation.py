"""The metrics plug-in: rows, and what it emits on Avalanche's bus of metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from avalanche.evaluation.metric_results import MetricValue
from avalanche.training.plugins import EvaluationPlugin

from cl_bench.results.rows import load_results
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.runner.run import train


def test_avalanche_is_told_the_scores_of_the_rows(
    tiny: Callable[..., str], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, float] = {}
    publish = EvaluationPlugin.publish_metric_value

    def listening(self: EvaluationPlugin, value: MetricValue) -> None:
        told[value.name] = float(value.value)
        publish(self, value)

    monkeypatch.setattr(EvaluationPlugin, "publish_metric_value", listening)
    prepared = prepare(tiny(orders=[["seg", "cls"]]))
    train(prepared)
    last = prepared.store.scores(prepared.plan.runs[0].stages[-1])
    assert told == {f"{task}/{metric}": value for (task, metric), value in last.items()}
    assert {"seg/mIoU", "cls/Top-1", "cls/Top-5"} == told.keys()


def test_rows_hold_every_task_seen_so_far_after_every_epoch(
    tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]
) -> None:
    with_stages(prepare(tiny(orders=[["seg", "det", "cls"]])))
    rows = load_results(results / "tiny")
    naive = rows[(rows.strategy == "naive") & rows.metric.isin(["mIoU", "AP50", "Top-1"])]
    seen = naive.groupby(["position", "epoch"])["task"].apply(lambda tasks: sorted(set(tasks))).to_dict()
    assert seen == {
        (position, epoch): sorted(["seg", "det", "cls"][: position + 1]) for position in range(3) for epoch in (1, 2)
    }
    assert naive["value"].between(0, 1).all()
