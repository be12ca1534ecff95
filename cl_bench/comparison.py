"""Strategies against one of them, over all orders of tasks, and experiments against each other; no torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from cl_bench import measures, resamples, statistics
from cl_bench.errors import UserError, unknown
from cl_bench.results import BASELINE, REFERENCE
from cl_bench.summaries import summary, void_tasks

_RUN = ["strategy", "order", "task"]


def finals(results: pd.DataFrame) -> pd.DataFrame:
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
        measures.relative_drop(baseline, final)
        for baseline, final in zip(table["baseline"], table["final"], strict=True)
    ]
    return table.dropna(subset="drop")


def differences(results: pd.DataFrame, folder: Path, against: str = REFERENCE) -> pd.DataFrame:
    """Return how much more each strategy drops than `against`, one row a strategy, order and task.

    `difference`: of relative drops, a mean over the seeds that both have (negative: it forgets less), with Student's
    95 % interval `low`, `high`; `p`: of the exact sign-flip test, `adjusted_p`: for all rows of the table (Holm),
    `least_p`: the smallest that so many seeds can give; `probability`: that a seed of the strategy drops less than one
    of `against`; `image_low`, `image_high`: the 95 % interval over resampled validation images, these seeds given
    (nan where no resamples were kept). Tasks whose baseline is void are left out. Raises UserError where `against` is
    not in the results, or there is nothing to compare.
    """
    known = {run["strategy"] for run in results.attrs["plan"]["runs"]}
    if against not in known:
        raise unknown("strategy of this experiment", against, known)
    table = finals(results)
    table = table[~table["task"].isin(void_tasks(results))]
    if not (table["strategy"] == against).any() or set(table["strategy"]) == {against}:
        raise UserError(f"there is nothing to hold against {against}: it takes two finished runs with a valid baseline")
    images = resamples.load(folder, {*table["final_stage"], *table["baseline_stage"]})
    rows = []
    for (strategy, order, task), own in table[table["strategy"] != against].groupby(_RUN, sort=False):
        other = table[(table["strategy"] == against) & (table["order"] == order) & (table["task"] == task)]
        both = own.merge(other, on="seed", suffixes=("", "_other"))
        if both.empty:
            continue
        found = statistics.paired(both["drop"].tolist(), both["drop_other"].tolist())
        low, high = found.interval or (math.nan, math.nan)
        chance = (found.difference, low, high, found.p, found.least_p, found.probability)
        rows.append((strategy, order, task, len(both), *chance, *_over_images(images, both, str(task))))
    columns = ("difference", "low", "high", "p", "least_p", "probability", "image_low", "image_high")
    frame = pd.DataFrame(rows, columns=[*_RUN, "seeds", *columns])
    frame["adjusted_p"] = statistics.holm(frame["p"].tolist())
    frame.attrs = {**results.attrs, "against": against}
    return frame


def over_orders(results: pd.DataFrame, against: str = "") -> pd.DataFrame:
    """Return what each strategy drops over all orders of the tasks, one row a strategy.

    `drop`: the mean over orders and tasks of their drops (as in the table of drops), with its 95 % t interval `low`,
    `high`; `spread`: the highest minus the lowest of the orders' means; `worst_drop`, `worst_task`, `worst_order`: the
    task that drops most of all; `orders`, `seeds`: how many there are, the latter with every order done; `difference`:
    from the drop of `against` (naive, or the first, where none is named), with its interval `difference_low`,
    `difference_high`, paired by seed. Tasks whose baseline is void are left out. Raises UserError where there are
    fewer than two orders, or none is done.
    """
    runs, void = results.attrs["plan"]["runs"], void_tasks(results)
    planned = sorted({(">".join(run["order"]), task) for run in runs for task in run["order"] if task not in void})
    if len({order for order, _ in planned}) < 2:
        raise UserError("a mean over orders takes two orders with a valid baseline: run it with --orders all")
    found = {
        str(strategy): drops
        for strategy, own in finals(results).groupby("strategy", sort=False)
        if not (drops := _all_orders(own, planned)).empty
    }
    if not found:
        raise UserError("no strategy has a seed of which every order is done")
    against = against or (REFERENCE if REFERENCE in found else next(iter(found)))
    if against not in found:
        raise unknown("strategy of which all orders are done", against, found)
    frame = pd.DataFrame([_order_row(name, drops, found[against]) for name, drops in found.items()])
    frame.attrs = {**results.attrs, "against": against}
    return frame


def _all_orders(own: pd.DataFrame, planned: list[tuple[str, str]]) -> pd.DataFrame:
    """Return a strategy's drops (seeds, orders and tasks), of the seeds that have all that is planned.

    Each seed's share in the ratio of means, linearised as in `measures.drop_interval`: their mean is that ratio.
    """
    columns = pd.MultiIndex.from_tuples(planned, names=["order", "task"])
    scores = [own.pivot(index="seed", columns=["order", "task"], values=what) for what in ("final", "baseline")]
    final, single = (score.reindex(columns=columns).dropna() for score in scores)
    drop = 1 - final.mean() / single.mean()
    return drop - (final - (1 - drop) * single) / single.mean()


def _order_row(strategy: str, drops: pd.DataFrame, other: pd.DataFrame) -> dict[str, Any]:
    means = drops.mean()
    orders, worst = means.groupby("order").mean(), list(means.index)[int(means.argmax())]
    row: dict[str, Any] = {"strategy": strategy}
    for name, values in (("", drops.mean(axis=1)), ("difference", (drops - other).dropna().mean(axis=1))):
        low, high = measures.t_interval(values.tolist()) or (math.nan, math.nan)
        ends = (f"{name}_low", f"{name}_high") if name else ("low", "high")
        row |= {name or "drop": measures.mean(values.tolist()), ends[0]: low, ends[1]: high}
    row |= {"spread": orders.max() - orders.min(), "worst_drop": means.max()}
    return {**row, "worst_order": worst[0], "worst_task": worst[1], "orders": len(orders), "seeds": len(drops)}


def versions(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return two experiments' results side by side, one row a strategy (baselines first), order and task of either.

    `final_first`, `final_second`: the headline score at the end, a mean over `seeds_...`; `change`: second minus
    first in points, over the seeds that both have, with Student's 95 % interval `low`, `high`; `drop_...` and
    `verdict_...`: as in `summaries.summary` (none of baselines). Raises UserError where they have no row in common.
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
        low, high = measures.t_interval(changes) or (math.nan, math.nan)
        row: dict[str, Any] = dict(zip((*_RUN, "metric"), run, strict=True))
        row |= {"change": measures.mean(changes), "low": low, "high": high}
        for side, score in zip(sides, scores, strict=True):
            drop, verdict = judged[side].get(run[:3], (math.nan, ""))
            final = measures.mean(list(score.values()))
            row |= {f"seeds_{side}": len(score), f"final_{side}": final}
            row |= {f"drop_{side}": drop, f"verdict_{side}": verdict}
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame.attrs = {"plans": [results.attrs["plan"] for results in sides.values()]}
    return frame


def _ends(results: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `results` that hold each run's last headline score of each task, nan where it is not there."""
    headline = {task["name"]: task["metrics"][0] for task in results.attrs["plan"]["tasks"]}
    ends = results[results["last"] & (results["metric"] == results["task"].map(headline))]
    return ends.sort_values("position", kind="stable").drop_duplicates([*_RUN, "seed"], keep="last")


