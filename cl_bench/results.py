"""The store as tidy tables: evaluations, costs, and the summary of drop, transfer and verdict; no torch."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from cl_bench import measures, paths, per_class, resamples
from cl_bench.errors import UserError, unknown
from cl_bench.failures import Failures
from cl_bench.files import write_whole
from cl_bench.stages.store import intact, read_json

BASELINE = "baseline"
"""What stands in the strategy column of single-task runs."""
REFERENCE = "naive"
"""The strategy that costs are relative to."""
COLUMNS = (
    *("experiment", "strategy", "order", "seed", "position", "stage", "trained", "epoch", "step", "last"),
    *("task", "kind", "metric", "value", "status"),
)
_COST = ("parameters", "added_parameters", "added_passes", "stored_images", "peak_memory_mb")
NUMBERS = ("train_seconds", "evaluation_seconds", *_COST)
ENVIRONMENT = ("python", "torch", "torchvision", "platform", "processor", "threads", "device", "precision")

Evaluation = tuple[int, str, str, float]
"""Epoch (from 1), task, metric, value."""
Record = dict[str, Any]
Run = tuple[str, str]
"""Strategy and order."""
T = TypeVar("T")
"""What a line of a table becomes."""


class _Ends(NamedTuple):
    scores: dict[tuple[str, str, str, str], dict[int, list[float]]]
    """At stage ends, oldest first: (strategy, order, task, metric) -> seed -> scores."""
    states: dict[Run, set[str]]
    together: set[Run]
    """Runs that learn several tasks in one stage."""
    chains: dict[tuple[str, str, int], list[str]]
    """The stages of (strategy, order, seed)."""


def load_results(path: str | Path) -> pd.DataFrame:
    """Return every evaluation of an experiment, one row a run, stage, epoch, task and metric.

    path: an experiment's folder of results, or its name under `paths.results_root()`. `position`: the stage's 0-based
    place in its run; `trained`: its tasks, joined by "+"; `epoch`: from 1 in the stage; `step`: epochs since the run
    began; `last`: whether the epoch ends its stage; `status`: "done", or, where the evaluation that should end a stage
    is not there (value nan), "failed" or "missing". `attrs` holds plan, costs, failures (stage key -> reason) and
    folder. Raises UserError where there are no results, torn ones, or ones of a newer version.
    """
    folder = experiment_folder(path)
    plan = _read_plan(folder)
    found, costs = _read_stages(folder, plan)
    known = {key: Failures(folder.parent).get(key) for key in plan["stages"] if key not in found}
    failures = {key: failure.reason for key, failure in known.items() if failure is not None}
    runs = [(BASELINE, run["task"], run["seed"], [run["stage"]]) for run in plan["baselines"]]
    runs += [(run["strategy"], ">".join(run["order"]), run["seed"], run["stages"]) for run in plan["runs"]]
    rows = [(plan["experiment"], *run, *row) for *run, keys in runs for row in _run_rows(plan, keys, found, failures)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame.attrs = {"plan": plan, "costs": costs, "failures": failures, "folder": str(folder)}
    return frame


def stage_costs(path: str | Path) -> pd.DataFrame:
    """Return cost and environment of every stage that was trained, one row a stage.

    Seconds, megabytes and counts as in `stage.json`; `stored_images`: the most stored for one past task.
    """
    folder = experiment_folder(path)
    plan = _read_plan(folder)
    return _cost_table(plan, _read_stages(folder, plan)[1])


def _cost_table(plan: Record, costs: Mapping[str, Record]) -> pd.DataFrame:
    rows = [{"stage": key, "tasks": "+".join(plan["stages"][key]["tasks"]), **cost} for key, cost in costs.items()]
    return pd.DataFrame(rows, columns=["stage", "tasks", *NUMBERS, *ENVIRONMENT])


def export(path: str | Path) -> list[Path]:
    """Write what a clone without the store rebuilds every table from beside the plan; return the paths."""
    folder = experiment_folder(path)
    plan = _read_plan(folder)
    evaluations, costs = _read_stages(folder, plan, store_first=True)
    rows = [(key, *row) for key, stage in evaluations.items() for row in stage]
    table = pd.DataFrame(rows, columns=["stage", "epoch", "task", "metric", "value"])
    tables = {"rows.csv": table, "stages.csv": _cost_table(plan, costs).drop(columns="tasks")}
    contents = {name: table.to_csv(index=False, lineterminator="\n").encode() for name, table in tables.items()}
    written = [write_whole(folder / name, content) for name, content in contents.items()]
    return written + resamples.export(folder, plan["stages"]) + per_class.export(folder, plan["stages"])


def exported(folder: Path) -> set[str]:
    """Return the keys of the stages whose rows lie beside the plan."""
    return set(_parse(folder / "rows.csv", lambda line: line["stage"]))


def select(
    results: pd.DataFrame, strategies: Sequence[str] = (), orders: Sequence[str] = (), seeds: Sequence[int] = ()
) -> pd.DataFrame:
    """Return the rows of the named strategies, orders ("seg>det>cls") and seeds (none named: all), and all baselines.

    Raises UserError with the nearest known name for one that is not in `results`.
    """
    single = results["strategy"] == BASELINE
    keep = ~single
    for column, wanted in (("strategy", strategies), ("order", orders), ("seed", seeds)):
        known = set(results.loc[~single, column])
        for name in set(wanted) - known:
            raise unknown(column, str(name), map(str, known))
        keep &= results[column].isin(list(wanted or known))
    return results[keep | single]


def summary(results: pd.DataFrame, *, all_metrics: bool = False) -> pd.DataFrame:
    """Return one row a strategy, order and task, over the seeds that have both the baseline and the run.

    Scores, drops and verdict as in `measures.compare`, of each task's headline metric; all_metrics: also a row, without
    verdict, for every further metric. Costs are of a run: `train_seconds` a mean over seeds, `relative_cost` against
    naive on the same seeds and order, `peak_memory_mb` the largest, `stored_images` for one past task.
    `mixed_environment`: the stages compared ran on different software or machines. `status`: "done", or "failed" or
    "incomplete" where stages are, and then there is no verdict. `average_drop`: the mean relative drop of the run's
    tasks (never of their scores, whose metrics differ); void and unfinished ones take no part, `averaged` did.
    """
    ends = _stage_ends(results)
    tasks = {task["name"]: task for task in results.attrs["plan"]["tasks"]}
    rows = []
    for run in (run for run in ends.states if run[0] != BASELINE):
        for task in (tasks[name] for name in run[1].split(">")):
            metrics = [metric for metric in task["metrics"] if (*run, task["name"], metric) in ends.scores]
            rows += [_task_row(results, ends, run, task, metric) for metric in metrics[: None if all_metrics else 1]]
    frame = pd.DataFrame(rows)
    valid = frame["drop"].where(~frame["verdict"].isin(["void", ""])).groupby([frame["strategy"], frame["order"]])
    frame["average_drop"] = valid.transform(lambda drops: measures.average_drop(drops.dropna().tolist()))
    frame["averaged"] = valid.transform("count")
    frame.attrs = {**results.attrs, "environment": environments(results.attrs["costs"].values())}
    frame.attrs["seeds"] = sorted(set(results.loc[results["strategy"] != BASELINE, "seed"]))
    return frame


def baselines(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task and metric: the single-task score over seeds.

    `score`: the mean, `deviation`: the standard deviation, `low` and `high`: the 95 % t interval, `seeds`: how many are
    done, `planned`: how many there are to be; `trivial` and `void` (not clearly above it, so the task can have no
    verdict) of the headline metric; `train_seconds`: the mean.
    """
    scores, plan, costs = _stage_ends(results).scores, results.attrs["plan"], results.attrs["costs"]
    rows = []
    for task in plan["tasks"]:
        name, stages = task["name"], [line["stage"] for line in plan["baselines"] if line["task"] == task["name"]]
        if not stages:
            continue
        spent = measures.mean([costs[stage]["train_seconds"] for stage in stages if stage in costs])
        for metric in task["metrics"]:
            values = [run[-1] for run in scores.get((BASELINE, name, name, metric), {}).values()]
            done = [value for value in values if not math.isnan(value)]
            middle, headline = measures.mean(done), metric == task["metrics"][0]
            low, high = measures.t_interval(done) or (math.nan, math.nan)
            trivial = task["trivial"] if headline else math.nan
            void = headline and measures.verdict(0.0, None, middle, middle, trivial) == "void"
            score = (middle, measures.deviation(done), low, high, len(done), len(stages))
            rows.append((name, metric, headline, *score, trivial, void, spent))
    score_columns = ("score", "deviation", "low", "high", "seeds", "planned")
    frame = pd.DataFrame(
        rows, columns=["task", "metric", "headline", *score_columns, "trivial", "void", "train_seconds"]
    )
    frame.attrs = {**results.attrs, "environment": environments(costs.values())}
    frame.attrs["seeds"] = sorted({line["seed"] for line in plan["baselines"]})
    return frame


