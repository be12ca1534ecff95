"""Pasted objects: pixels, box and label go together, rare classes come as often, what is hidden is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import message
from torch import Tensor
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

from cl_bench.config.presets import load_experiment
from cl_bench.config.schema import Augment
from cl_bench.data.base import Boxes, Example, Split
from cl_bench.kinds.base import Task
from cl_bench.plugins.registry import kinds
from cl_bench.runner.prepare import prepare
from cl_bench.stages.trainer import Trainer
from cl_bench.tasks.augment import Sample
from cl_bench.tasks.catalog import make_task
from cl_bench.tasks.dataset import TaskDataset
from cl_bench.tasks.paste import choose, pasted

SIZE = 64
KIND = kinds.get("detection")
TASK = Task(0, "det", KIND, ("a", "b", "c"), "per_class", (32,), SIZE, KIND.Settings())


def sample(*boxes: tuple[float, float, float, float], label: int = 0, value: int = 0) -> Sample:
    """A black image with rectangles of one grey value in its boxes."""
    image = torch.zeros(3, SIZE, SIZE, dtype=torch.uint8)
    for left, top, right, bottom in boxes:
        image[:, int(top) : int(bottom), int(left) : int(right)] = value
    found = BoundingBoxes(torch.tensor(boxes).reshape(-1, 4), format=BoundingBoxFormat.XYXY, canvas_size=(SIZE, SIZE))
    return image, {"boxes": found, "labels": torch.full((len(boxes),), label)}


@pytest.mark.parametrize("seed", range(20))
def test_the_object_lies_where_its_box_says(seed: int) -> None:
    found = pasted(
        sample((2, 2, 6, 6), label=1), sample((10, 20, 30, 32), label=2, value=200), 2, np.random.default_rng(seed)
    )
    image, target = found
    box = target["boxes"].as_subclass(Tensor)[-1].long().tolist()
    left, top, right, bottom = box
    assert target["labels"].tolist()[-1] == 2
    assert 0 <= left < right <= SIZE
    assert 0 <= top < bottom <= SIZE
    assert 9 <= right - left <= 31
    assert (image[:, top:bottom, left:right] == 200).all()
    assert int((image == 200).sum()) == 3 * (right - left) * (bottom - top)


@pytest.mark.parametrize("seed", range(10))
def test_what_else_is_in_the_rectangle_brings_its_box(seed: int) -> None:
    image, found = sample((10.0, 20, 50, 60), (20, 20, 30, 40), (46, 20, 63, 60), (0, 0, 8, 8), label=1)
    image[:, 20:40, 20:30] = 77
    found["labels"] = torch.tensor([2, 1, 1, 1])  # the third is cut to less than a quarter
    changed, target = pasted(sample((1.0, 1, 3, 3)), (image, found), 2, np.random.default_rng(seed))
    assert target["labels"].tolist()[-2:] == [2, 1]
    assert len(target["labels"]) in (2, 3)
    left, top, right, bottom = target["boxes"].as_subclass(Tensor)[-1].tolist()
    seen = (changed[0] > 38).nonzero()  # half of the inner one's grey
    assert (seen.min(0).values - torch.tensor([top, left])).abs().max() <= 1
    assert (seen.max(0).values + 1 - torch.tensor([bottom, right])).abs().max() <= 1


def test_what_is_hidden_has_no_box_any_more() -> None:
    large = sample((0, 0, SIZE, SIZE), label=2, value=200)
    counts = set()
    for seed in range(40):
        _, target = pasted(sample((30, 30, 34, 34), (0, 0, SIZE, SIZE), label=1), large, 2, np.random.default_rng(seed))
        counts.add(tuple(target["labels"].tolist()))
        assert len(target["boxes"]) == len(target["labels"])
    assert (2,) in counts, "an object as large as the image hides all"
    assert (1, 1, 2) in counts or (1, 2) in counts


def test_nothing_changes_where_there_is_no_such_object() -> None:
    before = sample((2, 2, 6, 6))
    draw = np.random.default_rng(0)
    assert pasted(before, sample((1, 1, 20, 20), label=1), 2, draw) is before
    assert pasted(before, sample(), 2, draw) is before
    assert pasted(before, sample((1, 1, 2, 2), label=2), 2, draw) is before


def split(*labels: tuple[int, ...]) -> Split:
    """An example an entry, which shows boxes of these classes."""
    return Split(
        TASK.classes,
        tuple(
            Example(
                str(i),
                Path("x"),
                Boxes(
                    np.tile(np.float32([4, 4, 40, 40]), (len(own), 1)),
                    np.array(own, np.int64),
                    np.zeros(len(own), bool),
                ),
            )
            for i, own in enumerate(labels)
        ),
    )


def test_a_rare_class_is_drawn_as_often_as_a_common_one() -> None:
    shown = KIND.held(split((0,), (0, 0), (0,), (0,), (2,), ()))
    draw = np.random.default_rng(0)
    drawn = [choose(shown, range(6), draw) for _ in range(400)]
    labels = np.bincount([label for _, label in filter(None, drawn)], minlength=3)
    assert labels[1] == 0
    assert 150 < labels[2] < 250
    assert {index for index, label in filter(None, drawn) if label == 2} == {4}
    assert choose(shown, [5], draw) is None
    assert {choose(shown, [1, 5], draw) for _ in range(5)} == {(1, 0)}


def dataset(monkeypatch: pytest.MonkeyPatch, **augment: float) -> TaskDataset:
    monkeypatch.setattr("cl_bench.kinds.detection.kind.image_size", lambda _: (SIZE, SIZE))
    images = np.stack([np.full((SIZE, SIZE, 3), 20 * (i + 1), np.uint8) for i in range(6)])
    return TaskDataset(TASK, split((0,), (1,), (1,), (2,), (0,), ()), images, None, Augment.model_validate(augment))


def test_a_read_pastes_from_the_images_that_it_may_take_from(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(monkeypatch, paste=1.0)
    free = torch.cat([data.read(5, "step", step)[0] for step in range(40)]).unique().tolist()
    assert free == [20, 40, 60, 80, 100, 120]
    stored = torch.cat([data.read(5, "step", step, among=[1, 5])[0] for step in range(40)]).unique().tolist()
    assert stored == [40, 120]
    once, again = (data.read(5, "step", 3)[1]["boxes"] for _ in range(2))
    assert len(once) == 1
    assert torch.equal(once, again)


def test_it_is_for_boxes_alone() -> None:
    experiment = load_experiment("check", {"augment.paste": 0.5})
    assert "seg: objects are pasted with their boxes" in message(make_task, experiment, 0, experiment.tasks[0], ("a",))


def test_only_objects_of_classes_that_the_task_learns_are_drawn(tiny: Callable[..., str], results: Path) -> None:
    det = {"name": "det", "kind": "detection", "data": {"format": "scenes", "train": 20, "val": 20, "size": 64}}
    path = tiny(tasks=[{**det, "head": "d", "learns": ["0", "1", "2"]}, {**det, "name": "rest", "head": "d"}])
    prepared = prepare(path)
    images, _ = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store).datasets("det", 0)
    assert set(np.flatnonzero(images.shown.any(0))) <= set(prepared.catalog[0].task.labels)
