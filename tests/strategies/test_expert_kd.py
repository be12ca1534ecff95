"""The second teacher: the single-task baseline of the task at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cl_bench import api
from cl_bench.catalog import make_task
from cl_bench.presets import load_experiment
from cl_bench.results import stage_costs


def test_its_stages_wait_for_the_baseline_that_they_follow_and_count_its_seconds(
    tiny: Callable[..., str], results: Path
) -> None:
    prepared = api.prepare(tiny(orders=[["seg", "cls"]], epochs=1), strategies=["naive", "expert_kd"])
    plan = prepared.plan
    first, second = plan.runs[1].stages
    baseline = plan.baseline("cls", 0)
    assert first == plan.runs[0].stages[0], "it does not act in the first stage"
    assert plan.parents()[second] == (first, baseline)
    # The plan holds baselines first: the other way round, the stage must still wait.
    plan.stages = dict(reversed(plan.stages.items()))
    assert api.train(prepared) == {}
    cost = stage_costs(prepared.folder).set_index("stage")["train_seconds"]
    assert cost[second] > cost[baseline]


def test_it_trains_again_where_the_baseline_does(tiny: Callable[..., str], results: Path) -> None:
    path = tiny(orders=[["seg", "cls"]])
    before, after = (
        api.prepare(path, strategies=["expert_kd"], changes={"tasks.cls.epochs": epochs}).plan for epochs in (2, 3)
    )
    assert before.runs[0].stages[0] == after.runs[0].stages[0]
    assert before.stages[before.runs[0].stages[1]].expert != after.stages[after.runs[0].stages[1]].expert


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