def void_tasks(results: pd.DataFrame) -> set[str]:
    """Return the tasks whose baseline is not clearly better than a trivial predictor, or is not there."""
    single = baselines(results)
    headline = single[single["headline"]]
    return set(headline.loc[headline["void"], "task"])


def environments(costs: Iterable[Record]) -> dict[str, list[str]]:
    """Return the distinct values of every field of the environment over stages; more than one is a mixture."""
    stages = list(costs)
    return {field: sorted({cost[field] for cost in stages}) for field in ENVIRONMENT}


def experiment_folder(path: str | Path) -> Path:
    """Return the folder of results that `path` (a folder, or an experiment's name) stands for; UserError for none."""
    root = paths.results_root()
    for folder in (Path(path), root / path):
        if (folder / "plan.json").is_file():
            return folder
    raise unknown("experiment with results", str(path), [plan.parent.name for plan in root.glob("*/plan.json")])


def _run_rows(
    plan: Record, stages: Sequence[str], evaluations: Mapping[str, list[Evaluation]], failures: Mapping[str, str]
) -> Iterator[tuple[Any, ...]]:
    tasks = {task["name"]: task for task in plan["tasks"]}
    seen: list[str] = []
    before = 0
    for position, key in enumerate(stages):
        trained, length = plan["stages"][key]["tasks"], plan["stages"][key]["epochs"]
        seen += trained
        rows = [(*row, "done") for row in evaluations.get(key, []) if row[1] in seen]
        due = {(task, metric) for task in seen for metric in tasks[task]["metrics"]}
        absent = due - {(task, metric) for epoch, task, metric, *_ in rows if epoch == length}
        state = "failed" if key in failures else "missing"
        rows += [(length, task, metric, math.nan, state) for task, metric in sorted(absent)]
        for epoch, task, metric, value, status in rows:
            place = (position, key, "+".join(trained), epoch, before + epoch, epoch == length)
            yield (*place, task, tasks[task]["kind"], metric, value, status)
        before += length


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


