"""Known answers of the strategies that slow, freeze or average weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cl_bench.errors import UserError
from cl_bench.runner.prepare import Prepared
from cl_bench.runner.prepare import prepare as prepare_experiment
from cl_bench.runner.run import train as train_missing
from cl_bench.stages.trainer import Trainer
from cl_bench.strategies.kd import Distillation
from cl_bench.training.harness import Harness


@pytest.fixture
def two_stages(
    results: Path, tiny: Callable[..., str], with_stages: Callable[[Prepared], Prepared]
) -> Callable[..., tuple[dict[str, torch.Tensor], ...]]:
    """Return a function that trains seg, then det under a strategy, and returns the weights after each."""

    def train(strategy: str, changes: dict[str, Any] | None = None) -> tuple[dict[str, torch.Tensor], ...]:
        path = tiny(orders=[["seg", "det"]])
        prepared = with_stages(prepare_experiment(path, strategies=[strategy], changes=changes or {}))
        return tuple(map(prepared.store.weights, prepared.plan.runs[0].stages))

    return train


def moved(pair: tuple[dict[str, torch.Tensor], ...], prefix: str, buffers: bool = False) -> bool:
    first, second = pair
    chosen = [n for n in first if n.startswith(prefix) and ("running_" in n or "num_batches" in n) == buffers]
    assert chosen
    return any(not torch.equal(first[name], second[name]) for name in chosen)


def test_a_rate_of_zero_keeps_a_part_and_trains_the_rest(two_stages: Callable[..., tuple]) -> None:
    pair = two_stages("layer_rates[backbone=0, neck=1, shared=0, predictors=1]")
    assert not moved(pair, "backbone.")
    assert not moved(pair, "backbone.", buffers=True)
    assert not moved(pair, "shared.")
    assert moved(pair, "neck.")
    assert moved(pair, "predictors.det.")


def test_pyramid_levels_that_no_past_task_used_learn_as_ever(two_stages: Callable[..., tuple]) -> None:
    pair = two_stages("layer_rates[backbone=0, neck=0, shared=0, predictors=0]")
    assert not moved(pair, "neck.inner_blocks.")
    assert not moved(pair, "neck.layer_blocks.0.")  # stride 8: det's, and seg's before it
    pair = two_stages("layer_rates[backbone=0, neck=0, shared=0, predictors=0]", {"tasks.det.levels": [8, 16]})
    assert not moved(pair, "neck.layer_blocks.0.")
    assert moved(pair, "neck.layer_blocks.1.")


def test_what_is_new_has_a_rate_of_its_own(two_stages: Callable[..., tuple]) -> None:
    levels = {"tasks.det.levels": [8, 16]}
    pair = two_stages("layer_rates[backbone=1, neck=1, shared=1, predictors=1, new=0]", levels)
    assert not moved(pair, "neck.layer_blocks.1.")
    assert not moved(pair, "predictors.det.")
    assert moved(pair, "neck.layer_blocks.0.")
    assert moved(pair, "backbone.")


def test_a_slow_part_moves_less(two_stages: Callable[..., tuple]) -> None:
    def way(strategy: str) -> float:
        first, second = two_stages(strategy)
        learnt = [n for n in first if n.startswith("backbone.") and "running" not in n and "num_batches" not in n]
        return sum(float((first[name] - second[name]).abs().sum()) for name in learnt)

    assert 0 < way("layer_rates[backbone=0.01]") < way("naive") / 5


def test_frozen_statistics_stay_from_the_second_stage_on(two_stages: Callable[..., tuple]) -> None:
    first, second = pair = two_stages("frozen_bn")
    assert not moved(pair, "backbone.", buffers=True)
    assert moved(pair, "backbone.")
    assert any(float(v) for n, v in first.items() if n.endswith("num_batches_tracked")), "stage 1 gathers them"
    assert moved(two_stages("naive"), "backbone.", buffers=True)
    assert second.keys() == first.keys()


@pytest.mark.parametrize("alpha", [0.0, 0.25])
def test_the_stage_ends_between_its_first_and_its_last_weights(two_stages: Callable[..., tuple], alpha: float) -> None:
    first, trained = two_stages("naive")
    _, mixed = two_stages(f"wise_ft[alpha={alpha}]")
    for name, tensor in mixed.items():
        # In the tiny experiment both tasks are fed by level 8, so the neck's other levels serve neither.
        own = name.startswith("predictors.det.") or not tensor.is_floating_point()
        wanted = trained[name] if own else (1 - alpha) * first[name] + alpha * trained[name]
        torch.testing.assert_close(tensor, wanted)


@pytest.mark.parametrize("text", ["wise_ft[alpha=1.5]", "layer_rates[neck=-1]", "ewc[images=0]", "der[memory=-1]"])
def test_settings_out_of_range_are_refused(text: str) -> None:
    from cl_bench.plugins.composition import parse

    with pytest.raises(UserError, match=r"greater|less"):
        parse(text)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_stage_starts_part_of_the_way_back_to_the_initial_backbone(
    results: Path, tiny: Callable[..., str], with_stages: Callable[[Prepared], Prepared], share: float
) -> None:
    text = f"rewind[share={share}]+layer_rates[backbone=0, neck=0, shared=0, predictors=0]"
    prepared = with_stages(prepare_experiment(tiny(orders=[["seg", "det"]]), strategies=[text]))
    first, second = map(prepared.store.weights, prepared.plan.runs[0].stages)
    trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)
    initial = trainer.untrained(0).state_dict()
    for name, value in second.items():
        if name.startswith("backbone.") and value.is_floating_point():
            assert torch.equal(value, torch.lerp(first[name], initial[name], share)), name
        elif not name.startswith("predictors.det"):
            assert torch.equal(value, first[name]), name
    assert not torch.equal(first["neck.inner_blocks.0.0.weight"], initial["neck.inner_blocks.0.0.weight"])


def test_the_teacher_is_the_model_before_it_is_moved_back(
    results: Path, tiny: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[dict[str, torch.Tensor]] = []
    prepare = Distillation.before_training_exp

    def noting(self: Distillation, strategy: Harness, **more: object) -> None:
        prepare(self, strategy, **more)
        if self.teacher is not None:
            taught.append(self.teacher.state_dict())

    monkeypatch.setattr(Distillation, "before_training_exp", noting)
    prepared = prepare_experiment(tiny(orders=[["seg", "det"]]), strategies=["rewind+kd"])
    assert train_missing(prepared) == {}
    first = prepared.store.weights(prepared.plan.runs[0].stages[0])
    assert len(taught) == 1
    assert all(torch.equal(taught[0][name], value) for name, value in first.items())
