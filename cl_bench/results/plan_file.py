"""plan.json: what tables, plots and status need to know of an experiment, and where its figures come from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cl_bench.config.names import both_names, current_keys, kept_as
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.results.store.json_files import read_json
from cl_bench.utils import paths


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)  # what is read is handed on as it is


class PlannedTest(_Strict):
    """A task's test part; id: what scores on it go by (`catalog.score_id`); weakness: why it may flatter, in words."""

    id: str
    images: int
    trivial: float
    weakness: str = ""


class PlannedTask(_Strict):
    """A task; metrics: the headline one first; trivial: what a predictor that looks at no image scores on val."""

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
    test: PlannedTest | None = None

    @property
    def headline(self) -> str:
        """The metric that drops and verdicts are of."""
        return self.metrics[0]


class PlannedRun(_Strict):
    """A strategy on an order of tasks with a seed; stages: their keys."""

    strategy: str
    order: Annotated[list[str], Field(min_length=1)]
    seed: int
    stages: Annotated[list[str], Field(min_length=1)]

    @property
    def stream(self) -> str:
        """The order as rows have it: "seg>det>cls"."""
        return ">".join(self.order)


class PlannedBaseline(_Strict):
    """A task on its own with a seed."""

    task: str
    seed: int
    stage: str


class PlannedStage(_Strict):
    """What a stage trains, and the key of the one that it starts from."""

    tasks: list[str]
    epochs: int
    parent: str | None = None


class _Settings(_Strict):
    strategies: list[str] = []
    orders: list[list[str]] = []
    seeds: list[int] = []


class _Checked(_Strict):
    """What of the settings is read; the others may be of any version."""

    settings: _Settings = _Settings()


class Plan(_Strict):
    """What is read of a plan.json; more is in it. settings: as its file holds them."""

    experiment: str
    settings: dict[str, Any] = {}
    provenance: dict[str, str] = {}
    tasks: list[PlannedTask]
    runs: list[PlannedRun]
    baselines: list[PlannedBaseline]
    stages: dict[str, PlannedStage]

    @cached_property
    def by_name(self) -> dict[str, PlannedTask]:
        """The tasks by their names."""
        return {task.name: task for task in self.tasks}

    @cached_property
    def headline(self) -> dict[str, str]:
        """Each task's headline metric."""
        return {task.name: task.headline for task in self.tasks}

    @cached_property
    def learnt(self) -> list[PlannedTask]:
        """The tasks that any stage learns."""
        names = {name for stage in self.stages.values() for name in stage.tasks}
        return [task for task in self.tasks if task.name in names]

    @cached_property
    def tests(self) -> dict[str, str]:
        """By task what scores on its test part go by, of the tasks that have one."""
        return {task.name: task.test.id for task in self.tasks if task.test}

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The parts that results can be told of, that of the verdict first.

        It is "test" where every task that is learnt has a test part, and else what curves are of (`val`, or a dev
        part).
        """
        curves, names = str(self.settings.get("split", "val")), {task.name for task in self.learnt}
        return ("test", curves) if names and names <= self.tests.keys() else (curves,)

    @cached_property
    def joint(self) -> set[tuple[str, str]]:
        """Strategy and order of the runs that learn several tasks in one stage."""
        return {(run.strategy, run.stream) for run in self.runs if self.is_joint(run)}

    def is_joint(self, run: PlannedRun) -> bool:
        """Return whether a run learns several tasks in one stage."""
        return any(len(self.stages[key].tasks) > 1 for key in run.stages)

    def seen(self, key: str) -> list[str]:
        """Return the tasks that a stage has learnt or found learnt, in their order."""
        tasks: list[str] = []
        stage: str | None = key
        while stage is not None:
            tasks = [*self.stages[stage].tasks, *tasks]
            stage = self.stages[stage].parent
        return list(dict.fromkeys(tasks))


def experiment_folder(path: str | Path) -> Path:
    """Return the folder of results that `path` (a folder, or an experiment's name) stands for; UserError for none."""
    root = paths.results_root()
    named = (root / path, root / kept_as(str(path))) if len(Path(path).parts) == 1 else ()
    for folder in (*named, Path(path)):
        if os.path.isfile(folder / "plan.json"):  # which is False for a name that no file system takes
            return folder
    known = both_names(paths.names_of_results())
    raise unknown_name_error("experiment with results", str(path), known, f" (in {root.absolute()})")


def read_plan(folder: Path) -> Plan:
    """Return the plan of an experiment's folder; UserError where plan.json is not one that holds together."""
    return _checked(folder, read_json(folder / "plan.json"))


def read_record(folder: Path) -> dict[str, Any]:
    """Return all that plan.json holds, to be written again; UserError as `read_plan`."""
    content = read_json(folder / "plan.json")
    _checked(folder, content)
    return {"settings": {}, "provenance": {}, **content}


def _checked(folder: Path, content: dict[str, Any]) -> Plan:
    path = folder / "plan.json"
    try:
        _Checked.model_validate(content)
        plan = Plan.model_validate(content)
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
    return plan


def settings_by_name(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment's settings to be compared with others': tasks by their names, lists as one value each."""
    tasks = {task["name"]: _whole(current_keys(task)) for task in settings.get("tasks", ())}
    return {**_whole({key: value for key, value in settings.items() if key != "tasks"}), "tasks": tasks}


def _whole(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, list) else value for key, value in settings.items()}
