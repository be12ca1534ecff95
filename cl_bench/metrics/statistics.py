"""How sure a difference is: intervals from resampled images, and paired differences over seeds. Pure functions.

Each of these is over one source of chance, the seeds or the images, and says nothing about the other;
`uncertainty` is about both at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cl_bench.metrics.uncertainty import Interval, quantile


class Paired(NamedTuple):
    """The difference of two strategies on the same seeds, a - b.

    difference: the mean; interval: Student's, None for one seed; p: of the exact sign-flip test, two-sided; least_p:
    the smallest p that so few seeds can give; probability: that a seed of a has the smaller value than one of b, ties
    counted half.
    """

    difference: float
    interval: Interval | None
    p: float
    least_p: float
    probability: float


def image_interval(samples: npt.ArrayLike) -> Interval:
    """Return the 95 % interval of a score from its values in resamples of the images.

    It holds 98 % of them: 95 % held the truth in only 90 % of simulations with rare classes, as a class that few images
    show varies more than its few images tell. On 60 images that of AP50 held it in 86 % (benchmarks/coverage.py), as AP
    of few images is too high.
    """
    low, high = np.percentile(np.asarray(samples, np.float64), [1, 99])
    return float(low), float(high)


def paired(a: Sequence[float], b: Sequence[float]) -> Paired:
    """Return how `a` differs from `b`, whose values are of the same seeds in the same order (at least one)."""
    differences = [one - other for one, other in zip(a, b, strict=True)]
    least = 2.0 ** (1 - len(differences))
    smaller = [(one < other) + (one == other) / 2 for one in a for other in b]
    return Paired(mean(differences), t_interval(differences), sign_flip_p(differences), least, mean(smaller))


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of a mean difference of 0: the share of all 2^n choices of signs that are as extreme.

    Exact, and valid where the differences are symmetric about their mean (Fisher, The Design of Experiments, 1935);
    more than 16 are sampled from. A p below 2^(1 - n) cannot be had: three seeds give 0.25 at best.
    """
    values = np.asarray(differences, np.float64)
    if len(values) <= 16:
        signs = 1 - 2 * (np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1)
    else:
        signs = np.random.default_rng(0).choice([-1, 1], (100_000, len(values)))
        signs[0] = 1  # what was seen is one of the choices, so p is never 0
    means = np.abs(signs @ values)
    return float((means >= abs(values.sum()) * (1 - 1e-12)).mean())


def holm(values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number, which bounds the chance of any false one (Holm 1979); nan stays."""
    order = sorted((p, index) for index, p in enumerate(values) if not math.isnan(p))
    adjusted, largest = [math.nan] * len(values), 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[index] = largest
    return adjusted


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean, nan of nothing."""
    return math.fsum(values) / len(values) if values else math.nan


def deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation, nan of fewer than two."""
    if len(values) < 2:
        return math.nan
    middle = mean(values)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return Student's interval of the mean of `values`; None for fewer than two."""
    count = len(values)
    if count < 2:
        return None
    half = quantile(count - 1, level) * deviation(values) / math.sqrt(count)
    return mean(values) - half, mean(values) + half
