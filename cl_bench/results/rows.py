"""Every evaluation of an experiment as tidy rows, with what they are read by; no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from cl_bench.errors import UserError, unknown_name_error
from cl_bench.results.plan_file import Plan, PlannedTask, experiment_folder, read_plan
from cl_bench.results.stages import EXCESS, Evaluation, Record, read_stages
from cl_bench.results.store.failures import Failures
from cl_bench.utils.parsing import spelled

BASELINE = "baseline"
"""What stands in the strategy column of single-task runs."""
REFERENCE = "naive"
"""The strategy that costs are relative to."""
COLUMNS = (
    *("experiment", "strategy", "order", "seed", "position", "stage", "trained", "epoch", "step", "last"),
    *("task", "kind", "split", "metric", "value", "status"),
)


@dataclass(frozen=True, eq=False)
class Results:
    """An experiment's results, all or some of their rows.

    rows: as `load_results` returns them; costs: by stage, as in `export.stage_costs`; failures: stage key -> reason;
    unscored: how many stages of the experiment are not scored on their test part; verdict_split: the part that verdicts
    are of; split: the one part that `rows` are of, empty where they are of all.
    """

    rows: pd.DataFrame
    plan: Plan
    costs: Mapping[str, Record]
    failures: Mapping[str, str]
    folder: Path
    unscored: int
    verdict_split: str
    split: str = ""

    def of(self, split: str = "") -> Results:
        """Return the rows of one part; what is of one part already as it is.

        split: "test" or "val"; empty: the part that the verdict is of, test where all tasks have one and something is
        scored on it. Raises UserError where the results are not of such a part.
        """
        if self.split and split in ("", self.split):
            return self
        known = (self.split,) if self.split else self.plan.splits
        if split and split not in known:
            if split == "test" and known == ("val",):
                raise UserError(
                    f"{self.plan.experiment} has no test part that all of its tasks are scored on; "
                    "cl-bench rescore scores what is stored on one"
                )
            raise unknown_name_error("part that was scored", split, known)
        split = split or self.verdict_split
        return replace(self, rows=self.rows[self.rows["split"] == split], split=split)

    def chosen(self, split: str = "") -> Results:
        """Return what is to be told of `split`, "val" or "test"; empty: of the part that the verdict is of.

        For the verdict's part all rows are returned, as curves need those of val; for the other part only its own.
        Raises UserError for a part that there is not, and for a test part on which no stage is scored.
        """
        if not split or self.of().split == split:
            return self
        part = self.of(split)
        if split == "test":  # and yet not the verdict's
            name = self.plan.experiment
            raise UserError(f"no stage of {name} is scored on its test part yet: cl-bench rescore {name}, or run")
        return part

    @property
    def curves(self) -> pd.DataFrame:
        """The rows of the part that is scored while stages are trained: val, or a dev part."""
        return self.rows[self.rows["split"] != "test"]

    @property
    def beside_curves(self) -> pd.DataFrame:
        """What is drawn beside curves, which are of val: the rows of the test part where the verdict is of it."""
        part = self.of()
        return part.rows[part.rows["value"].notna()] if part.split == "test" else part.rows.iloc[:0]

    @property
    def excess(self) -> dict[str, float]:
        """Task -> `EXCESS` of its baseline, a mean over seeds."""
        exceeding = self.rows[(self.rows["metric"] == EXCESS) & (self.rows["strategy"] == BASELINE)]
        return {str(task): float(value) for task, value in exceeding.groupby("task")["value"].mean().items()}

    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs."""
        return sorted(set(self.rows.loc[self.rows["strategy"] != BASELINE, "seed"]))

    @property
    def scored_on(self) -> dict[str, str] | None:
        """What scores of the rows' part go by, by task, as `resamples.load` takes it; None where that is not test."""
        return self.plan.tests if self.split == "test" else None

    def trivial(self, task: PlannedTask) -> float:
        """Return what a predictor that looks at no image scores on the part that the rows are of."""
        return task.test.trivial if self.split == "test" and task.test else task.trivial

    def images(self, task: PlannedTask) -> int:
        """Return how many images of a task the rows are of."""
        return task.test.images if self.split == "test" and task.test else task.val_images

    def select(self, strategies: Sequence[str] = (), orders: Sequence[str] = (), seeds: Sequence[int] = ()) -> Results:
        """Return the rows of the named strategies, orders ("seg>det>cls") and seeds (none named: all).

        Baselines have no strategy and no order, so that of these the seeds count alone.
        Raises UserError with the nearest known name for one that is not in the rows.
        """
        single = self.rows["strategy"] == BASELINE
        keep = ~single
        for column, wanted in (("strategy", strategies), ("order", orders), ("seed", seeds)):
            known = set(self.rows.loc[~single if self.plan.runs else single, column])
            names = {spelled(str(name), known) if column == "strategy" else name for name in wanted}
            for name in names - known:
                raise unknown_name_error(column, str(name), map(str, known))
            keep &= self.rows[column].isin(list(names or known))
        single &= self.rows["seed"].isin(list(seeds or self.rows["seed"]))
        return replace(self, rows=self.rows[keep | single])


