import math

import numpy as np
import pytest
from scipy import stats

from cl_bench.metrics import statistics


def test_the_sign_flip_test_is_that_of_scipy():
    for seed in range(5):
        values = np.random.default_rng(seed).normal(0.5, 1, 7)
        expected = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert statistics.sign_flip_p(values.tolist()) == pytest.approx(expected.pvalue)


def test_few_seeds_cannot_give_a_small_p():
    for count in range(1, 8):
        found = statistics.paired([0.0] * count, [1.0 + seed for seed in range(count)])
        assert found.p == found.least_p == 2 ** (1 - count)
        assert found.probability == 1


def test_equal_strategies_do_not_differ():
    found = statistics.paired([0.3, 0.1, 0.2], [0.3, 0.1, 0.2])
    assert (found.difference, found.p, found.probability) == (0, 1, 0.5)
    assert found.interval == (0, 0)


def test_one_seed_has_no_interval():
    found = statistics.paired([0.1], [0.4])
    assert (found.interval, found.p) == (None, 1)
    assert found.difference == pytest.approx(-0.3)


def test_many_seeds_are_sampled():
    values = np.random.default_rng(1).normal(0.3, 1, 30)
    assert statistics.sign_flip_p(values.tolist()) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.02)
    assert 0 < statistics.sign_flip_p([1.0] * 40) < 1e-4


def test_the_interval_of_a_uniform_sample():
    low, high = statistics.image_interval(np.linspace(0, 1, 1001))
    assert (low, high) == pytest.approx((0.01, 0.99))


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.5, math.nan, 0.9])[::2] == [1.0, 1.0]
    assert math.isnan(statistics.holm([0.5, math.nan])[1])
    assert statistics.holm([]) == []
