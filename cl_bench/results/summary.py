"""What results say: drop, transfer, verdict and cost by strategy, and the baselines; no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cl_bench.metrics import continual, power
from cl_bench.metrics.statistics import deviation, mean, t_interval
from cl_bench.metrics.uncertainty import Scores
from cl_bench.results import resamples
from cl_bench.results.plan_file import tests
from cl_bench.results.rows import BASELINE, COSTS, ENVIRONMENT, REFERENCE, Record, of_curves, of_split

Run = tuple[str, str]
"""Strategy and order."""
_RELEASE = re.compile(r"^Linux-.*(?=-[^-]+-with-)")
"""In the platform `Linux-6.1.0-13-amd64-x86_64-with-glibc2.36`, all before the processor's architecture."""


class _Ends(NamedTuple):
    scores: dict[tuple[str, str, str, str], dict[int, list[float]]]
    """At stage ends, oldest first: (strategy, order, task, metric) -> seed -> scores."""
    states: dict[Run, set[str]]
    together: set[Run]
    """Runs that learn several tasks in one stage."""
    chains: dict[tuple[str, str, int], list[str]]
    """The stages of (strategy, order, seed)."""


def summary(results: pd.DataFrame, *, all_metrics: bool = False) -> pd.DataFrame:
    """Return one row a strategy, order and task, over the seeds that have both the baseline and the run.

    Of the part that the verdict is of, where `results.of_split` has not chosen another (attrs["split"] names it).
    Scores, drops and verdict as in `continual.task_summary`, of each task's headline metric; `scored`: how many images
    these are of; `settling_seeds`, `settling_images`: as in `power.settling`; all_metrics: also a row, without
    verdict, for every further metric. Costs are of a run: `train_seconds` and `training_flops` means over seeds,
    `relative_cost` and `relative_flops` these against naive on the same seeds and order (nan where their environments
    differ, or the ways of counting), `peak_memory_mb` the largest, `stored_images` for one past task.
    `together`: the run learns all tasks in one stage.
    `mixed_environment`: the stages compared ran on different software or machines. `status`: "done", or "failed",
    "incomplete" or "unscored" where stages are, and then there is no verdict. `average_drop`: the mean relative drop of
    the run's tasks (never of their scores, whose metrics differ); void and unfinished ones take no part, `averaged`
    did. `lowest`: the lowest score since the task was learnt; `stability_gap`: the most that was lost and came back
    within a later stage (nan where stages were scored at their ends alone); both of the curves, so of val, means over
    seeds. `leading`: as
    in `continual.leaders`, among the runs that learn one task after the other, by their headline metric.
    """
    curves, results = of_curves(results), of_split(results)
    ends, images = _stage_ends(results), load_resamples(results)
    tasks = {task["name"]: task for task in results.attrs["plan"]["tasks"]}
    rows = []
    for run in (run for run in ends.states if run[0] != BASELINE):
        for task in (tasks[name] for name in dict.fromkeys(run[1].split(">"))):
            known = [metric for metric in task["metrics"] if (*run, task["name"], metric) in ends.scores]
            metrics = known if all_metrics else known[:1]
            rows += [_task_row(results, ends, images, run, task, metric) for metric in metrics]
    frame = pd.DataFrame(rows)
    valid = frame["drop"].where(~frame["verdict"].isin(["void", ""])).groupby([frame["strategy"], frame["order"]])
    frame["average_drop"] = valid.transform(lambda drops: continual.average_drop(drops.dropna().tolist()))
    frame["averaged"] = valid.transform("count")
    frame = frame.merge(_lows(curves), how="left", on=["strategy", "order", "task", "metric"])
    frame["leading"] = _leading(results, frame, ends, images)
    frame.attrs = {**results.attrs, "environment": environments(results.attrs["costs"].values())}
    frame.attrs["seeds"] = sorted(set(results.loc[results["strategy"] != BASELINE, "seed"]))
    return frame


def load_resamples(results: pd.DataFrame) -> pd.DataFrame:
    """Return the ends of runs in resamples of the images that `results` are of, a column a (stage, task)."""
    plan = results.attrs["plan"]
    stages = {line["stage"] for line in plan["baselines"]} | {run["stages"][-1] for run in plan["runs"]}
    known = tests(plan) if results.attrs["split"] == "test" else None
    return resamples.load(Path(results.attrs["folder"]), stages, known)


def _lows(results: pd.DataFrame) -> pd.DataFrame:
    """Return lowest score and stability gap (arXiv:2205.13452), one row a strategy, order, task and metric."""
    run = ["strategy", "order", "task", "metric"]
    rows = results.loc[results["strategy"] != BASELINE, [*run, "seed", "position", "last", "value"]]
    own = rows.groupby([*run, "seed"])["position"].transform("min")
    stages = rows[rows["position"] > own].groupby([*run, "seed", "position"], sort=False)
    found = stages["value"].agg(["min", "count"])
    found["end"] = rows[rows["last"]].groupby([*run, "seed", "position"], sort=False)["value"].last()
    found["gap"] = (found["end"] - found["min"]).where(found["count"] > 1)
    seeds = found.groupby([*run, "seed"], sort=False).agg(lowest=("min", "min"), stability_gap=("gap", "max"))
    return seeds.groupby(run, sort=False).mean().reset_index()


