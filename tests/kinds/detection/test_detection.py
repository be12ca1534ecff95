"""Detection: boxes to cells and back, loss, distillation, decoding, the grid's ceiling, the trivial predictor."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from cl_bench.config.presets import load_experiment
from cl_bench.config.schema import Augment
from cl_bench.data.base import Boxes, Example, Split
from cl_bench.errors import UserError
from cl_bench.kinds.base import Distill, Task, expected_excess
from cl_bench.kinds.detection.assigner import by_centre
from cl_bench.kinds.detection.grid import SPAN, Cells, cells, encode_boxes
from cl_bench.kinds.detection.head import CONFIDENCE, PRIOR, DetectionSettings, quality_focal_loss
from cl_bench.plugins.registry import formats, kinds
from cl_bench.tasks.catalog import read_task
from cl_bench.tasks.dataset import TaskDataset

KIND = kinds.get("detection")
CLASSES = ("a", "b", "c")


def grid_of(task: Task) -> Cells:
    return cells(task.image_size, task.levels, task.settings.largest, torch.device("cpu"))


PER_CLASS = Task(0, "det", KIND, CLASSES, "per_class", (32,), 256, DetectionSettings())
LITERAL = replace(PER_CLASS, predictor="literal")
CELLS = len(grid_of(PER_CLASS))
SETTINGS = [
    DetectionSettings(),
    DetectionSettings(confidence="quality_focal", box="ciou"),
    DetectionSettings(assignment="task_aligned", confidence="quality_focal", box="diou"),
]
both = pytest.mark.parametrize("task", [PER_CLASS, LITERAL], ids=["per_class", "literal"])


def boxes(*rows: tuple[float, ...], labels: tuple[int, ...] | None = None, crowd: tuple[int, ...] = ()) -> Boxes:
    found = np.array(rows, np.float32).reshape(-1, 4)
    flags = np.isin(np.arange(len(found)), crowd)
    return Boxes(found, np.array(labels or [0] * len(found), np.int64), flags)


def example(folder: Path, target: Boxes, size: tuple[int, int] = (256, 256), name: str = "x") -> Example:
    path = folder / f"{name}.png"
    Image.new("RGB", size).save(path)
    return Example(name, path, target)


def plain(task: Task, found: Example) -> dict[str, torch.Tensor]:
    return {key: value.as_subclass(torch.Tensor) for key, value in KIND.target(task, found, None).items()}


def random_boxes(count: int, size: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=draw) * size * 0.8
    side = (0.02 + 0.5 * torch.rand(count, 2, generator=draw)) * size
    return torch.cat((corner, torch.minimum(corner + side, torch.tensor(float(size)))), 1)


@both
def test_predictor_has_a_channel_a_class_or_one_for_all(task: Task) -> None:
    part = KIND.predictor(task, 16)
    output = part(torch.randn(2, 16, 8, 8))
    assert output.shape == (2, 5 + (3 if task is PER_CLASS else 1), 64)
    assert output[:, CONFIDENCE].sigmoid().mean().item() == pytest.approx(PRIOR, rel=0.2)


def test_a_tower_is_a_convolution_more_that_all_levels_share() -> None:
    plain, tower = (KIND.predictor(replace(PER_CLASS, predictor=name), 16) for name in ("per_class", "tower"))
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in (("plain", plain), ("tower", tower))}
    assert count["tower"] - count["plain"] == 16 * 16 * 9 + 16
    levels = [torch.randn(2, 16, side, side) for side in (16, 8)]
    output = tower(*levels)
    assert output.shape == (2, 5 + 3, 16 * 16 + 8 * 8)
    assert torch.equal(output[:, :, 16 * 16 :], tower(levels[1]))
    assert output[:, CONFIDENCE].sigmoid().mean().item() == pytest.approx(PRIOR, rel=0.2)


def test_targets_are_in_the_resized_frame_without_crowds(tmp_path: Path) -> None:
    found = example(tmp_path, boxes((0, 0, 64, 64), (16, 32, 32, 64), labels=(1, 2), crowd=(0,)), (64, 128))
    target = plain(PER_CLASS, found)
    assert target["boxes"].tolist() == [[64.0, 64.0, 128.0, 128.0]]
    assert target["labels"].tolist() == [2]
    assert (target["boxes"].dtype, target["labels"].dtype) == (torch.float32, torch.int64)


@both
@pytest.mark.parametrize("levels", [(32,), (8, 16, 32)])
def test_cells_of_all_levels_stand_one_behind_the_other(task: Task, levels: tuple[int, ...]) -> None:
    features = [torch.randn(2, 16, 256 // level, 256 // level) for level in levels]
    part = KIND.predictor(task, 16)
    output, first = part(*features), part(features[0])
    assert output.shape[2] == sum((256 // level) ** 2 for level in levels) == len(grid_of(replace(task, levels=levels)))
    assert torch.equal(output[:, :, : first.shape[2]], first)


def test_a_flipped_image_has_the_flipped_boxes_and_cells(tmp_path: Path) -> None:
    found = random_boxes(4, 256, 3)
    mirrored = found[:, [2, 1, 0, 3]] * torch.tensor([-1.0, 1, -1, 1]) + torch.tensor([256.0, 0, 256, 0])
    labels = (0, 1, 2, 1)
    split = Split(CLASSES, (example(tmp_path, boxes(*found.tolist(), labels=labels)),))
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    dataset = TaskDataset(PER_CLASS, split, [image], None, Augment(flip=True))
    reads = [dataset.read(0, "epoch", epoch) for epoch in range(20)]
    flips = [target for pixels, target in reads if pixels[0, 0, 0] == image[0, -1, 0]]
    assert 0 < len(flips) < 20
    for target in flips:
        torch.testing.assert_close(target["boxes"], mirrored)
        assert tuple(target["labels"].tolist()) == labels
    plain, turned = (by_centre(b, grid_of(PER_CLASS)).reshape(8, 8) for b in (found, mirrored))
    assert torch.equal(turned, plain.flip(1))


def everywhere(task: Task, target: dict[str, torch.Tensor]) -> torch.Tensor:
    """The raw output of a detector that predicts in every assigned cell the box and class it must."""
    index = by_centre(target["boxes"], grid_of(task))
    raw = torch.zeros(5 + (1 if task.predictor == "literal" else 3), len(index))
    raw[CONFIDENCE] = torch.where(index >= 0, 30.0, -30.0)
    for number, box in enumerate(target["boxes"]):
        mine = index == number
        raw[:4, mine] = encode_boxes(box.expand(len(index), 4), grid_of(task))[:, mine]
        if task.predictor == "literal":
            raw[5, mine] = float(target["labels"][number])
        else:
            raw[5 + target["labels"][number], mine] = 50.0
    return raw


@both
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_loss_of_a_perfect_output_is_zero(task: Task, settings: DetectionSettings, tmp_path: Path) -> None:
    task = replace(task, settings=settings)
    found = boxes((20, 20, 120, 130), (150, 60, 250, 200), labels=(2, 1))
    target = plain(task, example(tmp_path, found))
    raw = everywhere(task, target)
    assert KIND.loss(task, raw[None], [target]).item() == pytest.approx(0, abs=1e-3)
    raw[5:] = raw[5:].flip(0) + 1.0  # another class everywhere
    assert KIND.loss(task, raw[None], [target]).item() > 0.4


@both
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_loss_without_boxes_is_finite_and_asks_for_silence(
    task: Task, settings: DetectionSettings, tmp_path: Path
) -> None:
    task = replace(task, settings=settings)
    target = plain(task, example(tmp_path, boxes()))
    output = torch.zeros(2, 8 if task is PER_CLASS else 6, CELLS, requires_grad=True)
    loss = KIND.loss(task, output, [target, target])
    loss.backward()
    assert output.grad is not None
    assert math.isfinite(loss.item())
    assert output.grad[:, CONFIDENCE].min() > 0
    assert output.grad[:, :CONFIDENCE].abs().max() == 0
    assert output.grad[:, CONFIDENCE + 1 :].abs().max() == 0
    silent = torch.zeros(1, output.shape[1], CELLS)
    silent[:, CONFIDENCE] = -30.0
    assert KIND.loss(task, silent, [target]).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("box", ["giou", "diou", "ciou"])
def test_a_wild_guess_in_a_cell_without_a_box_does_no_harm(box: str, tmp_path: Path) -> None:
    task = replace(PER_CLASS, settings=DetectionSettings(box=box))
    target = plain(task, example(tmp_path, boxes((20, 20, 120, 130))))
    output = torch.zeros(1, 8, CELLS)
    output[:, 2:4, -1] = -60.0  # a box without width and height, far from the true one
    output.requires_grad_()
    loss = KIND.loss(task, output, [target])
    loss.backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert output.grad[0, :4, -1].abs().max() == 0


def test_quality_focal_loss_is_zero_at_the_quality_and_known_elsewhere() -> None:
    quality = torch.tensor([0.0, 0.25, 0.9])
    near = torch.tensor([-60.0, math.log(1 / 3), math.log(9.0)])
    assert quality_focal_loss(near, quality).item() == pytest.approx(0, abs=1e-6)
    # log 2 of cross-entropy at one half, times the squared error.
    assert quality_focal_loss(torch.zeros(1), torch.ones(1)).item() == pytest.approx(math.log(2) / 4)


@both
def test_distillation_is_zero_where_equal_and_a_mean_over_cells(task: Task) -> None:
    channels = 8 if task is PER_CLASS else 6
    student, teacher = torch.randn(2, 2, channels, 16, generator=torch.Generator().manual_seed(0))
    for direction in ("student_teacher", "teacher_student"):
        how = Distill(2.0, direction)
        assert KIND.distillation(task, student, student.clone(), how).item() == 0.0
        value = KIND.distillation(task, student, teacher, how).item()
        assert value > 0
        larger = [x.repeat_interleave(4, 2) for x in (student, teacher)]
        assert KIND.distillation(task, *larger, how).item() == pytest.approx(value, rel=1e-5)


def test_distillation_weighs_boxes_and_class_id_by_the_teachers_confidence() -> None:
    teacher = torch.zeros(1, 6, 4)
    teacher[0, CONFIDENCE, 0] = math.log(3.0)  # sigmoid: 0.75, elsewhere 0.5
    student = teacher.clone()
    student[0, 1, 0] += 4.0  # one of four box channels
    student[0, 5, 3] -= 2.0
    # Boxes: 0.75 * 4/4 in one of four cells; class_id: 0.5 * 2 in one of four.
    assert KIND.distillation(LITERAL, student, teacher, Distill()).item() == pytest.approx(0.75 / 4 + 1.0 / 4)


@both
def test_decoding_a_known_output(task: Task) -> None:
    raw, cell = torch.zeros(5 + (3 if task is PER_CLASS else 1), CELLS), 1 * 8 + 6
    raw[CONFIDENCE] = -20.0
    raw[CONFIDENCE, cell] = 20.0
    box = torch.tensor([180.0, 20.0, 230.0, 60.0])
    raw[:4, cell] = encode_boxes(box.expand(CELLS, 4), grid_of(task))[:, cell]
    if task is LITERAL:
        raw[5, cell] = 1.6  # the nearest class is 2
    else:
        raw[7, cell] = 20.0
    found, scores, labels = KIND.decode_detections(task, raw)
    torch.testing.assert_close(found, box[None], atol=1e-2, rtol=0)
    assert labels.tolist() == [2]
    assert scores.tolist() == pytest.approx([1.0], abs=1e-4)


def test_decoding_clamps_class_id_and_boxes_and_drops_duplicates() -> None:
    raw = torch.zeros(6, CELLS)
    raw[CONFIDENCE] = -20.0
    raw[CONFIDENCE, :2] = torch.tensor([3.0, 2.0])
    same = torch.tensor([-20.0, -10.0, 60.0, 50.0]).expand(CELLS, 4)
    raw[:4, :2] = encode_boxes(same, grid_of(LITERAL))[:, :2]
    raw[5, :2] = torch.tensor([99.0, 7.0])
    found, scores, labels = KIND.decode_detections(LITERAL, raw)
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0, 60.0, 50.0]]), atol=1e-2, rtol=0)
    assert scores.tolist() == pytest.approx([torch.tensor(3.0).sigmoid().item()])
    assert labels.tolist() == [2]
    raw[5, 1] = -5.0  # of another class it is no duplicate
    assert KIND.decode_detections(LITERAL, raw)[2].tolist() == [2, 0]


def test_no_box_is_lost_in_a_crowded_image(tmp_path: Path) -> None:
    task = replace(PER_CLASS, levels=(8, 32))
    grid = grid_of(task)
    corners = [(x + 2.0, y + 2.0, x + 34.0, y + 34.0) for y in range(0, 250, 36) for x in range(0, 250, 36)]
    split = Split(CLASSES, (example(tmp_path, boxes(*corners)),))
    owner = by_centre(torch.tensor(corners), grid, radius=1.5)
    raw = KIND.ideal(task, split.examples[0])
    sure = (owner >= 0).nonzero().flatten()
    raw[:4, sure] = encode_boxes(torch.tensor(corners)[owner.clamp(min=0)], grid)[:, sure]
    raw[CONFIDENCE, sure] = torch.linspace(9.0, 5.0, len(corners))[owner[sure]]
    raw[5, sure] = 50.0
    assert len(sure) > 8 * len(corners), "duplicates, which non-maximum suppression takes out"
    metric = KIND.metric(task, split)
    metric.update(raw[None], [0])
    assert metric.compute()["AP50"] == 1.0


def scored(task: Task, split: Split) -> dict[str, float]:
    metric = KIND.metric(task, split)
    for index, found in enumerate(split.examples):
        metric.update(KIND.ideal(task, found)[None], [index])
    return metric.compute()


def test_the_excess_of_few_images_is_told_of_detection_alone(tmp_path: Path) -> None:
    found = [example(tmp_path, boxes((100, 100, 120, 120)), name=str(index)) for index in range(16)]
    metric = KIND.metric(PER_CLASS, Split(CLASSES, tuple(found)))
    for index, one in enumerate(found):
        metric.update(KIND.ideal(PER_CLASS, one)[None], [index])
    assert expected_excess(metric) == pytest.approx(0, abs=1e-12)  # without a mistake, few images score what many do
    classification = kinds.get("classification")
    task = replace(PER_CLASS, kind=classification, settings=classification.Settings())
    labelled = Split(CLASSES, (replace(found[0], target=0),))
    assert expected_excess(classification.metric(task, labelled)) is None


@both
def test_ground_truth_scores_1_in_the_original_frame(task: Task) -> None:
    """Target -> encode -> decode -> original frame, on scenes without two boxes in one cell."""
    options = {"train": 10, "val": 40, "size": 160}
    val = formats.get("scenes").read(options, "detection", "val", None)
    small = replace(task, classes=val.classes, levels=(8,), image_size=128)
    assert scored(small, val) == {"AP50": 1.0, "AP": 1.0}
    assert KIND.notes(small, val) == {"AP50 ceiling of the 16x16 grid": 1.0}


def test_two_boxes_in_one_cell_lower_the_ceiling(tmp_path: Path) -> None:
    nested = boxes((100, 100, 120, 120), (90, 90, 130, 130), labels=(0, 0))
    split = Split(CLASSES, (example(tmp_path, nested),))
    (note,) = KIND.notes(PER_CLASS, split).values()
    assert note == pytest.approx(51 / 101)  # COCO's 101 recalls, of which 0..0.50 are reached
    assert KIND.notes(replace(PER_CLASS, levels=(8,)), split)["AP50 ceiling of the 32x32 grid"] == note


@pytest.mark.parametrize(("size", "ceiling"), [(512, 0.944), (256, 0.881)])
def test_the_ceiling_of_mini_coco_is_the_known_one(real_data: Path, size: int, ceiling: float) -> None:
    experiment = load_experiment("unified_onehead_lite", {"image_size": size})
    task, train, val = read_task(experiment, 1, experiment.tasks[1])
    assert list(KIND.notes(task, val).values()) == [pytest.approx(ceiling, abs=5e-4)]
    assert KIND.count(val)[:3].tolist() == [192, 33, 2]  # of 195, 34 and 2, those that are no crowds
    assert 0 < KIND.trivial(task, train, val) < 0.05


def test_trivial_puts_the_mean_box_of_the_commonest_class_into_every_image(tmp_path: Path) -> None:
    small = example(tmp_path, boxes((0, 0, 20, 20), (0, 0, 9, 9), labels=(1, 0)), (100, 100), "a")
    train = Split(CLASSES, (small, example(tmp_path, boxes((0, 0, 80, 120), labels=(1,)), (200, 200), "b")))
    # The mean box of class 1: left and top 0, right 0.3, bottom 0.4.
    hit = example(tmp_path, boxes((0, 0, 60, 40), labels=(1,)), (200, 100), "c")
    miss = example(tmp_path, boxes((100, 50, 200, 100), labels=(1,)), (200, 100), "d")
    assert KIND.trivial(PER_CLASS, train, Split(CLASSES, (hit,))) == pytest.approx(1.0)
    assert KIND.trivial(PER_CLASS, train, Split(CLASSES, (miss,))) == 0.0
    assert KIND.count(train).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    "bad", [(0, 0, 300, 10), (-1, 0, 10, 10), (10, 10, 10, 20), (10, 20, 20, 10), (0, 0, math.nan, 10)]
)
def test_check_names_the_image_and_the_box(tmp_path: Path, bad: tuple[float, ...]) -> None:
    KIND.check(example(tmp_path, boxes((0, 0, 256, 256))), CLASSES)
    with pytest.raises(UserError, match=r"image .*x\.png: box \["):
        KIND.check(example(tmp_path, boxes((1, 1, 9, 9), bad)), CLASSES)


def test_draw_marks_the_edges_and_leaves_the_rest() -> None:
    blank = Image.new("RGB", (64, 64), (9, 9, 9))
    drawn = np.array(KIND.draw(blank, boxes((20, 30, 50, 60)), CLASSES))
    assert (drawn[55, 20] == (255, 255, 0)).all()
    assert (drawn[18:29] > 150).all(-1).any(), "the class' name is written above it"
    assert (drawn[:16] == 9).all()
    assert (np.array(KIND.draw(blank, boxes(), CLASSES)) == 9).all()


def test_no_level_serves_boxes_that_its_cells_cannot_predict() -> None:
    assert KIND.Settings(largest=SPAN).largest == SPAN
    with pytest.raises(ValidationError, match="less than or equal to 16"):
        KIND.Settings(largest=SPAN + 0.5)
