"""plan.json: what tables, plots and status need to know of an experiment, and where its figures come from."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import cl_bench
from cl_bench.errors import UserError
from cl_bench.stages.store import read_json

if TYPE_CHECKING:
    from cl_bench.api import Prepared
    from cl_bench.catalog import Entry
    from cl_bench.stages.plan import Run


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)  # what is read is handed on as it is


class _Test(_Strict):
    id: str
    images: int
    trivial: float


class _Task(_Strict):
    name: str
    kind: str
    metrics: Annotated[list[str], Field(min_length=1)]
    predictor: str
    classes: int
    trivial: float
    train_images: int
    val_images: int
    epochs: int
    image_size: int
    test: _Test | None = None


class _Run(_Strict):
    strategy: str
    order: Annotated[list[str], Field(min_length=1)]
    seed: int
    stages: Annotated[list[str], Field(min_length=1)]


class _Baseline(_Strict):
    task: str
    seed: int
    stage: str


class _Stage(_Strict):
    tasks: list[str]
    epochs: int


class _Settings(_Strict):
    strategies: list[str] = []
    orders: list[list[str]] = []
    seeds: list[int] = []


class _Plan(_Strict):
    """What a plan.json must have to be read; more is in it."""

    experiment: str
    settings: _Settings = _Settings()
    provenance: dict[str, str] = {}
    tasks: list[_Task]
    runs: list[_Run]
    baselines: list[_Baseline]
    stages: dict[str, _Stage]


def read_plan(folder: Path) -> dict[str, Any]:
    """Return the plan.json of an experiment's folder; UserError where it is not one that holds together."""
    path = folder / "plan.json"
    content = read_json(path)
    try:
        plan = _Plan.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        said = f" lacks {place!r}" if first["type"] == "missing" else f": {place}: {first['msg']}"
        raise UserError(f"{path}{said}") from error
    used = {key for run in plan.runs for key in run.stages} | {run.stage for run in plan.baselines}
    if strays := used - plan.stages.keys():
        raise UserError(f"{path}: stage {min(strays)} belongs to a run but is not listed under 'stages'")
    named = {name for run in plan.runs for name in run.order} | {run.task for run in plan.baselines}
    named |= {name for stage in plan.stages.values() for name in stage.tasks}
    if strangers := named - {task.name for task in plan.tasks}:
        raise UserError(f"{path}: {min(strangers)!r} is not one of its tasks")
    return {"settings": {}, "provenance": {}, **content}


def together(plan: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
    """Whether a run of the plan learns several tasks in one stage."""
    return any(len(plan["stages"][key]["tasks"]) > 1 for key in run["stages"])


def seen(plan: Mapping[str, Any], key: str) -> list[str]:
    """Return the tasks that a stage has learnt or found learnt, in their order."""
    tasks: list[str] = []
    stage: str | None = key
    while stage is not None:
        tasks = [*plan["stages"][stage]["tasks"], *tasks]
        stage = plan["stages"][stage].get("parent")
    return list(dict.fromkeys(tasks))


def tests(plan: Mapping[str, Any]) -> dict[str, str]:
    """Return by task what scores on its test part go by (`catalog.score_id`), of the tasks that have one."""
    return {task["name"]: task["test"]["id"] for task in plan["tasks"] if task.get("test")}


def scored_splits(plan: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the parts that the plan's results can be told of, that of the verdict first.

    It is "test" where every task that is learnt has a test part, and else what curves are of (`val`, or a dev part).
    """
    curves, names = str(plan["settings"].get("split", "val")), {task["name"] for task in learnt(plan)}
    return ("test", curves) if names and names <= tests(plan).keys() else (curves,)


def learnt(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the plan's tasks that any stage learns."""
    names = {name for stage in plan["stages"].values() for name in stage["tasks"]}
    return [task for task in plan["tasks"] if task["name"] in names]


def settings_by_name(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment's settings to be compared with others': tasks by their names, lists as one value each."""
    tasks = {task["name"]: _whole(task) for task in settings.get("tasks", ())}
    return {**_whole({key: value for key, value in settings.items() if key != "tasks"}), "tasks": tasks}


def _whole(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, list) else value for key, value in settings.items()}


def describe_plan(prepared: Prepared, command: str = "") -> dict[str, Any]:
    """Return the plan as plan.json holds it: all that tables and plots need besides the rows."""
    from cl_bench.resources import processor

    plan = prepared.plan
    provenance = {
        "command": command or "cl_bench.run (Python)",
        "commit": commit(),
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "version": cl_bench.__version__,
    }
    if prepared.renewed is not None:
        before = read_plan(prepared.folder)["provenance"]
        provenance = {**provenance, **_added_to(provenance, before)} if prepared.missing() else before
    return {
        "experiment": prepared.folder.name,
        "settings": prepared.experiment.model_dump(mode="json"),
        "tasks": [_describe_task(entry) for entry in prepared.catalog],
        "runs": [_describe_run(run) for run in plan.runs],
        "baselines": [{"task": run.order[0], "seed": run.seed, "stage": run.stages[0]} for run in plan.baselines],
        "stages": {
            stage.key: {"tasks": list(stage.trained), "parent": stage.parent, "epochs": stage.epochs}
            for stage in plan.stages.values()
        },
        "provenance": provenance,
    }


def _added_to(now: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """Return what the results that something is added to were made with, where it is not the same."""
    made = ", ".join(before[what] for what in ("commit", "machine") if before.get(what))
    same = all(now[what] == before.get(what) for what in ("commit", "machine"))
    earlier = [*([] if same or not made else [made]), *([before["added_to"]] if "added_to" in before else [])]
    return {"added_to": "; ".join(earlier)} if earlier else {}


def _describe_task(entry: Entry) -> dict[str, Any]:
    task, audited = entry.task, entry.audit
    return {
        "name": task.name,
        "kind": task.kind.name,
        "metrics": list(task.kind.metrics),
        "predictor": task.predictor,
        "classes": len(task.classes),
        "trivial": audited.trivial,
        "train_images": len(audited.train.examples),
        "val_images": len(audited.val.examples),
        "epochs": entry.protocol.epochs,
        "image_size": entry.protocol.image_size,
        **describe_test(entry),
    }


def describe_test(entry: Entry) -> dict[str, Any]:
    """Return what plan.json says of a task's test part, nothing where it has none."""
    test = entry.audit.test
    if test is None:
        return {}
    weakness = entry.task.kind.weakness(entry.task, list(test.counts.values()))
    told = {"id": entry.test_id, "images": len(test.split.examples), "trivial": test.trivial}
    return {"test": {**told, "counts": test.counts, **({"weakness": weakness} if weakness else {})}}


def _describe_run(run: Run) -> dict[str, Any]:
    return {"strategy": run.strategy, "order": list(run.order), "seed": run.seed, "stages": list(run.stages)}


def origin() -> str:
    """Return the commit and the machine of what is done now, as one text."""
    from cl_bench.resources import processor

    return ", ".join(part for part in (commit(), processor()) if part)


def commit() -> str:
    """Return the commit of the installed source, with `+changes` where it was edited; empty outside a clone."""

    def git(*words: str) -> str:
        found = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        return found.stdout.strip() if found.returncode == 0 else ""

    folders = [f"../{name}" for name in ("strategies", "experiments")]
    try:
        found = git("rev-parse", "--short=12", "HEAD")
        return f"{found}+changes" if found and git("status", "--porcelain", "--", ".", *folders) else found
    except OSError:
        return ""


def command_line() -> str:
    """Return the command as the user typed it."""
    return shlex.join(["cl-bench", *sys.argv[1:]])
