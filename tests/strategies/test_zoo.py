"""Known answers of the strategies that the field compares against."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from spy import Spy

from cl_bench.kinds.base import Distill
from cl_bench.runner.prepare import prepare
from cl_bench.stages.trainer import Trainer
from cl_bench.strategies.ema_teacher import SlowTeacher
from cl_bench.strategies.er import ClassBalanced
from cl_bench.strategies.ewc import ElasticWeights
from cl_bench.strategies.gem import projection
from cl_bench.strategies.l2_sp import QuadraticPenalty
from cl_bench.strategies.pod import PooledDistillation, pooled
from cl_bench.strategies.replay import Memory, Replay
from cl_bench.testing.bench import Bench
from cl_bench.training import teachers
from cl_bench.training.harness import Harness


def stages(bench: Bench, text: str) -> list[dict[str, Any]]:
    plan = bench.plan(text)
    assert bench.train(plan) is None
    return [bench.store.describe(key) for key in plan.runs[0].stages]


def ends(bench: Bench, text: str) -> list[dict[str, torch.Tensor]]:
    plan = bench.plan(text)
    assert bench.train(plan) is None
    return bench.ends(plan)


def test_gems_projection_is_the_nearest_gradient_that_agrees_with_all() -> None:
    generator = torch.Generator().manual_seed(0)
    for tasks in (1, 2, 5):
        gradient = torch.randn(50, generator=generator)
        past = torch.randn(tasks, 50, generator=generator) - 0.3 * gradient
        projected = gradient + projection(gradient, past)
        assert (past @ projected).min() > -1e-4
        for _ in range(200):
            other = projected + 0.1 * torch.randn(50, generator=generator)
            if (past @ other).min() >= 0:
                assert (other - gradient).norm() > (projected - gradient).norm() - 1e-4


def test_gem_leaves_a_gradient_that_agrees_and_is_agem_with_one_past_task() -> None:
    gradient, past = torch.tensor([1.0, 0.0]), torch.tensor([[-1.0, 1.0]])
    assert projection(gradient, -past).tolist() == [0, 0]
    assert projection(torch.tensor([torch.inf, 0.0]), past).tolist() == [0, 0], "which a loss scaler skips"
    torch.testing.assert_close(gradient + projection(gradient, past), torch.tensor([0.5, 0.5]))
    twice = torch.cat([past, past])  # two gradients that point one way
    torch.testing.assert_close(gradient + projection(gradient, twice), torch.tensor([0.5, 0.5]))


def test_a_reservoir_holds_so_many_images_of_all_tasks_together(bench: Bench) -> None:
    second, third = (stage["memory"] for stage in stages(bench, "er[memory=6,choose=reservoir]")[1:])
    assert {task: len(names) for task, names in second.items()} == {"seg": 6}
    assert sum(map(len, third.values())) == 6
    assert set(third["seg"]) < set(second["seg"]), "what is replaced is gone for good"


def test_a_balanced_memory_shows_every_class_about_as_often(second_stage: Callable[..., Spy]) -> None:
    spread: list[np.ndarray] = []

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            for memory in (ClassBalanced(10), Memory(10)):
                memory.remember(strategy)
                ((dataset, indices),) = memory.stored
                split = dataset.split
                examples = tuple(split.examples[index] for index in indices)
                spread.append(dataset.task.kind.count(type(split)(**{**vars(split), "examples": examples})))

    scenes = {"format": "scenes", "train": 60, "val": 10, "size": 64}
    kinds = {"cls": "classification", "seg": "segmentation"}
    tasks = [{"name": name, "kind": kind, "data": scenes} for name, kind in kinds.items()]
    second_stage("naive", Watch(), ("cls", "seg"), tasks=tasks)
    balanced, random = spread
    assert balanced.tolist() == [1] * 10
    assert random.max() > 1


def test_a_balanced_memory_heeds_the_classes_that_the_task_learns(tiny: Callable[..., str], results: Path) -> None:
    det = {"name": "det", "kind": "detection", "data": {"format": "scenes", "train": 20, "val": 20, "size": 64}}
    learnt, rest = ["0", "1"], [str(digit) for digit in range(2, 10)]
    path = tiny(tasks=[{**det, "head": "d", "learns": learnt}, {**det, "name": "rest", "head": "d", "learns": rest}])
    prepared = prepare(path, strategies=["er", "replay"])
    trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)
    images, _ = trainer.datasets("det", 0)
    least = images.shown[:, :2].sum(0).min()
    chosen = ClassBalanced(2 * int(least)).choose(SimpleNamespace(seed=0), images)  # type: ignore[arg-type]
    assert images.shown[chosen][:, :2].sum(0).min() == least
    by_strategy = {run.strategy: prepared.plan.stages[run.stages[1]].identity for run in prepared.plan.runs}
    assert ["stored_by" in by_strategy[name] for name in ("er", "replay")] == [True, False]


def test_cumulative_keeps_every_image(bench: Bench) -> None:
    last = stages(bench, "cumulative")[-1]
    assert {task: len(names) for task, names in last["memory"].items()} == {"seg": 12, "det": 12}


def test_a_frozen_backbone_keeps_its_bytes_and_the_rest_learns(bench: Bench) -> None:
    first, second, third = ends(bench, "frozen_backbone")
    kept = [name for name in first if name.startswith("backbone.")]
    assert all(torch.equal(first[name], other[name]) for name in kept for other in (second, third))
    assert not torch.equal(first["shared.0.weight"], second["shared.0.weight"])


@pytest.mark.parametrize(
    ("strategy", "settings", "layer"),
    [
        ("kd+frozen_backbone", {}, "blocks.4"),
        ("kd", {"early_rate": 0.0}, "blocks.2"),
    ],
)
def test_layers_that_are_still_run_once_for_student_and_teachers_alike(
    second_stage: Callable[..., Spy],
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    settings: dict[str, float],
    layer: str,
) -> None:
    class Count(Spy):
        calls = 0
        stepping = False

        def before_training_epoch(self, strategy: Harness, **_: Any) -> None:
            if strategy.epoch == 0:
                for model in (strategy.model, strategy.teacher):
                    model.backbone.get_submodule(layer)[0].conv_pwl.register_forward_hook(self.count)

        def count(self, module: torch.nn.Module, maps: tuple[torch.Tensor], *_: Any) -> None:
            self.calls += self.stepping and len(maps[0]) > 1  # a single one asks what depends on what

        def before_training_iteration(self, strategy: Harness, **_: Any) -> None:
            self.stepping = True

        def after_training_iteration(self, strategy: Harness, **_: Any) -> None:
            self.stepping = False

    shared, plain = Count(), Count()
    second_stage(strategy, shared, **settings)
    monkeypatch.setattr(teachers, "shared_layers", lambda *_: frozenset())
    second_stage(strategy, plain, **settings)
    assert plain.calls == 2 * shared.calls > 0
    assert shared.last == plain.last, "and the bits are the same"


def test_a_limit_on_rates_is_the_factor_where_nothing_was_slower(second_stage: Callable[..., Spy]) -> None:
    rates = "backbone=0.5,neck=0.5,shared=0.5,predictors=1.0"
    factor, limit = (second_stage(f"kd+layer_rates[{rates},limit={on}]", early_rate=0.0) for on in ("false", "true"))
    assert factor.last == limit.last
    slow = {"early_rate": 0.0, "backbone_rate": 0.1}
    factor, limit = (second_stage(f"kd+layer_rates[{rates},limit={on}]", **slow) for on in ("false", "true"))
    assert factor.last != limit.last


def test_lwfs_warm_up_leaves_what_was_learnt_alone(second_stage: Callable[..., Spy]) -> None:
    moved: list[bool] = []

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            super().before_training_exp(strategy)
            self.start = {name: p.detach().clone() for name, p in strategy.learnt_parameters().items()}

        def after_training_epoch(self, strategy: Harness, **_: Any) -> None:
            now = strategy.learnt_parameters()
            moved.append(any(not torch.equal(now[name], start) for name, start in self.start.items()))

    spy = second_stage("lwf[warmup_epochs=1]", Watch())
    assert moved == [False, True]
    assert spy.first["det"] != spy.last["det"], "the new predictor learnt all the time"


def test_a_teacher_that_never_moves_is_the_parent(bench: Bench) -> None:
    slow, kd = ends(bench, "ema_teacher[decay=1.0]"), ends(bench, "kd")
    assert all(torch.equal(slow[-1][name], kd[-1][name]) for name in kd[-1])


@pytest.mark.parametrize("strategy", ["agem", "gem"])
def test_a_projection_has_nothing_to_do_where_all_that_was_learnt_is_held(
    strategy: str, second_stage: Callable[..., Spy]
) -> None:
    held = "layer_rates[backbone=0,neck=0,shared=0,predictors=0]"
    assert second_stage(f"{strategy}[memory=3]+{held}").last == second_stage(held).last


def test_a_slow_teacher_goes_a_part_of_the_way_at_each_step() -> None:
    plugin = SlowTeacher(weight=1.0, decay=0.75, how=Distill())
    plugin.teacher, student = (torch.nn.BatchNorm1d(2) for _ in range(2))  # type: ignore[assignment]
    torch.nn.init.constant_(student.weight, 5.0)
    student.running_mean.fill_(8.0)  # type: ignore[union-attr] # which it has
    for expected in (2.0, 2.75):
        plugin.after_update(SimpleNamespace(model=student))  # type: ignore[arg-type] # all that it looks at
        state = plugin.state_dict()
        torch.testing.assert_close(state["weight"], torch.full((2,), expected))
    torch.testing.assert_close(state["running_mean"], torch.full((2,), 8 * (1 - 0.75**2)))


def test_pod_is_zero_where_nothing_moved_and_not_where_the_features_did() -> None:
    stage = SimpleNamespace(past_tasks=[SimpleNamespace(levels=(8,))], autocast=contextlib.nullcontext)
    before, after = ({8: torch.rand(2, 3, 4, 5)} for _ in range(2))
    plugin = PooledDistillation(1.0)
    assert plugin.term(stage, before, before) == pytest.approx(0, abs=1e-7)  # type: ignore[arg-type]
    assert 0.01 < plugin.term(stage, before, after) < 2  # type: ignore[arg-type]


def test_pooled_features_have_length_one_and_forget_where_along_an_axis() -> None:
    features = torch.rand(2, 3, 4, 5)
    found = pooled(features)
    assert found.shape == (2, 3 * (4 + 5))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(pooled(2 * features), found)
    shuffled = features[:, :, :, torch.randperm(5)]
    torch.testing.assert_close(pooled(shuffled)[:, : 3 * 5].sort(1).values, found[:, : 3 * 5].sort(1).values)


def test_ewcs_anchors_are_one_after_one_stage(second_stage: Callable[..., Spy]) -> None:
    held: list[dict[str, tuple[torch.Tensor, torch.Tensor]]] = []

    class Watch(Spy):
        def before_backward(self, strategy: Harness, **_: Any) -> None:
            if strategy.step == 0:
                plugin = next(plugin for plugin in strategy.plugins if isinstance(plugin, QuadraticPenalty))
                held.append({name: (anchor, weight) for name, anchor, weight in plugin._held})

    for anchors in ("latest", "each"):
        second_stage(f"ewc[images=3,anchors={anchors}]", Watch())
    latest, each = held
    assert latest.keys() == each.keys()
    for name, (anchor, weight) in latest.items():
        torch.testing.assert_close(weight, each[name][1])
        torch.testing.assert_close((anchor * weight).sum(), (each[name][0] * weight).sum(), rtol=1e-4, atol=1e-6)


def test_ewcs_anchors_of_two_stages_pull_as_both_penalties_do(monkeypatch: pytest.MonkeyPatch) -> None:
    ends, fishers = torch.randn(2, 3), torch.rand(2, 3)
    ancestors = [
        SimpleNamespace(weights=lambda end=end: {"w": end}, fisher=f) for end, f in zip(ends, fishers, strict=True)
    ]
    monkeypatch.setattr("cl_bench.strategies.ewc.sensitivity", lambda stage, ancestor, *_, **__: {"w": ancestor.fisher})
    plugin = ElasticWeights(1.0, 1.0, 1, "each")
    ((_, anchor, weight),) = plugin.held(SimpleNamespace(ancestors=ancestors))  # type: ignore[arg-type]
    at, there = torch.randn(2, 3)
    apart = [(fishers * (w - ends).square()).sum() for w in (at, there)]
    together = [(weight * (w - anchor).square()).sum() for w in (at, there)]
    torch.testing.assert_close(together[0] - together[1], apart[0] - apart[1], rtol=1e-4, atol=1e-5)


def test_replay_takes_a_number_or_a_memory() -> None:
    assert Replay(7).memory.size == 7
    assert Replay(ClassBalanced(3)).memory.size == 3


def test_the_memory_of_a_strategy_is_in_its_stage(bench: Bench, tmp_path: Path) -> None:
    assert [stage["cost"]["stored_images"] for stage in stages(bench, "gem[memory=4]")] == [0, 4, 4]
