"""Segmentation: targets, loss, distillation, metric, trivial predictor, checks and drawing."""

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
from cl_bench.errors import UserError
from cl_bench.kinds.base import Distill, Task
from cl_bench.kinds.segmentation import VOID, Segmentation, colour, soft_iou_loss
from cl_bench.plugins.registry import formats, kinds

CLASSES = ("background", "a", "b")
KIND = kinds.get("segmentation")


def task(size: int = 32, classes: tuple[str, ...] = CLASSES) -> Task:
    return Task(0, "seg", KIND, classes, "linear", (8,), size, KIND.Settings())


def mask(size: int = 32) -> np.ndarray:
    """A mask of three stripes, with a column of void."""
    found = np.repeat(np.array([0, 1, 2, 2], np.uint8), size // 4)[:, None].repeat(size, 1)
    found[:, 0] = VOID
    return found


def example(folder: Path, values: np.ndarray, name: str = "x") -> Example:
    image, target = folder / f"{name}.jpg", folder / f"{name}.png"
    Image.new("RGB", values.shape[::-1]).save(image)
    Image.fromarray(values).save(target)
    return Example(name, image, target)


def perfect(values: np.ndarray, classes: int = 3) -> torch.Tensor:
    """Logits (C, H, W) that are sure of each pixel, and sure of class 0 in the void."""
    labels = torch.from_numpy(np.where(values == VOID, 0, values).astype(np.int64))
    return 50.0 * F.one_hot(labels, classes).permute(2, 0, 1).float()


def test_predictor_shapes_and_upsampling() -> None:
    part = KIND.predictor(task(), 16)
    raw = part(torch.zeros(2, 16, 4, 4))
    assert raw.shape == (2, 3, 4, 4)
    assert part.finish(raw, 32).shape == (2, 3, 32, 32)
    ramp = torch.tensor([[[[0.0, 1.0]]]])
    # Bilinear without aligned corners: pixel centres, held beyond the outermost.
    assert part.finish(ramp.expand(1, 1, 2, 2), 4)[0, 0, 0].tolist() == [0.0, 0.25, 0.75, 1.0]


def test_target_is_the_resized_mask() -> None:
    target = KIND.target(task(), Example("x", Path("x.jpg"), Path("x.png")), mask())
    assert list(target) == ["mask"]
    assert target["mask"].dtype == torch.uint8
    assert target["mask"].tolist() == mask().tolist()


def test_loss_of_perfect_logits_is_zero_and_of_even_ones_log_of_classes() -> None:
    targets = [{"mask": torch.from_numpy(mask())}] * 2
    assert float(KIND.loss(task(), perfect(mask()).expand(2, -1, -1, -1), targets)) == pytest.approx(0, abs=1e-6)
    assert float(KIND.loss(task(), torch.zeros(2, 3, 32, 32), targets)) == pytest.approx(math.log(3))


def test_void_counts_for_nothing_in_the_loss() -> None:
    values = mask()
    output = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = KIND.loss(task(), output, [{"mask": torch.from_numpy(values)}])
    # Equal to the mean over the pixels that are left when the void column is cut off.
    rest = KIND.loss(task(), output[..., 1:], [{"mask": torch.from_numpy(values[:, 1:])}])
    assert loss.item() == pytest.approx(rest.item(), rel=1e-6)
    loss.backward()
    assert output.grad is not None
    assert output.grad[..., 0].abs().max() == 0
    assert output.grad[..., 1].abs().min() > 0


def test_nothing_but_void_gives_zero_loss_and_zero_gradients() -> None:
    output = torch.randn(1, 3, 8, 8, requires_grad=True)
    loss = KIND.loss(task(8), output, [{"mask": torch.full((8, 8), VOID, dtype=torch.uint8)}])
    loss.backward()
    assert loss.item() == 0.0
    assert output.grad is not None
    assert output.grad.abs().max() == 0


def test_distillation_is_a_mean_over_pixels() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert float(KIND.distillation(task(), student, student.clone(), Distill())) == 0.0
    value = float(KIND.distillation(task(), student, teacher, Distill()))
    assert value > 0
    larger = [x.repeat_interleave(2, 2).repeat_interleave(2, 3) for x in (student, teacher)]
    assert float(KIND.distillation(task(), *larger, Distill())) == pytest.approx(value, rel=1e-5)
    p, q = (F.log_softmax(x / 2, 1) for x in (student, teacher))
    by_hand = 4 * F.kl_div(q, p, log_target=True, reduction="sum") / (2 * 16)  # KL(student || teacher)
    assert value == pytest.approx(float(by_hand), rel=1e-5)


def test_ground_truth_scores_1_and_void_is_ignored(tmp_path: Path) -> None:
    split = Split(CLASSES, (example(tmp_path, mask()),))
    metric = KIND.metric(task(), split)
    metric.update(perfect(mask())[None], [0])
    assert metric.compute() == {"mIoU": 1.0}
    stored = metric.per_image()
    assert stored["masks"].shape == (1, 32, 32)
    assert stored["confusion"][0].sum() == 32 * 31


def test_scores_are_taken_in_the_original_frame(tmp_path: Path) -> None:
    tall = np.zeros((96, 48), np.uint8)
    tall[48:] = 1
    metric = KIND.metric(task(), Split(CLASSES, (example(tmp_path, tall),)))
    squashed = np.zeros((32, 32), np.uint8)
    squashed[16:] = 1
    metric.update(perfect(squashed)[None], [0])
    assert metric.compute()["mIoU"] == 1.0
    assert metric.per_image()["confusion"][0].sum() == 96 * 48


def test_one_wrong_stripe_has_a_known_score(tmp_path: Path) -> None:
    values = mask()
    wrong = np.where(values == 1, 0, values)
    metric = KIND.metric(task(), Split(CLASSES, (example(tmp_path, values),)))
    metric.update(perfect(wrong)[None], [0])
    # Background 8 of 16 rows, the first class none, the second all.
    assert metric.compute()["mIoU"] == pytest.approx((0.5 + 0 + 1) / 3)


def test_trivial_is_all_of_the_commonest_class(tmp_path: Path) -> None:
    split = Split(CLASSES, (example(tmp_path, mask()),))
    assert KIND.trivial(task(), split, split) == pytest.approx(0.5 / 3)


def test_all_background_on_mini_voc_is_the_known_score(real_data: Path) -> None:
    val = formats.get("voc").read({"path": str(real_data / "mini_voc_seg")}, "segmentation", "val", None)
    assert KIND.trivial(task(32, val.classes), val, val) == pytest.approx(0.034, abs=5e-4)


def test_count_has_pixels_by_class_without_void(tmp_path: Path) -> None:
    split = Split(CLASSES, (example(tmp_path, mask()), example(tmp_path, mask(), "y")))
    assert KIND.count(split).tolist() == [2 * 8 * 31, 2 * 8 * 31, 2 * 16 * 31]


def test_check_names_the_file_and_the_value(tmp_path: Path) -> None:
    KIND.check(example(tmp_path, mask()), CLASSES)
    with pytest.raises(UserError, match=r"mask .*x\.png holds the value 2; allowed are 0\.\.1 and 255"):
        KIND.check(example(tmp_path, mask()), CLASSES[:2])
    bad = example(tmp_path, mask())
    Image.new("RGB", (5, 5)).save(bad.image)
    with pytest.raises(UserError, match=r"x\.png is \(32, 32\) pixels, its image \(5, 5\)"):
        KIND.check(bad, CLASSES)


def test_colours_are_those_of_pascal_voc() -> None:
    assert [colour(label) for label in (0, 1, 2, 15, 20)] == [
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (192, 128, 128),
        (0, 64, 128),
    ]


def test_draw_leaves_background_and_void_clear() -> None:
    drawn = np.array(KIND.draw(Image.new("RGB", (320, 320), (9, 9, 9)), mask(), CLASSES))
    assert (drawn[:80] == 9).all()
    assert (drawn[:, :10] == 9).all()
    assert (drawn[80:160, 10:] != 9).any(-1).all()
    rows, _ = np.nonzero((drawn > 250).all(-1))
    assert set(rows // 40) == {2, 3, 5, 6}, "every class has its name in the middle of its stripe"
    unheard = KIND.draw(Image.new("RGB", (320, 320)), np.full((32, 32), 77, np.uint8), CLASSES)
    assert (np.array(unheard) > 250).any(), "a number that stands for no class can be looked at"
    blank = KIND.draw(Image.new("RGB", (32, 32), (9, 9, 9)), np.zeros((32, 32), np.uint8), CLASSES)
    assert (np.array(blank) == 9).all()


def test_what_the_kind_says_of_itself() -> None:
    assert isinstance(KIND, Segmentation)
    assert KIND.metrics[0] == "mIoU"
    assert KIND.decode_target is not None


def test_the_soft_iou_loss_of_known_outputs() -> None:
    masks = torch.tensor([[[0, 0, 1, 255]]])
    sure = torch.full((1, 3, 1, 4), -50.0)
    sure[0, 0, 0, :2] = sure[0, 1, 0, 2:] = 50.0
    assert soft_iou_loss(sure, masks).item() == pytest.approx(0, abs=1e-6), "void plays no part"
    wrong = sure.flip(1).roll(1, 3)
    assert 0.5 < soft_iou_loss(wrong, masks).item() <= 1
    # Even chances over three classes: (2/3) / (2 + 3/3 - 2/3) and (1/3) / (1 + 3/3 - 1/3), a mean over the two present.
    even = soft_iou_loss(torch.zeros(1, 3, 1, 4), masks)
    assert even.item() == pytest.approx(1 - ((2 / 3) / (2 + 1 - 2 / 3) + (1 / 3) / (1 + 1 - 1 / 3)) / 2)
    assert soft_iou_loss(torch.zeros(1, 3, 1, 4), torch.full((1, 1, 4), 255)).item() == 0


@pytest.mark.parametrize("classes", [("background", "crack"), ("crack", "background")])
def test_trivial_does_not_depend_on_the_order_of_the_classes(tmp_path: Path, classes: tuple[str, ...]) -> None:
    values = np.full((20, 20), classes.index("background"), np.uint8)
    values[:2, :2] = classes.index("crack")  # 1 %
    split = Split(classes, (example(tmp_path, values),))
    assert KIND.trivial(task(classes=classes), split, split) == pytest.approx(0.99 / 2)


def test_trivial_of_a_part_takes_what_it_does_not_learn_for_background(tmp_path: Path) -> None:
    values = np.repeat(np.array([0, 1, 1, 2], np.uint8), 8)[:, None].repeat(32, 1)  # a is half, b a quarter
    split = Split(CLASSES, (example(tmp_path, values),))
    of_b = replace(task(), learns=(2,))
    assert KIND.trivial(of_b, split, split) == 0, "all background, of which b has nothing"
