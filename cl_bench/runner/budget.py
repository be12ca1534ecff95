"""What of a plan fits into a given time, by what stages like its own have taken."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from cl_bench.errors import UserError
from cl_bench.stages.plan import Plan, Run, Stage

if TYPE_CHECKING:
    from cl_bench.runner.prepare import Prepared

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


class BudgetFit(NamedTuple):
    """What fits, and what does not.

    prepared: the experiment with what fits alone; left_out: the other runs; seconds: what the rest is to take;
    shortest: what the shortest run is to take on its own.
    """

    prepared: Prepared
    left_out: list[Run]
    seconds: float
    shortest: float


def duration(text: str) -> float:
    """Return the seconds of a text such as 2h, 1h30m or 90s; raise UserError for another."""
    found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip())
    if not text.strip() or found is None or not any(found.groups()):
        raise UserError(f"--budget takes a time such as 2h, 1h30m or 90s, not {text!r}")
    return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS.values(), strict=True) if part)


def fitting(prepared: Prepared, seconds: float, workers: int = 1, paid: Collection[str] = ()) -> BudgetFit:
    """Leave out the runs that do not fit, in the order of the plan; runs are whole or not there.

    workers: stages trained side by side, each as fast as alone; paid: stages that are to be trained anyway. What is
    stored costs nothing, and shared stages cost once. Raises UserError where nothing is stored to judge by.
    """
    costs = {stage.key: seconds_of(stage, prepared) for stage in prepared.missing() if stage.key not in paid}
    plan, left_out = Plan(prepared.plan.experiment), list[Run]()
    spent, taken, shortest = 0.0, set[str](), math.inf
    single = {(run.order[0], run.seed): run for run in prepared.plan.baselines}
    for run in prepared.plan.runs:
        baselines = [single[task, run.seed] for task in dict.fromkeys(run.order)]
        needed = {key for one in (run, *baselines) for key in one.stages}
        shortest = min(shortest, sum(costs.get(key, 0.0) for key in needed))
        cost = sum(costs.get(key, 0.0) for key in needed - taken)
        if (spent + cost) / workers > seconds:
            left_out.append(run)
            continue
        spent, taken = spent + cost, taken | needed
        plan.runs.append(run)
        plan.baselines += [one for one in baselines if one not in plan.baselines]
    plan.stages = {key: stage for key, stage in prepared.plan.stages.items() if key in taken}
    return BudgetFit(replace(prepared, plan=plan), left_out, spent / workers, shortest / workers)


def seconds_of(stage: Stage, prepared: Prepared) -> float:
    """Return how long the stage is to take, scoring included: its steps times those of the stored stages most like it.

    Like it: of the same tasks and image sizes; among these the same data, then the same strategy terms, then the same
    past; else any stage.
    """
    likes = [_likeness(stage.identity, found["settings"]) for found in prepared.stored]
    if not likes:
        raise UserError("--budget needs stages to judge by, and none is stored: run one seed of one strategy first")
    best, costs = max(likes), {found["key"]: found["cost"] for found in prepared.stored}
    rates = [
        _own_seconds(found, costs) / max(1, steps_of(found["settings"]))
        for found, like in zip(prepared.stored, likes, strict=True)
        if like == best
    ]
    return median(rates) * steps_of(stage.identity)


def _own_seconds(found: Mapping[str, Any], costs: Mapping[str, Mapping[str, float]]) -> float:
    """Return what the stage took without the baselines it follows, whose training its cost has, too."""
    trained = {task["task"] for task in found["settings"]["train"]}
    experts = [key for task, key in found["settings"].get("experts", {}).items() if task in trained and key in costs]
    spent: float = found["cost"]["train_seconds"] + found["cost"]["evaluation_seconds"]
    return spent - sum(costs[key]["train_seconds"] for key in experts)


def _likeness(own: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[bool, bool, bool, bool]:
    def tasks(identity: Mapping[str, Any]) -> list[tuple[str, int]]:
        return [(task["task"], task["image_size"]) for task in identity["train"]]

    def terms(identity: Mapping[str, Any]) -> list[str]:
        return [term["name"] for term in identity["strategy"]]

    def data(identity: Mapping[str, Any]) -> list[str]:
        return [task["train_data"] for task in identity["train"]]

    same = tasks(own) == tasks(other)
    return (
        same,
        same and data(own) == data(other),
        same and terms(own) == terms(other),
        same and own["past"] == other["past"],
    )


def steps_of(identity: Mapping[str, Any]) -> int:
    """Return what is proportional to a stage's steps on the same data: epochs by batch size."""
    repeats = identity.get("repeats", {})
    return round(sum(1000 * t["epochs"] * repeats.get(t["task"], 1) / t["batch_size"] for t in identity["train"]))
