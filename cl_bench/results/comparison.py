"""Strategies against one of them, over all orders of tasks, and experiments against each other; no torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from cl_bench.errors import UserError, unknown_name_error
from cl_bench.metrics import continual, statistics, uncertainty
from cl_bench.metrics.statistics import mean, t_interval
from cl_bench.results.rows import BASELINE, REFERENCE, Results
from cl_bench.results.summary import load_resamples, summary, void_tasks
from cl_bench.utils.parsing import spelled

_RUN = ["strategy", "order", "task"]


def finals(results: Results) -> pd.DataFrame:
    """Return one row a strategy, order, task and seed that has a drop: what the run ended with, and the baseline.

    Columns beside these: `final` and `baseline`, of the headline metric, with the stages `final_stage` and
    `baseline_stage` that they are of; `drop`: relative, of this seed alone.
    """
    ends = _ends(results).dropna(subset="value")
    alone = ends["strategy"] == BASELINE
    single = ends.loc[alone, ["task", "seed", "value", "stage"]]
    single = single.rename(columns={"value": "baseline", "stage": "baseline_stage"})
    runs = ends.loc[~alone, [*_RUN, "seed", "value", "stage"]]
    table = runs.rename(columns={"value": "final", "stage": "final_stage"}).merge(single, on=["task", "seed"])
    table["drop"] = [
        continual.relative_drop(baseline, final)
        for baseline, final in zip(table["baseline"], table["final"], strict=True)
    ]
    return table.dropna(subset="drop")


def differences(results: Results, against: str = REFERENCE) -> pd.DataFrame:
    """Return how much more each strategy drops than `against`, one row a strategy, order and task.

    `difference`: of their drops (each a ratio of means over the seeds that both have; negative: it forgets less), with
    its 95 % interval `low`, `high` over seeds and images (over seeds alone where no resamples were kept);
    `seeds_deviation`, `images_deviation`: the parts, as in `continual.task_summary`; `p`: of the exact sign-flip test
    over the seeds' own differences, `adjusted_p`: for all rows of the table (Holm), `least_p`: the smallest that so
    many seeds can give; `probability`: that a seed of the strategy drops less than one of `against`. Tasks whose
    baseline is void are left out. Raises UserError where `against` is not in the results, or there is nothing to
    compare.
    """
    known = {run.strategy for run in results.plan.runs}
    against = spelled(against, known)
    if against not in known:
        raise unknown_name_error("strategy of this experiment", against, known)
    results = results.of()
    void, table = void_tasks(results), finals(results)
    _refuse_void_alone(results, void)
    table = table[~table["task"].isin(void)]
    if not (table["strategy"] == against).any() or set(table["strategy"]) == {against}:
        raise UserError(f"there is nothing to hold against {against}: it takes two finished runs with a valid baseline")
    tasks = {task.name: results.images(task) for task in results.plan.learnt}
    images, rows = load_resamples(results), []
    for (strategy, order, task), own in table[table["strategy"] != against].groupby(_RUN, sort=False):
        other = table[(table["strategy"] == against) & (table["order"] == order) & (table["task"] == task)]
        both = own.merge(other, on="seed", suffixes=("", "_other"))
        if both.empty:
            continue
        found = statistics.paired(both["drop"].tolist(), both["drop_other"].tolist())
        chance = _difference(both, images, str(task), tasks[str(task)])
        rows.append((strategy, order, task, len(both), *chance, found.p, found.least_p, found.probability))
    columns = ("difference", "low", "high", "seeds_deviation", "images_deviation", "p", "least_p", "probability")
    frame = pd.DataFrame(rows, columns=[*_RUN, "seeds", *columns])
    frame["adjusted_p"] = statistics.holm(frame["p"].tolist())
    return frame


def _refuse_void_alone(results: Results, void: Collection[str]) -> None:
    """Raise UserError where there are baselines, and all of them are void."""
    ends = _ends(results).dropna(subset="value")
    scored = set(ends.loc[ends["strategy"] == BASELINE, "task"])
    if scored and scored <= set(void):
        name = results.folder.name
        raise UserError(
            f"every baseline of {name} is void (`cl-bench table {name} --baselines`), so there are no drops to compare"
        )


def _difference(both: pd.DataFrame, images: pd.DataFrame, task: str, scored: int) -> tuple[float, ...]:
    """Return the difference of two drops, the ends of its interval, and its deviations by seeds and by images."""
    single, own, other = (both[name].tolist() for name in ("baseline", "final", "final_other"))
    difference = continual.ratio_of_means_drop(single, own) - continual.ratio_of_means_drop(single, other)
    stages = [both[f"{name}_stage"] for name in ("baseline", "final")] + [both["final_stage_other"]]
    resampled = None
    if all((stage, task) in images for column in stages for stage in column):
        before, after, rival = ([images[stage, task].to_numpy() for stage in column] for column in stages)
        resampled = (before, after, rival)
    parts = uncertainty.difference_spread(single, own, other, resampled, scored)
    if parts is None:
        return difference, math.nan, math.nan, math.nan, math.nan
    low, high = parts.interval(difference) or (math.nan, math.nan)
    return difference, low, high, math.sqrt(parts.seeds), math.sqrt(parts.images)


def over_orders(results: Results, against: str = "") -> pd.DataFrame:
    """Return what each strategy drops over all orders of the tasks, one row a strategy that has them all.

    `drop`: the mean of the orders' mean drops (of each task as in the table of drops), with its 95 % interval `low`,
    `high` over seeds and images (over seeds alone where no resamples were kept); `spread`: the highest minus the lowest
    of the orders' means; `worst_drop`, `worst_task`, `worst_order`: the task that drops most of all; `orders`, `seeds`:
    how many there are, the latter with every order done; `difference`: from the drop of `against` (naive, or the first,
    where none is named), over the `paired_seeds` that both have, with its interval `difference_low`, `difference_high`.
    Tasks whose baseline is void are left out, and strategies without a seed of which every order is done. Raises
    UserError where there are fewer than two orders, no task that is not void, or no such strategy.
    """
    results = results.of()
    runs, void = results.rows[results.rows["strategy"] != BASELINE], void_tasks(results)
    names, orders = runs["strategy"].unique().tolist(), runs["order"].unique().tolist()
    if len(orders) < 2:
        raise UserError("a mean over orders takes two orders of the tasks: run it with --orders all")
    planned = [(order, task) for order in orders for task in dict.fromkeys(order.split(">")) if task not in void]
    if not planned:
        raise UserError("the baseline of every task is void or not done, so there is no drop")
    table, images = finals(results), load_resamples(results)
    scored = min(results.images(task) for task in results.plan.learnt if task.name not in void)
    found = {name: _of_all_orders(table[table["strategy"] == name], planned) for name in names}
    found = {name: scores for name, scores in found.items() if len(scores["final"])}
    if not found:
        raise UserError("no strategy has a seed of which every order is done")
    against = against or (REFERENCE if REFERENCE in found else next(iter(found)))
    against = spelled(against, found)
    if against not in found:
        raise unknown_name_error("strategy of which all orders are done", against, found)
    rows = [_order_row(name, scores, found[against], images, scored) for name, scores in found.items()]
    frame = pd.DataFrame(rows)
    frame["against"] = against
    return frame


_Scores = Mapping[str, pd.DataFrame]
"""`final`, `baseline` and the stages that they are of, each (seeds, orders and tasks)."""


def _of_all_orders(own: pd.DataFrame, planned: list[tuple[str, str]]) -> dict[str, pd.DataFrame]:
    """Return what a strategy's seeds that have all orders and tasks ended with."""
    columns = pd.MultiIndex.from_tuples(planned, names=["order", "task"])
    fields = ("final", "baseline", "final_stage", "baseline_stage")
    scores = {what: own.pivot(index="seed", columns=["order", "task"], values=what) for what in fields}
    return {what: score.reindex(columns=columns).dropna() for what, score in scores.items()}


