"""What every strategy keeps to, whatever it does; a new one is tested here without an edit."""

from __future__ import annotations

import pytest
import torch

from cl_bench.plugins.composition import parse
from cl_bench.plugins.registry import strategies
from cl_bench.testing.bench import Bench
from cl_bench.testing.checks import check

SEQUENTIAL = [name for name in strategies if not strategies.get(name).together]
ACTING = [name for name in SEQUENTIAL if name != "naive"]
FROM_THE_FIRST = ("sam",)
# These take the past predictors into the step, with stored images or the teacher's outputs.
TRAINS_PAST_PREDICTORS = (
    *("kd", "lwf", "pcgrad", "cagrad", "response_kd", "ema_teacher", "replay", "er", "der", "fdr", "cumulative"),
    *("hold", "consolidate", "view_kd"),
)
CARRYING = (
    "si",
    "ema_teacher",
    "expert_kd",
    "task_arithmetic",
    "layer_merging",
    "consolidate",
    "hold",
    "der",
    "fdr",
    "ewc",
)
"""What their stages begin with could differ from what a process still holds."""
COMPOSED = {
    "feature_kd+l2_sp": "still",
    "agem+si+wise_ft+layer_rates": "still",
    "kd+agem+ewc": "moved",
}
"""Compositions, and whether they train past predictors."""


def weights(bench: Bench, text: str) -> list[dict[str, torch.Tensor]]:
    plan = bench.plan(text)
    assert bench.train(plan) is None
    return bench.ends(plan)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], prefix: str = "") -> bool:
    return all(torch.equal(a[name], b[name]) for name in a if name.startswith(prefix))


@pytest.mark.parametrize("name", list(strategies))
def test_it_passes_every_check(name: str, bench: Bench) -> None:
    findings = {finding.check: finding for finding in check(name, bench)}
    noted = {name for name, finding in findings.items() if finding.state != "OK"}
    entry = strategies.get(name)
    alone = {"neutral setting"} if entry.neutral is None and name != "naive" else set()
    assert noted == ({"the rest"} if entry.together else alone), findings


@pytest.mark.parametrize("name", ACTING)
def test_it_acts_from_the_second_stage_on_and_not_before(name: str, bench: Bench) -> None:
    own, naive = weights(bench, name), weights(bench, "naive")
    assert same(own[0], naive[0]) == (name not in FROM_THE_FIRST)
    assert not same(own[1], naive[1], "backbone.")
    assert not same(own[2], naive[2], "backbone.")


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_predictors_of_past_tasks_move_only_where_the_strategy_trains_them(name: str, bench: Bench) -> None:
    first, second, _ = weights(bench, name)
    assert same(first, second, "predictors.seg.") == (name not in TRAINS_PAST_PREDICTORS)
    assert not same(first, second, "predictors.det.")


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_it_stores_ten_images_or_none_and_adds_no_parameter(name: str, bench: Bench) -> None:
    plan = bench.plan(name)
    assert bench.train(plan) is None
    cost = bench.store.describe(plan.runs[0].stages[-1])["cost"]
    assert (cost["added_parameters"], cost["added_passes"]) == (0, 0)
    memory = strategies.get(name).parameters.get("memory")
    stored = 12 if name == "cumulative" else memory.default if memory else 0
    if name == "der":
        assert 5 < cost["stored_images"] <= stored, "an image may be stored twice, with two outputs"
    else:
        assert cost["stored_images"] == stored in (0, 10, 12)


@pytest.mark.parametrize("text", COMPOSED)
def test_compositions_keep_to_it_and_train_past_predictors_only_where_a_part_does(text: str, bench: Bench) -> None:
    assert {finding.state for finding in check(text, bench)} == {"OK"}
    first, second, _ = weights(bench, text)
    assert same(first, second, "predictors.seg.") == (COMPOSED[text] == "still")
    assert same(first, second, "predictors.cls.")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The same stream in another store, with the baselines that strategies follow."""
    return Bench(tmp_path_factory.mktemp("other"))


@pytest.mark.parametrize("name", CARRYING)
def test_stages_trained_in_one_process_equal_those_of_one_each(name: str, bench: Bench, other: Bench) -> None:
    assert not parse(name).chained, "it cannot be resumed by stage"
    plan = other.plan(name)
    for key in {key for stage in plan.stages.values() for key in stage.experts.values()}:
        if key not in other.store:
            other.trainer.train(plan, [key])
    other.trainer.train(plan, plan.runs[0].stages)
    assert same(other.ends(plan)[-1], weights(bench, name)[-1])


def test_every_strategy_names_its_paper_and_what_it_does() -> None:
    for name in ACTING:
        entry = strategies.get(name)
        assert entry.summary
        assert entry.paper.startswith("arXiv:")