def _task_row(results: pd.DataFrame, ends: _Ends, run: Run, task: Record, metric: str) -> Record:
    name, headline, runs = task["name"], metric == task["metrics"][0], ends.scores[(*run, task["name"], metric)]
    state = ends.states[run] | ends.states.get((BASELINE, name), {"missing"})
    status = "failed" if "failed" in state else "incomplete" if "missing" in state else "done"
    singles = {seed: series[-1] for seed, series in ends.scores.get((BASELINE, name, name, metric), {}).items()}
    found = measures.compare(singles, runs, task["trivial"] if headline else math.nan, run in ends.together)
    found["verdict"] = found["verdict"] if headline and status == "done" else ""
    head = {"strategy": run[0], "order": run[1], "task": name, "kind": task["kind"], "metric": metric}
    head |= {"headline": headline, "predictor": task["predictor"], "planned_seeds": len(runs)}
    return {**head, **found, **_run_costs(results, ends.chains, run, name, runs), "status": status}


def _run_costs(
    results: pd.DataFrame, chains: Mapping[Any, list[str]], run: Run, task: str, seeds: Iterable[int]
) -> Record:
    plan, costs = results.attrs["plan"], results.attrs["costs"]

    def seconds(strategy: str, seed: int) -> float:
        stages = chains.get((strategy, run[1], seed), [None])
        return math.fsum(costs[key]["train_seconds"] if key in costs else math.nan for key in stages)

    spent = [(seconds(run[0], seed), seconds(REFERENCE, seed)) for seed in seeds]
    paired = [(own, naive) for own, naive in spent if not math.isnan(own + naive)]
    naive = measures.mean([naive for _, naive in paired])
    stages = [costs[key] for seed in seeds for key in chains[(*run, seed)] if key in costs]
    singles = [costs[line["stage"]] for line in plan["baselines"] if line["task"] == task and line["stage"] in costs]
    return {
        **{field: _largest([stage[field] for stage in stages]) for field in _COST},
        "train_seconds": measures.mean([own for own, _ in spent if not math.isnan(own)]),
        "relative_cost": measures.mean([own for own, _ in paired]) / naive if naive else math.nan,
        "mixed_environment": any(len(values) > 1 for values in environments(stages + singles).values()),
    }