def load_results(path: str | Path) -> pd.DataFrame:
    """Return every evaluation of an experiment, one row a run, stage, epoch, task and metric.

    path: an experiment's folder of results, or its name under `paths.results_root()`. `position`: the stage's 0-based
    place in its run; `trained`: its tasks, joined by "+"; `epoch`: from 1 in the stage; `step`: epochs since the run
    began; `last`: whether the epoch ends its stage; `split`: the part that was scored, "val" (or a dev part) or, at the
    ends of stages, "test"; `status`: "done", or, where the evaluation that should end a stage is not there (value nan),
    "failed", "missing" or, of a stage that was not scored on its test part yet, "unscored". Raises UserError where
    there are no results, torn ones, or ones of a newer version.
    """
    return read_results(path).rows


def read_results(path: str | Path) -> Results:
    """Return the results of an experiment, rows and all else that tables and figures need; see `load_results`."""
    folder = experiment_folder(path)
    plan = read_plan(folder)
    found, costs = read_stages(folder, plan)
    known = {key: Failures(folder.parent).get(key) for key in plan.stages if key not in found}
    failures = {key: failure.reason for key, failure in known.items() if failure is not None}
    runs = [(BASELINE, run.task, run.seed, [run.stage]) for run in plan.baselines]
    runs += [(run.strategy, run.stream, run.seed, run.stages) for run in plan.runs]
    lines = [(plan.experiment, *run, *row) for *run, keys in runs for row in _run_rows(plan, keys, found, failures)]
    rows = pd.DataFrame(lines, columns=list(COLUMNS))
    scored = rows.loc[rows["value"].notna(), "split"].unique()
    verdict_split = next((part for part in plan.splits if part in scored), plan.splits[-1])
    unscored = rows.loc[rows["status"] == "unscored", "stage"].nunique()
    return Results(rows, plan, costs, failures, folder, unscored, verdict_split)


def _run_rows(
    plan: Plan, stages: Sequence[str], evaluations: Mapping[str, list[Evaluation]], failures: Mapping[str, str]
) -> Iterator[tuple[Any, ...]]:
    splits = {"": plan.splits[-1], **dict.fromkeys(plan.tests.values(), "test")}
    seen: list[str] = []
    before = 0
    for position, key in enumerate(stages):
        trained, length = plan.stages[key].tasks, plan.stages[key].epochs
        seen += trained
        rows = [(*row, "done") for row in evaluations.get(key, []) if row.task in seen]
        rows += _absent_rows(plan, seen, length, rows, "failed" if key in failures else "missing")
        for epoch, task, metric, value, data, status in rows:
            place = (position, key, "+".join(trained), epoch, before + epoch, epoch == length)
            yield (*place, task, plan.by_name[task].kind, splits[data], metric, value, status)
        before += length


def _absent_rows(
    plan: Plan, seen: Sequence[str], length: int, rows: Sequence[tuple[Any, ...]], state: str
) -> list[tuple[Any, ...]]:
    """Return a row without value for each evaluation that should end a stage and is not among its `rows`."""
    found: list[tuple[Any, ...]] = []
    there = {(task, metric, data) for epoch, task, metric, _, data, _ in rows if epoch == length}
    known = plan.tests
    for task in sorted(set(seen)):
        for data in ("", known[task]) if task in known else ("",):
            for metric in sorted(plan.by_name[task].metrics):
                if (task, metric, data) not in there:
                    trained = data and (task, metric, "") in there
                    found.append((length, task, metric, math.nan, data, "unscored" if trained else state))
    return found
