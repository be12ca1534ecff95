"""An experiment read, checked and planned; nothing is trained yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from cl_bench.config.orders import parse_orders
from cl_bench.config.presets import load_experiment
from cl_bench.config.schema import Experiment, validate
from cl_bench.config.sweeps import spread
from cl_bench.errors import UserError
from cl_bench.model.backbone import Weights, load_weights
from cl_bench.plugins.composition import parse
from cl_bench.plugins.registry import load_plugin_files
from cl_bench.report.trackers.send import check_trackers
from cl_bench.results.store.scores import Scores
from cl_bench.results.store.store import Store
from cl_bench.runner.extend import beside, kept_stages, refuse_others
from cl_bench.stages.plan import Plan, Stage, make_plan
from cl_bench.stages.scoring import Scorer
from cl_bench.tasks.catalog import TaskEntry, load_catalog
from cl_bench.utils.files import make_writable
from cl_bench.utils.machine import set_up_numerics
from cl_bench.utils.nested import differences
from cl_bench.utils.paths import results_root, store_root


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
    check_trackers(loaded.trackers)
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