def _shares(scores: _Scores, seeds: pd.Index) -> pd.DataFrame:
    """Return each seed's share in the drops, whose mean over `seeds` is the ratio of means.

    Linearised, as in `uncertainty.drop_spread`, so that an interval of the shares is one of the ratio.
    """
    final, single = scores["final"].loc[seeds], scores["baseline"].loc[seeds]
    drop = 1 - final.mean() / single.mean()
    return drop - (final - (1 - drop) * single) / single.mean()


def _resampled_shares(scores: _Scores, seeds: pd.Index, images: pd.DataFrame) -> list[Any] | None:
    """Return each seed's mean share over orders in every resample; None where some were not kept."""
    kept = scores["final"].loc[seeds].mean() / scores["baseline"].loc[seeds].mean()
    middle, lengths = scores["baseline"].loc[seeds].mean(), kept.groupby("order").size()
    found = []
    for seed in seeds:
        total = 0.0
        for order, task in kept.index:
            stages = [scores[f"{what}_stage"].loc[seed, (order, task)] for what in ("baseline", "final")]
            if any((stage, task) not in images for stage in stages):
                return None
            before, after = (images[stage, task].to_numpy() for stage in stages)
            share = (kept[order, task] * before - after) / middle[order, task]
            total = total + share / (lengths[order] * len(lengths))
        found.append(total)
    return found


