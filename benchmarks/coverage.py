"""How often the intervals hold the truth, and how often a verdict is settled, in simulations whose truth is known.

python benchmarks/coverage.py --simulations 600
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pairs import keep
from simulated import METRICS, Array, Noise, loss_of, normal, skewed, skills

from cl_bench.metrics import continual, power
from cl_bench.metrics.bootstrap import image_weights
from cl_bench.metrics.continual import LIMIT
from cl_bench.metrics.statistics import image_interval, mean
from cl_bench.metrics.uncertainty import Spread, difference_spread, drop_spread, freedom, spread

SEEDS, IMAGES = (3, 5, 10), (60, 300, 700)
FURTHER = 0.15
"""The drop of the strategy that one with a drop of 5 % is held against."""
SHARES = {"Top-1": 1.0, "mIoU": 1.0, "AP50": 0.5}
"""How many of the simulations are made of each metric: AP costs most."""
Figures = dict[str, Any]


def worlds() -> Iterator[tuple[str, Noise, float]]:
    """Yield metric, how skills differ between seeds, and the true drop."""
    for metric in METRICS:
        for drop in (0.0, LIMIT, 0.4):
            yield metric, normal, drop
        yield metric, skewed, LIMIT


def experiments(metric: str, noise: Noise, drops: list[float], images: int, simulations: int) -> Iterator[Array]:
    """Yield scores (baselines and runs, seeds, 1 + resamples), the first those of the images as they are."""
    how, draw = METRICS[metric], np.random.default_rng(images)
    losses = [loss_of(metric, noise, drop) for drop in drops]
    weights = np.vstack([np.ones(images), image_weights("simulation", images)[: how.resamples]])
    for _ in range(simulations):
        normals = draw.standard_normal((1 + len(drops), max(SEEDS)))
        yield how.score(draw, skills(how, noise, losses, normals), weights).astype(np.float64)


def drops_and_differences(simulations: int) -> Iterator[tuple[str, Figures]]:
    """Yield of every metric, noise, drop and number of images and seeds what the intervals held."""
    for metric, noise, drop in worlds():
        compared = noise is normal and drop == LIMIT
        for images in IMAGES:
            rounds, found = round(SHARES[metric] * simulations), Counter[tuple[str, int]]()
            for scores in experiments(metric, noise, [drop, FURTHER][: 1 + compared], images, rounds):
                for seeds in SEEDS:
                    own = scores[:, :seeds]
                    found.update((what, seeds) for what in _judged(own, drop, images))
                    found.update((what, seeds) for what in (_compared(own, drop, images) if compared else ()))
            for seeds in SEEDS:
                where = {"metric": metric, "noise": noise.__name__, "drop": drop, "images": images, "seeds": seeds}
                shares = {what: found[what, seeds] / rounds for what in ("held", "settled", "held by seeds alone")}
                shares["passes"] = found["passes", seeds] / rounds
                yield "drops", {**where, "simulations": rounds, **shares}
                if compared:
                    yield "differences", {**where, "simulations": rounds, "held": found["difference", seeds] / rounds}


def _judged(scores: Array, truth: float, images: int) -> Iterator[str]:
    """Yield what comes true of one drop: that it is held, settled, and passes (or more) without "(uncertain)"."""
    singles, finals = (part[:, 0].tolist() for part in scores[:2])
    drop = continual.ratio_of_means_drop(singles, finals)
    parts = drop_spread(singles, finals, (list(scores[0, :, 1:]), list(scores[1, :, 1:])), images)
    if _holds(parts, drop, truth):
        yield "held"
    if _holds(drop_spread(singles, finals), drop, truth):
        yield "held by seeds alone"
    interval = parts and parts.interval(drop)
    word = continual.verdict(drop, interval, mean(singles), mean(finals), 0.0)
    if "uncertain" not in word:
        yield "settled"
        if word in ("pass", "bonus"):
            yield "passes"


def _compared(scores: Array, drop: float, images: int) -> Iterator[str]:
    values, resampled = scores[..., 0].tolist(), [list(part[:, 1:]) for part in scores]
    parts = difference_spread(values[0], values[1], values[2], (resampled[0], resampled[1], resampled[2]), images)
    means = scores[..., 0].mean(axis=1)
    if _holds(parts, (means[2] - means[1]) / means[0], drop - FURTHER):
        yield "difference"


def _holds(parts: Spread | None, estimate: float, truth: float) -> bool:
    interval = parts and parts.interval(estimate)
    return interval is not None and interval[0] <= truth <= interval[1]


def single_scores(simulations: int) -> Iterator[tuple[str, Figures]]:
    """Yield how often the interval of one model's score, over images alone, holds the score on all images."""
    for metric, how in METRICS.items():
        rounds, one = round(SHARES[metric] * simulations), np.full((1, 1), how.skill)
        truth = how.score(np.random.default_rng(0), one, np.ones((1, how.population))).item()
        for images in IMAGES:
            draw, held = np.random.default_rng(images), 0
            weights = image_weights("simulation", images)[: how.resamples]
            for _ in range(rounds):
                low, high = image_interval(how.score(draw, one, weights)[0, 0])
                held += low <= truth <= high
            yield "scores", {"metric": metric, "images": images, "simulations": rounds, "held": held / rounds}


def named_numbers(simulations: int) -> Iterator[tuple[str, Figures]]:
    """Yield how often the seeds or images that `power` names settle a verdict whose variance is known in parts."""
    seeds, images = 5, 60
    for own, interaction, shared in ((0.03, 0.03, 0.0), (0.03, 0.03, 0.005), (0.06, 0.02, 0.01), (0.01, 0.06, 0.03)):
        for distance in (0.02, 0.03, 0.05):
            part, single = (own**2 + interaction**2) / seeds, interaction**2 / seeds
            known = Spread(part, shared**2, single, freedom(part, shared**2, single, seeds))
            where = {"own": own, "interaction": interaction, "shared": shared, "distance": distance}
            named = {
                "seeds": power.seeds_needed(LIMIT + distance, known, seeds, LIMIT),
                "images": power.images_needed(LIMIT + distance, known, seeds, images, LIMIT),
            }
            for what, number in named.items():
                now, share = (number or 0, 1.0) if what == "seeds" else (seeds, images / (number or images))
                lessened = (own, share**0.5 * interaction, share**0.5 * shared)
                settled = settling(*lessened, distance, now, simulations) if number else None
                yield "power", {**where, "of": what, "named": number, "settled": settled}


def settling(own: float, interaction: float, shared: float, distance: float, seeds: int, simulations: int) -> float:
    """Return how often the interval lies beside a border at `distance`, of the deviations' parts as in `Spread`."""
    draw, beside = np.random.default_rng(0), 0
    for _ in range(simulations):
        image, single = shared * draw.standard_normal(201), interaction * draw.standard_normal((seeds, 201))
        shares = distance + image + single + own * draw.standard_normal((seeds, 1))
        found = spread(shares[:, 0].tolist(), list(shares[:, 1:]))
        interval = found and found.interval(shares[:, 0].mean())
        beside += interval is not None and (interval[0] > 0 or interval[1] < 0)
    return beside / simulations


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=600)
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    options, found = parser.parse_args(), dict[str, list[Figures]]()
    parts: tuple[Callable[[int], Iterator[tuple[str, Figures]]], ...]
    parts = (named_numbers, single_scores, drops_and_differences)
    for part in parts:
        for what, figures in part(options.simulations):
            print(what, *(f"{name} {value}" for name, value in figures.items()), flush=True)
            found.setdefault(what, []).append(figures)
    keep(options, found)


if __name__ == "__main__":
    main()
