"""What is said about scores: drop, forgetting, transfer, intervals and verdict.

Pure functions of floats, shared by the metrics plugin and by the results. Scores lie in 0..1; drops are signed
fractions (0.05 is 5 %, negative is a gain); whatever has no value (a baseline of zero, no seeds) is nan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cl_bench.metrics.statistics import mean
from cl_bench.metrics.uncertainty import Interval as Interval
from cl_bench.metrics.uncertainty import Scores, Spread, difference_spread, drop_spread

LIMIT = 0.05
"""The largest relative drop that passes."""
MARGIN = 0.05
"""How far above the trivial score a baseline must lie for its drop to mean anything."""
_ROUNDING = 1e-9  # (1 - 0.95) / 1 exceeds 0.05 in floating point, and must still pass


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

    The maximum starts at the task's own stage and includes the last score, so this is never negative (Chaudhry et al.,
    arXiv:1801.10112, leave the last out); a gain shows in `backward_transfer`.
    """
    return max(scores) - scores[-1] if scores else math.nan


def backward_transfer(learnt: float, final: float) -> float:
    """Return the final score minus the one right after the task was learnt."""
    return final - learnt


def intransigence(baseline: float, learnt: float) -> float:
    """Return the baseline minus the score right after the task was learnt.

    The reference is the task's own single-task baseline; that of Chaudhry et al. (arXiv:1801.10112) is a model trained
    jointly on this task and all before it.
    """
    return baseline - learnt


def average_drop(drops: Sequence[float]) -> float:
    """Return the mean of relative drops over tasks, the one figure that may be averaged over metrics."""
    return mean(drops)


def drop_interval(
    baselines: Sequence[float],
    finals: Sequence[float],
    images: tuple[Sequence[Scores], Sequence[Scores]] | None = None,
    scored: int | None = None,
    level: float = 0.95,
) -> Interval | None:
    """Return the interval of `ratio_of_means_drop`; None for fewer than two seeds or a mean baseline of zero.

    The scores are paired by seed. images: both in resamples of the images, scored: their number, as in
    `uncertainty.drop_spread`; without them the interval is over the seeds alone.
    """
    parts = drop_spread(baselines, finals, images, scored)
    return parts and parts.interval(ratio_of_means_drop(baselines, finals), level)


def border(word: str) -> float:
    """Return the drop that parts a verdict from the others: 0 for "bonus", `LIMIT` for "pass" and "fail"."""
    return 0.0 if word.startswith("bonus") else LIMIT


def verdict(drop: float, interval: Interval | None, baseline_mean: float, final_mean: float, trivial: float) -> str:
    """Return "void", "pass", "bonus" or "fail", the last three with " (uncertain)" where chance could change the word.

    drop and interval: as from `ratio_of_means_drop` and `drop_interval`; trivial: the score of a predictor that looks
    at no image. Void: the baseline is not `MARGIN` above it, or there is no drop. Uncertain: no interval, or one that
    reaches beyond the word's own `border`.
    """
    if math.isnan(drop) or not baseline_mean >= trivial + MARGIN - _ROUNDING:
        return "void"
    word = "bonus" if final_mean >= baseline_mean else "pass" if drop <= LIMIT + _ROUNDING else "fail"
    if interval is None:
        return f"{word} (uncertain)"
    edge = border(word) + _ROUNDING
    return word if (interval[0] > edge if word == "fail" else interval[1] <= edge) else f"{word} (uncertain)"


