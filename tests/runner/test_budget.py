"""What of a plan fits into a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cl_bench.errors import UserError
from cl_bench.runner.budget import duration, fitting, seconds_of
from cl_bench.runner.prepare import Prepared, prepare


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("1h30m", 5400), ("90s", 90), ("0.5h", 1800), (" 3m ", 180)]
)
def test_a_duration(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "two hours", "-1h", "1m2h"])
def test_no_duration(text: str) -> None:
    with pytest.raises(UserError, match="--budget takes a time such as 2h"):
        duration(text)


def test_nothing_to_judge_by(tiny: Callable[..., str], results: Path) -> None:
    with pytest.raises(UserError, match="none is stored"):
        fitting(prepare(tiny()), 1e9)


def test_whole_runs_fit_in_the_order_of_the_plan(
    tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]
) -> None:
    path = tiny(orders=[["seg", "cls"]], epochs=1)
    first = with_stages(prepare(path, strategies=["naive", "kd"]))
    done = fitting(first, 0.0)
    assert (len(done.prepared.plan.runs), done.left_out, done.seconds) == (2, [], 0)
    more = prepare(path, strategies=["naive", "kd"], seeds=[0, 1])
    missing = {stage.key: seconds_of(stage, more) for stage in more.missing()}
    naive, kd = more.plan.runs[2:]
    baselines = [key for run in more.plan.baselines for key in run.stages]
    least = sum(missing.get(key, 0) for key in {*naive.stages, *baselines})
    fit = fitting(more, least + 1e-6)
    assert [(run.strategy, run.seed) for run in fit.left_out] == [("kd", 1)]
    assert fit.seconds == pytest.approx(least)
    assert len(fit.prepared.plan.runs) == 3
    assert set(fit.prepared.plan.stages) >= {*naive.stages, *baselines}
    assert kd.stages[1] not in fit.prepared.plan.stages
    assert fitting(more, sum(missing.values()) / 2 + 1e-6, workers=2).left_out == []
    twice = prepare(path, strategies=["naive"], seeds=[1], changes={"epochs": 2})
    assert seconds_of(twice.plan.stages[twice.plan.runs[0].stages[1]], twice) == pytest.approx(
        2 * seconds_of(more.plan.stages[naive.stages[1]], more)
    )
    nothing = fitting(prepare(path, seeds=[7]), 0.0)
    assert (nothing.prepared.plan.runs, len(nothing.left_out), nothing.seconds) == ([], 1, 0)
    assert nothing.shortest > 0


def test_scoring_counts_and_the_baseline_that_a_stage_follows_counts_once(
    tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]
) -> None:
    path = tiny(orders=[["seg", "cls"]], epochs=1)
    first = with_stages(prepare(path, strategies=["expert_kd"]))
    more = prepare(path, strategies=["expert_kd"], seeds=[1])
    cost = {found["key"]: found["cost"] for found in more.stored}
    key = first.plan.runs[0].stages[1]
    baseline = next(run.stages[0] for run in first.plan.baselines if run.order == ("cls",))
    own = cost[key]["train_seconds"] + cost[key]["evaluation_seconds"] - cost[baseline]["train_seconds"]
    assert seconds_of(more.plan.stages[more.plan.runs[0].stages[1]], more) == pytest.approx(own)
