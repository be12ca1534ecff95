"""Known answers for what the seeds and what the images add to how uncertain a drop is."""

import math

import numpy as np
import pytest
from scipy import stats

from cl_bench.metrics import continual, uncertainty
from cl_bench.metrics.bootstrap import image_weights

pytestmark = pytest.mark.usefixtures("full_sizes")

BASELINES, FINALS = [0.50, 0.46, 0.52], [0.45, 0.44, 0.47]


def resampled(values, draws):
    return [value + draw for value, draw in zip(values, draws, strict=True)]


def test_without_any_variance_of_images_it_is_students_interval_over_seeds():
    still = [np.full(50, value) for value in BASELINES], [np.full(50, value) for value in FINALS]
    drop = continual.ratio_of_means_drop(BASELINES, FINALS)
    shares = (np.array(FINALS) - (1 - drop) * np.array(BASELINES)) / np.mean(BASELINES)
    expected = stats.t.interval(0.95, 2, loc=drop, scale=stats.sem(shares))
    for images in (None, still):
        found = uncertainty.drop_spread(BASELINES, FINALS, images, scored=60)
        assert found.interval(drop) == pytest.approx(expected)
        assert found.freedom == pytest.approx(2)
    assert continual.drop_interval(BASELINES, FINALS) == pytest.approx(expected)


def test_with_identical_seeds_it_is_the_part_of_the_images():
    draws = 0.02 * np.random.default_rng(0).standard_normal(4000)
    images = [np.full(4000, 0.5)] * 3, [0.4 + draws] * 3
    found = uncertainty.drop_spread([0.5] * 3, [0.4] * 3, images)
    assert found.seeds == pytest.approx(0, abs=1e-20)
    assert found.images == pytest.approx(draws.var(ddof=1) / 0.5**2)
    half = stats.t.ppf(0.975, uncertainty.IMAGE_FREEDOM) * draws.std(ddof=1) / 0.5
    assert found.interval(0.2) == pytest.approx((0.2 - half, 0.2 + half))


def test_what_seeds_gain_from_single_images_is_not_counted_twice():
    draw, seeds, own, interaction, shared = np.random.default_rng(1), 40, 0.03, 0.02, 0.01
    image, single = shared * draw.standard_normal(20_001), interaction * draw.standard_normal((seeds, 20_001))
    shares = image + single + own * draw.standard_normal((seeds, 1))
    found = uncertainty.spread(shares[:, 0].tolist(), list(shares[:, 1:]))
    assert found.images == pytest.approx(shared**2, rel=0.1)
    assert found.interaction == pytest.approx(interaction**2 / seeds, rel=0.1)
    assert found.seeds == pytest.approx((own**2 + interaction**2) / seeds, rel=0.4)
    assert found.variance == found.seeds + found.images


def test_few_images_are_known_to_vary_more_than_they_tell():
    images = list(np.random.default_rng(2).standard_normal((1, 500)) + np.zeros((3, 1)))
    few, many, unknown = (uncertainty.spread([1.0, 2.0, 3.0], images, scored) for scored in (60, 10**9, None))
    assert few.images == pytest.approx(unknown.images * (1 + 20 / 60))
    assert many.images == pytest.approx(unknown.images)
    assert few.seeds == unknown.seeds


def test_one_seed_tells_of_the_images_and_has_no_interval():
    draws = 0.02 * np.random.default_rng(0).standard_normal(500)
    found = uncertainty.drop_spread([0.5], [0.4], ([np.full(500, 0.5)], [0.4 + draws]))
    assert found.images == pytest.approx(draws.var(ddof=1) / 0.5**2)
    assert math.isnan(found.seeds)
    assert found.interval(0.2) is None
    assert uncertainty.drop_spread([0.5], [0.4]) is None


def test_no_baseline_no_spread():
    assert uncertainty.drop_spread([], []) is None
    assert uncertainty.drop_spread([0.0, 0.0], [0.1, 0.2]) is None
    assert uncertainty.difference_spread([0.0, 0.0], [0.1, 0.2], [0.1, 0.1]) is None
    with pytest.raises(ValueError, match="do not pair"):
        uncertainty.drop_spread([0.5, 0.4], [0.4])


def test_the_freedom_is_that_of_welch_and_satterthwaite():
    one, other = np.random.default_rng(3).normal(0, [[1.0], [3.0]], (2, 11))
    a, b = one.var(ddof=1) / 11, other.var(ddof=1) / 11
    expected = stats.ttest_ind(one, other, equal_var=False).df
    assert uncertainty.freedom(a, b, 0.0, 11) == pytest.approx(expected)  # 10 degrees of freedom each


def test_seeds_that_are_alike_by_chance_are_not_taken_for_certain():
    assert uncertainty.freedom(1e-9, 1e-9, 1.0, 3) == pytest.approx(2)


def test_a_difference_is_that_of_the_two_drops_and_paired():
    others = [0.40, 0.37, 0.41]
    draws = 0.02 * np.random.default_rng(4).standard_normal((3, 500))
    images = resampled(BASELINES, draws), resampled(FINALS, draws), resampled(others, draws)
    same = uncertainty.difference_spread(BASELINES, FINALS, FINALS, (images[0], images[1], images[1]))
    assert (same.seeds, same.images, same.interaction) == (0, 0, 0)
    found = uncertainty.difference_spread(BASELINES, FINALS, others)
    shares = (np.array(others) - FINALS) / np.mean(BASELINES)
    ratios = (np.mean(others) - np.mean(FINALS)) / np.mean(BASELINES)
    shares += -ratios * (np.array(BASELINES) / np.mean(BASELINES) - 1)
    assert found.seeds == pytest.approx(shares.var(ddof=1) / 3)


@pytest.mark.parametrize("images", [60, 300])
@pytest.mark.parametrize("seeds", [3, 10])
def test_the_interval_holds_the_truth(images, seeds):
    """Accuracy of 0.9 that falls to 0.855: images differ in ease and in how they change, seeds in both."""
    draw, weights, held, rounds = np.random.default_rng(images + seeds), image_weights("test", images)[:200], 0, 1000
    weights = np.vstack([np.ones(images), weights]).T / images
    for _ in range(rounds):
        ease = draw.standard_normal((1, images)) + 0.3 * draw.standard_normal((seeds, images))
        change = 0.3 * draw.standard_normal((1, images)) + 0.3 * draw.standard_normal((seeds, images))
        latent = np.stack([ease, ease + change]) + 0.05 * draw.standard_normal((2, seeds, 1))
        deviations = np.sqrt([1 + 0.3**2 + 0.05**2, 1 + 3 * 0.3**2 + 0.05**2])
        levels = stats.norm.ppf([0.9, 0.9 * 0.95]) * deviations
        single, final = (latent + levels[:, None, None] > 0) @ weights
        interval = continual.drop_interval(
            single[:, 0].tolist(), final[:, 0].tolist(), (list(single[:, 1:]), list(final[:, 1:])), images
        )
        held += interval[0] <= 0.05 <= interval[1]
    assert 0.92 <= held / rounds <= 0.99
