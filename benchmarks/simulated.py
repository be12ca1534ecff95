"""Simulated experiments whose true drop is known: what models of many seeds score on many images, before and after.

All that makes an interval hard is in them: images that are hard for all models, images whose change all seeds share
(`_SHARED`), seeds that are good on all images, seeds that are good on some images (`_OWN`), and rare classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Noise = Callable[[Array], Array]
"""Quantiles of seeds' effects (mean 0, deviation 1) from shares in 0..1."""

_SHARED, _OWN = 0.35, 0.5


def normal(shares: Array) -> Array:
    """Return quantiles of the normal distribution."""
    from scipy.special import ndtri

    found: Array = ndtri(shares)
    return found


def skewed(shares: Array) -> Array:
    """Return quantiles of the exponential distribution about its mean, upside down: now and then a seed fails."""
    found: Array = 1 + np.log(shares)
    return found


class Metric(NamedTuple):
    """How one kind of scores comes about.

    score: (draw, skills (states, seeds), weights (resamples, images)) -> scores (states, seeds, resamples), the first
    state that of the baselines; skill: theirs; deviation: of skills between seeds; population: images that stand for
    all there are; resamples: how many are simulated, of the 1,000 there are.
    """

    score: Callable[[np.random.Generator, Array, Array], Array]
    skill: float
    deviation: float
    population: int
    resamples: int


def _latent(draw: np.random.Generator, skills: Array, images: int) -> Array:
    """Return how easy each image is for each model, (states, seeds, images), in deviations of the images' ease."""
    own = _OWN * draw.standard_normal((*skills.shape, images))
    change = _SHARED * draw.standard_normal((len(skills), 1, images))
    change[0] = 0  # from the baseline
    return skills[..., None] + draw.standard_normal(images) + change + own


def top_1(draw: np.random.Generator, skills: Array, weights: Array) -> Array:
    """Classify images: right where they are easy enough."""
    right = _latent(draw, skills, weights.shape[1]) > 0
    return right.astype(np.float32) @ (weights / weights.sum(1, keepdims=True)).astype(np.float32).T


def mean_iou(draw: np.random.Generator, skills: Array, weights: Array) -> Array:
    """Segment images of six classes, four of them rare, of which a share of the pixels is found, others mistaken."""
    images, present = weights.shape[1], np.array([1, 0.6, 0.15, 0.12, 0.1, 0.08])
    areas = draw.lognormal(0, 0.7, (images, 6)) * (draw.random((images, 6)) < present)
    ease = 0.7 * draw.standard_normal((images, 6)) + _latent(draw, skills, images)[..., None]
    hits = areas / (1 + np.exp(-ease))
    mistaken = draw.dirichlet(np.array([6, 3, 1, 1, 1, 1]) / 4, images)
    predicted = hits + (areas - hits).sum(-1, keepdims=True) * mistaken
    counts = np.stack([hits, areas + predicted - hits]).astype(np.float32)
    hit, union = np.moveaxis(np.moveaxis(counts, 3, 4) @ weights.astype(np.float32).T, 3, -1)
    occurring = union[0, 0].max(axis=0) > 0
    return (hit / np.maximum(union, 1e-9))[..., occurring].mean(axis=-1)


def average_precision(draw: np.random.Generator, skills: Array, weights: Array) -> Array:
    """Detect boxes of three classes, one of them rare, among false ones, each with its score."""
    image, label, true, scores = detections(draw, skills, weights.shape[1])
    counts, shape = np.ascontiguousarray(weights.T, np.float32), (*skills.shape, len(weights))
    classes = [
        np.reshape([weighted_ap(image[of], true[of], row[of], counts) for row in np.vstack(scores)], shape)
        for of in (label == which for which in range(3))
        if true[of].any()
    ]
    return np.mean(classes, axis=0)


def detections(
    draw: np.random.Generator, skills: Array, images: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_], Array]:
    """Return of each true box and each place where one may be seen falsely: image, label, whether true, and the scores.

    The scores are (states, seeds, boxes), -inf where a model found nothing.
    """
    boxes, places = (np.repeat(np.arange(images), draw.poisson(rate, images)) for rate in (1.3, 2.0))
    image, true = np.concatenate([boxes, places]), np.arange(len(boxes) + len(places)) < len(boxes)
    label = draw.choice(3, len(image), p=[0.7, 0.2, 0.1])
    ease = _latent(draw, skills, images)[..., image] + 0.7 * draw.standard_normal(len(image))
    confusing = 0.7 * draw.standard_normal(images)[image] + 0.7 * draw.standard_normal(len(image))
    scores = np.where(true, ease, confusing - 0.3 * (ease - skills.mean())) + 0.4 * draw.standard_normal(ease.shape)
    return image, label, true, np.where(scores > -0.5, scores, -np.inf)


def weighted_ap(image: npt.NDArray[np.int64], true: npt.NDArray[np.bool_], scores: Array, weights: Array) -> Array:
    """Return the AP50 (resamples,) of one class, as `AveragePrecision.resampled`, of boxes as from `detections`.

    weights: (images, resamples).
    """
    found = np.argsort(-scores, kind="stable")[: np.isfinite(scores).sum()]
    counted, hit = weights[image[found]], true[found]
    # Precision falls with every false box, so that what is read off are its values at the true ones.
    hits = np.cumsum(counted[hit], axis=0)
    precision = hits / np.cumsum(counted, axis=0)[hit]
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    reached = np.floor(100 * hits / weights[image[true]].sum(axis=0) + 1e-4)
    read = np.diff(reached, axis=0, prepend=-1)  # how many of the recalls 0, 0.01, ..., 1
    area: Array = (envelope * read).sum(axis=0) / 101
    return area


METRICS = {
    "Top-1": Metric(top_1, 1.6, 0.1, 200_000, 250),
    "mIoU": Metric(mean_iou, 1.2, 0.1, 60_000, 250),
    "AP50": Metric(average_precision, 0.6, 0.06, 40_000, 100),
}


def skills(metric: Metric, noise: Noise, losses: list[float], draws: Array) -> Array:
    """Return the skills (states, seeds) of baselines and of runs that lost `losses`.

    draws: (1 + runs, seeds), standard normal; a seed's skill after a run is correlated (0.6) with its baseline's.
    """
    from scipy.special import ndtr

    mixed = np.vstack([draws[:1], 0.6 * draws[:1] + 0.8 * draws[1:]])
    return metric.skill + metric.deviation * noise(ndtr(mixed)) - np.array([[0.0], *([loss] for loss in losses)])


@lru_cache
def loss_of(name: str, noise: Noise, drop: float) -> float:
    """Return the loss of skill by which the mean of all seeds on all images drops by `drop` (secant method)."""
    metric = METRICS[name]
    seeds = metric.deviation * noise((np.arange(8) + 0.5) / 8)

    def excess(loss: float) -> float:
        found = np.zeros(2)
        for part in range(4):  # of the population, which bounds the memory
            both = metric.skill + np.stack([seeds, seeds - loss])
            weights = np.ones((1, metric.population // 4), np.float32)
            found += metric.score(np.random.default_rng(part), both, weights).mean(axis=(1, 2))
        return float(1 - found[1] / found[0] - drop)

    before, after = 0.0, 0.3 + 3 * drop
    value, further = excess(before), excess(after)
    while abs(further) > 2e-4:
        before, after = after, after - further * (after - before) / (further - value)
        value, further = further, excess(after)
    return after
