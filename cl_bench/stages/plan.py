"""The plan: which runs an experiment has, and the graph of distinct stages they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from typing import Any

import torch

from cl_bench.config.schema import Experiment
from cl_bench.errors import UserError
from cl_bench.kinds.base import Task
from cl_bench.model.backbone import Weights
from cl_bench.plugins.composition import Composition, Term, parse
from cl_bench.results.store.key import NUMERICS, stage_key
from cl_bench.tasks.catalog import TaskEntry


@dataclass(frozen=True, eq=False)
class Stage:
    """The training of one task (of all, in joint training) from a parent stage or from the initial weights.

    trained, past: names of the tasks trained in it and of those learnt before it; terms: the strategy terms that act;
    repeats: by task, how many times its epochs it has in joint training, where a task comes back in the order;
    experts: by task, the keys of the baselines that a term follows; chain: keys of the stages that are trained in one
    process with it, itself included.
    """

    key: str
    identity: Mapping[str, Any]
    parent: str | None
    trained: tuple[str, ...]
    past: tuple[str, ...]
    seed: int
    terms: tuple[Term, ...]
    epochs: int
    first_epoch: int
    total_epochs: int
    repeats: Mapping[str, int] = field(default_factory=dict)
    experts: Mapping[str, str] = field(default_factory=dict)
    chain: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The stage in words: what it trains, after what, with what, and its seed."""
        after = f" after {', '.join(self.past)}" if self.past else ""
        terms = "+".join(term.text for term in self.terms)
        return f"{'+'.join(self.trained)}{after}{f' with {terms}' if terms else ''}, seed {self.seed}"


@dataclass(frozen=True)
class Run:
    """The stages of a strategy x order x seed; a baseline is the run of "baseline" on one task alone."""

    strategy: str
    order: tuple[str, ...]
    seed: int
    stages: tuple[str, ...]


@dataclass
class Plan:
    """All runs and baselines, and the distinct stages by key, parents before children."""

    experiment: Experiment
    runs: list[Run] = field(default_factory=list)
    baselines: list[Run] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)

    def unshared(self) -> int:
        """Return how many stages there would be if none were shared."""
        return sum(len(run.stages) for run in (*self.runs, *self.baselines))

    def baseline(self, task: str, seed: int) -> str:
        """Return the key of the baseline of `task`."""
        return next(run.stages[0] for run in self.baselines if run.order == (task,) and run.seed == seed)

    def parents(self) -> dict[str, tuple[str, ...]]:
        """Return by stage the stages that it starts from or reads."""
        return {
            key: tuple(dict.fromkeys(other for other in (stage.parent, *stage.experts.values()) if other))
            for key, stage in self.stages.items()
        }

    def ancestors(self, stage: Stage) -> list[Stage]:
        """Return the stages that `stage` descends from, the first one first."""
        found: list[Stage] = []
        while stage.parent is not None:
            stage = self.stages[stage.parent]
            found.insert(0, stage)
        return found

    def chains(self) -> list[tuple[str, ...]]:
        """Return the keys that are trained together, in an order in which parents come first."""
        return list(dict.fromkeys(stage.chain or (stage.key,) for stage in self.stages.values()))


def make_plan(experiment: Experiment, catalog: Sequence[TaskEntry], weights: Weights) -> Plan:
    """Plan the baselines, then every strategy x order x seed."""
    planner = _Planner(experiment, {entry.task.name: entry for entry in catalog}, weights)
    naive = Composition("baseline", ())
    compositions = [parse(text) for text in experiment.strategies]
    for seed in experiment.seeds:
        for task in dict.fromkeys(name for order in experiment.resolved_orders() for name in order):
            planner.plan.baselines.append(planner.run(naive, (task,), seed))
    for seed in experiment.seeds:
        for order in experiment.resolved_orders():
            for composition in compositions:
                _check_sizes(composition, [planner.entries[name].task for name in order])
                planner.plan.runs.append(planner.run(composition, order, seed))
    return planner.plan


def _check_sizes(composition: Composition, tasks: Sequence[Task]) -> None:
    found = {task.name: task.image_size for task in tasks}
    if any(plugin.mixes for plugin in composition.traits) and len(set(found.values())) > 1:
        sizes = ", ".join(f"{size} in {name}" for name, size in found.items())
        said = "it puts images of several tasks into one batch, and their sizes differ"
        raise UserError(f"strategy {composition.text} cannot be used here: {said} ({sizes})")


@cache  # a plan asks for each of its stages
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("numpy", "torch", "torchvision", "timm", "pillow")}


def _maps(weights: Weights) -> dict[str, list[int]]:
    """Return what tells stages of these maps from older ones, in which maps of other strides were taken for them."""
    layout = weights.layout
    return {"maps": list(layout.indices)} if layout.renumbered else {}


def _draw(terms: tuple[Term, ...]) -> bool:
    return any(plugin.draws_stored for term in terms for plugin in term.traits)