def _order_row(name: str, scores: _Scores, other: _Scores, images: pd.DataFrame, scored: int) -> dict[str, Any]:
    seeds = scores["final"].index
    both = seeds.intersection(other["final"].index)
    shares = _shares(scores, seeds)
    drops, means = shares.mean(), shares.mean().groupby("order").mean()
    drop, (low, high) = _over_seeds(shares, _resampled_shares(scores, seeds, images), scored)
    one, two = (_resampled_shares(side, both, images) for side in (scores, other))
    resampled = None if one is None or two is None else [own - rival for own, rival in zip(one, two, strict=True)]
    difference, (difference_low, difference_high) = _over_seeds(
        _shares(scores, both) - _shares(other, both), resampled, scored
    )
    worst_order, worst_task = drops.index.tolist()[int(drops.argmax())]
    return {
        **{"strategy": name, "drop": drop, "low": low, "high": high},
        **{"difference": difference, "difference_low": difference_low, "difference_high": difference_high},
        **{"spread": means.max() - means.min(), "worst_drop": drops.max()},
        **{"worst_task": worst_task, "worst_order": worst_order},
        **{"orders": len(means), "seeds": len(seeds), "paired_seeds": len(both)},
    }


def _over_seeds(shares: pd.DataFrame, resampled: list[Any] | None, scored: int) -> tuple[float, continual.Interval]:
    """Return the mean over seeds and orders, an order counting as much as any, and its interval."""
    values = shares.T.groupby("order").mean().mean().tolist()
    middle = mean(values)
    parts = uncertainty.spread(values, resampled, scored)
    return middle, (parts and parts.interval(middle)) or (math.nan, math.nan)


def of_one_part(first: Results, second: Results, split: str = "") -> tuple[Results, Results]:
    """Return the rows of two experiments that are of the same part.

    split: this part; where empty, test where the verdicts of both are of it, otherwise what curves are of. Raises
    UserError where one is not of such a part.
    """
    both = [results.chosen(split).of() for results in (first, second)]
    if both[0].split != both[1].split:
        both = [results.of(results.plan.splits[-1]) for results in (first, second)]
    return both[0], both[1]


def versions(first: Results, second: Results) -> pd.DataFrame:
    """Return two experiments' results side by side, one row a strategy (baselines first), order and task of either.

    `final_first`, `final_second`: the headline score at the end, a mean over `seeds_...`; `change`: second minus
    first in points, over the seeds that both have, with Student's 95 % interval `low`, `high`; `drop_...` and
    `verdict_...`: as in `summary.summary` (none of baselines). Raises UserError where they have no row in common.
    """
    sides = {"first": first, "second": second}
    ends = {side: _by_seed(results) for side, results in sides.items()}
    judged = {side: _judged(results) for side, results in sides.items()}
    if not ends["first"].keys() & ends["second"].keys():
        raise UserError("the two have no strategy with the same order and task in common, so nothing can be compared")
    rows = []
    for run in dict.fromkeys([*ends["first"], *ends["second"]]):
        scores = [ends[side].get(run, {}) for side in sides]
        changes = [100 * (scores[1][seed] - scores[0][seed]) for seed in scores[0] if seed in scores[1]]
        low, high = t_interval(changes) or (math.nan, math.nan)
        row: dict[str, Any] = dict(zip((*_RUN, "metric"), run, strict=True))
        row |= {"change": mean(changes), "low": low, "high": high}
        for side, score in zip(sides, scores, strict=True):
            drop, verdict = judged[side].get(run[:3], (math.nan, ""))
            final = mean(list(score.values()))
            row |= {f"seeds_{side}": len(score), f"final_{side}": final}
            row |= {f"drop_{side}": drop, f"verdict_{side}": verdict}
        rows.append(row)
    return pd.DataFrame(rows)


def _ends(results: Results) -> pd.DataFrame:
    """Return the rows of `results` that hold each run's last headline score of each task, nan where it is not there."""
    rows = results.of().rows
    ends = rows[rows["last"] & (rows["metric"] == rows["task"].map(results.plan.headline))]
    return ends.sort_values("position", kind="stable").drop_duplicates([*_RUN, "seed"], keep="last")


def _by_seed(results: Results) -> dict[tuple[str, ...], dict[int, float]]:
    """Return (strategy, order, task, metric) -> seed -> the headline score that the run ended with."""
    found: dict[tuple[str, ...], dict[int, float]] = {}
    for row in _ends(results).to_dict("records"):
        scores = found.setdefault(tuple(row[name] for name in (*_RUN, "metric")), {})
        if not math.isnan(row["value"]):
            scores[row["seed"]] = row["value"]
    return found


def _judged(results: Results) -> dict[tuple[str, ...], tuple[float, str]]:
    if not results.plan.runs:
        return {}
    table = summary(results).to_dict("records")
    return {
        (row["strategy"], row["order"], row["task"]): (row["drop"], row["verdict"] or row["status"]) for row in table
    }
