import numpy as np
import pytest

from cl_bench.metrics.bootstrap import RESAMPLES, image_weights

pytestmark = pytest.mark.usefixtures("full_sizes")


def test_every_image_has_a_weight_in_every_resample_and_they_sum_to_their_number():
    weights = image_weights("seg", 60)
    assert weights.shape == (RESAMPLES, 60)
    assert weights.min() > 0
    np.testing.assert_allclose(weights.sum(axis=1), 60)


def test_a_task_has_the_same_resamples_whenever_it_is_asked_and_another_task_has_others():
    np.testing.assert_array_equal(image_weights("seg", 20), image_weights("seg", 20))
    assert not np.array_equal(image_weights("seg", 20), image_weights("det", 20))


def test_the_spread_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=60)
    spread = (image_weights("cls", 60) @ values / 60).std()
    assert abs(spread / (values.std() / np.sqrt(60)) - 1) < 0.08