class _Planner:
    def __init__(self, experiment: Experiment, entries: Mapping[str, TaskEntry], weights: Weights) -> None:
        self.experiment, self.entries, self.weights = experiment, entries, weights
        self.plan = Plan(experiment)

    def run(self, composition: Composition, order: tuple[str, ...], seed: int) -> Run:
        """Add the run's stages to the plan."""
        groups = [tuple(dict.fromkeys(order))] if composition.together else [(task,) for task in order]
        repeats = {task: order.count(task) for task in order if composition.together and order.count(task) > 1}
        lengths = [max(self.entries[task].protocol.epochs * repeats.get(task, 1) for task in group) for group in groups]
        stages: list[Stage] = []
        for position, (trained, epochs) in enumerate(zip(groups, lengths, strict=True)):
            first, total = 0, epochs
            if self.experiment.schedule == "total":
                first, total = sum(lengths[:position]), sum(lengths)
            past = tuple(task for group in groups[:position] for task in group)
            parent = stages[-1].key if stages else None
            terms = composition.acting(position)
            identity = self._identity(trained, past, parent, seed, terms, (first, total))
            experts = self._experts(trained, past, seed, terms)
            # What few stages have is named where they have it, so that all others keep their keys.
            cached = self.experiment.teacher_cache and (experts or (parent and terms))
            identity.update({"repeats": repeats} if repeats else {}, **({"experts": experts} if experts else {}))
            identity.update({"teacher_cache": True} if cached else {})
            stages.append(
                Stage(
                    key=stage_key(identity),
                    identity=identity,
                    parent=parent,
                    trained=trained,
                    past=past,
                    seed=seed,
                    terms=terms,
                    epochs=epochs,
                    first_epoch=first,
                    total_epochs=total,
                    repeats=repeats,
                    experts=experts,
                )
            )
        chain = tuple(stage.key for stage in stages) if composition.chained else ()
        for stage in stages:
            if stage.key not in self.plan.stages:
                self.plan.stages[stage.key] = replace(stage, chain=chain)
        return Run(composition.text, order, seed, tuple(stage.key for stage in stages))

    def _experts(
        self, trained: tuple[str, ...], past: tuple[str, ...], seed: int, terms: tuple[Term, ...]
    ) -> dict[str, str]:
        """Return by task the keys of the baselines that a stage of one task follows."""
        if len(trained) > 1:
            return {}
        plugins = [plugin for term in terms for plugin in term.traits]
        followed = set(trained) if any(plugin.follows_expert for plugin in plugins) else set()
        followed |= set(past) - set(trained) if any(plugin.follows_past_experts for plugin in plugins) else set()
        return {name: self.plan.baseline(name, seed) for name in sorted(followed)}

    def _identity(
        self,
        trained: tuple[str, ...],
        past: tuple[str, ...],
        parent: str | None,
        seed: int,
        terms: tuple[Term, ...],
        schedule: tuple[int, int],
    ) -> dict[str, Any]:
        experiment = self.experiment
        optimizer = experiment.optimized_like([self.entries[task].protocol for task in trained])
        if optimizer["early_rate"] == 1:
            del optimizer["early_rate"]  # it came later, and stages of before keep their keys
        return {
            "numerics": NUMERICS,
            "parent": parent,
            "seed": seed,
            "model": {
                **experiment.model.model_dump(exclude={"weights"}),
                "weights": self.weights.digest,
                "predictors": [entry.predictor_identity() for entry in self.entries.values()],
                **_maps(self.weights),
            },
            "train": [self.entries[task].identity() for task in trained],
            "past": list(past),
            # Past parts of a head had the labels of the task at hand, too, before this was in the key.
            **({"past_labels": "own"} if terms and self._parts(trained, past) else {}),
            # Where a task came back, stored images were drawn as they had been in its first stage.
            **({"stored_draws": "by visit"} if set(trained) & set(past) and _draw(terms) else {}),
            **({"stored_by": "learnt classes"} if self._chosen_by_class(past, terms) else {}),
            "strategy": [term.identity() for term in terms],
            "optimizer": optimizer,
            "schedule": {"first_epoch": schedule[0], "total_epochs": schedule[1]},
            "evaluation": {
                "every": experiment.evaluate_every,
                "batch": experiment.evaluation_batch,
                **({"steps": experiment.evaluate_steps} if experiment.evaluate_steps else {}),
            },
            "environment": self._environment(),
        }

    def _chosen_by_class(self, past: tuple[str, ...], terms: tuple[Term, ...]) -> bool:
        """Return whether images are stored for the classes they show, of a past task that learns some of its own."""
        by_class = any(plugin.by_class for term in terms for plugin in term.traits)
        return by_class and any(self.entries[name].task.learns for name in past)

    def _parts(self, trained: tuple[str, ...], past: tuple[str, ...]) -> bool:
        """Return whether a past task and one that is trained learn parts of the classes of one head."""
        heads = {self.entries[name].task.owner for name in trained}
        others = [self.entries[name].task for name in past if name not in trained]
        return any(task.learns and task.owner in heads for task in others)

    def _environment(self) -> dict[str, Any]:
        experiment, device = self.experiment, torch.device(self.experiment.device).type
        return {
            "threads": experiment.threads,
            "device": device,
            "precision": experiment.precision,
            **({"tf32": False} if device == "cuda" else {}),
            **_versions(),
        }
