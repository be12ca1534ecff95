"""The store as tidy tables, of evaluations and of costs; no torch."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from cl_bench.errors import UserError, unknown_name_error
from cl_bench.results import per_class, resamples
from cl_bench.results.plan_file import read_plan, scored_splits, tests
from cl_bench.results.store.failures import Failures
from cl_bench.results.store.json_files import read_json
from cl_bench.results.store.scores import find_score
from cl_bench.results.store.store import find_stage, intact
from cl_bench.utils import paths
from cl_bench.utils.files import write_whole

BASELINE = "baseline"
"""What stands in the strategy column of single-task runs."""
REFERENCE = "naive"
"""The strategy that costs are relative to."""
COLUMNS = (
    *("experiment", "strategy", "order", "seed", "position", "stage", "trained", "epoch", "step", "last"),
    *("task", "kind", "split", "metric", "value", "status"),
)
EXCESS = "expected excess"
"""The metric of a row that says by how much the headline metric of so few images exceeds that of many."""
COSTS = ("parameters", "multiply_adds", "added_parameters", "added_passes", "stored_images", "peak_memory_mb")
NUMBERS = ("train_seconds", "evaluation_seconds", *COSTS, "training_flops")
LATER = {"training_flops": "", "multiply_adds": ""}
"""What older results do not tell."""
ENVIRONMENT = ("python", "torch", "torchvision", "platform", "processor", "threads", "device", "precision")

EXPORTED = ("rows.csv", "stages.csv", resamples.FILE, per_class.FILE)
"""Files beside the plan that all tables are rebuilt from."""
Record = dict[str, Any]
T = TypeVar("T")
"""What a line of a table becomes."""


class Evaluation(NamedTuple):
    """One score of a stage; epoch: from 1, a fraction inside of one; data: of which test part, empty for none."""

    epoch: float
    task: str
    metric: str
    value: float
    data: str = ""


class _Shared(dict[str, Any]):
    """Read by all, changed by none: pandas copies attrs, deeply, with every slice, most of a large table's time."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


