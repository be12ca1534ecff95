"""What every stage scored and cost, as tables beside the plan and the store have it; no torch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from cl_bench.errors import UserError
from cl_bench.results.plan_file import Plan
from cl_bench.results.store.json_files import read_json
from cl_bench.results.store.scores import find_score
from cl_bench.results.store.store import find_stage, intact

EXCESS = "expected excess"
"""The metric of a row that says by how much the headline metric of so few images exceeds that of many."""
COSTS = ("parameters", "multiply_adds", "added_parameters", "added_passes", "stored_images", "peak_memory_mb")
NUMBERS = ("train_seconds", "evaluation_seconds", *COSTS, "training_flops")
LATER = {"training_flops": "", "multiply_adds": ""}
"""What older results do not tell."""
ENVIRONMENT = ("python", "torch", "torchvision", "platform", "processor", "threads", "device", "precision")

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


def of_training(rows: Iterable[Evaluation]) -> list[Evaluation]:
    """Return what a stage scored while it was trained, on no test part."""
    return [row for row in rows if not row.data]


def exported_stages(folder: Path) -> set[str]:
    """Return the keys of the stages whose rows lie beside the plan."""
    return set(_parse(folder / "rows.csv", lambda line: line["stage"]))


def exported_rows(folder: Path, stages: Iterable[str]) -> dict[str, list[Evaluation]]:
    """Return the exported rows of those of `stages` that have any."""
    wanted, found = set(stages), dict[str, list[Evaluation]]()
    if not wanted:  # then a damaged file does no harm
        return found
    for key, row in lines_of(wanted, folder / "rows.csv", _evaluation):
        found.setdefault(key, []).append(row)
    for key, rows in found.items():
        if len({(*row[:3], row.data) for row in rows}) < len(rows):
            raise UserError(f"{folder / 'rows.csv'} says an evaluation of stage {key[:12]} twice")
    return found


def read_stages(
    folder: Path, plan: Plan, store_first: bool = False
) -> tuple[dict[str, list[Evaluation]], dict[str, Record]]:
    """Return rows and costs by stage, from what was exported and, for what was not, from the store.

    store_first: the other way round, slower, and sure that nobody edited what was exported.
    """
    rows: dict[str, list[Evaluation]] = {}
    costs: dict[str, Record] = {}
    if store_first:
        _read_store(folder, plan.stages, rows, costs)
    if absent := plan.stages.keys() - rows.keys():
        rows |= exported_rows(folder, absent)
        for key, cost in lines_of(absent, folder / "stages.csv", read_cost):
            if key in costs:
                raise UserError(f"{folder / 'stages.csv'} has stage {key[:12]} twice")
            costs[key] = cost
    if not store_first:
        _read_store(folder, plan.stages.keys() - (rows.keys() & costs.keys()), rows, costs)
    trained = [key for key in plan.stages if key in rows]
    known = plan.tests
    exported = exported_rows(folder, rows) if known and store_first else rows
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


def lines_of(stages: Collection[str], path: Path, read: Callable[[Mapping[str, str]], T]) -> Iterator[tuple[str, T]]:
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


def read_cost(fields: Mapping[str, Any]) -> Record:
    """Return cost and environment, numbers and texts, of what a table or a stage holds; nan for what is not known."""
    fields = {**LATER, **fields}
    numbers = {name: math.nan if fields[name] in (None, "") else float(fields[name]) for name in NUMBERS}
    return {**numbers, **{name: str(fields.get(name) or "") for name in ENVIRONMENT}}


def _stage_cost(path: Path) -> Record:
    stage = read_json(path)
    try:
        return read_cost({**stage["environment"], **stage["cost"]})
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
