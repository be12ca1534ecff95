"""The fourth kind: one file for the kind, one for its embedded data, and no other knows of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cl_bench.config.presets import load_experiment
from cl_bench.config.schema import Experiment
from cl_bench.data.formats.cards import CORNERS, Options, card
from cl_bench.errors import UserError
from cl_bench.kinds.base import Distill
from cl_bench.kinds.keypoints import gaussians, located
from cl_bench.results.rows import read_results
from cl_bench.results.summary import summary
from cl_bench.runner.prepare import prepare
from cl_bench.runner.run import train as train_missing
from cl_bench.stages.trainer import Trainer
from cl_bench.tasks.catalog import load_catalog
from cl_bench.tasks.dataset import collate

TASK = {"name": "kpt", "kind": "keypoints", "data": {"format": "cards", "train": 12, "val": 10, "size": 64}}


@pytest.fixture
def experiment(tiny: Callable[..., str]) -> Experiment:
    return load_experiment(tiny(tasks=[TASK]))


def heat(points: torch.Tensor, side: int = 16) -> torch.Tensor:
    """Return heatmaps (B, n, side, side) that are all at the cells of `points`, in 0..1."""
    return gaussians(points, (side, side), 0.3).log().clamp(min=-50).view(*points.shape[:2], side, side)


def test_where_a_heatmap_is_hot_the_point_is_found() -> None:
    points = torch.rand(4, 3, 2) * 0.8 + 0.1
    assert (located(heat(points)) - points).abs().max() < 1 / 16
    assert located(torch.zeros(1, 1, 4, 8)).tolist() == [[[0.5, 0.5]]]


def test_perfect_is_one_and_far_is_zero(experiment: Experiment) -> None:
    (entry,) = load_catalog(experiment)
    task, val = entry.task, entry.audit.val
    truth = torch.tensor(np.array([example.target for example in val.examples]) / 64, dtype=torch.float32)
    scores = []
    for points in (truth, (truth + 0.5) % 1):
        metric = task.kind.metric(task, val)
        metric.update(heat(points), range(len(val.examples)))
        scores.append(metric.compute())
        weights = np.ones((3, len(val.examples)))
        assert metric.resampled(weights).tolist() == pytest.approx([metric.compute()["PCK@0.1"]] * 3)
    assert scores[0]["PCK@0.1"] == 1
    assert scores[1] == {"PCK@0.1": 0, "PCK@0.05": 0}
    assert 0 <= entry.audit.trivial < 0.5
    with pytest.raises(UserError, match="PCK lacks 10 of 10 images"):
        task.kind.metric(task, val).compute()


def test_points_outside_the_image_are_not_trained_and_distillation_is_zero_for_the_teacher(
    experiment: Experiment,
) -> None:
    (entry,) = load_catalog(experiment)
    kind, task = entry.task.kind, entry.task
    output = torch.randn(1, 4, 8, 8)
    inside = torch.tensor([[10.0, 10.0], [20.0, 30.0], [5.0, 60.0], [40.0, 40.0]])
    moved = inside.clone()
    moved[3] = torch.tensor([500.0, -3.0])
    both = [float(kind.loss(task, output, [{"points": points}])) for points in (inside, moved)]
    alone = float(kind.loss(task, output[:, :3], [{"points": inside[:3]}]))
    assert both[1] == pytest.approx(alone)
    assert both[0] != both[1]
    assert float(kind.distillation(task, output, output, Distill())) == 0
    assert float(kind.distillation(task, output, -output, Distill())) > 0


def test_bad_points_are_said(experiment: Experiment) -> None:
    (entry,) = load_catalog(experiment)
    example = entry.audit.val.examples[0]
    for target, said in (
        (example.target[:3], "4 points of x and y are due"),
        (((np.nan, 1.0),) * 4, "not finite or outside"),
        (((65.0, 1.0),) * 4, "not finite or outside"),
    ):
        with pytest.raises(UserError, match=said):
            entry.task.kind.check(replace(example, target=target), CORNERS)


def test_cards_are_the_same_each_time_and_their_corners_lie_in_the_image() -> None:
    for index in range(20):
        image, corners = card(Options(), "val", index)
        again, _ = card(Options(), "val", index)
        assert np.array_equal(image, again)
        assert np.min(corners) >= 0
        assert np.max(corners) <= 160


def test_it_is_learnt_in_a_stream_with_the_other_kinds(tiny: Callable[..., str], results: Path) -> None:
    from conftest import TINY

    path = tiny(tasks=[*TINY["tasks"][:2], TASK], orders=[["kpt", "seg", "det"]])
    prepared = prepare(path, strategies=["naive", "kd+replay"])
    assert train_missing(prepared) == {}
    found = read_results(prepared.folder)
    assert found.rows["value"].notna().all()
    table = summary(found)
    assert set(table.loc[table["task"] == "kpt", "metric"]) == {"PCK@0.1"}


@pytest.mark.slow
def test_eight_images_can_be_learnt_by_heart(tiny: Callable[..., str], results: Path) -> None:
    data = {"format": "cards", "train": 8, "val": 2, "size": 64}
    prepared = prepare(tiny(tasks=[{**TASK, "data": data, "levels": 8}], strategies=[], augment={}))
    trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)
    model, train = trainer.untrained(0), trainer.datasets("kpt", 0)[0]
    images, targets, labels = collate([(*train[index], 0) for index in range(8)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        train.task.kind.loss(train.task, model(images, labels)[0][1], targets).backward()
        optimizer.step()
    metric = train.task.kind.metric(train.task, train.split)
    with torch.no_grad():
        metric.update(model.eval()(images)["kpt"], range(8))
    assert metric.compute()["PCK@0.1"] >= 0.95
