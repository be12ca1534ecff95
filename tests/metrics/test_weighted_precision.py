import numpy as np
import pytest

from cl_bench.metrics.bootstrap import image_weights
from cl_bench.metrics.weighted_precision import Matches, of_class, weighted_ap

RECALLS = np.linspace(0, 1, 101)


def random_matches(seed, images=30, classes=4):
    """Return classes of 1 to 50 true boxes, most of them found, with as many false positives."""
    random, found = np.random.default_rng(seed), []
    for number in random.integers(1, 51, classes):
        truths = np.bincount(random.integers(0, images, number), minlength=images)
        hits = np.repeat(np.arange(images), truths)
        hits = hits[random.random(number) < 0.8]
        where = np.concatenate([hits, random.integers(0, images, number)])
        order = random.permutation(len(where))
        found.append(Matches(where[order], (np.arange(len(where)) < len(hits))[order], truths, RECALLS))
    return found


def plainly(classes, weights):
    """The definition, one detection after the other; the last recall is reached where every true box is found."""
    scores = []
    for row in weights:
        by_class = []
        for one in classes:
            total, hits, seen, points = float(row @ one.truths), 0.0, 0.0, []
            for image, hit in zip(one.images, one.hit, strict=True):
                hits, seen = hits + hit * row[image], seen + row[image]
                points.append((hits / total, hits / seen))
            if one.hit.sum() == one.truths.sum():
                points = [(1.0 if abs(recall - 1) < 1e-12 else recall, precision) for recall, precision in points]
            by_class += [max((p for r, p in points if r >= recall), default=0.0) for recall in RECALLS]
        scores.append(np.mean(by_class))
    return np.array(scores)


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_plain_definition(seed):
    found, weights = random_matches(seed), image_weights("det", 30)[:20]
    np.testing.assert_allclose(weighted_ap(found, weights), plainly(found, weights), rtol=1e-12)


def test_rows_do_not_depend_on_each_other_however_many_there_are():
    found, weights = random_matches(5, images=200, classes=2), image_weights("det", 200)
    many = weighted_ap(found, np.tile(weights, (5, 1)))
    np.testing.assert_array_equal(many.reshape(5, -1), np.tile(weighted_ap(found, weights), (5, 1)))
    assert weighted_ap(found, weights[7:8])[0] == many[7]


def test_neither_the_unit_of_the_weights_nor_the_order_of_the_images_changes_a_bit():
    found, weights = random_matches(6), image_weights("det", 30)[:50]
    np.testing.assert_array_equal(weighted_ap(found, weights * 2.0**-40), weighted_ap(found, weights))
    order = np.random.default_rng(0).permutation(30)
    moved = [Matches(np.argsort(order)[one.images], one.hit, one.truths[order], RECALLS) for one in found]
    np.testing.assert_array_equal(weighted_ap(moved, weights[:, order]), weighted_ap(found, weights))


def test_images_without_weight_are_as_if_they_were_not_there():
    found, weights = random_matches(2), image_weights("det", 30)[:5].copy()
    weights[:, ::3] = 0
    kept = np.arange(30) % 3 > 0
    place = np.cumsum(kept) - 1
    without = []
    for one in found:
        counts = kept[one.images]
        without.append(Matches(place[one.images[counts]], one.hit[counts], one.truths[kept], RECALLS))
    np.testing.assert_allclose(weighted_ap(found, weights), weighted_ap(without, weights[:, kept]), rtol=1e-12)


def test_a_class_without_a_true_box_in_the_images_that_count_is_left_out():
    images, hit = np.array([0, 1]), np.array([True, False])
    first = Matches(images, hit, np.array([1, 0, 0]), RECALLS)
    second = Matches(images, ~hit, np.array([0, 2, 0]), RECALLS)
    scores = weighted_ap([first, second], np.array([[1.0, 0, 1], [0, 1, 1], [0, 0, 1]]))
    np.testing.assert_allclose(scores, [1, 51 / 101, np.nan])


def test_a_class_without_detection_or_without_anything_has_no_matches():
    none = np.zeros((10, 0))
    truth_only = {"dtScores": [], "dtMatches": none, "dtIgnore": none, "gtIgnore": np.array([0, 1])}
    found = of_class([None, truth_only], RECALLS)
    assert (len(found.images), found.truths.tolist()) == (0, [0, 1])
    assert weighted_ap([found], np.ones((2, 2))).tolist() == [0, 0]
    assert of_class([None, None], RECALLS).truths.tolist() == [0, 0]
