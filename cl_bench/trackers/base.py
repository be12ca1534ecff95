"""What a tracker is given: every run of an experiment with its settings, its curves and what is said of its end."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from cl_bench import measures
from cl_bench.report import baselines, table
from cl_bench.results import BASELINE
from cl_bench.stages.key import flat
from cl_bench.summaries import baselines as single_scores
from cl_bench.summaries import summary


@dataclass(frozen=True)
class TrackedRun:
    """A strategy on an order with a seed, or the baseline of a task.

    identity: equal for equal contents, so that a tracker can tell what it has already; settings: dotted name -> value;
    history: epochs since the run began -> "task/metric" -> score, of headline metrics also "task/drop" against the
    baseline of the same seed; final: the last of them.
    """

    name: str
    identity: str
    settings: Mapping[str, Any]
    history: Mapping[int, Mapping[str, float]]

    @property
    def final(self) -> dict[str, float]:
        """The last value of everything in the history."""
        return {name: value for step in sorted(self.history) for name, value in self.history[step].items()}


@dataclass(frozen=True)
class Tracked:
    """An experiment: its runs, its summary (a row a task) also as a table in Markdown, and its figures as PNG files."""

    experiment: str
    runs: Sequence[TrackedRun]
    summary: pd.DataFrame
    table: str
    figures: Sequence[Path]


class Tracker(Protocol):
    """A module of this package."""

    def send(self, tracked: Tracked, folder: Path) -> str:
        """Send what is not there yet and return where that is; what is kept locally goes below `folder`."""


def tracked(results: pd.DataFrame, figures: Sequence[Path] = ()) -> Tracked:
    """Return what trackers are given of `results` (see `results.load_results`); unfinished runs are left out."""
    plan = results.attrs["plan"]
    if plan["runs"]:
        rows = summary(results)
        text = table.render(rows, plan, "markdown")
    else:
        rows = single_scores(results)
        text = baselines.render(rows, "markdown")
    rows.attrs = {}
    return Tracked(plan["experiment"], list(_runs(results)), rows, text, list(figures))


def _runs(results: pd.DataFrame) -> Iterator[TrackedRun]:
    plan = results.attrs["plan"]
    headline = {task["name"]: task["metrics"][0] for task in plan["tasks"]}
    shared = flat({key: value for key, value in plan["settings"].items() if key not in _PER_RUN})
    single = results[(results["strategy"] == BASELINE) & results["last"]]
    ends = {(row["task"], row["seed"], row["metric"]): row["value"] for row in single.to_dict("records")}
    for (strategy, order, seed), part in results.groupby(["strategy", "order", "seed"], sort=False):
        if (part["status"] != "done").any():
            continue
        history: dict[int, dict[str, float]] = {}
        for row in part.sort_values("step", kind="stable").to_dict("records"):
            values = history.setdefault(row["step"], {})
            values[f"{row['task']}/{row['metric']}"] = row["value"]
            alone = ends.get((row["task"], seed, row["metric"]), math.nan)
            drop = measures.relative_drop(alone, row["value"])
            if row["metric"] == headline[row["task"]] and strategy != BASELINE and not math.isnan(drop):
                values[f"{row['task']}/drop"] = drop
        stages = ",".join(part["stage"].drop_duplicates())
        identity = hashlib.sha256(f"{plan['experiment']} {strategy} {stages}".encode()).hexdigest()[:16]
        own = {"strategy": strategy, "order": order, "seed": seed}
        yield TrackedRun(f"{strategy} {order} seed {seed}", identity, {**own, **shared}, history)


_PER_RUN = ("strategies", "orders", "seeds", "trackers")
