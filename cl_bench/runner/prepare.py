"""An experiment read, checked and planned; nothing is trained yet."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch

from cl_bench.config.orders import spelled_out
from cl_bench.config.presets import Source, load_experiment, source_name
from cl_bench.config.schema import Experiment, validate
from cl_bench.config.sweeps import spread
from cl_bench.errors import RenamedWarning, UserError
from cl_bench.model.backbone import Weights, load_weights
from cl_bench.model.trial import try_experiment
from cl_bench.plugins.composition import former_settings, parse
from cl_bench.plugins.plugin_files import load_plugin_files
from cl_bench.report.trackers.send import check_trackers
from cl_bench.results.store.scores import Scores
from cl_bench.results.store.store import Store
from cl_bench.runner.extend import kept_stages, refuse_foreign_rows, requested_so_far
from cl_bench.runner.lone_image import check_lone_images
from cl_bench.stages.plan import Plan, Stage, make_plan
from cl_bench.stages.scoring import Scorer
from cl_bench.tasks.catalog import TaskEntry, check_task, load_catalog
from cl_bench.tasks.torch_datasets import write_datasets
from cl_bench.utils.files import make_writable
from cl_bench.utils.machine import set_up_numerics
from cl_bench.utils.nested import differences
from cl_bench.utils.parsing import spelled
from cl_bench.utils.paths import results_root, store_root

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True, eq=False)
class Prepared:
    """An experiment with its audited data, its weights and its plan; nothing is trained yet."""

    experiment: Experiment
    catalog: tuple[TaskEntry, ...]
    weights: Weights
    plan: Plan
    store: Store
    folder: Path
    plugin_files: tuple[str, ...]
    satisfied: frozenset[str] = frozenset()
    """Stages whose rows, in the folder, are enough: they are trained only where another one starts from them."""
    extended: frozenset[str] | None = None
    """Strategies that come beside the rows in the folder, which are kept; None where nothing is kept."""

    def missing(self) -> list[Stage]:
        """Return the stages that are still to be trained."""
        parents = self.plan.parents()
        pending, needed = [key for key in parents if key not in self.store and key not in self.satisfied], set[str]()
        while pending:
            key = pending.pop()
            if key not in needed:
                needed.add(key)
                pending.extend(parents[key])
        return [stage for stage in self.plan.stages.values() if stage.key in needed and stage.key not in self.store]

    def unscored(self) -> list[Stage]:
        """Return the stages in the store that are not scored on the test parts of all their tasks."""
        return [stage for stage in self.plan.stages.values() if stage.key in self.store and not self.scored(stage)]

    def scored(self, stage: Stage) -> bool:
        """Return whether the stage is scored on the test parts of all its tasks that have one."""
        scorer = Scorer(self.experiment, self.catalog, Scores(self.store.root))
        return not scorer.missing(stage.key, (*stage.past, *stage.trained))

    def steps(self, stage: Stage) -> int:
        """Return how many optimizer steps the stage takes."""
        entries = {entry.task.name: entry for entry in self.catalog}
        steps = 0
        for name in stage.trained:
            protocol, images = entries[name].protocol, len(entries[name].audit.train.examples)
            steps += protocol.epochs * stage.repeats.get(name, 1) * -(-images // protocol.batch_size)
        return steps

    def to_show(self) -> dict[str, tuple[str, int]]:
        """Return by key what is to be done, and in how many steps: stages to train, then those to score."""
        shown = {stage.key: (stage.label, self.steps(stage)) for stage in self.missing()}
        return shown | {stage.key: (f"{stage.label}, to score", 0) for stage in self.unscored()}

    @cached_property
    def stored(self) -> list[dict[str, Any]]:
        """What the store knows of every stage in it, of other experiments too."""
        return list(self.store.stages())

    def why(self, stage: Stage) -> list[str]:
        """Return the settings in which `stage` differs from the most similar stored one (none: nothing similar)."""
        stored = [found["settings"] for found in self.stored if found["tasks"] == list(stage.trained)]
        changes = [differences(old, stage.identity) for old in stored if old["past"] == list(stage.past)]
        return min(changes, key=len, default=[])


class Request(TypedDict, total=False):
    """What is asked for; what is left out or empty is as the experiment says."""

    strategies: Sequence[str]
    orders: str | Sequence[Sequence[str]]
    """Each a sequence of task names, or all of them as one text (`orders.parse_orders`)."""
    seeds: Sequence[int]
    split: str
    changes: Mapping[str, Any] | Sequence[str]
    """Further settings, as `load_experiment` takes them."""
    plugin_files: Sequence[str | Path]
    """Python files that declare strategies, kinds or formats."""
    add: bool
    """Strategies, orders and seeds come beside those of the experiment's results, whose rows are kept."""


