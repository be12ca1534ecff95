"""The Python interface: prepare an experiment, run it, read its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cl_bench import results, tracking
from cl_bench.adding import beside, kept_stages, refuse_others
from cl_bench.catalog import Entry, load_catalog
from cl_bench.composition import parse
from cl_bench.config import Experiment, validate
from cl_bench.errors import UserError
from cl_bench.executors.frontier import Failure, Frontier
from cl_bench.executors.local import Job, Report, train_here, train_in_workers
from cl_bench.executors.ray import reach, train_with_ray
from cl_bench.failures import Failures
from cl_bench.orders import parse_orders
from cl_bench.paths import make_writable, results_root, store_root
from cl_bench.plan_file import describe_plan
from cl_bench.presets import load_experiment
from cl_bench.registry import load_plugin_files
from cl_bench.resources import set_up_numerics
from cl_bench.running import planned
from cl_bench.stages.key import differences
from cl_bench.stages.plan import Plan, Stage, make_plan
from cl_bench.stages.scores import Scores
from cl_bench.stages.scoring import Scorer
from cl_bench.stages.store import Store
from cl_bench.stages.train import Progress, Trainer
from cl_bench.sweeps import spread
from cl_bench.weights import Weights, load_weights

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Prepared:
    """An experiment with its audited data, its weights and its plan; nothing is trained yet."""

    experiment: Experiment
    catalog: tuple[Entry, ...]
    weights: Weights
    plan: Plan
    store: Store
    folder: Path
    plugin_files: tuple[str, ...]
    kept: frozenset[str] = frozenset()
    """Stages whose rows, in the folder, are enough: they are trained only where another one starts from them."""
    renewed: frozenset[str] | None = None
    """Strategies that come beside the rows in the folder, which are kept; None where nothing is kept."""

    def missing(self) -> list[Stage]:
        """Return the stages that are still to be trained."""
        parents = self.plan.parents()
        pending, needed = [key for key in parents if key not in self.store and key not in self.kept], set[str]()
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

    @cached_property
    def stored(self) -> list[dict[str, Any]]:
        """What the store knows of every stage in it, of other experiments too."""
        return list(self.store.stages())

    def why(self, stage: Stage) -> list[str]:
        """Return the settings in which `stage` differs from the most similar stored one (none: nothing similar)."""
        stored = [found["settings"] for found in self.stored if found["tasks"] == list(stage.trained)]
        changes = [differences(old, stage.identity) for old in stored if old["past"] == list(stage.past)]
        return min(changes, key=len, default=[])


def prepare(
    experiment: str,
    *,
    strategies: Sequence[str] = (),
    orders: str | Sequence[Sequence[str]] = (),
    seeds: Sequence[int] = (),
    split: str = "",
    changes: Mapping[str, Any] | Sequence[str] = (),
    plugin_files: Sequence[str | Path] = (),
    add: bool = False,
) -> Prepared:
    """Read, check and plan an experiment; raise UserError before any work is lost.

    experiment: a preset's name or a YAML file; strategies, orders, seeds, split: in place of the experiment's own;
    changes: further settings, as `load_experiment` takes them; plugin_files: Python files that declare strategies;
    add: strategies, orders and seeds come beside those of the experiment's results, whose rows are kept.
    """
    load_plugin_files(plugin_files)
    loaded = load_experiment(experiment, changes)
    if isinstance(orders, str):
        orders = parse_orders(orders, [task.name for task in loaded.tasks]) if orders else ()
    own = {"strategies": tuple(strategies), "orders": tuple(map(tuple, orders)), "seeds": tuple(seeds)}
    loaded = validate({**loaded.model_dump(), **({"split": split} if split else {})}, experiment)
    folder = results_root() / _folder_name(loaded)
    if add:
        own = beside(folder, own)
    loaded = validate({**loaded.model_dump(), **{key: value for key, value in own.items() if value}}, experiment)
    spread_out = [one for text in loaded.strategies for one in spread(text)]
    loaded = validate({**loaded.model_dump(), "strategies": spread_out}, experiment)
    asked = frozenset(one for text in strategies for one in spread(text))
    for text in loaded.strategies:
        try:
            parse(text)
        except UserError as error:
            if not add or text in asked:
                raise
            raise UserError(f"{folder / 'plan.json'} has strategy {text}, whose --plugin is needed: {error}") from error
    set_up_numerics(loaded.threads)
    _check_device(loaded, here=False)
    tracking.check(loaded.trackers)
    make_writable(results_root())
    store = Store(store_root())
    weights = load_weights(loaded.model.backbone, loaded.model.weights)
    catalog = load_catalog(loaded)
    plan = make_plan(loaded, catalog, weights)
    files = tuple(str(Path(path).resolve()) for path in plugin_files)
    kept = frozenset[str]()
    if add:
        refuse_others(folder, plan, loaded, asked)
        kept = kept_stages(folder, plan, catalog)
    return Prepared(loaded, catalog, weights, plan, store, folder, files, kept, asked if add else None)


def run(
    experiment: str,
    *,
    strategies: Sequence[str] = (),
    orders: str | Sequence[Sequence[str]] = (),
    seeds: Sequence[int] = (),
    split: str = "",
    changes: Mapping[str, Any] | Sequence[str] = (),
    plugin_files: Sequence[str | Path] = (),
    add: bool = False,
    workers: int = 1,
) -> pd.DataFrame:
    """Train what is missing of an experiment and return its results, one row an evaluation.

    The arguments are those of `prepare`; workers: processes that train stages side by side.
    """
    prepared = prepare(
        experiment,
        strategies=strategies,
        orders=orders,
        seeds=seeds,
        split=split,
        changes=changes,
        plugin_files=plugin_files,
        add=add,
    )
    train(prepared, workers)
    if prepared.experiment.trackers:
        tracking.send(prepared.folder, prepared.experiment.trackers)
    return results.load_results(prepared.folder)


def train(
    prepared: Prepared,
    workers: int = 1,
    progress: Progress = lambda *_: None,
    report: Report = lambda *_: None,
    command: str = "",
    retry: bool = False,
    cluster: str | None = None,
) -> dict[str, Failure]:
    """Write the plan, train the stages that the store lacks, export the rows; return why stages are not there, by key.

    retry: try stages that diverged in an earlier run once more, too; what failed otherwise is always tried again.
    cluster: the address of a Ray cluster that trains them, "" for one of this machine; None for no Ray.
    """
    _check_device(prepared.experiment, here=cluster is None)
    if cluster is not None:
        reach(cluster)
    if prepared.renewed is not None:  # again: much may have come since it was prepared
        refuse_others(prepared.folder, prepared.plan, prepared.experiment, prepared.renewed)
    with planned(make_writable(prepared.folder), describe_plan(prepared, command)):
        return _train(prepared, workers, progress, report, retry, cluster)


def _train(
    prepared: Prepared, workers: int, progress: Progress, report: Report, retry: bool, cluster: str | None
) -> dict[str, Failure]:
    folder = prepared.folder
    _discard_damaged(prepared, report)
    failures = Failures(results_root())
    kept = {} if retry else failures.diverged(prepared.plan.stages)
    failures.forget(prepared.plan.stages)

    def record(key: str, state: str | Failure) -> None:
        if isinstance(state, Failure):
            failures.add(key, state)
        report(key, state)

    plan, due = prepared.plan, {stage.key for stage in (*prepared.missing(), *prepared.unscored())}
    before = results.scores(folder, prepared.kept)
    stored = prepared.store.__contains__

    def settled(key: str) -> bool:
        return key not in due or (stored(key) and prepared.scored(plan.stages[key]))

    frontier = Frontier(plan.units(), plan.parents(), settled, kept, stored)
    for key, failure in frontier.failures.items():
        failures.add(key, failure)
        report(key, replace(failure, reason=f"{failure.reason}, in an earlier run") if key in kept else failure)
    try:
        _train_units(prepared, frontier, workers, cluster, progress, record)
    finally:
        results.export(folder, before)
    for key, scores in results.scores(folder, before).items():
        if results.of_training(scores) != results.of_training(before[key]):
            report(key, "differs")
    return frontier.failures


def _train_units(
    prepared: Prepared, frontier: Frontier, workers: int, cluster: str | None, progress: Progress, report: Report
) -> None:
    job = Job(prepared.experiment, prepared.plugin_files, prepared.store.root.resolve())
    if cluster is not None:
        train_with_ray(frontier, job, cluster, report)
    elif workers == 1:
        trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)
        train_here(frontier, prepared.plan, trainer, progress, report)
    else:
        train_in_workers(frontier, job, workers, progress, report)


def _discard_damaged(prepared: Prepared, report: Report) -> None:
    """Move stages that are not what was written out of the way; weights count where stages start or are scored."""
    store, parents = prepared.store, prepared.plan.parents()
    for key in parents:
        if store.folder(key).exists() and key not in store:
            store.discard(key)
            report(key, "damaged")
    pending, seen = [parent for stage in prepared.missing() for parent in parents[stage.key]], set[str]()
    pending += [stage.key for stage in prepared.unscored()]
    while pending:
        parent = pending.pop()
        if parent in seen:
            continue
        seen.add(parent)
        if parent in store and not store.intact(parent, tensors=True):
            store.discard(parent)
            report(parent, "damaged")
        pending.extend(parents[parent])


def _folder_name(experiment: Experiment) -> str:
    # What was scored on dev must never stand where a score on val is looked for.
    return experiment.name if experiment.split == "val" else f"{experiment.name}-{experiment.split}"


def _check_device(experiment: Experiment, here: bool) -> None:
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
