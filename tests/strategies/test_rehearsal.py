"""Known answers of the strategies that look at stored images or at the parent's features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, message
from spy import Spy

from cl_bench.errors import UserError
from cl_bench.plugins.composition import parse
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.runner.run import train
from cl_bench.strategies.agem import GradientProjection
from cl_bench.strategies.fdr import FunctionReplay
from cl_bench.strategies.feature_kd import FeatureDistillation
from cl_bench.strategies.replay import Replay
from cl_bench.training.harness import Harness


def plugin_of(strategy: Harness, kind: type) -> Any:
    return next(plugin for plugin in strategy.plugins if isinstance(plugin, kind))


def test_fdr_stores_the_outputs_of_the_stage_that_learnt_the_task(second_stage: Callable[..., Spy]) -> None:
    losses: list[float] = []
    seen: list[bool] = []

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            plugin = plugin_of(strategy, FunctionReplay)
            assert len(plugin.outputs) == 5
            strategy.model.eval()
            for (name, index), output in plugin.outputs.items():
                dataset = strategy.past[0]
                assert name == "seg"
                features = strategy.model.features(dataset.plain[index][0][None])
                seen.append(bool(torch.equal(strategy.model.raw(features, dataset.task), output)))
            strategy.model.train()

        def before_backward(self, strategy: Harness, **_: Any) -> None:
            task, wanted, which, where = plugin_of(strategy, FunctionReplay)._step
            assert (task.name, which, where) == ("seg", 0, slice(4, 8))
            assert strategy.mb_task_id.tolist() == [1] * 4 + [0] * 4
            output = strategy.model.raw(strategy.passes[which][1], task, torch.arange(4, 8))
            plain = sum(float(part) for part in strategy._criterion.parts.values())
            wanted_loss = plain + 3.0 * float((output - wanted).square().mean().detach())
            assert float(strategy.loss.detach()) == pytest.approx(wanted_loss, rel=1e-5)
            losses.append(wanted_loss - plain)

    second_stage("fdr[memory=5, alpha=3.0]", Watch())
    assert seen == [True] * 5
    assert len(losses) == 6
    assert min(losses) > 0


def test_fdr_of_images_of_another_size_meets_its_own_pass(second_stage: Callable[..., Spy]) -> None:
    tasks = [{**task, "image_size": 96} if task["name"] == "seg" else task for task in TINY["tasks"]]
    places: list[Any] = []

    class Watch(Spy):
        def before_backward(self, strategy: Harness, **_: Any) -> None:
            _, _, which, where = plugin_of(strategy, FunctionReplay)._step
            places.append((which, where, strategy.passes[which][0].shape[-1]))

    second_stage("fdr[memory=5]", Watch(), tasks=tasks)
    assert places == [(1, slice(0, 4), 96)] * 6


def test_ders_reservoirs_are_kept_with_the_stages_and_filled_on_where_a_task_comes_back(
    results: Path, tiny: Callable[..., str]
) -> None:
    prepared = prepare(tiny(orders=[["seg", "det", "seg"]]), strategies=["der[memory=5,beta=0.5]"])
    assert train(prepared) == {}
    keys = prepared.plan.runs[0].stages
    states = [prepared.store.states(key) for key in keys]
    passed = [{name: int(tensor) for name, tensor in state.items() if "passed of" in name} for state in states]
    seg, det = "DarkReplay.0/passed of seg", "DarkReplay.0/passed of det"
    assert passed == [{seg: 24}, {seg: 24, det: 24}, {seg: 48, det: 24}], "two epochs of twelve images a stage"
    views = states[-1]["DarkReplay.0/views of seg"]
    assert len(views) == 5
    assert set(views[:, 1].tolist()) == {0, 1}, "of either visit"
    assert [set(prepared.store.describe(key)["memory"]) for key in keys] == [set(), {"seg"}, {"det"}]


def test_der_takes_each_image_once_where_sam_takes_the_step_twice(results: Path, tiny: Callable[..., str]) -> None:
    prepared = prepare(tiny(orders=[["seg", "det"]]), strategies=["sam+der[memory=5]"])
    assert train(prepared) == {}
    passed = prepared.store.states(prepared.plan.runs[0].stages[0])["DarkReplay.0/passed of seg"]
    assert int(passed) == 24, "two epochs of twelve images"


@pytest.mark.parametrize(("text", "named"), [("agem+sam", r"sam\+agem"), ("kd[weight=2]+sam+gem", r"sam\+kd.*\+gem")])
def test_what_takes_the_step_once_more_is_named_first(text: str, named: str) -> None:
    with pytest.raises(UserError, match=f"sam takes each step once more and must be named first: {named}"):
        parse(text)


def test_der_says_that_it_cannot_store_a_mosaic(second_stage: Callable[..., Spy]) -> None:
    said = message(second_stage, "der", tasks=TINY["tasks"][:2], augment={"mosaic": 0.5})
    assert said == "strategy der stores single images, and seg shows parts of several (mosaic, paste)"


def test_stored_images_are_drawn_anew_where_a_task_comes_back(run: Callable[..., None]) -> None:
    drawn: dict[int, list[tuple[int, ...]]] = {}

    class Watch(Spy):
        def before_backward(self, strategy: Harness, **_: Any) -> None:
            if strategy.current[0].task.name == "det":
                places = plugin_of(strategy, Replay).memory.places(strategy, 0)[1]
                drawn.setdefault(strategy.settings.visit("det"), []).append(tuple(place for place, _ in places))

    run("replay[memory=12]", Watch(), order=("seg", "det", "seg", "det"), epochs=1)
    assert set(drawn) == {0, 1}
    assert drawn[0] != drawn[1]


def test_two_memories_are_recorded_as_one(
    results: Path, tiny: Callable[..., str], with_stages: Callable[[Prepared], Prepared]
) -> None:
    path = tiny(orders=[["seg", "det"]])
    prepared = with_stages(prepare(path, strategies=["agem[memory=3]+replay[memory=5]"]))
    described = prepared.store.describe(prepared.plan.runs[0].stages[1])
    assert described["cost"]["stored_images"] == 5, "the smaller memory holds no other images than the larger"
    assert len(described["memory"]["seg"]) == 5


def test_stored_images_without_their_labels_are_looked_at_but_not_learnt(second_stage: Callable[..., Spy]) -> None:
    losses: list[tuple[float, float]] = []

    class Watch(Spy):
        def after_forward(self, strategy: Harness, **_: Any) -> None:
            assert strategy.mb_task_id.tolist() == [1] * 4 + [0] * 4
            loss = float(strategy.criterion().detach())
            _, output = strategy.mb_output[1]
            task = strategy.current[0].task
            losses.append((loss, float(task.kind.loss(task, output, strategy.mb_y[:4]).detach())))

    second_stage("replay[memory=5,weight=0]", Watch())
    assert len(losses) == 6
    assert [loss for loss, _ in losses] == pytest.approx([own for _, own in losses], rel=1e-5)
    (rehearsal,) = (
        plugin for plugin in parse("consolidate[label_weight=0]").terms[0].build() if isinstance(plugin, Replay)
    )
    assert rehearsal.weight == 0


@pytest.mark.parametrize("text", ["fdr+replay", "replay+replay[memory=3]", "der[beta=0.5]+er"])
def test_two_memories_with_labels_do_not_compose(text: str) -> None:
    with pytest.raises(UserError, match="two parts train on stored images"):
        parse(text)


def test_feature_distillation_is_zero_where_student_and_teacher_agree(second_stage: Callable[..., Spy]) -> None:
    terms: list[float] = []

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            images = torch.stack([strategy.current[0][i][0] for i in range(4)])
            plugin = plugin_of(strategy, FeatureDistillation)
            assert strategy.teacher is not None
            strategy.model.eval()
            student, teacher = strategy.model.features(images), strategy.teacher.features(images)
            terms.append(float(plugin.term(strategy, student, teacher).detach()))
            other = strategy.teacher.features(images)
            other._levels[8] = 3 * other[8]  # three times the features: a relative squared distance of 4 / 9
            terms.append(float(plugin.term(strategy, teacher, other)))
            strategy.model.train()

        def before_backward(self, strategy: Harness, **_: Any) -> None:
            plugin = plugin_of(strategy, FeatureDistillation)
            terms.append(float(plugin.term(strategy, strategy.passes[0][1], strategy.teacher_features()[0]).detach()))

    second_stage("feature_kd", Watch())
    assert terms[0] == pytest.approx(0, abs=1e-10)
    assert terms[1] == pytest.approx(4 / 9, rel=1e-5)
    assert all(term > 1e-4 for term in terms[2:])


def test_kd_and_feature_distillation_share_one_pass_of_one_teacher(second_stage: Callable[..., Spy]) -> None:
    passes: list[int] = []

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            assert strategy.teacher is not None
            strategy.teacher.backbone.register_forward_hook(lambda *_: passes.append(1))

    second_stage("kd+feature_kd", Watch())
    assert len(passes) == 6


def test_a_step_against_the_memory_is_projected_onto_the_plane(second_stage: Callable[..., Spy]) -> None:
    class Reversed(Spy):
        """Turns the step's gradient against the memory's before A-GEM sees it."""

        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            plugin = plugin_of(strategy, GradientProjection)
            project = plugin.before_update

            def turned(strategy: Harness, **_: Any) -> None:
                shared = [p for p in strategy.learnt_parameters().values() if p.grad is not None]
                found = torch.autograd.grad(plugin.loss(strategy), shared, allow_unused=True)
                for p, r in zip(shared, found, strict=True):
                    if r is not None:
                        p.grad.copy_(-r)  # type: ignore[union-attr]
                project(strategy)
                norm = sum(
                    float(p.grad.square().sum())  # type: ignore[union-attr]
                    for p, r in zip(shared, found, strict=True)
                    if r is not None
                )
                assert norm == pytest.approx(0, abs=1e-8), "nothing of it is left"
                norms.append(norm)

            plugin.before_update = turned

    norms: list[float] = []
    second_stage("l2_sp[weight=0.0]+agem", Reversed())
    assert len(norms) == 6


def test_der_says_that_it_cannot_store_what_is_pasted_together(second_stage: Callable[..., Spy]) -> None:
    tasks = [{**task, "augment": {"paste": 0.5}} if task["name"] == "det" else task for task in TINY["tasks"][:2]]
    said = message(second_stage, "der", order=("det", "seg"), tasks=tasks)
    assert said == "strategy der stores single images, and det shows parts of several (mosaic, paste)"
