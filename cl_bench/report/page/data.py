"""What the report page draws in the browser, as plain values: the curves and the forgetting gallery."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cl_bench.metrics.statistics import mean
from cl_bench.report.figures.style import COLOURS
from cl_bench.results.plan_file import Plan
from cl_bench.results.rows import BASELINE, Results
from cl_bench.results.store.pictures import FILE, load
from cl_bench.results.store.store import find_stage, intact

STRATEGIES, IMAGES = 8, 6
"""The gallery shows at most so many strategies, and so many images of each task."""
Values = dict[str, Any]


def curves(results: Results) -> list[Values]:
    """Return an entry for each order: its stages, and for each task a baseline and a line a strategy.

    A line: [step, mean, lowest, highest] over seeds at every evaluation; steps are epochs since the stream began. A run
    that learns all tasks in one stage is stretched over the budget of the whole stream. Where the verdict is of the
    test part, a panel's `test`, the baseline's, and a line's, at the ends of stages, are the scores on it.
    """
    plan, headline = results.plan, results.plan.headline
    drawn, tested = (
        rows[rows["metric"] == rows["task"].map(headline)] for rows in (results.curves, results.beside_curves)
    )
    runs = drawn[drawn["strategy"] != BASELINE]
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(dict.fromkeys(runs["strategy"]))}
    entries = []
    for order in runs["order"].unique().tolist():
        names = order.split(">")
        ends = [sum(plan.by_name[name].epochs for name in names[: place + 1]) for place in range(len(names))]
        panels = []
        for name in dict.fromkeys(names):
            own, scored = (rows[rows["task"] == name] for rows in (drawn, tested))
            panel = {"task": name, "metric": headline[name], "baseline": _baseline(own), "test": _baseline(scored)}
            panels.append({**panel, "lines": list(_lines(own, scored, order, colours, ends[-1]))})
        entries.append({"order": order, "stages": names, "ends": ends, "panels": panels})
    return entries


def _baseline(rows: pd.DataFrame) -> float | None:
    """Return what a task's baseline ends with, a mean over seeds."""
    score = rows.loc[(rows["strategy"] == BASELINE) & rows["last"], "value"].mean()
    return None if math.isnan(score) else float(score)


def _lines(
    drawn: pd.DataFrame, tested: pd.DataFrame, order: str, colours: Mapping[str, str], budget: int
) -> Iterator[Values]:
    """Yield a task's lines in an order, of the strategies that have any score."""
    for strategy, colour in colours.items():
        points, test = (
            list(_points(rows[(rows["strategy"] == strategy) & (rows["order"] == order)], budget))
            for rows in (drawn, tested)
        )
        if points:
            yield {"strategy": strategy, "colour": colour, "points": points, "test": test}


def _points(rows: pd.DataFrame, budget: int) -> Iterator[list[float]]:
    scale = budget / rows["step"].max() if rows["trained"].str.contains("+", regex=False).any() else 1
    for step, values in rows.dropna(subset="value").groupby("step")["value"]:
        numbers = values.tolist()
        yield [round(float(str(step)) * scale, 3), *(round(v, 5) for v in (mean(numbers), min(numbers), max(numbers)))]


def gallery(folder: Path, plan: Plan, strategies: Sequence[str]) -> Values:
    """Return the pictures of the first order and seed: truth once a task, predictions after every stage a strategy.

    Empty where the stages are not in the store, as in a clone that has the results in `folder` alone; a run that failed
    is shown as far as it came. Shared stages' pictures are held once: "pictures" is a list of data URIs, and all else
    are places in it.
    """
    if not plan.runs:
        return {}
    order, seed = plan.runs[0].order, plan.runs[0].seed
    pool: dict[str, int] = {}
    truths: dict[str, list[int]] = {}
    names: dict[str, list[str]] = {}
    shown = []
    for run in plan.runs:
        if (run.order, run.seed) != (order, seed) or run.strategy not in strategies[:STRATEGIES]:
            continue
        frames: dict[str, list[Values]] = {}
        seen: list[str] = []
        for position, key in enumerate(run.stages):
            trained = plan.stages[key].tasks
            seen += [task for task in trained if task not in seen]
            for task in seen:
                stage = find_stage(folder, key)
                pictures = load(stage / FILE, task)[:IMAGES] if stage and intact(stage) else []
                if not pictures:
                    continue
                truths.setdefault(task, [_place(pool, picture.truth) for picture in pictures])
                names.setdefault(task, [picture.name for picture in pictures])
                predictions = [_place(pool, picture.prediction) for picture in pictures]
                frames.setdefault(task, []).append({"position": position, "pictures": predictions})
        if frames:
            shown.append({"strategy": run.strategy, "together": plan.is_joint(run), "tasks": frames})
    if not shown:
        return {}
    found = {"truths": truths, "names": names, "strategies": shown, "pictures": list(pool)}
    return {**found, "order": list(order), "seed": seed}


def _place(pool: dict[str, int], content: bytes) -> int:
    uri = "data:image/jpeg;base64," + base64.b64encode(content).decode()
    return pool.setdefault(uri, len(pool))
