"""plan.json: what tables, plots and status need to know of an experiment, and where its figures come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cl_bench.errors import UserError
from cl_bench.results.store.json_files import read_json


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
