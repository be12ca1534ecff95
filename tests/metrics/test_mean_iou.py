import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl_bench.errors import UserError
from cl_bench.metrics.mean_iou import MeanIoU

VOID = 255


def masks(rows):
    return np.array(rows, np.uint8)


def score(pairs, classes=3):
    metric = MeanIoU(classes, len(pairs))
    for index, (prediction, target) in enumerate(pairs):
        metric.update(index, np.asarray(prediction, np.int64), masks(target))
    return metric.compute()["mIoU"]


def random_pairs(images=6, classes=5, seed=0):
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(images):
        height, width = random.integers(3, 20, 2)
        target = random.integers(0, classes, (height, width))
        target[random.random((height, width)) < 0.1] = VOID
        pairs.append((random.integers(0, classes, (height, width)), target))
    return pairs


def test_a_perfect_prediction_is_1_and_a_wholly_wrong_one_0():
    target = [[0, 1], [2, 2]]
    assert score([(target, target)]) == 1.0
    assert score([([[1, 2], [0, 0]], target)]) == 0.0


def test_known_answer():
    # class 0: 1 hit of 2; class 1: 1 hit of 3; class 2: 1 hit of 2
    assert score([([[0, 1], [1, 2]], [[0, 0], [1, 2]])]) == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)


def test_a_class_in_neither_target_nor_prediction_does_not_count():
    pair = ([[0, 0, 1, 1]], [[0, 0, 0, 1]])
    expected = (2 / 3 + 1 / 2) / 2
    assert score([pair], classes=2) == pytest.approx(expected)
    assert score([pair], classes=21) == pytest.approx(expected)


def test_a_class_that_is_only_predicted_counts_as_0():
    assert score([([[0, 0, 0, 2]], [[0, 0, 0, 0]])]) == pytest.approx((3 / 4 + 0) / 2)


def test_whatever_is_predicted_on_void_is_ignored():
    target = [[0, 1, VOID, VOID]]
    assert score([([[0, 1, 2, 0]], target)]) == 1.0
    assert score([([[0, 1, 1, 1]], target)]) == 1.0


def test_an_image_of_void_alone_is_scored_and_changes_nothing():
    pair = ([[0, 1]], [[0, 0]])
    assert score([pair, ([[2, 1]], [[VOID, VOID]])]) == score([pair])


def test_pixels_are_pooled_over_images_of_different_sizes():
    small, large = ([[0, 1]], [[1, 0]]), ([[0] * 8, [1] * 8], [[0] * 8, [1] * 8])
    assert score([small, large], classes=2) == pytest.approx(8 / 10)


def test_the_order_of_updates_changes_no_bit():
    pairs = random_pairs()
    forward, backward = MeanIoU(5, len(pairs)), MeanIoU(5, len(pairs))
    for index, (prediction, target) in enumerate(pairs):
        forward.update(index, prediction, masks(target))
    for index in reversed(range(len(pairs))):
        backward.update(index, pairs[index][0], masks(pairs[index][1]))
    assert forward.compute() == backward.compute()
    np.testing.assert_array_equal(forward.per_image()["confusion"], backward.per_image()["confusion"])


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_jaccard_score_of_scikit_learn(seed):
    jaccard_score = pytest.importorskip("sklearn.metrics").jaccard_score
    pairs = random_pairs(seed=seed)
    predictions = np.concatenate([np.ravel(prediction) for prediction, _ in pairs])
    targets = np.concatenate([np.ravel(target) for _, target in pairs])
    counted = targets != VOID
    expected = jaccard_score(targets[counted], predictions[counted], average="macro")
    assert score(pairs, classes=5) == pytest.approx(expected, abs=1e-12)
    assert 0 < expected < 1


