"""How many seeds or test images it takes to settle a verdict that is uncertain. Pure functions.

What was estimated so far is taken for the truth: the drop, and where its variance comes from. So the numbers are as
rough as the estimates, and those of three seeds are rough.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cl_bench.metrics.continual import border
from cl_bench.metrics.uncertainty import RARE, Spread, freedom, known, quantile

POWER = 0.87
"""How likely the interval is to lie beside the border with the number that is named."""
MOST_SEEDS, MOST_IMAGES = 1_000, 1_000_000


def settling(row: Mapping[str, Any], images: int) -> dict[str, float]:
    """Return what would settle an uncertain verdict, as `settling_seeds` and `settling_images`: how many in all.

    row: as from `continual.task_summary`, of `images` images. inf where no number is enough; nan where nothing is to be
    settled, and where too little is known, as of one seed or of seeds that are alike by chance (`Spread.alike`).
    """
    words = ("settling_seeds", "settling_images")
    if not str(row["verdict"]).endswith("(uncertain)"):
        return dict.fromkeys(words, math.nan)
    seeds, shared, own = (float(row[f"{part}_deviation"]) ** 2 for part in ("seeds", "images", "interaction"))
    parts = Spread(seeds, shared, own, math.nan)
    if parts.alike:
        return dict.fromkeys(words, math.nan)
    edge, count = border(row["verdict"]), int(row["seeds"])
    unknown = (math.isnan(parts.variance), math.isnan(parts.variance + parts.images + parts.interaction))
    found = (seeds_needed(row["drop"], parts, count, edge), images_needed(row["drop"], parts, count, images, edge))
    return {
        word: math.nan if blind else math.inf if number is None else float(number)
        for word, blind, number in zip(words, unknown, found, strict=True)
    }


def seeds_needed(drop: float, spread: Spread, seeds: int, border: float) -> int | None:
    """Return with how many seeds in all the interval is likely (`POWER`) to lie beside `border`.

    spread: of `drop`, with the `seeds` there are. At least 2, so that there is an interval. None where no number up to
    `MOST_SEEDS` is enough, as where the images that all seeds share vary too much alone, and where the seeds' part is
    unknown; images of which nothing is known count as if they did not vary.
    """
    if math.isnan(drop + spread.variance):
        return None
    return _first(2, MOST_SEEDS, lambda count: _power(abs(drop - border), _scaled(spread, seeds, count, 1.0)))


def images_needed(drop: float, spread: Spread, seeds: int, images: int, border: float) -> int | None:
    """Return the same of test images, with the seeds there are; spread: of `drop`, with the `images` there are.

    None where no number up to `MOST_IMAGES` is enough, as where the seeds vary too much alone; also where nothing is
    known of the images.
    """
    if math.isnan(drop + spread.variance + spread.images + spread.interaction):
        return None

    def power(count: int) -> float:
        fewer = (1 + RARE / count) / (1 + RARE / images)  # what is shared was widened for so few images
        return _power(abs(drop - border), _scaled(spread, seeds, seeds, images / count, fewer))

    return _first(1, MOST_IMAGES, power)


def _first(least: int, most: int, power: Callable[[int], float]) -> int | None:
    """Return the smallest number with enough power; None where none has.

    Power grows with the number up to somewhere: as the images' part of a variance goes, so do its degrees of freedom.
    """
    steps = [least, *(number for number in np.geomspace(least, most, 200).astype(int).tolist() if number > least)]
    enough = next((number for number in steps if power(number) >= POWER), None)
    if enough is None:
        return None
    below = max((number for number in steps if number < enough), default=least)
    return below + bisect.bisect_left(range(below, enough), POWER, key=power)


def _scaled(spread: Spread, seeds: int, count: int, share: float, widened: float = 1.0) -> Spread:
    """Return what `spread` becomes with `count` in place of `seeds` seeds, images varying `share` as much.

    widened: what the images that all seeds share count for on top of that.
    """
    interaction = known(spread.interaction)
    own = max(0.0, spread.seeds - interaction)  # few seeds may differ less than what is known of single images
    part, shared = (own + share * interaction) * seeds / count, share * widened * known(spread.images)
    interaction *= share * seeds / count
    return Spread(part, shared, interaction, freedom(part, shared, interaction, count))


def _power(distance: float, spread: Spread) -> float:
    """Return how likely the interval is to lie beside a border at `distance` from the true mean (noncentral t)."""
    from scipy.special import nctdtr

    if not spread.variance:
        return float(distance > 0)
    return float(1 - nctdtr(spread.freedom, distance / math.sqrt(spread.variance), quantile(spread.freedom, 0.95)))
