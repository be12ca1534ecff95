"""Where an experiment stands, a line a stage (see `StageStatus`). No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cl_bench.results.plan_file import Plan, read_plan
from cl_bench.results.stages import exported_rows, exported_stages
from cl_bench.results.store.failures import Failures
from cl_bench.results.store.scores import find_score
from cl_bench.results.store.store import Store
from cl_bench.utils.paths import store_root


class StageStatus(NamedTuple):
    """state: done, training, stopped, exported, failed, skipped, waiting.

    detail: the epochs done, the reason, or, of a stage that is done, the tasks on whose test parts it is not scored.
    """

    key: str
    label: str
    state: str
    detail: str


def status(folder: Path) -> list[StageStatus]:
    """Return the state of every stage of the plan in an experiment's folder, as it is at this moment."""
    plan = read_plan(folder)
    store, failures = Store(store_root(), writable=False), Failures(folder.parent)
    there = exported_stages(folder)
    labels = _labels(plan)
    found = []
    for key, stage in plan.stages.items():
        state, detail = _state(store, failures, key, stage.epochs, key in there)
        if state == "done":
            detail = _unscored(folder, plan, key)
        found.append(StageStatus(key, labels.get(key, "of no run"), state, detail))
    return found


def render(stages: list[StageStatus]) -> str:
    """Return a line a stage, and how many there are of each state."""
    counts = Counter(stage.state for stage in stages)
    width = max((len(stage.label) for stage in stages), default=0)
    lines = [f"{stage.state:<9}{stage.key[:12]}  {stage.label:<{width}}  {stage.detail}".rstrip() for stage in stages]
    return "\n".join([*lines, f"{len(stages)} stages: " + ", ".join(f"{n} {state}" for state, n in counts.items())])


def _state(store: Store, failures: Failures, key: str, epochs: int, exported: bool) -> tuple[str, str]:
    if (store.folder(key) / "stage.json").is_file():
        return "done", ""
    done = store.checkpoints.epochs_done(key)
    progress = f"{done} of {epochs} epochs"
    if store.is_claimed(key):
        return "training", progress
    failure = failures.get(key)
    if failure is not None:
        return ("skipped" if failure.kind == "skipped" else "failed"), f"{failure.kind}: {failure.reason}"
    if exported and not done:
        return "exported", "rows alone, without weights: a run trains it"
    return ("stopped", progress) if done else ("waiting", "")


def _unscored(folder: Path, plan: Plan, key: str) -> str:
    """Return of which tasks' test parts a stage has no score, neither in the store nor exported."""
    known = plan.tests
    absent = [task for task in plan.seen(key) if task in known and find_score(folder, key, known[task]) is None]
    exported = exported_rows(folder, [key] if absent else []).get(key, [])
    there = {row.task for row in exported if row.data == known.get(row.task)}
    lacking = [task for task in absent if task not in there]
    return f"not scored on test: {', '.join(lacking)}" if lacking else ""


def _labels(plan: Plan) -> dict[str, str]:
    labels: dict[str, str] = {}
    for key, name, seed in _stages_of_runs(plan):
        labels.setdefault(key, f"{'+'.join(plan.stages[key].tasks)} of {name}, seed {seed}")
    return labels


def _stages_of_runs(plan: Plan) -> Iterator[tuple[str, str, int]]:
    for run in plan.runs:
        for key in run.stages:
            yield key, f"{run.strategy} ({run.stream})", run.seed
    for single in plan.baselines:
        yield single.stage, "baseline", single.seed
