"""The metrics plug-in: rows, and what reaches Avalanche's loggers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cl_bench import api, measures
from cl_bench.results import load_results


def test_tensorboard_gets_scores_drops_and_forgetting_equal_to_the_rows(
    tiny: Callable[..., str], results: Path
) -> None:
    prepared = api.prepare(tiny(orders=[["seg", "cls"]], trackers=["tensorboard"]))
    api.train(prepared)
    first, second = prepared.plan.runs[0].stages
    events = EventAccumulator(str(results / "tiny" / "tensorboard" / second[:16]))
    events.Reload()
    logged = {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
    before = prepared.store.scores(first)["seg", "mIoU"]
    after = prepared.store.scores(second)["seg", "mIoU"]
    assert logged["seg/mIoU"] == pytest.approx(after)
    assert logged["seg/drop against baseline"] == pytest.approx(measures.relative_drop(before, after))
    assert logged["seg/backward transfer"] == pytest.approx(after - before)
    assert logged["seg/forgetting"] == pytest.approx(measures.forgetting([before, after]))
    assert {"cls/Top-1", "cls/Top-5"} <= set(logged)


def test_rows_hold_every_task_seen_so_far_after_every_epoch(tiny: Callable[..., str], results: Path) -> None:
    prepared = api.prepare(tiny(orders=[["seg", "det", "cls"]]))
    api.train(prepared)
    rows = load_results(results / "tiny")
    naive = rows[(rows.strategy == "naive") & rows.metric.isin(["mIoU", "AP50", "Top-1"])]
    seen = naive.groupby(["position", "epoch"])["task"].apply(lambda tasks: sorted(set(tasks))).to_dict()
    assert seen == {
        (position, epoch): sorted(["seg", "det", "cls"][: position + 1]) for position in range(3) for epoch in (1, 2)
    }
    assert naive["value"].between(0, 1).all()
