"""Known answers of the penalties: L2-SP, EWC, MAS and SI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from spy import Spy

from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.strategies.ewc import ElasticWeights, sensitivity
from cl_bench.strategies.l2_sp import QuadraticPenalty
from cl_bench.strategies.si import SynapticIntelligence
from cl_bench.training.harness import Harness


def plugin_of(strategy: Harness, kind: type) -> Any:
    return next(plugin for plugin in strategy.plugins if isinstance(plugin, kind))


@pytest.mark.parametrize("name", ["l2_sp", "ewc[images=4]", "mas[images=4]", "si"])
def test_the_penalty_is_zero_at_first_and_positive_ever_after(second_stage: Callable[..., Spy], name: str) -> None:
    values: list[float] = []

    class Watch(Spy):
        def before_backward(self, strategy: Harness, **_: Any) -> None:
            values.append(float(plugin_of(strategy, QuadraticPenalty).penalty(strategy).detach()))

    second_stage(name, Watch())
    assert values[0] == 0
    assert len(values) == 6
    assert min(values[1:]) > 0


@pytest.mark.parametrize("name", ["l2_sp", "ewc[images=4]", "mas[images=4]"])
def test_a_heavier_penalty_keeps_what_was_learnt_closer_to_where_it_was(
    second_stage: Callable[..., Spy], name: str
) -> None:
    moved: list[float] = []

    class Watch(Spy):
        def after_training_exp(self, strategy: Harness, **_: Any) -> None:
            held = plugin_of(strategy, QuadraticPenalty)._held
            now = dict(strategy.model.named_parameters())
            moved.append(sum(float((weight * (now[n] - start) ** 2).sum()) for n, start, weight in held))

    for weight in (0.0, 1e4):
        second_stage(name.rstrip("]") + ("," if "[" in name else "[") + f"weight={weight}]", Watch())
    assert moved[1] < moved[0] / 4


def test_l2_sp_is_half_the_squared_distance(second_stage: Callable[..., Spy]) -> None:
    class Watch(Spy):
        def after_training_exp(self, strategy: Harness, **_: Any) -> None:
            plugin = plugin_of(strategy, QuadraticPenalty)
            learnt = strategy.learnt_parameters()
            assert set(learnt) == {name for name, _, _ in plugin._held}
            start = {name: tensor for name, tensor, _ in plugin._held}
            distance = sum(float((p - start[name]).square().sum()) for name, p in learnt.items())
            assert float(plugin.penalty(strategy)) == pytest.approx(0.3 / 2 * distance, rel=1e-5)

    second_stage("l2_sp[weight=0.3]", Watch())


def test_the_sensitivity_is_the_mean_power_of_the_gradient_scaled_to_a_mean_of_one(
    second_stage: Callable[..., Spy],
) -> None:
    checked: list[int] = []

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            (ancestor,) = strategy.ancestors
            seen: list[float] = []
            known = torch.arange(11.0)

            def objective(model: Any, task: Any, image: Any, target: Any) -> torch.Tensor:
                # Its gradient by the biases of the seg predictor is known: 0, 1, 2 ..., and more for every image.
                seen.append(float(len(seen) + 1))
                return (model.predictors["seg"].logits.bias * known * seen[-1]).sum()

            for order in (1, 2):
                found = sensitivity(strategy, ancestor, 4, objective, order)
                assert list(found) == ["predictors.seg.logits.bias"]
                wanted = known**order / (known**order).mean()
                torch.testing.assert_close(found["predictors.seg.logits.bias"], wanted)
                checked.append(len(seen))

    second_stage("naive", Watch())
    assert checked == [4, 8], "four images each"


def test_importance_is_of_past_tasks_alone_and_has_a_mean_of_one(second_stage: Callable[..., Spy]) -> None:
    found: dict[str, torch.Tensor] = {}

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            found.update(plugin_of(strategy, ElasticWeights).importance(strategy))

    second_stage("ewc[images=4]", Watch())
    values = torch.cat([value.flatten() for value in found.values()])
    assert float(values.mean()) == pytest.approx(1)
    assert float(values.min()) >= 0
    assert not [name for name in found if name.startswith(("predictors.det", "predictors.cls"))]
    assert any(name.startswith("predictors.seg") for name in found)


@pytest.mark.parametrize("held", [False, True])
def test_synaptic_intelligence_adds_the_work_done_along_the_path(held: bool) -> None:
    plugin = SynapticIntelligence(weight=3.0, damping=0.5)
    model = torch.nn.Linear(1, 1, bias=False)
    strategy: Any = type("S", (), {"model": model, "past": [], "device": "cpu", "at_end": lambda *_: None})()
    with torch.no_grad():
        model.weight.fill_(2.0)
    plugin.before_training_exp(strategy)
    if held:
        plugin._held = [("weight", torch.tensor([[2.0]]), torch.tensor([[7.0]]))]
    for factor in (0.5, 0.5, 0.0):  # the loss w^2 / 2, whose gradient is w: 2 -> 1 -> 0.5, then a step that is skipped
        own = model.weight.detach().clone()
        model.weight.grad = own + (3 * 7 * (own - 2.0) if held else 0)
        if factor == 0.0:
            model.weight.grad = torch.full_like(own, float("inf"))
        plugin.before_update(strategy)
        with torch.no_grad():
            model.weight -= factor * own
        plugin.after_update(strategy)
    with torch.no_grad():
        model.weight.fill_(100.0)  # as an average of the weights would: not where the path led
    plugin._gather()
    work = 2 * 1 + 1 * 0.5  # gradient times movement, each step
    assert float(plugin.state_dict()["weight"]) == pytest.approx(work / (1.5**2 + 0.5))


def test_synaptic_intelligence_is_stored_with_the_stage(
    results: Path, tiny: Callable[..., str], with_stages: Callable[[Prepared], Prepared]
) -> None:
    prepared = with_stages(prepare(tiny(orders=[["seg", "det"]]), strategies=["si", "naive"]))
    first, second = prepared.plan.runs[0].stages
    before, after = prepared.store.states(first), prepared.store.states(second)
    learnt = [name for name in prepared.store.weights(first) if "running_" not in name and "num_batches" not in name]
    assert set(before) == {f"SynapticIntelligence.0/{name}" for name in learnt}
    assert all((after[name] >= before[name]).all() for name in before), "importance never shrinks"
    assert any((after[name] > before[name]).any() for name in before)
    assert prepared.store.states(prepared.plan.runs[1].stages[0]) == {}