def prepare(experiment: Source, **request: Unpack[Request]) -> Prepared:
    """Read, check and plan an experiment; raise UserError before any work is lost.

    experiment: as `load_experiment` takes it; request: strategies, orders, seeds, split, changes, plugin_files and add,
    as `Request` explains them.
    """
    if unknown := request.keys() - Request.__annotations__.keys():
        raise TypeError(f"prepare got an unexpected keyword argument {min(unknown)!r}")
    files, add = request.get("plugin_files", ()), request.get("add", False)
    load_plugin_files(files)
    loaded = write_datasets(_requested(experiment, request))
    folder = _folder(loaded.name, loaded.split)
    asked = frozenset(spelled(text, loaded.strategies) for text in _spread(request.get("strategies", ())))
    _check_strategies(loaded, folder, asked=asked if add else None)
    for text in asked if add else loaded.strategies:
        for sentence in former_settings(text):
            warnings.warn(sentence, RenamedWarning, stacklevel=1)
    set_up_numerics(loaded.threads)
    check_device(loaded, here=False)
    check_trackers(loaded.trackers)
    for task in loaded.tasks:
        check_task(task)
    layout = try_experiment(loaded)
    make_writable(results_root())
    store = Store(store_root())
    weights = load_weights(loaded.model.backbone, loaded.model.weights, layout)
    catalog = load_catalog(loaded)
    plan = make_plan(loaded, catalog, weights)
    check_lone_images(loaded, catalog, weights, plan)
    paths = tuple(str(Path(path).resolve()) for path in files)
    if not add:
        return Prepared(loaded, catalog, weights, plan, store, folder, paths)
    refuse_foreign_rows(folder, plan, loaded, asked)
    satisfied = kept_stages(folder, plan, catalog)
    return Prepared(loaded, catalog, weights, plan, store, folder, paths, satisfied, asked)


def _requested(experiment: Source, request: Request) -> Experiment:
    """Return the experiment with what is requested in place of its own or, with `add`, beside what its results have."""
    loaded, orders = load_experiment(experiment, request.get("changes", ())), request.get("orders", ())
    if split := request.get("split"):
        loaded = validate({**loaded.model_dump(), "split": split}, source_name(experiment), {"split"}, "--split")
    orders = spelled_out(orders, [task.name for task in loaded.tasks]) if orders else ()
    own: dict[str, tuple[Any, ...]] = {
        "strategies": tuple(request.get("strategies", ())),
        "orders": tuple(map(tuple, orders)),
        "seeds": tuple(request.get("seeds", ())),
    }
    if request.get("add"):
        own = requested_so_far(_folder(loaded.name, loaded.split), own)
    content = {**loaded.model_dump(), **{key: values for key, values in own.items() if values}}
    return validate({**content, "strategies": _spread(content["strategies"])}, source_name(experiment))


def _spread(strategies: Iterable[str]) -> list[str]:
    return [one for text in strategies for one in spread(str(text))]


def _folder(name: str, split: str) -> Path:
    # What was scored on dev must never stand where a score on val is looked for.
    return results_root() / (name if split == "val" else f"{name}-{split}")


def _check_strategies(experiment: Experiment, folder: Path, asked: Collection[str] | None) -> None:
    """Raise UserError where a strategy is none, or is there twice in other words.

    asked: those that were named now, where others are the results' own.
    """
    written: dict[str, str] = {}
    for text in experiment.strategies:
        try:
            terms = parse(text).terms
        except UserError as error:
            if asked is None or text in asked:
                raise
            raise UserError(f"{folder / 'plan.json'} has strategy {text}, whose --plugin is needed: {error}") from error
        if (other := written.setdefault("+".join(term.text for term in terms), text)) != text:
            raise UserError(f"strategies {other} and {text} are the same: name one of them")


def check_device(experiment: Experiment, here: bool) -> None:
    """Raise UserError where the device is none, or, where stages are trained `here`, this machine does not have it."""
    try:
        device = torch.device(experiment.device)
        if here:
            torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {experiment.device!r} cannot be used: {reason}") from error
    if experiment.precision == "float16" and not experiment.device.startswith("cuda"):
        raise UserError("precision float16 needs a CUDA device; the CPU has float32 and bfloat16")