def _by_seed(results: pd.DataFrame) -> dict[tuple[str, ...], dict[int, float]]:
    """Return (strategy, order, task, metric) -> seed -> the headline score that the run ended with."""
    found: dict[tuple[str, ...], dict[int, float]] = {}
    for row in _ends(results).to_dict("records"):
        scores = found.setdefault(tuple(row[name] for name in (*_RUN, "metric")), {})
        if not math.isnan(row["value"]):
            scores[row["seed"]] = row["value"]
    return found


def _judged(results: pd.DataFrame) -> dict[tuple[str, ...], tuple[float, str]]:
    if not results.attrs["plan"]["runs"]:
        return {}
    table = summary(results).to_dict("records")
    return {
        (row["strategy"], row["order"], row["task"]): (row["drop"], row["verdict"] or row["status"]) for row in table
    }


def _over_images(images: pd.DataFrame, both: pd.DataFrame, task: str) -> measures.Interval:
    def of(column: str) -> list[statistics.Scores]:
        return [images[stage, task].to_numpy() for stage in both[column]]

    try:
        single, own, other = of("baseline_stage"), of("final_stage"), of("final_stage_other")
    except KeyError:
        return math.nan, math.nan
    drops = statistics.resampled_drop(single, own) - statistics.resampled_drop(single, other)
    return statistics.image_interval(drops)
