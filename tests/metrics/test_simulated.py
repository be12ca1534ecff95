"""The simulated worlds of `benchmarks/coverage.py` score as the metrics do, and their truth is the truth."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from cl_bench.data.base import Boxes
from cl_bench.metrics.average_precision import AveragePrecision

pytestmark = pytest.mark.slow

IMAGES = 40


@pytest.fixture(scope="module")
def simulated():
    path = Path(__file__).parents[2] / "benchmarks" / "simulated.py"
    specification = importlib.util.spec_from_file_location("simulated", path)
    module = importlib.util.module_from_spec(specification)
    sys.modules["simulated"] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules["simulated"]


def test_its_average_precision_is_that_of_the_metric(simulated):
    draw = np.random.default_rng(0)
    weights = draw.standard_exponential((20, IMAGES))
    image, label, true, scores = simulated.detections(draw, np.full((2, 1), 0.5), IMAGES)
    inside = np.array([(image[:place] == image[place]).sum() for place in range(len(image))])
    corner = np.stack([inside % 10 * 10, inside // 10 * 10], axis=1)  # boxes of an image do not touch
    boxes = np.concatenate([corner, corner + 8], axis=1).astype(np.float32)
    of_image = [image == index for index in range(IMAGES)]
    truth = [Boxes(boxes[own & true], label[own & true], np.zeros((own & true).sum(), np.bool_)) for own in of_image]
    metric = AveragePrecision(("a", "b", "c"), truth, [(100, 100)] * IMAGES)
    for index, own in enumerate(of_image):
        seen = own & np.isfinite(scores[0, 0])
        metric.update(index, boxes[seen], scores[0, 0, seen], label[seen])
    classes = [
        simulated.weighted_ap(image[own], true[own], scores[0, 0, own], weights.T)
        for own in (label == which for which in range(3))
    ]
    np.testing.assert_allclose(np.mean(classes, axis=0), metric.resampled(weights))


@pytest.mark.parametrize("noise", ["normal", "skewed"])
def test_the_loss_of_skill_gives_the_true_drop(simulated, noise):
    loss = simulated.loss_of("Top-1", getattr(simulated, noise), 0.05)
    metric, draw = simulated.METRICS["Top-1"], np.random.default_rng(9)
    skills = simulated.skills(metric, getattr(simulated, noise), [loss], draw.standard_normal((2, 200)))
    baselines, finals = simulated.top_1(draw, skills, np.ones((1, 20_000))).mean(axis=(1, 2))
    assert 1 - finals / baselines == pytest.approx(0.05, abs=0.005)
