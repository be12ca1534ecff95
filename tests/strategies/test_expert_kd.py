"""The second teacher: the single-task baseline of the task at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from conftest import TINY

from cl_bench.config.presets import load_experiment
from cl_bench.results.export import stage_costs
from cl_bench.runner.prepare import prepare
from cl_bench.runner.run import train
from cl_bench.stages.trainer import Trainer
from cl_bench.strategies.expert_kd import ExpertDistillation
from cl_bench.tasks.catalog import make_task
from cl_bench.training.harness import Harness


def test_its_stages_wait_for_the_baseline_that_they_follow_and_count_its_seconds(
    tiny: Callable[..., str], results: Path
) -> None:
    prepared = prepare(tiny(orders=[["seg", "cls"]], epochs=1), strategies=["naive", "expert_kd"])
    plan = prepared.plan
    first, second = plan.runs[1].stages
    baseline = plan.baseline("cls", 0)
    assert first == plan.runs[0].stages[0], "it does not act in the first stage"
    assert plan.parents()[second] == (first, baseline)
    # The plan holds baselines first: the other way round, the stage must still wait.
    plan.stages = dict(reversed(plan.stages.items()))
    assert train(prepared) == {}
    cost = stage_costs(prepared.folder).set_index("stage")["train_seconds"]
    assert cost[second] > cost[baseline]


def test_it_trains_again_where_the_baseline_does(tiny: Callable[..., str], results: Path) -> None:
    path = tiny(orders=[["seg", "cls"]])
    before, after = (
        prepare(path, strategies=["expert_kd"], changes={"tasks.cls.epochs": epochs}).plan for epochs in (2, 3)
    )
    assert before.runs[0].stages[0] == after.runs[0].stages[0]
    assert before.stages[before.runs[0].stages[1]].experts != after.stages[after.runs[0].stages[1]].experts


def test_a_later_stage_may_follow_the_baselines_of_the_past_tasks_too(tiny: Callable[..., str], results: Path) -> None:
    path = tiny(orders=[["seg", "det", "cls"]], epochs=1)
    own, past = (prepare(path, strategies=[f"expert_kd[past={past}]"]).plan for past in (0, 1))
    first, second, third = past.runs[0].stages
    assert past.parents()[second] == (first, past.baseline("det", 0)), "the first stage is seg's baseline itself"
    assert set(past.parents()[third]) == {second, *(past.baseline(name, 0) for name in ("seg", "det", "cls"))}
    assert own.runs[0].stages[1] != second
    assert set(own.parents()[own.runs[0].stages[2]]) == {own.runs[0].stages[1], own.baseline("cls", 0)}


def test_each_expert_counts_as_it_is_weighed_and_the_task_that_came_back_is_no_past_one(
    tiny: Callable[..., str], results: Path
) -> None:
    followed: list[list[tuple[float, str]]] = []

    class Watch(SupervisedPlugin):
        def before_training_epoch(self, strategy: Harness, **_: Any) -> None:
            terms = [p for p in strategy.plugins if isinstance(p, ExpertDistillation)]
            followed.extend([(weight, task.name) for weight, task, _ in term.experts] for term in terms)

    prepared = prepare(tiny(orders=[["seg", "det", "seg"]], epochs=1), strategies=["expert_kd[weight=2,past=0.5]"])
    plan = prepared.plan
    trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store, (Watch(),))
    for key in dict.fromkeys([*(run.stages[0] for run in plan.baselines), *plan.runs[0].stages]):
        followed.clear()
        trainer.train(plan, [key])
    assert followed == [[(2.0, "seg"), (0.5, "det")]]


@pytest.mark.parametrize(
    ("name", "predictor"), [("seg", "linear"), ("det", "per_class"), ("det", "literal"), ("cls", "linear")]
)
def test_imitation_is_zero_where_the_student_is_the_teacher(
    tiny: Callable[..., str], name: str, predictor: str
) -> None:
    experiment = load_experiment(tiny(), {f"tasks.{name}.predictor": predictor})
    index = [task.name for task in experiment.tasks].index(name)
    task = make_task(experiment, index, experiment.tasks[index], ("a", "b", "c"))
    made = task.kind.predictor(task, 4)
    teacher = made(*(torch.randn(2, 4, 64 // level, 64 // level) for level in task.levels)).detach()
    student = torch.randn_like(teacher, requires_grad=True)
    assert task.kind.imitation(task, teacher, teacher).item() == pytest.approx(0, abs=1e-5)
    optimizer = torch.optim.Adam([student], 0.1)
    losses = []
    for _ in range(150):
        losses.append(task.kind.imitation(task, student, teacher))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1].item() < 0.2 * losses[0].item()


@pytest.mark.parametrize("strategy", ["response_kd", "view_kd", "expert_kd[past=1.0]", "layer_merging", "consolidate"])
def test_a_detector_is_imitated_on_images_of_another_size(
    tiny: Callable[..., str], results: Path, strategy: str
) -> None:
    tasks = [{**task, "image_size": 96} if task["name"] == "seg" else task for task in TINY["tasks"]]
    assert train(prepare(tiny(tasks=tasks, orders=[["det", "seg"]], epochs=1), strategies=[strategy])) == {}
