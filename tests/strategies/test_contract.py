"""What every strategy keeps to, whatever it does; a new one is tested here without an edit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cl_bench import api
from cl_bench.composition import parse
from cl_bench.registry import strategies

STEPS = {
    **{"warmup_steps": 2, "clip_norm": 5.0, "ema_decay": 0.9, "weight_decay": 0.1},
    "augment": {"flip": True, "zoom": [0.7, 1.5], "oversize": 1.5},
}
SEQUENTIAL = [name for name in strategies if not strategies.get(name).together]
ACTING = [name for name in SEQUENTIAL if name != "naive"]
# These take the past predictors into the step, with stored images or the teacher's outputs.
TRAINS_PAST_PREDICTORS = ("kd", "replay", "der")
COMPOSED = {
    "feature_kd+l2_sp": "still",
    "agem+si+wise_ft+layer_rates": "still",
    "kd+agem+ewc": "moved",
}
"""Compositions, and whether they train past predictors."""
NEUTRAL = [
    "feature_kd[weight=0.0]+l2_sp[weight=0.0]+agem[memory=0]",
    "kd[weight=0.0]+si[weight=0.0]+wise_ft[alpha=1.0]",
]


def neutral(name: str) -> str:
    """Return the strategy at its neutral settings, as written in an experiment."""
    settings = strategies.get(name).neutral or {}
    return f"{name}[{','.join(f'{key}={value}' for key, value in settings.items())}]"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> api.Prepared:
    """The tiny stream under every strategy, at its defaults and at its neutral settings."""
    import yaml
    from conftest import TINY

    folder = tmp_path_factory.mktemp("contract")
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **STEPS, "evaluate_every": 0, "epochs": 1}))
    before = os.environ.get("CL_BENCH_RESULTS")
    os.environ["CL_BENCH_RESULTS"] = str(folder / "results")
    try:
        neutrals = [neutral(name) for name in ACTING if strategies.get(name).neutral]
        prepared = api.prepare(str(path), strategies=[*SEQUENTIAL, *neutrals, *COMPOSED, *NEUTRAL])
        assert api.train(prepared) == {}
    finally:
        if before is None:
            del os.environ["CL_BENCH_RESULTS"]
        else:
            os.environ["CL_BENCH_RESULTS"] = before
    return prepared


def weights(prepared: api.Prepared, text: str, stage: int) -> dict[str, torch.Tensor]:
    """Return the last weights of the 1-based `stage` of the run of a strategy."""
    run = next(run for run in prepared.plan.runs if run.strategy == text)
    return prepared.store.weights(run.stages[stage - 1])


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], prefix: str = "") -> bool:
    return all(torch.equal(a[name], b[name]) for name in a if name.startswith(prefix))


@pytest.mark.parametrize("name", [name for name in ACTING if strategies.get(name).neutral])
def test_its_neutral_setting_is_naive_bit_for_bit_but_computed(trained: api.Prepared, name: str) -> None:
    runs = {run.strategy: run.stages for run in trained.plan.runs}
    assert runs[neutral(name)][2] != runs["naive"][2], "the term is in the key, so it was not skipped"
    assert same(weights(trained, neutral(name), 3), weights(trained, "naive", 3))


@pytest.mark.parametrize("name", ACTING)
def test_it_acts_from_the_second_stage_on_and_not_before(trained: api.Prepared, name: str) -> None:
    assert same(weights(trained, name, 1), weights(trained, "naive", 1))
    assert not same(weights(trained, name, 2), weights(trained, "naive", 2), "backbone.")
    assert not same(weights(trained, name, 3), weights(trained, "naive", 3), "backbone.")


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_predictors_of_tasks_to_come_keep_their_bytes(trained: api.Prepared, name: str) -> None:
    first, second = weights(trained, name, 1), weights(trained, name, 2)
    assert same(first, second, "predictors.cls.")
    assert not same(first, second, "predictors.det.")


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_predictors_of_past_tasks_move_only_where_the_strategy_trains_them(trained: api.Prepared, name: str) -> None:
    moved = not same(weights(trained, name, 1), weights(trained, name, 2), "predictors.seg.")
    assert moved == (name in TRAINS_PAST_PREDICTORS)


@pytest.mark.parametrize("text", COMPOSED)
def test_compositions_train_past_predictors_only_where_a_part_does(trained: api.Prepared, text: str) -> None:
    still = same(weights(trained, text, 1), weights(trained, text, 2), "predictors.seg.")
    assert still == (COMPOSED[text] == "still")
    assert same(weights(trained, text, 1), weights(trained, text, 2), "predictors.cls.")


@pytest.mark.parametrize("text", NEUTRAL)
def test_neutral_settings_stay_neutral_in_a_composition(trained: api.Prepared, text: str) -> None:
    assert same(weights(trained, text, 3), weights(trained, "naive", 3))


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_the_model_has_no_more_parameters_or_passes_than_it_had(trained: api.Prepared, name: str) -> None:
    run = next(run for run in trained.plan.runs if run.strategy == name)
    cost = trained.store.describe(run.stages[-1])["cost"]
    assert (cost["added_parameters"], cost["added_passes"]) == (0, 0)
    assert cost["stored_images"] == (10 if "memory" in strategies.get(name).parameters else 0)


@pytest.mark.parametrize("name", ACTING)
def test_stages_trained_one_at_a_time_equal_those_of_a_run_without_a_break(
    trained: api.Prepared, name: str, tiny: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cl_bench.stages.train import Trainer

    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "results"))
    assert not parse(name).chained, "it cannot be resumed by stage"
    options: dict[str, Any] = {**STEPS, "evaluate_every": 0, "epochs": 1}
    prepared = api.prepare(tiny(**options), strategies=[name])
    trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)
    stages = prepared.plan.runs[0].stages
    assert stages == next(run.stages for run in trained.plan.runs if run.strategy == name)
    trainer.train(prepared.plan, stages)
    assert same(prepared.store.weights(stages[-1]), weights(trained, name, 3))


def test_every_strategy_names_its_paper_and_what_it_does() -> None:
    for name in ACTING:
        entry = strategies.get(name)
        assert entry.summary
        assert entry.paper.startswith("arXiv:")