def _leading(results: pd.DataFrame, summary: pd.DataFrame, ends: _Ends, images: pd.DataFrame) -> pd.Series:
    """Return of each row of a summary whether its strategy leads on its order and task."""
    tasks = {task["name"]: task for task in results.attrs["plan"]["tasks"]}
    leading = set()
    ranked = summary[summary["headline"] & ~summary["verdict"].isin(["void", ""])]
    for keys, rows in ranked.groupby(["order", "task"]):
        order, task = map(str, keys)
        singles: dict[int, float] = {}
        finals: dict[str, dict[int, float]] = {}
        for strategy, metric in zip(rows["strategy"], rows["metric"], strict=True):
            if (strategy, order) not in ends.together:
                alone = ends.scores[BASELINE, task, task, metric]
                singles = {seed: series[-1] for seed, series in alone.items() if not math.isnan(series[-1])}
                scores = ends.scores[strategy, order, task, metric]
                own = {seed: series[-1] for seed, series in scores.items() if not math.isnan(series[-1])}
                finals[strategy] = {seed: final for seed, final in own.items() if seed in singles}
        pairs = {name: _resampled(results, ends, images, (name, order), task) for name in finals}
        best = continual.leaders(singles, finals, pairs, scored_images(results, tasks[task]))
        leading |= {(strategy, order, task) for strategy in best}
    runs = zip(summary["strategy"], summary["order"], summary["task"], strict=True)
    return summary["headline"] & pd.Series([run in leading for run in runs], summary.index)