def load_results(path: str | Path) -> pd.DataFrame:
    """Return every evaluation of an experiment, one row a run, stage, epoch, task and metric.

    path: an experiment's folder of results, or its name under `paths.results_root()`. `position`: the stage's 0-based
    place in its run; `trained`: its tasks, joined by "+"; `epoch`: from 1 in the stage; `step`: epochs since the run
    began; `last`: whether the epoch ends its stage; `split`: the part that was scored, "val" (or a dev part) or, at the
    ends of stages, "test"; `status`: "done", or, where the evaluation that should end a stage is not there (value nan),
    "failed", "missing" or, of a stage that was not scored on its test part yet, "unscored". `attrs` holds plan, costs,
    failures (stage key -> reason), folder, unscored (how many stages are) and excess (task -> `EXCESS` of its baseline,
    a mean over seeds). Raises UserError where there are no results, torn ones, or ones of a newer version.
    """
    folder = experiment_folder(path)
    plan = read_plan(folder)
    found, costs = _read_stages(folder, plan)
    known = {key: Failures(folder.parent).get(key) for key in plan["stages"] if key not in found}
    failures = {key: failure.reason for key, failure in known.items() if failure is not None}
    runs = [(BASELINE, run["task"], run["seed"], [run["stage"]]) for run in plan["baselines"]]
    runs += [(run["strategy"], ">".join(run["order"]), run["seed"], run["stages"]) for run in plan["runs"]]
    rows = [(plan["experiment"], *run, *row) for *run, keys in runs for row in _run_rows(plan, keys, found, failures)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame.attrs = {"plan": _Shared(plan), "costs": _Shared(costs), "failures": _Shared(failures)}
    frame.attrs["folder"] = str(folder)
    splits, scored = scored_splits(plan), frame.loc[frame["value"].notna(), "split"].unique()
    frame.attrs["verdict_split"] = next((part for part in splits if part in scored), splits[-1])
    frame.attrs["unscored"] = frame.loc[frame["status"] == "unscored", "stage"].nunique()
    exceeding = frame[(frame["metric"] == EXCESS) & (frame["strategy"] == BASELINE)]
    frame.attrs["excess"] = _Shared(exceeding.groupby("task")["value"].mean())
    return frame


def of_split(results: pd.DataFrame, split: str = "") -> pd.DataFrame:
    """Return the rows of one part, which `attrs["split"]` then names; rows that are of one part already as they are.

    split: "test" or "val"; empty: the part that the verdict is of, test where all tasks have one and something is
    scored on it. Raises UserError where the results are not of such a part.
    """
    if "split" in results.attrs and split in ("", results.attrs["split"]):
        return results
    known = scored_splits(results.attrs["plan"])
    if split and split not in known:
        if split == "test" and known == ("val",):
            raise UserError(
                f"{results.attrs['plan']['experiment']} has no test part that all of its tasks are scored on; "
                "cl-bench rescore scores what is stored on one"
            )
        raise unknown_name_error("part that was scored", split, known)
    split = split or results.attrs["verdict_split"]
    chosen = results[results["split"] == split]
    chosen.attrs = {**results.attrs, "split": split}
    return chosen


def of_curves(results: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the part that is scored while stages are trained: val, or a dev part."""
    return results[results["split"] != "test"]


def stage_costs(path: str | Path) -> pd.DataFrame:
    """Return cost and environment of every stage that was trained, one row a stage.

    Seconds, megabytes and counts as in `stage.json`; `stored_images`: the most stored for one past task;
    `training_flops`: floating-point operations of the stage and of the experts that it follows; `multiply_adds`: of one
    image's forward pass, all tasks answered.
    """
    folder = experiment_folder(path)
    plan = read_plan(folder)
    return _cost_table(plan, _read_stages(folder, plan)[1])


def _cost_table(plan: Record, costs: Mapping[str, Record]) -> pd.DataFrame:
    rows = [{"stage": key, "tasks": "+".join(plan["stages"][key]["tasks"]), **cost} for key, cost in costs.items()]
    return pd.DataFrame(rows, columns=["stage", "tasks", *NUMBERS, *ENVIRONMENT])


def export(path: str | Path, before: Mapping[str, list[Evaluation]] | None = None) -> list[Path]:
    """Write what a clone without the store rebuilds every table from beside the plan; return the paths.

    before: rows that were there, by stage. What was trained again and gives them once more keeps its earlier cost, so
    that all costs of what was published are of one machine.
    """
    folder = experiment_folder(path)
    plan = read_plan(folder)
    evaluations, costs = _read_stages(folder, plan, store_first=True)
    same = {key for key, rows in (before or {}).items() if of_training(evaluations.get(key, [])) == of_training(rows)}
    costs |= dict(_lines_of(same, folder / "stages.csv", _cost))
    curves = scored_splits(plan)[-1]
    rows = [
        {"stage": key, "split": "test" if row.data else curves, **row._asdict()}
        for key, stage in evaluations.items()
        for row in stage
    ]
    table = pd.DataFrame(rows, columns=["stage", "epoch", "task", "split", "data", "metric", "value"])
    tables = {"rows.csv": table, "stages.csv": _cost_table(plan, costs).drop(columns="tasks")}
    contents = {name: table.to_csv(index=False, lineterminator="\n").encode() for name, table in tables.items()}
    written = [write_whole(folder / name, content) for name, content in contents.items()]
    return written + resamples.export(folder, plan) + per_class.export(folder, plan)


def of_training(rows: Iterable[Evaluation]) -> list[Evaluation]:
    """Return what a stage scored while it was trained, on no test part."""
    return [row for row in rows if not row.data]


def exported(folder: Path) -> set[str]:
    """Return the keys of the stages whose rows lie beside the plan."""
    return set(_parse(folder / "rows.csv", lambda line: line["stage"]))


def scores(folder: Path, stages: Iterable[str]) -> dict[str, list[Evaluation]]:
    """Return the exported rows of those of `stages` that have any."""
    wanted, found = set(stages), dict[str, list[Evaluation]]()
    if not wanted:  # then a damaged file does no harm
        return found
    for key, row in _lines_of(wanted, folder / "rows.csv", _evaluation):
        found.setdefault(key, []).append(row)
    for key, rows in found.items():
        if len({(*row[:3], row.data) for row in rows}) < len(rows):
            raise UserError(f"{folder / 'rows.csv'} says an evaluation of stage {key[:12]} twice")
    return found


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
            raise unknown_name_error(column, str(name), map(str, known))
        keep &= results[column].isin(list(wanted or known))
    return results[keep | single]


def experiment_folder(path: str | Path) -> Path:
    """Return the folder of results that `path` (a folder, or an experiment's name) stands for; UserError for none."""
    root = paths.results_root()
    for folder in (root / path, Path(path)) if len(Path(path).parts) == 1 else (Path(path),):
        if os.path.isfile(folder / "plan.json"):  # which is False for a name that no file system takes
            return folder
    raise unknown_name_error(
        "experiment with results", str(path), [plan.parent.name for plan in root.glob("*/plan.json")]
    )


def _run_rows(
    plan: Record, stages: Sequence[str], evaluations: Mapping[str, list[Evaluation]], failures: Mapping[str, str]
) -> Iterator[tuple[Any, ...]]:
    tasks, splits = {task["name"]: task for task in plan["tasks"]}, {"": scored_splits(plan)[-1]}
    splits |= dict.fromkeys(tests(plan).values(), "test")
    seen: list[str] = []
    before = 0
    for position, key in enumerate(stages):
        trained, length = plan["stages"][key]["tasks"], plan["stages"][key]["epochs"]
        seen += trained
        rows = [(*row, "done") for row in evaluations.get(key, []) if row.task in seen]
        rows += _absent_rows(plan, seen, length, rows, "failed" if key in failures else "missing")
        for epoch, task, metric, value, data, status in rows:
            place = (position, key, "+".join(trained), epoch, before + epoch, epoch == length)
            yield (*place, task, tasks[task]["kind"], splits[data], metric, value, status)
        before += length


def _absent_rows(
    plan: Record, seen: Sequence[str], length: int, rows: Sequence[tuple[Any, ...]], state: str
) -> list[tuple[Any, ...]]:
    """Return a row without value for each evaluation that should end a stage and is not among its `rows`."""
    metrics, found = {task["name"]: task["metrics"] for task in plan["tasks"]}, []
    there = {(task, metric, data) for epoch, task, metric, _, data, _ in rows if epoch == length}
    known = tests(plan)
    for task in sorted(set(seen)):
        for data in ("", known[task]) if task in known else ("",):
            for metric in sorted(metrics[task]):
                if (task, metric, data) not in there:
                    trained = data and (task, metric, "") in there
                    found.append((length, task, metric, math.nan, data, "unscored" if trained else state))
    return found


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
        rows |= scores(folder, absent)
        for key, cost in _lines_of(absent, folder / "stages.csv", _cost):
            if key in costs:
                raise UserError(f"{folder / 'stages.csv'} has stage {key[:12]} twice")
            costs[key] = cost
    if not store_first:
        _read_store(folder, plan["stages"].keys() - (rows.keys() & costs.keys()), rows, costs)
    trained = [key for key in plan["stages"] if key in rows]
    known = tests(plan)
    exported = scores(folder, rows) if known and store_first else rows
    evaluations = {key: _with_tests(folder, key, rows[key], exported.get(key, []), known) for key in trained}
    return evaluations, {key: costs[key] for key in trained if key in costs}


def _with_tests(
    folder: Path, key: str, rows: list[Evaluation], exported: list[Evaluation], known: Mapping[str, str]
) -> list[Evaluation]:
    """Return a stage's rows with what it scored on the test parts `known`: as exported, or else from the store.

    Where its rows come from the store so do these, and what was exported serves for what the store lacks.
    """
    own, told = of_training(rows), dict[str, list[Evaluation]]()
    for row in exported:
        if row.data and row.data == known.get(row.task):
            told.setdefault(row.task, []).append(row)
    end, found = max((row.epoch for row in own), default=0), list[Evaluation]()
    for task in dict.fromkeys(row.task for row in own if row.task in known):
        score = None if exported is rows and task in told else find_score(folder, key, known[task])
        if score is None:
            found += told.get(task, [])
        else:
            values = {**score.values, **({EXCESS: score.excess} if score.excess else {})}
            found += [Evaluation(end, task, metric, value, known[task]) for metric, value in values.items()]
    return [*own, *found]


def _read_store(folder: Path, keys: Iterable[str], rows: dict[str, list[Evaluation]], costs: dict[str, Record]) -> None:
    for key in keys:
        if (stage := find_stage(folder, key)) is not None:
            if not intact(stage):
                raise UserError(f"{stage} is damaged; run the experiment again, and it is trained anew")
            rows[key] = _parse(stage / "evaluations.csv", _evaluation)
            costs[key] = _stage_cost(stage / "stage.json")


def _lines_of(stages: Collection[str], path: Path, read: Callable[[Mapping[str, str]], T]) -> Iterator[tuple[str, T]]:
    """Yield stage and content of the lines of `stages`; a torn line of another stage does no harm."""

    def one(line: Mapping[str, str]) -> tuple[str, T] | None:
        if line["stage"] not in stages:
            return None
        if None in line or None in line.values():  # as the csv module says too many and too few
            raise ValueError("a line has not as many fields as the first one")
        return line["stage"], read(line)

    return (found for found in _parse(path, one) if found is not None)


def _evaluation(line: Mapping[str, str]) -> Evaluation:
    epoch = float(line["epoch"])
    epoch = int(epoch) if epoch.is_integer() else epoch
    # Earlier versions had no test parts.
    return Evaluation(epoch, line["task"], line["metric"], float(line["value"]), line.get("data", ""))


def _cost(fields: Mapping[str, Any]) -> Record:
    fields = {**LATER, **fields}
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
        text = path.read_text(encoding="utf-8")
        whole, _, torn = text.rpartition("\n")
        text = f"{whole}\n{torn.rpartition(',')[0]}"  # what a torn line ends with may be half a number
        return [convert(line) for line in csv.DictReader(io.StringIO(text))]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path} is torn or not such a table: {error}") from error
