"""What results say: drop, transfer, verdict and cost by strategy, and the baselines; no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from cl_bench.metrics import continual, power
from cl_bench.metrics.statistics import deviation, mean, t_interval
from cl_bench.metrics.uncertainty import Scores
from cl_bench.results import resamples
from cl_bench.results.plan_file import PlannedTask
from cl_bench.results.rows import BASELINE, REFERENCE, Results
from cl_bench.results.stages import COSTS, ENVIRONMENT, Record

Run = tuple[str, str]
"""Strategy and order."""
_RELEASE = re.compile(r"^Linux-.*(?=-[^-]+-with-)")
"""In the platform `Linux-6.1.0-13-amd64-x86_64-with-glibc2.36`, all before the processor's architecture."""


class _Ends(NamedTuple):
    scores: dict[tuple[str, str, str, str], dict[int, list[float]]]
    """At stage ends, oldest first: (strategy, order, task, metric) -> seed -> scores."""
    states: dict[Run, set[str]]
    chains: dict[tuple[str, str, int], list[str]]
    """The stages of (strategy, order, seed)."""


def summary(results: Results, *, all_metrics: bool = False) -> pd.DataFrame:
    """Return one row a strategy, order and task, over the seeds that have both the baseline and the run.

    Of the part that the verdict is of, where `Results.of` has not chosen another. all_metrics: also a row, without
    verdict, for every metric of a task but its headline metric.

    Scores, drop and verdict: as in `continual.task_summary`; `scored`: how many images these are of;
    `settling_seeds`, `settling_images`: as in `power.settling`; `average_drop`: the mean relative drop of the run's
    tasks (never of their scores, whose metrics differ), void and unfinished ones left out, `averaged` did take part;
    `leading`: as in `continual.leaders`, among the runs that learn one task after the other.

    Curves, so of val, means over seeds: `lowest`: the lowest score since the task was learnt; `stability_gap`: the most
    that was lost and came back within a later stage of other tasks (nan where stages were scored at their ends alone).

    Costs of a run: `train_seconds` and `training_flops`: means over seeds; `relative_cost` and `relative_flops`: these
    against naive on the same seeds and order (nan where their environments differ, or the ways of counting);
    `peak_memory_mb`: the largest; `stored_images`: for one past task.

    State: `status`: "done", or, and then without a verdict, "failed", "incomplete" or "unscored" where stages are;
    `together`: the run learns all tasks in one stage; `mixed_environment`: the stages compared ran on different
    software or machines.
    """
    curves, results = results.curves, results.of()
    ends, images = _stage_ends(results), load_resamples(results)
    rows = []
    for run in (run for run in ends.states if run[0] != BASELINE):
        for task in (results.plan.by_name[name] for name in dict.fromkeys(run[1].split(">"))):
            known = [metric for metric in task.metrics if (*run, task.name, metric) in ends.scores]
            metrics = known if all_metrics else known[:1]
            rows += [_task_row(results, ends, images, run, task, metric) for metric in metrics]
    frame = pd.DataFrame(rows)
    valid = frame["drop"].where(~frame["verdict"].isin(["void", ""])).groupby([frame["strategy"], frame["order"]])
    frame["average_drop"] = valid.transform(lambda drops: continual.average_drop(drops.dropna().tolist()))
    frame["averaged"] = valid.transform("count")
    frame = frame.merge(_lows(curves), how="left", on=["strategy", "order", "task", "metric"])
    frame["leading"] = _leading(results, frame, ends, images)
    return frame


def load_resamples(results: Results) -> pd.DataFrame:
    """Return the ends of runs in resamples of the images that `results` are of, a column a (stage, task)."""
    plan = results.plan
    stages = {line.stage for line in plan.baselines} | {run.stages[-1] for run in plan.runs}
    return resamples.load(results.folder, stages, results.scored_on)


def _lows(curves: pd.DataFrame) -> pd.DataFrame:
    """Return lowest score and stability gap (arXiv:2205.13452), one row a strategy, order, task and metric."""
    run = ["strategy", "order", "task", "metric"]
    rows = curves.loc[curves["strategy"] != BASELINE, [*run, "seed", "position", "trained", "last", "value"]]
    own = rows.groupby([*run, "seed"])["position"].transform("min")
    # What comes back where a task is trained once more is learnt anew.
    pairs = zip(rows["task"], rows["trained"], strict=True)
    rows["again"] = [task in trained.split("+") for task, trained in pairs]
    stages = rows[rows["position"] > own].groupby([*run, "seed", "position"], sort=False)
    found = stages["value"].agg(["min", "count"])
    found["end"] = rows[rows["last"]].groupby([*run, "seed", "position"], sort=False)["value"].last()
    found["gap"] = (found["end"] - found["min"]).where((found["count"] > 1) & ~stages["again"].first())
    seeds = found.groupby([*run, "seed"], sort=False).agg(lowest=("min", "min"), stability_gap=("gap", "max"))
    return seeds.groupby(run, sort=False).mean().reset_index()


def _leading(results: Results, summary: pd.DataFrame, ends: _Ends, images: pd.DataFrame) -> pd.Series:
    """Return of each row of a summary whether its strategy leads on its order and task."""
    leading = set()
    ranked = summary[summary["headline"] & ~summary["verdict"].isin(["void", ""])]
    for keys, rows in ranked.groupby(["order", "task"]):
        order, task = map(str, keys)
        singles: dict[int, float] = {}
        finals: dict[str, dict[int, float]] = {}
        for strategy, metric in zip(rows["strategy"], rows["metric"], strict=True):
            if (strategy, order) not in results.plan.joint:
                alone = ends.scores[BASELINE, task, task, metric]
                singles = {seed: series[-1] for seed, series in alone.items() if not math.isnan(series[-1])}
                scores = ends.scores[strategy, order, task, metric]
                own = {seed: series[-1] for seed, series in scores.items() if not math.isnan(series[-1])}
                finals[strategy] = {seed: final for seed, final in own.items() if seed in singles}
        pairs = {name: _resampled(results, ends, images, (name, order), task) for name in finals}
        best = continual.leaders(singles, finals, pairs, results.images(results.plan.by_name[task]))
        leading |= {(strategy, order, task) for strategy in best}
    runs = zip(summary["strategy"], summary["order"], summary["task"], strict=True)
    return summary["headline"] & pd.Series([run in leading for run in runs], summary.index)