def baselines(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task and metric: the single-task score over seeds.

    `score`: the mean, `deviation`: the standard deviation, `low` and `high`: the 95 % t interval, `seeds`: how many are
    done, `planned`: how many there are to be; `trivial` and `void` (not clearly above it, so the task can have no
    verdict) of the headline metric; `train_seconds`: the mean.
    """
    results = of_split(results)
    scores, plan, costs = _stage_ends(results).scores, results.attrs["plan"], results.attrs["costs"]
    rows = []
    for task in plan["tasks"]:
        name, stages = task["name"], [line["stage"] for line in plan["baselines"] if line["task"] == task["name"]]
        if not stages:
            continue
        spent = mean([costs[stage]["train_seconds"] for stage in stages if stage in costs])
        for metric in task["metrics"]:
            values = [run[-1] for run in scores.get((BASELINE, name, name, metric), {}).values()]
            done = [value for value in values if not math.isnan(value)]
            middle, headline = mean(done), metric == task["metrics"][0]
            low, high = t_interval(done) or (math.nan, math.nan)
            trivial = trivial_score(results, task) if headline else math.nan
            void = headline and continual.verdict(0.0, None, middle, middle, trivial) == "void"
            score = (middle, deviation(done), low, high, len(done), len(stages))
            rows.append((name, metric, headline, *score, trivial, void, spent))
    score_columns = ("score", "deviation", "low", "high", "seeds", "planned")
    frame = pd.DataFrame(
        rows, columns=["task", "metric", "headline", *score_columns, "trivial", "void", "train_seconds"]
    )
    frame.attrs = {**results.attrs, "environment": environments(costs.values())}
    frame.attrs["seeds"] = sorted({line["seed"] for line in plan["baselines"]})
    return frame


def trivial_score(results: pd.DataFrame, task: Record) -> float:
    """Return what a predictor that looks at no image scores on the part that `results` are of."""
    score: float = task["test"]["trivial"] if results.attrs["split"] == "test" else task["trivial"]
    return score


def scored_images(results: pd.DataFrame, task: Record) -> int:
    """Return how many images of a task `results` are of."""
    count: int = task["test"]["images"] if results.attrs["split"] == "test" else task["val_images"]
    return count


def void_tasks(results: pd.DataFrame) -> set[str]:
    """Return the tasks whose baseline is not clearly better than a trivial predictor, or is not there."""
    single = baselines(results)
    headline = single[single["headline"]]
    return set(headline.loc[headline["void"], "task"])


def environments(costs: Iterable[Record]) -> dict[str, list[str]]:
    """Return the distinct values of every field of the environment over stages; more than one is a mixture.

    Of a Linux platform the kernel's release is left out: results do not depend on it, and clouds change it every day.
    """
    stages = [{**cost, "platform": _RELEASE.sub("Linux", cost["platform"])} for cost in costs]
    return {field: sorted({cost[field] for cost in stages}) for field in ENVIRONMENT}


def _stage_ends(results: pd.DataFrame) -> _Ends:
    runs = results.attrs["plan"]["runs"]
    ends = _Ends({}, {}, set(), {(run["strategy"], ">".join(run["order"]), run["seed"]): run["stages"] for run in runs})
    for row in results[results["last"]].sort_values("position", kind="stable").to_dict("records"):
        run = (row["strategy"], row["order"])
        ends.scores.setdefault((*run, row["task"], row["metric"]), {}).setdefault(row["seed"], []).append(row["value"])
        ends.states.setdefault(run, set()).add(row["status"])
        if "+" in row["trained"]:
            ends.together.add(run)
    return ends


def _task_row(results: pd.DataFrame, ends: _Ends, images: pd.DataFrame, run: Run, task: Record, metric: str) -> Record:
    name, headline, runs = task["name"], metric == task["metrics"][0], ends.scores[(*run, task["name"], metric)]
    state = ends.states[run] | ends.states.get((BASELINE, name), {"missing"})
    worst = {"failed": "failed", "missing": "incomplete", "unscored": "unscored"}
    status = next((said for found, said in worst.items() if found in state), "done")
    singles = {seed: series[-1] for seed, series in ends.scores.get((BASELINE, name, name, metric), {}).items()}
    trivial = trivial_score(results, task) if headline else math.nan
    pairs = _resampled(results, ends, images, run, name) if headline else None
    scored = scored_images(results, task)
    found = continual.task_summary(singles, runs, trivial, run in ends.together, pairs, scored)
    found["verdict"] = found["verdict"] if headline and status == "done" else ""
    found |= {"scored": scored, **power.settling(found, scored)}
    head = {"strategy": run[0], "order": run[1], "task": name, "kind": task["kind"], "metric": metric}
    head |= {"headline": headline, "predictor": task["predictor"], "planned_seeds": len(runs)}
    head["together"] = run in ends.together
    return {**head, **found, **_run_costs(results, ends.chains, run, name, runs), "status": status}


def _resampled(
    results: pd.DataFrame, ends: _Ends, images: pd.DataFrame, run: Run, task: str
) -> dict[int, tuple[Scores, Scores]]:
    """Return by seed the task's baseline and the run's end in the same resamples, of the seeds that have both."""
    found = {}
    for line in results.attrs["plan"]["baselines"]:
        end = ends.chains.get((*run, line["seed"]))
        if line["task"] == task and end and (line["stage"], task) in images and (end[-1], task) in images:
            found[line["seed"]] = (images[line["stage"], task].to_numpy(), images[end[-1], task].to_numpy())
    return found


def _run_costs(
    results: pd.DataFrame, chains: Mapping[Any, list[str]], run: Run, task: str, seeds: Iterable[int]
) -> Record:
    plan, costs = results.attrs["plan"], results.attrs["costs"]

    seeds = list(seeds)
    both = [key for seed in seeds for name in (run[0], REFERENCE) for key in chains.get((name, run[1], seed), [])]
    known = [costs[key] for key in both if key in costs]
    mixed = {"train_seconds": any(len(values) > 1 for values in environments(known).values())}
    # Where they are not there, all of the neck's levels were computed, and counted, whether used or not.
    mixed["training_flops"] = len({math.isnan(cost["multiply_adds"]) for cost in known}) > 1

    def spent(what: str) -> tuple[float, float]:
        """Return the mean over seeds, and its ratio to naive's where both are known."""

        def of(strategy: str, seed: int) -> float:
            stages = chains.get((strategy, run[1], seed), [None])
            return math.fsum(costs[key][what] if key in costs else math.nan for key in stages)

        each = [(of(run[0], seed), of(REFERENCE, seed)) for seed in seeds]
        if mixed[what]:
            return mean([own for own, _ in each if not math.isnan(own)]), math.nan
        paired = [(own, naive) for own, naive in each if not math.isnan(own + naive)]
        naive = mean([naive for _, naive in paired])
        ratio = mean([own for own, _ in paired]) / naive if naive else math.nan
        return mean([own for own, _ in each if not math.isnan(own)]), ratio

    (seconds, relative_cost), (flops, relative_flops) = spent("train_seconds"), spent("training_flops")
    stages = [costs[key] for seed in seeds for key in chains[(*run, seed)] if key in costs]
    singles = [costs[line["stage"]] for line in plan["baselines"] if line["task"] == task and line["stage"] in costs]
    return {
        **{field: _largest([stage[field] for stage in stages]) for field in COSTS},
        "train_seconds": seconds,
        "relative_cost": relative_cost,
        "training_flops": flops,
        "relative_flops": relative_flops,
        "mixed_environment": any(len(values) > 1 for values in environments(stages + singles).values()),
    }


def _largest(values: Sequence[float]) -> float:
    # max() alone would depend on where a nan, an unknown value, stands.
    return math.nan if not values or any(map(math.isnan, values)) else max(values)