def task_summary(
    baselines: Mapping[int, float],
    runs: Mapping[int, Sequence[float]],
    trivial: float,
    together: bool = False,
    images: Mapping[int, tuple[Scores, Scores]] | None = None,
    scored: int | None = None,
) -> dict[str, Any]:
    """Return all that is said about one task under one strategy, over the seeds that have a baseline and a final score.

    baselines: seed -> score; runs: seed -> scores at the ends of the run's stages, from the one that learnt the task on
    (nan where there is none); together: all tasks were learnt in one stage, so nothing was learnt before or after;
    images: seed -> (baseline, final) in the same resamples of the images, of no use where a seed lacks them; scored:
    the number of these images.
    Values: seeds, baseline, final, drop, drop_low, drop_high, points, same_run_drop, forgetting, backward_transfer,
    intransigence, trivial, verdict; drop and same-run drop are ratios of means, the others means over seeds. Also
    seeds_deviation, images_deviation, interaction_deviation: the roots of the parts of `uncertainty.Spread`, standard
    deviations of the drop by seeds and by images (nan where unknown), and how much of the seeds' is by single images.
    """
    seeds = [seed for seed, series in runs.items() if not math.isnan(baselines.get(seed, math.nan) + series[-1])]
    singles = [baselines[seed] for seed in seeds]
    finals = [runs[seed][-1] for seed in seeds]
    learnt = [math.nan if together else runs[seed][0] for seed in seeds]
    baseline, final, just_learnt = mean(singles), mean(finals), mean(learnt)
    drop = ratio_of_means_drop(singles, finals)
    parts = drop_spread(singles, finals, _of_seeds(images, seeds), scored)
    parts = parts or Spread(math.nan, math.nan, math.nan, math.nan)
    interval = parts.interval(drop)
    low, high = interval or (math.nan, math.nan)
    return {
        "seeds": len(seeds),
        "baseline": baseline,
        "final": final,
        "drop": drop,
        "drop_low": low,
        "drop_high": high,
        "seeds_deviation": math.sqrt(parts.seeds),
        "images_deviation": math.sqrt(parts.images),
        "interaction_deviation": math.sqrt(parts.interaction),
        "points": drop_points(baseline, final),
        "same_run_drop": same_run_drop(just_learnt, final),
        "forgetting": math.nan if together else mean([forgetting(runs[seed]) for seed in seeds]),
        "backward_transfer": backward_transfer(just_learnt, final),
        "intransigence": intransigence(baseline, just_learnt),
        "trivial": trivial,
        "verdict": verdict(drop, None if parts.alike else interval, baseline, final, trivial),
    }


def _of_seeds(
    images: Mapping[int, tuple[Scores, Scores]] | None, seeds: Sequence[int]
) -> tuple[list[Scores], list[Scores]] | None:
    if not seeds or not images or not all(seed in images for seed in seeds):
        return None
    return [images[seed][0] for seed in seeds], [images[seed][1] for seed in seeds]


def leaders(
    baselines: Mapping[int, float],
    finals: Mapping[str, Mapping[int, float]],
    images: Mapping[str, Mapping[int, tuple[Scores, Scores]]] | None = None,
    scored: int | None = None,
) -> set[str]:
    """Return the strategy with the smallest drop and those that cannot be told from it.

    baselines: seed -> score; finals: strategy -> seed -> score; images, scored: by strategy, as in `task_summary`. Two
    are told apart where the interval of the difference of their drops, paired by seed, lies beside 0. None leads where
    none can be told from the best.
    """
    drops = {name: _drop_of(baselines, scores, list(scores)) for name, scores in finals.items() if scores}
    if not drops:
        return set()
    best = min(drops, key=lambda name: drops[name])
    leading = set()
    for name in drops:
        seeds = [seed for seed in finals[best] if seed in finals[name]]
        pairs = [_of_seeds((images or {}).get(one), seeds) for one in (name, best)]
        both = (pairs[0][0], pairs[0][1], pairs[1][1]) if pairs[0] and pairs[1] else None
        own, rival = ([finals[one][seed] for seed in seeds] for one in (name, best))
        parts = difference_spread([baselines[seed] for seed in seeds], own, rival, both, scored)
        difference = _drop_of(baselines, finals[name], seeds) - _drop_of(baselines, finals[best], seeds)
        interval = parts and parts.interval(difference)
        if interval is None or interval[0] <= 0 <= interval[1]:
            leading.add(name)
    return leading if leading < drops.keys() else set()


def _drop_of(baselines: Mapping[int, float], finals: Mapping[int, float], seeds: Sequence[int]) -> float:
    return ratio_of_means_drop([baselines[seed] for seed in seeds], [finals[seed] for seed in seeds])
