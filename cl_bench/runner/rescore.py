"""Scores what is stored once more: on a test part that is new, on other images of the same classes, or on val."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cl_bench.config.schema import Experiment, validate
from cl_bench.config.values import NAME, RESERVED
from cl_bench.errors import StageFailedError, UserError
from cl_bench.model.backbone import load_weights
from cl_bench.model.trial import try_experiment
from cl_bench.model.unified import UnifiedModel, build_model
from cl_bench.results.export import EXPORTED, export
from cl_bench.results.plan_file import Plan, read_plan, read_record
from cl_bench.results.store.json_files import write_json
from cl_bench.results.store.scores import Scores
from cl_bench.results.store.store import Store, find_stage, set_damaged_aside
from cl_bench.runner.lock import exclusive_plan
from cl_bench.runner.other_images import other_images
from cl_bench.runner.plan_record import describe_test
from cl_bench.stages.scoring import Scorer, dataset, evaluated, load_weights_into
from cl_bench.tasks.catalog import TaskEntry, load_catalog
from cl_bench.utils.machine import set_up_numerics
from cl_bench.utils.paths import results_root, store_root
from cl_bench.utils.provenance import origin

Told = Callable[[str], None]
"""Called with a sentence when a stage is scored."""


class Rescored(NamedTuple):
    """What came of it: where the results lie, how many stages were scored, and which cannot be, for want of weights."""

    folder: Path
    scored: int
    lost: list[str]


def rescore(
    folder: Path,
    data: Mapping[str, str] | None = None,
    split: str = "test",
    name: str = "",
    tell: Told = lambda _: None,
) -> Rescored:
    """Score the stored stages of the experiment in `folder` on test parts, and write its rows and plan anew.

    data: by task, a folder of the same classes whose `split` takes the place of its test part (`other_images`). Results
    then lie in a folder of their own, called `name` (EXPERIMENT-rescored where empty), and those in `folder` stay as
    they are. Nothing is trained, and rows of stages that are not in the store are kept. Raises UserError where data
    cannot be read, no task has a test part, no stage is stored, the new folder is there already, or a command is at
    work in `folder` on other runs.
    """
    if data:
        return _rescored(folder, data, split, name, tell)
    # Held for as long as it takes: what another command wrote meanwhile would be lost.
    with exclusive_plan(folder, read_record(folder)):
        return _rescored(folder, {}, split, name, tell)


def _rescored(folder: Path, data: Mapping[str, str], split: str, name: str, tell: Told) -> Rescored:
    plan, record = read_plan(folder), read_record(folder)
    target = _target(folder, name or f"{folder.name}-rescored") if data else folder
    if not data and "other_data" in record:
        raise UserError(f"{folder.name} is scored on images that --data named: score the experiment itself with --data")
    experiment = _experiment(plan, folder)
    others = {task: other_images(experiment, task, path, split) for task, path in data.items()}
    catalog = load_catalog(experiment, others)
    if not any(entry.test_id for entry in catalog):
        raise UserError(f"no task of {folder.name} has a test part; --data TASK=FOLDER names images to score it on")
    names = {task.name for task in plan.learnt}
    if lacking := [one.task.name for one in catalog if data and one.task.name in names and not one.test_id]:
        raise UserError(f"task {lacking[0]} has no test part: --data must name images for it, too")
    scored, lost = _score(experiment, catalog, plan, _stored(plan, folder), tell)
    tasks = zip(record["tasks"], catalog, strict=True)
    record["tasks"] = [{**task, "test": None, **describe_test(entry)} for task, entry in tasks]
    record["provenance"] = {**record["provenance"], "scored": origin()}
    if data:
        _copy(folder, target)
        record |= {"experiment": target.name, "other_data": {task: Path(path).name for task, path in data.items()}}
    write_json(target / "plan.json", record)
    export(target)
    return Rescored(target, scored, lost)


def verify(folder: Path, tell: Told = lambda _: None) -> list[str]:
    """Score the stored stages of the experiment in `folder` on val anew; return a sentence for each other score.

    None is other where processor and libraries are those that the stages were trained with. Raises UserError where no
    stage is stored.
    """
    plan = read_plan(folder)
    experiment = _experiment(plan, folder)
    catalog = load_catalog(experiment)
    entries = {entry.task.name: entry for entry in catalog}
    images = {name: dataset(entry, entry.audit.val, entry.audit.val_fingerprint) for name, entry in entries.items()}
    model, changed = _model(experiment, catalog), []
    for key, place in _stored(plan, folder).items():
        store = Store(place.parent, writable=False)
        try:
            load_weights_into(model, store.weights(key), key)
        except StageFailedError as error:
            changed.append(str(error))
            continue
        before = store.scores(key)
        for task in plan.seen(key):
            for metric, value in evaluated(model, images[task], experiment).compute().items():
                if before[task, metric] != value:
                    changed.append(f"stage {key[:12]}, {task} {metric}: {before[task, metric]!r} before, {value!r} now")
        tell(f"stage {key[:12]}: {', '.join(plan.seen(key))}")
    return changed


def _experiment(plan: Plan, folder: Path) -> Experiment:
    experiment = validate(plan.settings, str(folder / "plan.json"))
    if experiment.split != "val":
        raise UserError(f"{folder.name} was scored on {experiment.split}, to choose by; test is for what is chosen")
    set_up_numerics(experiment.threads)
    return experiment


def _stored(plan: Plan, folder: Path) -> dict[str, Path]:
    """Return the folders of the stages that are in the store; raise UserError where there is none, or a damaged one."""
    stored = {key: stage for key in plan.stages if (stage := find_stage(folder, key)) is not None}
    if not stored:
        raise UserError(f"no stage of {folder.name} is in the store {store_root().absolute()}: only a run can score it")
    set_damaged_aside(stored.values())
    return stored


def _score(
    experiment: Experiment,
    catalog: Sequence[TaskEntry],
    plan: Plan,
    stored: Mapping[str, Path],
    tell: Told,
) -> tuple[int, list[str]]:
    """Score what is not scored yet; return how many stages were, and the keys of those that cannot be."""
    model, scored, lost = _model(experiment, catalog), 0, [key for key in plan.stages if key not in stored]
    stores = {place.parent for place in stored.values()}
    scorers = {store: Scorer(experiment, catalog, Scores(store)) for store in stores}
    for number, (key, place) in enumerate(stored.items(), 1):
        scorer = scorers[place.parent]
        if not (names := scorer.missing(key, plan.seen(key))):
            continue
        try:
            load_weights_into(model, Store(place.parent, writable=False).weights(key), key)
        except StageFailedError as error:
            tell(f"[{number}/{len(stored)}] {error}")
            lost.append(key)
            continue
        scorer.score(key, names, model)
        scored += 1
        tell(f"[{number}/{len(stored)}] stage {key[:12]}: {', '.join(names)}")
    return scored, lost


def _model(experiment: Experiment, catalog: Sequence[TaskEntry]) -> UnifiedModel:
    """Return a model for stored weights."""
    untrained = load_weights(experiment.model.backbone, "none", try_experiment(experiment))
    return build_model(experiment.model, [entry.task for entry in catalog], untrained, seed=0).to(experiment.device)


def _target(folder: Path, name: str) -> Path:
    """Return the folder of new results; raise UserError for what is no experiment's name, or one that is taken."""
    if not re.fullmatch(NAME, name) or name in RESERVED or name == folder.name:
        raise UserError(f"--name {name!r} is no name for these results: letters, digits, _ and -, at most 100")
    target = results_root() / name
    if (target / "plan.json").exists():
        raise UserError(f"{target} is there already: --name gives these results another name")
    return target


def _copy(folder: Path, target: Path) -> None:
    """Put what tables are rebuilt from into a new folder of results."""
    target.mkdir(parents=True, exist_ok=True)
    for table in EXPORTED:
        if (folder / table).is_file():
            shutil.copy(folder / table, target / table)
