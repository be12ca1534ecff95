"""How often the intervals hold the truth, on simulated experiments whose truth is known.

python benchmarks/coverage.py --simulations 2000
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pairs import keep

from cl_bench.data.base import Boxes
from cl_bench.measures import drop_interval
from cl_bench.metrics.average_precision import AveragePrecision
from cl_bench.metrics.bootstrap import image_weights
from cl_bench.metrics.mean_iou import MeanIoU
from cl_bench.metrics.top_k import TopK
from cl_bench.statistics import image_interval, resampled_drop

IMAGES, POPULATION = 60, 6000
Found = tuple[str, int, float]
"""What was simulated, how often, and the share of intervals that held the truth."""


def over_seeds(simulations: int) -> Iterator[Found]:
    """Drops of runs whose scores vary by seed: a baseline of .45, a drop of 5 %, noise that is normal or skewed."""
    draw = np.random.default_rng(0)
    noises = {
        "normal": lambda size: draw.normal(0, 1, size),
        "skewed": lambda size: draw.exponential(1, size) - 1,
    }
    for name, noise in noises.items():
        for seeds in (3, 5, 10):
            held, rounds = 0, 10 * simulations  # they cost little
            for _ in range(rounds):
                baselines = 0.45 + 0.03 * noise(seeds)
                finals = 0.95 * 0.45 + 0.6 * (baselines - 0.45) + 0.02 * noise(seeds)
                interval = drop_interval(baselines.tolist(), finals.tolist())
                held += interval is not None and interval[0] <= 0.05 <= interval[1]
            yield f"drop over {seeds} seeds, {name} noise", rounds, held / rounds


def top_1(draw: np.random.Generator, images: int) -> TopK:
    """A classifier of ten classes that is right in four of five images."""
    labels = draw.integers(0, 10, images)
    logits = draw.normal(0, 1, (images, 10))
    logits[np.arange(images), labels] += np.where(draw.random(images) < 0.75, 6.0, 0.0)
    metric = TopK(images, 10)
    metric.update(range(images), logits, labels)
    return metric


def mean_iou(draw: np.random.Generator, images: int) -> MeanIoU:
    """Masks of six classes, four of them rare, found with errors that differ by image."""
    metric = MeanIoU(6, images)
    for index in range(images):
        present = np.concatenate([[0, 1], 2 + np.flatnonzero(draw.random(4) < 0.15)])
        target = draw.choice(present, (16, 16)).astype(np.uint8)
        wrong = draw.random((16, 16)) < draw.beta(2, 3)
        metric.update(index, np.where(wrong, draw.choice(present, (16, 16)), target), target)
    return metric


def average_precision(draw: np.random.Generator, images: int) -> AveragePrecision:
    """Boxes of three classes, half of them found, among as many false ones of lower scores."""
    truth, found = [], []
    for _ in range(images):
        boxes, labels = _boxes(draw, draw.poisson(2.5))
        truth.append(Boxes(boxes, labels, np.zeros(len(labels), np.bool_)))
        seen = draw.random(len(labels)) < draw.beta(2, 2)
        wrong, guessed = _boxes(draw, draw.poisson(2.5))
        scores = np.concatenate([draw.beta(3, 2, seen.sum()), draw.beta(2, 3, len(guessed))])
        found.append((np.concatenate([boxes[seen], wrong]), scores, np.concatenate([labels[seen], guessed])))
    metric = AveragePrecision(("a", "b", "c"), truth, [(100, 100)] * images)
    for index, detections in enumerate(found):
        metric.update(index, *detections)
    return metric


def _boxes(draw: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    corners = draw.uniform(0, 60, (count, 2))
    sides = draw.uniform(15, 40, (count, 2))
    return np.concatenate([corners, corners + sides], 1).astype(np.float32), draw.choice(3, count, p=[0.7, 0.2, 0.1])


def over_images(simulations: int) -> Iterator[Found]:
    """Scores of samples of images from one population, whose score is the truth."""
    weights = image_weights("simulation", IMAGES)
    for simulate, rounds in ((top_1, simulations), (mean_iou, simulations // 4), (average_precision, simulations // 8)):
        draw = np.random.default_rng(1)
        truth = float(simulate(draw, POPULATION).resampled(np.ones((1, POPULATION)))[0])
        held = 0
        for _ in range(rounds):
            low, high = image_interval(simulate(draw, IMAGES).resampled(weights))
            held += low <= truth <= high
        yield f"{simulate.__name__} over {IMAGES} images", rounds, held / rounds


def of_differences(simulations: int) -> Iterator[Found]:
    """Differences of the drops of two classifiers on the same images, as `comparison.differences` resamples them."""
    draw, weights, held = np.random.default_rng(2), image_weights("simulation", IMAGES), 0
    for _ in range(simulations):
        # What is hard is hard for all three; of what the baseline knows one keeps .95, the other .80.
        known = draw.random(IMAGES) < draw.choice([0.5, 0.95], IMAGES)
        right = [known, known & (draw.random(IMAGES) < 0.95), known & (draw.random(IMAGES) < 0.80)]
        baseline, one, other = ([weights @ hits / IMAGES] for hits in right)
        low, high = image_interval(resampled_drop(baseline, one) - resampled_drop(baseline, other))
        held += low <= -0.15 <= high
    yield f"difference of drops over {IMAGES} images", simulations, held / simulations


def main() -> None:
    """Print what share of the intervals holds the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    options = parser.parse_args()
    print("| 95 % interval of | simulations | holds the truth |\n|---|--:|--:|")
    found = {}
    for simulate in (over_seeds, over_images, of_differences):
        for what, rounds, share in simulate(options.simulations):
            print(f"| {what} | {rounds} | {100 * share:.1f} % |", flush=True)
            found[what] = {"simulations": rounds, "held": share}
    keep(options, {"intervals": found})


if __name__ == "__main__":
    main()
