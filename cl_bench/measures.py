"""What is said about scores: drop, forgetting, transfer, intervals and verdict.

Pure functions of floats, shared by the metrics plugin and by the results. Scores lie in 0..1; drops are signed
fractions (0.05 is 5 %, negative is a gain); whatever has no value (a baseline of zero, no seeds) is nan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

Interval = tuple[float, float]
"""Low end and high end."""

LIMIT = 0.05
"""The largest relative drop that passes."""
MARGIN = 0.05
"""How far above the trivial score a baseline must lie for its drop to mean anything."""
_ROUNDING = 1e-9  # (1 - 0.95) / 1 exceeds 0.05 in floating point, and must still pass


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean, nan of nothing."""
    return math.fsum(values) / len(values) if values else math.nan


def deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation, nan of fewer than two."""
    if len(values) < 2:
        return math.nan
    middle = mean(values)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))


def relative_drop(baseline: float, final: float) -> float:
    """Return `(baseline - final) / baseline`; nan where the baseline is zero."""
    return (baseline - final) / baseline if baseline else math.nan


def ratio_of_means_drop(baselines: Sequence[float], finals: Sequence[float]) -> float:
    """Return the relative drop of the mean final score from the mean baseline (one of each a seed)."""
    return relative_drop(mean(baselines), mean(finals))


def drop_points(baseline: float, final: float) -> float:
    """Return the drop in points, hundredths of the metric's 0..1 scale."""
    return 100 * (baseline - final)


def same_run_drop(learnt: float, final: float) -> float:
    """Return the relative drop from the same run's score right after it learnt the task."""
    return relative_drop(learnt, final)


def forgetting(scores: Sequence[float]) -> float:
    """Return the best minus the last of a task's scores at the ends of its run's stages, from its own stage on.

    The last one takes part in the maximum, so this is never negative; a gain shows in `backward_transfer`.
    """
    return max(scores) - scores[-1] if scores else math.nan


def backward_transfer(learnt: float, final: float) -> float:
    """Return the final score minus the one right after the task was learnt."""
    return final - learnt


def intransigence(baseline: float, learnt: float) -> float:
    """Return the baseline minus the score right after the task was learnt."""
    return baseline - learnt


def average_drop(drops: Sequence[float]) -> float:
    """Return the mean of relative drops over tasks, the one figure that may be averaged over metrics."""
    return mean(drops)


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return Student's interval of the mean of `values`; None for fewer than two."""
    half = _half_width(values, level)
    return None if half is None else (mean(values) - half, mean(values) + half)


def drop_interval(baselines: Sequence[float], finals: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return the interval of `ratio_of_means_drop`; None for fewer than two seeds or a mean baseline of zero.

    The scores are paired by seed: the delta method linearises the ratio, and Student's quantile serves the few seeds.
    """
    if len(baselines) != len(finals):
        raise ValueError(f"{len(baselines)} baselines do not pair with {len(finals)} final scores")
    drop = ratio_of_means_drop(baselines, finals)
    half = _half_width(
        [final - (1 - drop) * baseline for baseline, final in zip(baselines, finals, strict=True)], level
    )
    if half is None or math.isnan(drop):
        return None
    half /= abs(mean(baselines))
    return drop - half, drop + half


def verdict(drop: float, interval: Interval | None, baseline_mean: float, final_mean: float, trivial: float) -> str:
    """Return "void", "pass", "bonus" or "fail", the last three with " (uncertain)" where the seeds do not settle it.

    drop and interval: as from `ratio_of_means_drop` and `drop_interval`; trivial: the score of a predictor that looks
    at no image. Void: the baseline is not `MARGIN` above it, or there is no drop. Uncertain: no interval, or one that
    holds `LIMIT`.
    """
    if math.isnan(drop) or not baseline_mean >= trivial + MARGIN - _ROUNDING:
        return "void"
    word = "bonus" if final_mean >= baseline_mean else "pass" if drop <= LIMIT + _ROUNDING else "fail"
    settled = interval is not None and not interval[0] - _ROUNDING <= LIMIT <= interval[1] + _ROUNDING
    return word if settled else f"{word} (uncertain)"


def compare(
    baselines: Mapping[int, float], runs: Mapping[int, Sequence[float]], trivial: float, together: bool = False
) -> dict[str, Any]:
    """Return all that is said about one task under one strategy, over the seeds that have a baseline and a final score.

    baselines: seed -> score; runs: seed -> scores at the ends of the run's stages, from the one that learnt the task on
    (nan where there is none); together: all tasks were learnt in one stage, so nothing was learnt before or after.
    Values: seeds, baseline, final, drop, drop_low, drop_high, points, same_run_drop, forgetting, backward_transfer,
    intransigence, trivial, verdict; drop and same-run drop are ratios of means, the others means over seeds.
    """
    seeds = [seed for seed, series in runs.items() if not math.isnan(baselines.get(seed, math.nan) + series[-1])]
    singles = [baselines[seed] for seed in seeds]
    finals = [runs[seed][-1] for seed in seeds]
    learnt = [math.nan if together else runs[seed][0] for seed in seeds]
    baseline, final, just_learnt = mean(singles), mean(finals), mean(learnt)
    drop, interval = ratio_of_means_drop(singles, finals), drop_interval(singles, finals)
    low, high = interval or (math.nan, math.nan)
    return {
        "seeds": len(seeds),
        "baseline": baseline,
        "final": final,
        "drop": drop,
        "drop_low": low,
        "drop_high": high,
        "points": drop_points(baseline, final),
        "same_run_drop": same_run_drop(just_learnt, final),
        "forgetting": math.nan if together else mean([forgetting(runs[seed]) for seed in seeds]),
        "backward_transfer": backward_transfer(just_learnt, final),
        "intransigence": intransigence(baseline, just_learnt),
        "trivial": trivial,
        "verdict": verdict(drop, interval, baseline, final, trivial),
    }


def leaders(drops: Mapping[str, Mapping[int, float]]) -> set[str]:
    """Return the strategy with the smallest mean drop and those that the seeds cannot tell from it.

    drops: strategy -> seed -> relative drop. Two are told apart where the 95 % t interval of their difference, paired
    by seed, lies beside 0. None leads where none can be told from the best.
    """
    means = {name: mean(list(seeds.values())) for name, seeds in drops.items() if seeds}
    if not means:
        return set()
    best = drops[min(means, key=lambda name: means[name])]
    leading = set()
    for name in means:
        interval = t_interval([drops[name][seed] - drop for seed, drop in best.items() if seed in drops[name]])
        if interval is None or interval[0] <= 0 <= interval[1]:
            leading.add(name)
    return leading if leading < means.keys() else set()


def _half_width(values: Sequence[float], level: float) -> float | None:
    count = len(values)
    if count < 2:
        return None
    return _quantile(count - 1, level) * deviation(values) / math.sqrt(count)


@lru_cache(maxsize=64)
def _quantile(freedom: int, level: float) -> float:
    from scipy.special import stdtrit  # the t quantile of scipy.stats, without its slow import

    return float(stdtrit(freedom, (1 + level) / 2))
