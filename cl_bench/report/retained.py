"""What is left of every task after every stage, as plain values."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd

from cl_bench.results import BASELINE


class Retained(NamedTuple):
    """One strategy in one order.

    stages: what each trained, "a+b" for several tasks at once; cells: by stage and task, the score as a share of the
    task's baseline, both means over seeds; None where the task was not learnt yet or a score is missing.
    """

    strategy: str
    order: str
    tasks: list[str]
    stages: list[str]
    cells: list[list[float | None]]


def retained(results: pd.DataFrame) -> list[Retained]:
    """Return an entry for each strategy and order of `results` (see `results.load_results`)."""
    headline = {task["name"]: task["metrics"][0] for task in results.attrs["plan"]["tasks"]}
    ends = results[results["last"] & (results["metric"] == results["task"].map(headline))]
    ends.attrs = {}  # pandas copies the whole plan with every part of a table that it takes
    single = ends["strategy"] == BASELINE
    baselines = ends[single].groupby("task")["value"].mean().to_dict()
    entries = []
    for (strategy, order), part in ends[~single].groupby(["strategy", "order"], sort=False):
        tasks, stages = str(order).split(">"), part.sort_values("position").drop_duplicates("position")
        means = part.groupby(["position", "task"])["value"].mean().to_dict()
        cells = [
            [_share(means.get((position, task), math.nan), baselines.get(task, math.nan)) for task in tasks]
            for position in stages["position"]
        ]
        entries.append(Retained(str(strategy), str(order), tasks, stages["trained"].tolist(), cells))
    return entries


def _share(score: float, baseline: float) -> float | None:
    share = score / baseline if baseline > 0 else math.nan
    return None if math.isnan(share) else share
