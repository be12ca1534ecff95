import numpy as np
import pytest

from cl_bench.metrics.small_sample import expected_excess
from cl_bench.metrics.weighted_precision import Matches, weighted_ap


@pytest.mark.parametrize("images", [2, 60, 431])
def test_the_excess_of_a_known_curve_is_found(images):
    excess = expected_excess(lambda weights: 0.1 + 0.6 * weights.sum(axis=1) ** (-2 / 3), images)
    assert excess == pytest.approx(0.6 * images ** (-2 / 3))


def test_a_mean_over_images_has_none_and_the_measured_ap_the_known_one():
    values = np.random.default_rng(0).random(300)
    assert abs(expected_excess(lambda weights: weights @ values / weights.sum(axis=1), 300)) < 0.005
    measured = {654: 0.114, 327: 0.118, 163: 0.128, 81: 0.139}  # read off between .145, .131 and .119
    curve = np.vectorize(lambda size: measured[int(size)])
    assert expected_excess(lambda weights: curve(weights.sum(axis=1)), 654) == pytest.approx(0.0085, abs=0.001)


def test_parts_without_anything_to_score_are_passed_over_and_one_image_says_nothing():
    assert expected_excess(lambda weights: np.where(weights[:, 0] > 0, 0.5, np.nan), 16) == pytest.approx(0, abs=1e-12)
    assert np.isnan(expected_excess(lambda weights: np.full(len(weights), 0.5), 1))


def simulated(random, images):
    """Return one set of images of a detector of six classes, four of them rare; its population is fixed."""
    found = []
    for often in (1.5, 0.5, 0.1, 0.05, 0.05, 0.05):
        truths, false = random.poisson(often, images), random.poisson(2 + 4 * often, images)
        hits = np.repeat(np.arange(images), truths)
        hits = hits[random.random(len(hits)) < 0.6]
        where = np.concatenate([hits, np.repeat(np.arange(images), false)])
        scores = random.normal(size=len(where)) + 1.5 * (np.arange(len(where)) < len(hits))
        order = np.argsort(-scores)
        found.append(Matches(where[order], order < len(hits), truths, np.linspace(0, 1, 101)))
    return found


def test_the_mean_estimate_is_about_the_true_excess_in_simulation():
    random = np.random.default_rng(0)
    truth = weighted_ap(simulated(random, 20_000), np.ones((1, 20_000)))[0]
    scores, estimates = [], []
    for index in range(150):
        found = simulated(random, 100)
        scores.append(weighted_ap(found, np.ones((1, 100)))[0])
        if index < 15:
            estimates.append(expected_excess(lambda weights, found=found: weighted_ap(found, weights), 100))
    excess = np.mean(scores) - truth
    assert excess > 0.02
    assert 0.5 < np.mean(estimates) / excess < 1.5
