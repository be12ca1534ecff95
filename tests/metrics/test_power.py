"""Known answers for how many seeds or images settle a verdict."""

import math

import numpy as np
import pytest
from scipy import stats

from cl_bench.metrics import power
from cl_bench.metrics.uncertainty import RARE, Spread, spread


def parts(own, interaction, shared, seeds=3):
    return Spread((own**2 + interaction**2) / seeds, shared**2, interaction**2 / seeds, 2.0)


def settled(own, interaction, shared, distance, seeds, rounds=600):
    draw, beside = np.random.default_rng(0), 0
    for _ in range(rounds):
        image, single = shared * draw.standard_normal(201), interaction * draw.standard_normal((seeds, 201))
        shares = distance + image + single + own * draw.standard_normal((seeds, 1))
        low, high = spread(shares[:, 0].tolist(), list(shares[:, 1:])).interval(shares[:, 0].mean())
        beside += low > 0 or high < 0
    return beside / rounds


@pytest.mark.parametrize(
    ("own", "interaction", "shared", "distance"),
    [(0.03, 0.03, 0.0, 0.03), (0.03, 0.03, 0.005, 0.05), (0.06, 0.02, 0.01, -0.05), (0.02, 0.04, 0.01, 0.05)],
)
def test_the_seeds_it_names_settle_the_verdict(own, interaction, shared, distance):
    seeds = power.seeds_needed(0.05 + distance, parts(own, interaction, shared), 3, border=0.05)
    share = settled(own, interaction, shared, distance, seeds)
    print(f"{seeds} seeds settle {share:.3f}")
    assert 0.80 <= share <= 0.95


@pytest.mark.parametrize(("distance", "seeds"), [(0.03, 5), (0.05, 5), (0.05, 10)])
def test_the_images_it_names_settle_the_verdict(distance, seeds):
    own, interaction, shared = 0.01, 0.06, 0.03
    widened = shared * (1 + RARE / 60) ** 0.5  # as `spread` gives what 60 images share
    images = power.images_needed(distance, parts(own, interaction, widened, seeds), seeds, 60, border=0.0)
    lessened = (60 / images) ** 0.5
    assert 0.80 <= settled(own, lessened * interaction, lessened * shared, distance, seeds) <= 0.95


def test_seeds_alone_are_the_power_of_a_t_test():
    found = power.seeds_needed(0.02, Spread(0.03**2 / 3, math.nan, math.nan, 2.0), 3, border=0.0)

    def of(count):
        return stats.nct.sf(stats.t.ppf(0.975, count - 1), count - 1, 0.02 / 0.03 * count**0.5)

    assert of(found - 1) < power.POWER <= of(found)


def test_no_number_is_enough():
    assert power.seeds_needed(0.07, parts(0.03, 0.0, 0.02), 3, border=0.05) is None  # what all seeds share is too wide
    assert power.images_needed(0.07, parts(0.03, 0.0, 0.02), 3, 60, border=0.05) is None  # three seeds are too few
    assert power.seeds_needed(0.05, parts(0.03, 0.0, 0.0), 3, border=0.05) is None  # it lies on the border
    assert power.images_needed(0.07, Spread(0.001, math.nan, math.nan, 2.0), 3, 60, border=0.05) is None


def test_one_seed_tells_nothing():
    assert power.seeds_needed(0.5, Spread(math.nan, 0.001, math.nan, math.nan), 1, border=0.05) is None


def test_without_variance_two_seeds_and_one_image_are_enough():
    still = Spread(0.0, 0.0, 0.0, 2.0)
    assert power.seeds_needed(0.5, still, 3, border=0.05) == 2
    assert power.images_needed(0.5, still, 3, 60, border=0.05) == 1


def test_images_are_enough_though_many_more_would_be_too_many():
    """With three seeds the degrees of freedom fall to 2 as the images' part goes: at a million images t is 4.3."""
    parts = Spread(1e-4, 6e-4, 0.0, math.nan)
    needed = power.images_needed(0.105, parts, 3, 400, 0.05)
    assert needed is not None
    assert 400 < needed < 2_400
    chance = [
        power._power(0.055, power._scaled(parts, 3, 3, 400 / n, (1 + 20 / n) / (1 + 20 / 400)))
        for n in (needed - 1, needed)
    ]
    assert chance[0] < power.POWER <= chance[1]


def test_the_widening_for_few_images_goes_with_them():
    parts = Spread(0.0, 4e-4 * (1 + 20 / 60), 0.0, math.nan)
    needed = power.images_needed(0.0, parts, 3, 60, 0.05)
    wide = power._scaled(parts, 3, 3, 60 / needed, (1 + 20 / needed) / (1 + 20 / 60))
    assert wide.images == pytest.approx(4e-4 * 60 / needed * (1 + 20 / needed))
