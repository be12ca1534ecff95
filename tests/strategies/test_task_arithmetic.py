"""Where a stage starts that adds what the task's baseline learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor

from cl_bench.runner.prepare import prepare
from cl_bench.stages.trainer import Trainer
from cl_bench.training.harness import Harness


class Start(SupervisedPlugin):
    """Keeps what the last stage began with, and what it could have begun with."""

    def before_training_epoch(self, strategy: Harness, **_: Any) -> None:
        if strategy.epoch == 0 and strategy.ancestors:
            self.found = {name: value.clone() for name, value in strategy.model.state_dict().items()}
            self.learnt = set(strategy.learnt_parameters())
            self.parent, self.expert = strategy.teacher.state_dict(), strategy.expert().state_dict()
            self.initial = strategy.initial()
            self.report = dict(strategy.report)


def begun(tiny: Callable[..., str], strategy: str) -> Start:
    prepared = prepare(tiny(orders=[["seg", "det"]], epochs=1), strategies=[strategy])
    start = Start()
    trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store, (start,))
    plan = prepared.plan
    trainer.train(plan, [plan.baseline("det", 0)])
    for key in plan.runs[0].stages:
        if key not in prepared.store:
            trainer.train(plan, [key])
    return start


def close(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_it_adds_the_experts_way_to_what_was_learnt_and_takes_the_rest_from_it(
    tiny: Callable[..., str], results: Path, share: float
) -> None:
    start = begun(tiny, f"task_arithmetic[share={share}]")
    parent, expert, initial = start.parent, start.expert, start.initial
    moved = 0
    for name in start.learnt:
        way = expert[name] - initial[name]
        assert close(start.found[name], parent[name] + share * way), name
        moved += bool(way.any())
    assert moved > 10
    new = [name for name in start.found if name.startswith("predictors.det.")]
    assert new
    for name in new:
        assert close(start.found[name], expert[name])
        assert not close(initial[name], expert[name])
    # What the expert never trained stays as the parent left it, to the byte.
    assert all(torch.equal(start.found[n], parent[n]) for n in parent if n.startswith("predictors.seg."))


def test_statistics_that_moved_are_added_too(tiny: Callable[..., str], results: Path) -> None:
    start = begun(tiny, "task_arithmetic")
    name = next(name for name in start.found if name.endswith("running_mean"))
    way = start.expert[name] - start.initial[name]
    assert way.any()
    assert close(start.found[name], start.parent[name] + way)
    scale = name.replace("running_mean", "running_var")
    assert close(start.found[scale], start.parent[scale] * start.expert[scale] / start.initial[scale])


@pytest.mark.parametrize(("asked", "tolerance", "share"), [(1.0, 1e9, 1.0), (1e4, 0.05, 0.0)])
def test_no_more_is_added_than_the_past_allows(
    tiny: Callable[..., str], results: Path, asked: float, tolerance: float, share: float
) -> None:
    start = begun(tiny, f"task_arithmetic[share={asked},memory=2,tolerance={tolerance}]")
    assert start.report["share"] == share
    assert len(start.report["memory"]["seg"]) == 2
    for name in start.learnt:
        assert close(start.found[name], start.parent[name] + share * (start.expert[name] - start.initial[name])), name
    assert all(close(start.found[n], start.expert[n]) for n in start.found if n.startswith("predictors.det."))