def baselines(results: Results) -> pd.DataFrame:
    """Return one row a task and metric: the single-task score over seeds.

    `score`: the mean, `deviation`: the standard deviation, `low` and `high`: the 95 % t interval, `seeds`: how many are
    done, `planned`: how many there are to be; `trivial` and `void` (not clearly above it, so the task can have no
    verdict) of the headline metric; `train_seconds`: the mean.
    """
    results = results.of()
    scores, plan, costs = _stage_ends(results).scores, results.plan, results.costs
    seeds = set(results.rows["seed"])
    rows = []
    for task in plan.tasks:
        name = task.name
        stages = [line.stage for line in plan.baselines if line.task == name and line.seed in seeds]
        if not stages:
            continue
        spent = mean([costs[stage]["train_seconds"] for stage in stages if stage in costs])
        for metric in task.metrics:
            values = [run[-1] for run in scores.get((BASELINE, name, name, metric), {}).values()]
            done = [value for value in values if not math.isnan(value)]
            middle, headline = mean(done), metric == task.headline
            low, high = t_interval(done) or (math.nan, math.nan)
            trivial = results.trivial(task) if headline else math.nan
            void = headline and continual.verdict(0.0, None, middle, middle, trivial) == "void"
            score = (middle, deviation(done), low, high, len(done), len(stages))
            rows.append((name, metric, headline, *score, trivial, void, spent))
    score_columns = ("score", "deviation", "low", "high", "seeds", "planned")
    columns = ["task", "metric", "headline", *score_columns, "trivial", "void", "train_seconds"]
    return pd.DataFrame(rows, columns=columns)


def void_tasks(results: Results) -> set[str]:
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


def _stage_ends(results: Results) -> _Ends:
    rows = results.rows
    ends = _Ends({}, {}, {(run.strategy, run.stream, run.seed): run.stages for run in results.plan.runs})
    for row in rows[rows["last"]].sort_values("position", kind="stable").to_dict("records"):
        run = (row["strategy"], row["order"])
        ends.scores.setdefault((*run, row["task"], row["metric"]), {}).setdefault(row["seed"], []).append(row["value"])
        ends.states.setdefault(run, set()).add(row["status"])
    return ends


def _task_row(results: Results, ends: _Ends, images: pd.DataFrame, run: Run, task: PlannedTask, metric: str) -> Record:
    name, headline, runs = task.name, metric == task.headline, ends.scores[(*run, task.name, metric)]
    state = ends.states[run] | ends.states.get((BASELINE, name), {"missing"})
    worst = {"failed": "failed", "missing": "incomplete", "unscored": "unscored"}
    status = next((said for found, said in worst.items() if found in state), "done")
    singles = {seed: series[-1] for seed, series in ends.scores.get((BASELINE, name, name, metric), {}).items()}
    trivial = results.trivial(task) if headline else math.nan
    pairs = _resampled(results, ends, images, run, name) if headline else None
    scored, together = results.images(task), run in results.plan.joint
    found = continual.task_summary(singles, runs, trivial, together, pairs, scored)
    found["verdict"] = found["verdict"] if headline and status == "done" else ""
    found |= {"scored": scored, **power.settling(found, scored)}
    head: Record = {"strategy": run[0], "order": run[1], "task": name, "kind": task.kind, "metric": metric}
    head |= {"headline": headline, "predictor": task.predictor, "planned_seeds": len(runs)}
    head["together"] = together
    return {**head, **found, **_run_costs(results, ends.chains, run, name, runs), "status": status}


def _resampled(
    results: Results, ends: _Ends, images: pd.DataFrame, run: Run, task: str
) -> dict[int, tuple[Scores, Scores]]:
    """Return by seed the task's baseline and the run's end in the same resamples, of the seeds that have both."""
    found = {}
    for line in results.plan.baselines:
        end = ends.chains.get((*run, line.seed))
        if line.task == task and end and (line.stage, task) in images and (end[-1], task) in images:
            found[line.seed] = (images[line.stage, task].to_numpy(), images[end[-1], task].to_numpy())
    return found


def _run_costs(results: Results, chains: Mapping[Any, list[str]], run: Run, task: str, seeds: Iterable[int]) -> Record:
    costs = results.costs
    seeds = list(seeds)
    both = [key for seed in seeds for name in (run[0], REFERENCE) for key in chains.get((name, run[1], seed), [])]
    known = [costs[key] for key in both if key in costs]
    mixed = {"train_seconds": any(len(values) > 1 for values in environments(known).values())}
    # Where they are not there, all of the neck's levels were computed, and counted, whether used or not.
    mixed["training_flops"] = len({math.isnan(cost["multiply_adds"]) for cost in known}) > 1

    def spent(what: str) -> tuple[float, float]:
        """Return the mean over seeds, and its ratio to naive's where both are known."""

        def of(strategy: str, seed: int) -> float:
            stages = chains.get((strategy, run[1], seed), [""])
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
    singles = [costs[one.stage] for one in results.plan.baselines if one.task == task and one.stage in costs]
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
