"""A task that comes back later in the stream: cyclic streams."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY

from cl_bench.report.figures.curves import forgetting_curves
from cl_bench.report.figures.matrix import matrices
from cl_bench.report.page.data import curves
from cl_bench.report.tables.drops import render
from cl_bench.results.rows import read_results
from cl_bench.results.summary import summary
from cl_bench.runner.prepare import Prepared, prepare

ORDER = ("seg", "cls", "seg")


@pytest.fixture
def cyclic(tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]) -> Prepared:
    """Segmentation, classification and segmentation again, trained with replay and with all at once."""
    return with_stages(prepare(tiny(orders=[list(ORDER)], strategies=["naive", "kd+replay+ewc", "joint"])))


def test_a_returning_task_is_gone_through_anew_and_not_remembered(cyclic: Prepared) -> None:
    plan, store = cyclic.plan, cyclic.store
    first, _, again = plan.runs[0].stages
    losses = [
        [
            line.split(",")[2]
            for line in (store.folder(key) / "training.csv").read_text().splitlines()
            if ",seg," in line
        ]
        for key in (first, again)
    ]
    assert not set(losses[0]) & set(losses[1])
    memories = [store.describe(key)["memory"] for key in plan.runs[1].stages]
    assert [sorted(memory) for memory in memories] == [[], ["seg"], ["cls"]]
    assert len(plan.baselines) == 2


def test_joint_training_has_the_whole_budget_of_a_returning_task(cyclic: Prepared) -> None:
    (key,) = cyclic.plan.runs[2].stages
    stage = cyclic.plan.stages[key]
    assert stage.trained == ("seg", "cls")
    assert cyclic.steps(stage) == 3 * TINY["epochs"] * 3
    assert stage.epochs == 2 * TINY["epochs"]
    log = [line.split(",")[:2] for line in (cyclic.store.folder(key) / "training.csv").read_text().splitlines()[1:]]
    assert sum(task == "seg" for _, task in log) == 2 * TINY["epochs"]
    assert sum(task == "cls" for _, task in log) == TINY["epochs"]


def test_a_returning_task_has_one_row_and_one_panel(cyclic: Prepared) -> None:
    rows = read_results(cyclic.folder)
    table = summary(rows)
    assert table["task"].tolist() == ["seg", "cls"] * 3
    assert "mean drop" in render(table, rows, "markdown")
    (figure,) = forgetting_curves(rows).values()
    assert [ax.get_ylabel() for ax in figure.axes] == ["seg (mIoU)", "cls (Top-1)"]
    (entry,) = curves(rows)
    assert entry["stages"] == list(ORDER)
    assert [panel["task"] for panel in entry["panels"]] == ["seg", "cls"]
    (figure,) = matrices(rows).values()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(ORDER)