def _largest(values: Sequence[float]) -> float:
    # max() alone would depend on where a nan, an unknown value, stands.
    return math.nan if not values or any(map(math.isnan, values)) else max(values)


def _read_plan(folder: Path) -> Record:
    path = folder / "plan.json"
    plan = read_json(path)
    for part in ("experiment", "tasks", "runs", "baselines", "stages"):
        if part not in plan:
            raise UserError(f"{path} lacks {part!r}")
    used = {key for run in plan["runs"] for key in run["stages"]} | {run["stage"] for run in plan["baselines"]}
    if strays := used - set(plan["stages"]):
        raise UserError(f"{path}: stage {min(strays)} belongs to a run but is not listed under 'stages'")
    return plan


def _read_stages(
    folder: Path, plan: Record, store_first: bool = False
) -> tuple[dict[str, list[Evaluation]], dict[str, Record]]:
    """Return rows and costs by stage, from what was exported and, for what was not, from the store.

    store_first: the other way round, slower, and sure that nobody edited what was exported.
    """
    rows: dict[str, list[Evaluation]] = {}
    costs: dict[str, Record] = {}
    if store_first:
        _read_store(folder, plan["stages"], rows, costs)
    if absent := plan["stages"].keys() - rows.keys():
        for key, row in _parse(folder / "rows.csv", lambda line: (line["stage"], _evaluation(line))):
            if key in absent:
                rows.setdefault(key, []).append(row)
        exported = _parse(folder / "stages.csv", lambda line: (line["stage"], _cost(line)))
        costs |= {key: cost for key, cost in exported if key in absent}
    if not store_first:
        _read_store(folder, plan["stages"].keys() - (rows.keys() & costs.keys()), rows, costs)
    trained = [key for key in plan["stages"] if key in rows]
    return {key: rows[key] for key in trained}, {key: costs[key] for key in trained if key in costs}


def _read_store(folder: Path, keys: Iterable[str], rows: dict[str, list[Evaluation]], costs: dict[str, Record]) -> None:
    for key in keys:
        if (stage := paths.find_stage(folder, key)) is not None:
            if not intact(stage):
                raise UserError(f"{stage} is damaged; run the experiment again, and it is trained anew")
            rows[key] = _parse(stage / "evaluations.csv", _evaluation)
            costs[key] = _stage_cost(stage / "stage.json")


def _evaluation(line: Mapping[str, str]) -> Evaluation:
    return int(line["epoch"]), line["task"], line["metric"], float(line["value"])


def _cost(fields: Mapping[str, Any]) -> Record:
    numbers = {name: math.nan if fields[name] in (None, "") else float(fields[name]) for name in NUMBERS}
    return {**numbers, **{name: str(fields.get(name) or "") for name in ENVIRONMENT}}


def _stage_cost(path: Path) -> Record:
    stage = read_json(path)
    try:
        return _cost({**stage["environment"], **stage["cost"]})
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: 'cost' or 'environment' is not as it must be: {error}") from error


def _parse(path: Path, convert: Callable[[Mapping[str, str]], T]) -> list[T]:
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [convert(line) for line in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path} is torn or not such a table: {error}") from error
