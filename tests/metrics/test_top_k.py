import numpy as np
import pytest

from cl_bench.errors import UserError
from cl_bench.metrics.top_k import TopK


def score(logits, labels):
    logits = np.asarray(logits, np.float32)
    metric = TopK(*logits.shape)
    metric.update(range(len(logits)), logits, np.asarray(labels))
    return metric.compute()


def test_known_answer():
    falling = [7, 6, 5, 4, 3, 2, 1]
    # ranks 0, 1, 4, 5: one first, three among five
    assert score([falling] * 4, [0, 1, 4, 5]) == {"Top-1": 0.25, "Top-5": 0.75}


def test_perfect_is_1_and_the_lowest_logit_0():
    logits = np.eye(10)
    assert score(logits, np.arange(10)) == {"Top-1": 1.0, "Top-5": 1.0}
    assert score(-logits, np.arange(10)) == {"Top-1": 0.0, "Top-5": 0.0}


def test_top_5_of_five_classes_or_fewer_is_1():
    assert score([[3, 2, 1], [3, 2, 1]], [2, 0]) == {"Top-1": 0.5, "Top-5": 1.0}


def test_equal_logits_rank_by_index_and_not_by_truth():
    assert score(np.zeros((10, 10)), np.arange(10)) == {"Top-1": 0.1, "Top-5": 0.5}
    assert score([[0, 1, 1]], [1])["Top-1"] == 1.0
    assert score([[0, 1, 1]], [2])["Top-1"] == 0.0


def test_top_1_is_the_argmax_of_numpy():
    random = np.random.default_rng(0)
    logits, labels = random.integers(0, 4, (200, 8)), random.integers(0, 8, 200)
    expected = (logits.argmax(axis=1) == labels).mean()
    assert score(logits, labels)["Top-1"] == expected


def test_any_batch_size_and_order_gives_the_same_bits():
    random = np.random.default_rng(1)
    logits, labels = random.normal(size=(23, 7)).astype(np.float32), random.integers(0, 7, 23)
    whole = score(logits, labels)
    for size in (1, 4, 23):
        metric, order = TopK(23, 7), random.permutation(23)
        for start in range(0, 23, size):
            batch = order[start : start + size]
            metric.update(batch, logits[batch], labels[batch])
        assert metric.compute() == whole
        np.testing.assert_array_equal(metric.per_image()["logits"], logits)


def test_per_image_is_float32_in_the_order_of_images():
    metric = TopK(2, 2)
    metric.update([1, 0], np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 1]))
    stored = metric.per_image()["logits"]
    assert stored.dtype == np.float32
    assert stored.tolist() == [[3, 4], [1, 2]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_not_finite_is_an_error(bad):
    metric = TopK(2, 2)
    with pytest.raises(UserError, match="image 1: a logit is not finite"):
        metric.update([0, 1], np.array([[0, 1], [0, bad]]), np.array([0, 0]))
    metric.update([0, 1], np.array([[0, 1], [0, 1]]), np.array([0, 1]))
    assert metric.compute()["Top-1"] == 0.5


@pytest.mark.parametrize(
    ("indices", "logits", "labels", "message"),
    [
        ([0, 1], np.zeros((2, 4)), [0, 0], "2 images of 3 classes"),
        ([0, 1], np.zeros((2, 3)), [0], "2 images of 3 classes"),
        ([0], np.zeros((1, 3)), [3], "image 0: the label 3"),
        ([0], np.zeros((1, 3)), [-1], "image 0: the label -1"),
        ([4], np.zeros((1, 3)), [0], "image 4 is not one of the 4 images"),
        ([-1], np.zeros((1, 3)), [0], "image -1 is not one of the 4 images"),
        ([1, 1], np.zeros((2, 3)), [0, 0], "image 1 is scored twice"),
    ],
)
def test_wrong_input_is_an_error(indices, logits, labels, message):
    with pytest.raises(UserError, match=message):
        TopK(4, 3).update(indices, logits, np.array(labels))


def test_an_image_counts_exactly_once():
    metric = TopK(3, 2)
    metric.update([0], np.zeros((1, 2)), np.array([0]))
    with pytest.raises(UserError, match="image 0 is scored twice"):
        metric.update([0], np.zeros((1, 2)), np.array([0]))
    for result in (metric.compute, metric.per_image):
        with pytest.raises(UserError, match="lacks 2 of 3 images; the first is image 1"):
            result()


def test_no_images_is_an_error():
    with pytest.raises(UserError, match="at least one image"):
        TopK(0, 3)


def test_an_image_that_weighs_three_counts_as_often_as_three_copies():
    random = np.random.default_rng(2)
    logits, labels = random.normal(size=(12, 4)), random.integers(0, 4, 12)
    metric = TopK(12, 4)
    metric.update(range(12), logits, labels)
    counts = random.integers(1, 4, 12)
    expected = [score(logits, labels)["Top-1"], score(np.repeat(logits, counts, 0), np.repeat(labels, counts))["Top-1"]]
    np.testing.assert_allclose(metric.resampled(np.stack([np.ones(12), counts])), expected, rtol=1e-12)


def test_the_classes_alone_by_hand():
    metric = TopK(3, 4)
    metric.update([0, 1, 2], np.array([[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]), np.array([0, 0, 3]))
    np.testing.assert_equal(metric.per_class(), [1.0, np.nan, np.nan, 0.0])
    metric = TopK(3, 2)
    metric.update([0, 1, 2], np.array([[1.0, 0], [0, 1], [1, 0]]), np.array([0, 0, 0]))
    assert metric.per_class()[0] == metric.compute()["Top-1"] == 2 / 3
