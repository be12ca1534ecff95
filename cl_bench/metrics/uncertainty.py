"""How far a drop may lie from the truth, by both sources of chance at once: the seeds and the images. Pure functions.

A drop over seeds is a ratio of means. It is linearised (the delta method): each seed has a share in it, and the drop is
the mean of the shares. A share differs between seeds (another initial predictor, another order of images), and in
resamples of the images. Where all seeds gain from the same images, their mean varies with the images, however many
seeds there are; what a seed alone gains from some images already shows between the seeds and is not counted again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]
"""Low end and high end."""
Scores = npt.NDArray[np.float64]
"""(resamples,)"""

IMAGE_FREEDOM = 10
"""Degrees of freedom of the images' part, chosen in simulations (benchmarks/coverage.py): few images of a class tell
its variance poorly."""
RARE = 20
"""On m images the resamples' variance is too small; it is raised by the factor 1 + RARE / m."""
ROUNDING = 1e-12
"""Variances up to it are those of rounding: a deviation of a ten-thousandth of a percent."""


class Spread(NamedTuple):
    """Where the variance of a mean over seeds comes from.

    seeds: the part that more seeds lessen, the variance between them over their number (nan of one seed); images: the
    part that all seeds share (of one seed: all of its own; nan where no resamples were kept); interaction: how much of
    `seeds` comes from single seeds being good on single images, so that more images lessen it too (nan where unknown);
    freedom: Satterthwaite's degrees of freedom of the sum (nan where it is unknown).
    """

    seeds: float
    images: float
    interaction: float
    freedom: float

    @property
    def variance(self) -> float:
        """The variance of the mean by both sources; nan of one seed."""
        return self.seeds + known(self.images)

    @property
    def alike(self) -> bool:
        """Whether all seeds came out alike though other images would part them: their variance of 0 is chance."""
        return self.seeds <= ROUNDING < self.interaction

    def interval(self, estimate: float, level: float = 0.95) -> Interval | None:
        """Return the interval about `estimate`; None where it is nan, and of one seed, as others are unknown."""
        if math.isnan(estimate + self.variance):
            return None
        half = quantile(self.freedom, level) * math.sqrt(self.variance)
        return estimate - half, estimate + half


def known(part: float) -> float:
    """Return a part of a variance, 0 where it is unknown."""
    return 0.0 if math.isnan(part) else part


def freedom(seeds: float, images: float, interaction: float, count: int) -> float:
    """Return the degrees of freedom of `seeds` + `images`, parts of the variance of a mean over `count` >= 2 seeds.

    Satterthwaite (Biometrics Bulletin 1946). Few seeds may be alike by chance; `interaction`, known from many
    resamples, is the least that they differ by in truth, so that chance is not taken for certainty.
    """
    least = max(seeds, interaction)
    squares = least**2 / (count - 1) + images**2 / IMAGE_FREEDOM
    return (least + images) ** 2 / squares if squares else count - 1.0


def spread(shares: Sequence[float], images: Sequence[Scores] | None = None, scored: int | None = None) -> Spread | None:
    """Return where the variance of the mean of `shares`, one a seed, comes from; None of too little to tell anything.

    images: the same shares in resamples of the images, (resamples,) a seed, all over the same resamples; scored: the
    number of images, for whose fewness the images' part is widened (None: it is not).
    """
    count = len(shares)
    if count == 0 or (count == 1 and images is None):
        return None
    seeds = float(np.var(shares, ddof=1)) / count if count > 1 else math.nan
    if images is None:
        return Spread(seeds, math.nan, math.nan, count - 1.0)
    resampled = np.asarray(images, np.float64)
    of_mean, of_one = float(resampled.mean(0).var(ddof=1)), float(resampled.var(1, ddof=1).mean())
    wider = 1 + RARE / scored if scored else 1.0
    if count == 1:
        return Spread(math.nan, wider * of_one, math.nan, math.nan)
    # of_one = shared + own and of_mean = shared + own / count, so the mean covariance of two seeds is what is shared.
    interaction = max(0.0, (of_one - of_mean) / (count - 1))
    shared = wider * max(0.0, of_mean - interaction)
    return Spread(seeds, shared, interaction, freedom(seeds, shared, interaction, count))


def drop_spread(
    baselines: Sequence[float],
    finals: Sequence[float],
    images: tuple[Sequence[Scores], Sequence[Scores]] | None = None,
    scored: int | None = None,
) -> Spread | None:
    """Return where the variance of a ratio of means' relative drop comes from; None where it has none.

    baselines, finals: one a seed, paired; images: both in resamples of the images, (resamples,) a seed, all over the
    same resamples (None: none were kept, and the seeds alone are known); scored: as in `spread`.
    """
    own = _shares(baselines, finals, images)
    return None if own is None else spread(*own, scored)


def difference_spread(
    baselines: Sequence[float],
    finals: Sequence[float],
    others: Sequence[float],
    images: tuple[Sequence[Scores], Sequence[Scores], Sequence[Scores]] | None = None,
    scored: int | None = None,
) -> Spread | None:
    """Return the same of the difference of two strategies' drops, `finals` minus `others`, on the same seeds.

    The difference is that of the two ratios of means, so that it is what subtracting two drops of a table gives.
    images: baselines, finals and others in resamples of the images; scored: both as in `drop_spread`.
    """
    own = _shares(baselines, finals, images and images[:2])
    other = _shares(baselines, others, images and (images[0], images[2]))
    if own is None or other is None:
        return None
    (one, one_images), (two, two_images) = own, other
    paired = None if one_images is None or two_images is None else list(np.subtract(one_images, two_images))
    return spread(np.subtract(one, two).tolist(), paired, scored)


def _shares(
    baselines: Sequence[float],
    finals: Sequence[float],
    images: tuple[Sequence[Scores], Sequence[Scores]] | None,
) -> tuple[list[float], list[Scores] | None] | None:
    """Return each seed's share in the drop, and that in every resample (less a constant); None without a drop.

    The resamples' shares have the same denominator, as the seeds' have: no resample of a weak baseline divides by 0.
    """
    if len(baselines) != len(finals):
        raise ValueError(f"{len(baselines)} baselines do not pair with {len(finals)} final scores")
    middle = float(np.mean(baselines)) if len(baselines) else 0.0
    if not middle or math.isnan(middle):
        return None
    kept = float(np.mean(finals)) / middle
    shares = 1 - kept - (np.asarray(finals, np.float64) - kept * np.asarray(baselines, np.float64)) / middle
    if images is None:
        return shares.tolist(), None
    before, after = (np.asarray(scores, np.float64) for scores in images)
    return shares.tolist(), list((kept * before - after) / middle)


@lru_cache(maxsize=256)
def quantile(degrees: float, level: float) -> float:
    """Return how many standard deviations a two-sided interval reaches to either side, by Student's distribution."""
    from scipy.special import stdtrit  # the t quantile of scipy.stats, without its slow import

    return float(stdtrit(degrees, (1 + level) / 2))
