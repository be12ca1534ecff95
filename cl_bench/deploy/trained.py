"""A model out of an experiment's results, to be put to use; or one with random weights, to be timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cl_bench.config.presets import load_experiment
from cl_bench.config.schema import Experiment, validate
from cl_bench.deploy.model_card import untrained_model
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.model.unified import UnifiedModel
from cl_bench.results.plan_file import PlannedRun, read_plan
from cl_bench.results.store.store import Store, find_stage, set_damaged_aside
from cl_bench.utils.parsing import spelled
from cl_bench.utils.paths import store_root


class Deployed(nn.Module):
    """The model as runtimes see it: images (B, 3, S, S) float32 in 0..1 in, every task's finished output out."""

    def __init__(self, model: UnifiedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the finished outputs in the order of the tasks."""
        features = self.model.features(images)
        return tuple(self.model.finish(self.model.raw(features, task), task) for task in self.model.tasks)


@dataclass(frozen=True, eq=False)
class Trained:
    """A model in evaluation mode, and where its weights are from (`origin`: plain values, written beside exports)."""

    model: UnifiedModel
    experiment: Experiment
    origin: dict[str, Any]

    @property
    def image_size(self) -> int:
        """The side of its images; raises UserError where its tasks do not agree."""
        sizes = {task.image_size for task in self.model.tasks}
        if len(sizes) > 1:
            raise UserError(f"the tasks of {self.experiment.name} have image sizes {sorted(sizes)}: one pass needs one")
        return sizes.pop()

    def deployed(self) -> Deployed:
        """Return it as runtimes see it."""
        return Deployed(self.model).eval()

    def described(self) -> dict[str, Any]:
        """Return all that an output needs to be read, as plain values."""
        return {
            "schema": 1,
            "origin": self.origin,
            "images": {
                "side": self.image_size,
                "channels": "RGB",
                "range": [0.0, 1.0],
                "resize": "squashed to a square, bilinear, antialiased",
            },
            "outputs": [
                {
                    "task": task.name,
                    "kind": task.kind.name,
                    "predictor": task.predictor,
                    "levels": list(task.levels),
                    "classes": list(task.classes),
                    "settings": task.settings.model_dump(mode="json"),
                }
                for task in self.model.tasks
            ],
        }


def untrained(name_or_path: str, changes: Sequence[str] = ()) -> Trained:
    """Return an experiment's model with random weights; needs neither a hub nor, where classes are named, the data."""
    experiment = load_experiment(name_or_path, changes)
    return Trained(untrained_model(experiment), experiment, {"experiment": experiment.name, "weights": "random"})


def load_trained(
    folder: Path, strategy: str = "", order: str = "", seed: int | None = None, *, how: str = "--strategy"
) -> Trained:
    """Return the model that a run ended with.

    folder: an experiment's results, whose stages must be in the store; strategy, order (`seg-det-cls`), seed: which
    run; the first order and seed where empty; how: what a strategy is named by, for errors. Raises UserError where
    there is no such run or its stage is gone.
    """
    plan = read_plan(folder)
    run = _choose(plan.runs, strategy, order, seed, how)
    key = run.stages[-1]
    found = find_stage(folder, key)
    if found is None:
        raise UserError(f"stage {key[:12]} is not in the store {store_root().absolute()}: run the experiment again")
    experiment = validate(plan.settings, str(folder / "plan.json"))
    model = untrained_model(experiment)
    set_damaged_aside([found])
    store = Store(found.parent, writable=False)
    _check_classes(model, store.describe(key)["settings"]["model"].get("predictors", ()), experiment.name)
    try:
        model.load_state_dict(store.weights(key))
    except RuntimeError as error:
        raise UserError(
            f"stage {key[:12]} holds what a plug-in added to the model, so that the stage alone can use it"
        ) from error
    chosen = {"strategy": run.strategy, "order": run.order, "seed": run.seed}
    # Not the command, which may name folders of the machine that ran it.
    made = {name: value for name, value in plan.provenance.items() if name != "command"}
    return Trained(model, experiment, {"experiment": folder.name, **chosen, "stage": key, **made})


def _check_classes(model: UnifiedModel, trained: Sequence[Mapping[str, Any]], name: str) -> None:
    """Raise UserError where the data of a task have other classes now than when the model was trained."""
    before = {one["task"]: one["classes"] for one in trained}
    for task in model.tasks:
        if list(task.classes) != before.get(task.name, list(task.classes)):
            raise UserError(f"task {task.name} of {name} has other classes in its data than it was trained with")


def _choose(runs: Sequence[PlannedRun], strategy: str, order: str, seed: int | None, how: str) -> PlannedRun:
    if not runs:
        raise UserError("the experiment has baselines alone; there is no model that has learnt all tasks")
    names = list(dict.fromkeys(run.strategy for run in runs))
    if not strategy and len(names) > 1:
        raise UserError(f"the experiment has several strategies: name one with {how} ({', '.join(names)})")
    strategy = spelled(strategy, names)
    if strategy and strategy not in names:
        raise unknown_name_error("strategy of this experiment", strategy, names)
    wanted = {"strategy": strategy or names[0], "order": order, "seed": "" if seed is None else str(seed)}
    found = list(runs)
    for what, text in wanted.items():
        known = {_named(run)[what]: run for run in reversed(found)}
        if text and text not in known:
            raise unknown_name_error(what, text, known)
        first = text or next(reversed(known))
        found = [run for run in found if _named(run)[what] == first]
    return found[0]


def _named(run: PlannedRun) -> dict[str, str]:
    return {"strategy": run.strategy, "order": "-".join(run.order), "seed": str(run.seed)}
