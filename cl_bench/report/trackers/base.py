"""What a tracker is given: every run of an experiment with its settings, its curves and what is said of its end."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from cl_bench.metrics import continual
from cl_bench.report.tables import baselines, drops
from cl_bench.report.tables.compact import compact, render
from cl_bench.results.parts import with_split
from cl_bench.results.plan_file import Plan
from cl_bench.results.rows import BASELINE, Results
from cl_bench.results.stages import EXCESS
from cl_bench.results.summary import baselines as single_scores
from cl_bench.results.summary import summary
from cl_bench.utils.nested import flat


@dataclass(frozen=True)
class TrackedRun:
    """A strategy on an order with a seed, or the baseline of a task.

    run_id: equal for equal contents, so that a tracker can tell what it has already; settings: dotted name -> value;
    history: epochs since the run began (where stages were scored inside epochs, too: thousandths of them, as trackers
    take whole steps) -> "task/metric" -> score, of headline metrics also "task/drop" against the
    baseline of the same seed; of the test part, at the ends of stages, "task/test metric" and "task/test drop"; final:
    the last of them.
    """

    name: str
    run_id: str
    settings: Mapping[str, Any]
    history: Mapping[int, Mapping[str, float]]

    @property
    def final(self) -> dict[str, float]:
        """The last value of everything in the history."""
        return {name: value for step in sorted(self.history) for name, value in self.history[step].items()}


@dataclass(frozen=True)
class Tracked:
    """An experiment: its runs, its summary (a row a task) also as a table in Markdown, and its figures as PNG files.

    Of the part that the summary is of, its column `split` and the table tell.
    """

    experiment: str
    runs: Sequence[TrackedRun]
    summary: pd.DataFrame
    table: str
    figures: Sequence[Path]


Send = Callable[[Tracked, Path], str]
"""As `Tracker.send`."""


class Tracker(Protocol):
    """A module of this package."""

    def send(self, tracked: Tracked, folder: Path) -> str:
        """Send what is not there yet and return where that is; what is kept locally goes below `folder`."""


def tracked(results: Results, figures: Sequence[Path] = (), split: str = "") -> Tracked:
    """Return what trackers are given of `results` (see `rows.read_results`); unfinished runs are left out.

    split: of which part the summary is, as in `Results.chosen`; the runs' scores are of all parts.
    """
    plan, part = results.plan, results.chosen(split)
    if plan.runs:
        rows = summary(part)
        text = render(compact(rows, part), "markdown", notes=drops.notes(rows, part))
    else:
        rows = single_scores(part)
        text = baselines.render(rows, part, "markdown")
    return Tracked(plan.experiment, list(_runs(results)), with_split(rows, part), text, list(figures))


def _runs(results: Results) -> Iterator[TrackedRun]:
    plan, rows = results.plan, results.rows
    shared = flat({key: value for key, value in plan.settings.items() if key not in _PER_RUN})
    single = rows[(rows["strategy"] == BASELINE) & rows["last"]]
    names = ("task", "seed", "metric", "split")
    ends = {tuple(row[name] for name in names): row["value"] for row in single.to_dict("records")}
    alone = set(map(tuple, single.loc[single["value"].notna(), ["task", "seed"]].to_numpy().tolist()))
    for (strategy, order, seed), part in rows.groupby(["strategy", "order", "seed"], sort=False):
        own = part[part["split"] != "test"]
        if (own["status"] != "done").any():
            continue
        scored = part[(part["split"] == "test") & part["value"].notna() & (part["metric"] != EXCESS)]
        stages = ",".join(own["stage"].drop_duplicates())
        # What is scored on the test part later makes other contents of a run.
        later = "".join(f" {row['stage']}/{plan.tests[row['task']]}" for row in scored.to_dict("records"))
        content = f"{plan.experiment} {strategy} {stages}{later}"
        settings = {"strategy": strategy, "order": order, "seed": seed, **shared}
        history = _history(plan, pd.concat([own, scored]), ends)
        # Drops come later, too, where a baseline was not there.
        if strategy != BASELINE and any((task, seed) not in alone for task in part["task"].unique()):
            content += " without all drops"
        run_id = hashlib.sha256(content.encode()).hexdigest()[:16]
        yield TrackedRun(f"{strategy} {order} seed {seed}", run_id, settings, history)


def _history(plan: Plan, rows: pd.DataFrame, ends: Mapping[Any, float]) -> dict[int, dict[str, float]]:
    """Return the history of a run; ends: task, seed, metric and part -> what its baseline ended with."""
    history: dict[int, dict[str, float]] = {}
    whole = bool((rows["step"] % 1 == 0).all())
    for row in rows.sort_values("step", kind="stable").to_dict("records"):
        task, metric, split = row["task"], row["metric"], row["split"]
        values = history.setdefault(int(row["step"]) if whole else round(1000 * row["step"]), {})
        front = f"{task}/test " if split == "test" else f"{task}/"
        values[front + metric] = row["value"]
        drop = continual.relative_drop(ends.get((task, row["seed"], metric, split), math.nan), row["value"])
        if metric == plan.headline[task] and row["strategy"] != BASELINE and not math.isnan(drop):
            values[f"{front}drop"] = drop
    return history


_PER_RUN = ("strategies", "orders", "seeds", "trackers")