def test_per_image_counts_targets_by_row_and_predictions_by_column():
    metric = MeanIoU(2, 2)
    metric.update(1, np.array([[1, 1, 0]]), masks([[0, 0, VOID]]))
    metric.update(0, np.array([[1]]), masks([[1]]))
    confusion = metric.per_image()["confusion"]
    assert confusion.dtype == np.int32
    assert confusion.tolist() == [[[0, 0], [0, 1]], [[0, 2], [0, 0]]]


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        ([[0, 0]], [[0, 3]], "image 0: the mask holds the value 3"),
        ([[0, 0]], [[0, 254]], "image 0: the mask holds the value 254"),
        ([[0, 3]], [[0, 0]], "image 0: the prediction holds the value 3"),
        ([[0, -1]], [[0, 0]], "image 0: the prediction holds the value -1"),
        ([[0, 3]], [[0, VOID]], "image 0: the prediction holds the value 3"),
        ([[0.0, 1.0]], [[0, 1]], "image 0: the prediction holds float64"),
        ([[0], [0]], [[0, 0]], "image 0: the prediction is"),
    ],
)
def test_wrong_input_is_an_error_that_names_the_image(prediction, target, message):
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        MeanIoU(3, 1).update(0, np.array(prediction), masks(target))


def test_more_classes_than_a_byte_has_values_can_be_scored():
    metric = MeanIoU(300, 1, void=-1)
    metric.update(0, np.array([[7, 299]]), masks([[7, 255]]))
    assert metric.compute() == {"mIoU": pytest.approx(1 / 3)}


def test_a_mask_of_other_numbers_than_bytes_is_an_error():
    with pytest.raises(UserError, match="image 0: the mask holds int64 values"):
        MeanIoU(3, 1).update(0, masks([[0, 1]]), np.array([[0, 1]]))


def test_an_image_counts_exactly_once():
    metric = MeanIoU(2, 3)
    pixel = masks([[0]])
    metric.update(0, pixel, pixel)
    with pytest.raises(UserError, match="image 0 is scored twice"):
        metric.update(0, pixel, pixel)
    for stranger in (3, -1):
        with pytest.raises(UserError, match="not one of the 3 images"):
            metric.update(stranger, pixel, pixel)
    for result in (metric.compute, metric.per_image):
        with pytest.raises(UserError, match="lacks 2 of 3 images; the first is image 1"):
            result()


def test_nothing_but_void_is_an_error():
    with pytest.raises(UserError, match="not void"):
        score([([[0]], [[VOID]])])


def test_void_cannot_be_a_class():
    with pytest.raises(UserError, match="void value 2"):
        MeanIoU(3, 1, void=2)


def test_all_background_on_mini_voc():
    folder = Path(os.environ.get("CL_BENCH_DATA", "")) / "mini_voc_seg" / "val"
    if "CL_BENCH_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("needs mini_voc_seg in CL_BENCH_DATA")
    files = sorted(folder.rglob("*.png"))
    metric = MeanIoU(21, len(files))
    for index, file in enumerate(files):
        with Image.open(file) as mask:
            assert mask.mode == "P"
            target = np.asarray(mask)
        metric.update(index, np.zeros(target.shape, np.int64), target)
    assert len(files) == 60
    assert metric.compute()["mIoU"] == pytest.approx(0.034, abs=5e-4)


def test_an_image_that_weighs_three_counts_as_often_as_three_copies():
    pairs = random_pairs()
    metric = MeanIoU(5, len(pairs))
    for index, (prediction, target) in enumerate(pairs):
        metric.update(index, prediction, masks(target))
    weights = np.array([[1, 1, 1, 1, 1, 1], [2, 1, 3, 1, 1, 2]], np.float64)
    copies = [pair for pair, count in zip(pairs, (2, 1, 3, 1, 1, 2), strict=True) for _ in range(count)]
    np.testing.assert_allclose(metric.resampled(weights), [score(pairs, 5), score(copies, 5)], rtol=1e-12)


def test_the_classes_alone_by_hand():
    metric = MeanIoU(4, 1, VOID)
    metric.update(0, np.array([[0, 1], [1, 2]]), masks([[0, 0], [1, 2]]))
    np.testing.assert_allclose(metric.per_class(), [1 / 2, 1 / 2, 1, np.nan])


def test_the_mean_over_classes_is_the_score():
    pairs = random_pairs(classes=5)
    metric = MeanIoU(9, len(pairs), VOID)
    for index, (prediction, target) in enumerate(pairs):
        metric.update(index, prediction, masks(target))
    assert np.isnan(metric.per_class()).tolist() == [False] * 5 + [True] * 4
    assert np.nanmean(metric.per_class()) == pytest.approx(metric.compute()["mIoU"], abs=1e-12)
