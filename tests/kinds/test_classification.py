"""Classification: target, loss, distillation, metric, trivial predictor and drawing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from cl_bench.data.base import Example, Split
from cl_bench.kinds.base import Distill, Task
from cl_bench.plugins.registry import formats, kinds

KIND = kinds.get("classification")
CLASSES = ("a", "b", "c")
TASK = Task(0, "cls", KIND, CLASSES, "linear", (32,), 64, KIND.Settings())


def split(*labels: int) -> Split:
    return Split(CLASSES, tuple(Example(str(i), Path(f"{i}.jpg"), label) for i, label in enumerate(labels)))


def targets(*labels: int) -> list[dict[str, torch.Tensor]]:
    return [KIND.target(TASK, example, None) for example in split(*labels).examples]


def test_predictor_pools_and_maps() -> None:
    part = KIND.predictor(TASK, 8)
    features = torch.randn(2, 8, 4, 4)
    assert part(features).shape == (2, 3)
    assert sum(p.numel() for p in part.parameters()) == 8 * 3 + 3
    flipped = features.flip(-1)
    torch.testing.assert_close(part(features), part(flipped))  # pooled: where something is does not matter
    assert torch.equal(part.finish(part(features), 64), part(features))


def test_target_is_one_label() -> None:
    (target,) = targets(2)
    assert list(target) == ["label"]
    assert target["label"].shape == ()
    assert target["label"].dtype == torch.int64
    assert int(target["label"]) == 2


def test_loss_of_perfect_logits_is_zero_and_of_even_ones_log_of_classes() -> None:
    assert float(KIND.loss(TASK, 50 * torch.eye(3), targets(0, 1, 2))) == pytest.approx(0, abs=1e-6)
    assert float(KIND.loss(TASK, torch.zeros(4, 3), targets(0, 1, 2, 2))) == pytest.approx(math.log(3))


def test_loss_and_distillation_are_means_over_images() -> None:
    student, teacher = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert float(KIND.loss(TASK, student.repeat(2, 1), targets(0, 1, 2, 0, 1, 2))) == pytest.approx(
        float(KIND.loss(TASK, student, targets(0, 1, 2))), rel=1e-6
    )
    value = float(KIND.distillation(TASK, student, teacher, Distill()))
    twice = float(KIND.distillation(TASK, student.repeat(2, 1), teacher.repeat(2, 1), Distill()))
    assert twice == pytest.approx(value, rel=1e-6)
    p, q = (F.log_softmax(x / 2, 1) for x in (student, teacher))
    assert value == pytest.approx(4 * float(F.kl_div(q, p, log_target=True, reduction="batchmean")), rel=1e-5)


def test_distillation_is_zero_only_where_equal() -> None:
    student = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert float(KIND.distillation(TASK, student, student.clone(), Distill())) == 0.0
    assert float(KIND.distillation(TASK, student, student.roll(1, 1), Distill())) > 0.0
    # A constant added to all logits changes no probability.
    assert float(KIND.distillation(TASK, student, student + 3, Distill())) == pytest.approx(0, abs=1e-5)


def test_metric_takes_batches_in_any_order() -> None:
    metric = KIND.metric(TASK, split(0, 1, 2, 2))
    metric.update(torch.eye(3)[[2, 1]], [3, 1])
    metric.update(torch.eye(3)[[1, 2]], [0, 2])
    assert metric.compute() == {"Top-1": 0.75, "Top-5": 1.0}
    assert metric.per_image()["logits"].argmax(1).tolist() == [1, 1, 2, 2]


def test_trivial_is_the_commonest_class_of_train_and_not_of_val() -> None:
    assert KIND.trivial(TASK, split(2, 2, 0), split(0, 0, 0, 2)) == 0.25
    assert KIND.count(split(2, 2, 0)).tolist() == [1, 0, 2]


def test_trivial_on_imagenette_is_near_chance(real_data: Path) -> None:
    read = formats.get("image_folder").read
    train, val = (
        read({"path": str(real_data / "imagenette_160")}, "classification", s, None) for s in ("train", "val")
    )
    task = Task(0, "cls", KIND, train.classes, "linear", (32,), 64, KIND.Settings())
    assert len(train.classes) == 10
    assert KIND.trivial(task, train, val) == pytest.approx(0.1, abs=0.05)


def test_draw_writes_into_the_corner_only() -> None:
    drawn = np.array(KIND.draw(Image.new("RGB", (64, 64), (9, 9, 9)), 1, CLASSES))
    assert (drawn[:12, :12] != 9).any()
    assert (drawn[32:] == 9).all()


def test_classes_of_one_or_two_scored_images_are_told_of() -> None:
    assert KIND.weakness(TASK, [3, 9, 0]) == ""
    assert KIND.weakness(TASK, [2, 9, 1]) == "Top-1 of a class hangs on one or two images: c (1), a (2)"
    assert KIND.weakness(replace(TASK, learns=(0, 1)), [2, 9, 1]).endswith("images: a (2)")
