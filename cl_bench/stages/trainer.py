"""Trains stages: from settings and a parent's weights to an artifact in the store, and its scores on test parts."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EvaluationPlugin
from torch import Tensor

from cl_bench.config.schema import Experiment
from cl_bench.errors import StageFailedError
from cl_bench.kinds.base import labelled_together
from cl_bench.model.backbone import Weights
from cl_bench.model.flops import multiply_adds
from cl_bench.model.unified import UnifiedModel, build_model
from cl_bench.plugins.traits import traits_of
from cl_bench.results.store.checkpoints import Snapshot
from cl_bench.results.store.scores import Scores
from cl_bench.results.store.store import Store
from cl_bench.stages.artifact import describe, keep
from cl_bench.stages.plan import Plan, Stage
from cl_bench.stages.scoring import Scorer, dataset, load_weights_into
from cl_bench.tasks.catalog import TaskEntry, pixels
from cl_bench.tasks.dataset import TaskDataset
from cl_bench.training import plugin_state
from cl_bench.training.evaluation import Row, StreamMetrics
from cl_bench.training.flop_meter import FlopMeter
from cl_bench.training.harness import Harness
from cl_bench.training.schedule import StageSettings
from cl_bench.training.snapshot import take
from cl_bench.training.stream import make_benchmark
from cl_bench.training.teachers import Ancestor
from cl_bench.utils.hashing import digest
from cl_bench.utils.machine import environment, keep_memory, peak_memory_mb, reset_peak_memory, set_up_numerics

Progress = Callable[[str, int, int], None]
"""Called with a stage's key, the steps done and the steps in all."""


@dataclass(frozen=True, eq=False)
class Trainer:
    """Everything that the stages of one experiment have in common."""

    experiment: Experiment
    catalog: Sequence[TaskEntry]
    weights: Weights
    store: Store
    observers: Sequence[SupervisedPlugin] = ()
    """Plug-ins that look on and change nothing."""

    def train(self, plan: Plan, keys: Sequence[str], progress: Progress = lambda *_: None) -> None:
        """Train the stages `keys`, one after the other in one process; put each into the store, and score it."""
        if not plan.stages.keys() >= set(keys):
            raise StageFailedError("code outside this package was edited since the run began: run again")
        set_up_numerics(self.experiment.threads)
        keep_memory()
        chain = _Chain(self, plan, [plan.stages[key] for key in keys], progress)
        for stage, experience in zip(chain.stages, chain.benchmark.train_stream, strict=True):
            if chain.train(stage, experience):
                # Whatever is scored already is of weights that were damaged.
                self.scorer.score(stage.key, self.scorer.due(_seen(stage)), chain.harness.model)
            else:
                self.score(plan, [stage.key])

    def score(self, plan: Plan, keys: Sequence[str]) -> None:
        """Score the stages `keys`, which are in the store, on what they have not been scored on yet.

        One that holds what a plug-in added to the model stays unscored: what starts from it can go on nonetheless.
        """
        set_up_numerics(self.experiment.threads)
        for stage in (plan.stages[key] for key in keys):
            if names := self.scorer.missing(stage.key, _seen(stage)):
                model = self.untrained(stage.seed)
                weights = self.weights_of(stage.key)
                with contextlib.suppress(StageFailedError):
                    load_weights_into(model, weights, stage.key)
                    self.scorer.score(stage.key, names, model.to(self.experiment.device))

    @cached_property
    def scorer(self) -> Scorer:
        """What scores stages on test parts."""
        return Scorer(self.experiment, self.catalog, Scores(self.store.root))

    @cached_property
    def entries(self) -> dict[str, TaskEntry]:
        """The tasks by name."""
        return {entry.task.name: entry for entry in self.catalog}

    def model(self, stage: Stage) -> UnifiedModel:
        """Return the model as the stage finds it: its parent's last weights, or the initial ones."""
        model = self.untrained(stage.seed)
        if stage.parent is not None:
            model.load_state_dict(self.weights_of(stage.parent))
        return model.to(self.experiment.device)

    def weights_of(self, key: str) -> dict[str, Tensor]:
        """Return what a stage ended with; raise StageFailedError where the store holds something else."""
        weights = self.store.weights(key)
        if digest(weights) != self.store.describe(key)["hashes"]["last"]:
            raise StageFailedError(f"the stored weights of stage {key[:12]} are not those it ended with")
        return weights

    def untrained(self, seed: int) -> UnifiedModel:
        """Return the model with the weights that every run with this seed begins with."""
        return build_model(self.experiment.model, [entry.task for entry in self.catalog], self.weights, seed)

    def settings(self, stage: Stage) -> StageSettings:
        """Return how the stage is trained."""
        experiment = self.experiment
        protocols = {name: self.entries[name].protocol for name in stage.trained}
        return StageSettings(
            **experiment.optimized_like(list(protocols.values())),
            epochs={name: protocol.epochs * stage.repeats.get(name, 1) for name, protocol in protocols.items()},
            batch_sizes={name: protocol.batch_size for name, protocol in protocols.items()},
            first_epoch=stage.first_epoch,
            total_epochs=stage.total_epochs,
            evaluation_batch=experiment.evaluation_batch,
            evaluate_every=experiment.evaluate_every,
            evaluate_steps=experiment.evaluate_steps,
            seed=stage.seed,
            device=experiment.device,
            precision=experiment.precision,
            teacher_cache=experiment.teacher_cache,
            visits={name: stage.past.count(name) for name in stage.trained},
        )

    def datasets(self, name: str, seed: int, beside: Sequence[str] = ()) -> tuple[TaskDataset, TaskDataset]:
        """Return the training and the validation images of a task; beside: the tasks trained in the same stage."""
        entry = self.entries[name]
        task, audited = entry.task, entry.audit
        augment = entry.protocol.augment
        larger = round(task.image_size * augment.oversize)
        train = pixels(task, audited.train, audited.train_fingerprint, larger, entry.corruption)
        trained = labelled_together(task, [self.entries[other].task for other in beside])
        val = dataset(entry, audited.val, audited.val_fingerprint)
        return TaskDataset(trained, audited.train, *train, augment, seed), val


def _seen(stage: Stage) -> list[str]:
    return list(dict.fromkeys((*stage.past, *stage.trained)))


class _Chain:
    """Stages that one process trains one after the other: model, plug-ins and data live as long as it does."""

    def __init__(self, trainer: Trainer, plan: Plan, stages: Sequence[Stage], progress: Progress) -> None:
        self.trainer, self.plan, self.stages = trainer, plan, stages
        first = stages[0]
        model = trainer.model(first)
        self.parameters = sum(p.numel() for p in model.parameters())
        tasks = tuple(entry.task for entry in trainer.catalog)
        self.metrics = StreamMetrics(tasks, {name: entry.audit.val for name, entry in trainer.entries.items()})
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No loggers specified")  # rows are what we keep
            evaluator = EvaluationPlugin(self.metrics, loggers=[])
        self.reporter, self.meter = _Reporter(progress), FlopMeter()
        # The last stage has every term that acts in an earlier one.
        self.plugins = [plugin for term in stages[-1].terms for plugin in term.build()]
        plugins = [self.meter, *self.plugins, self.reporter, *trainer.observers]
        self.harness = Harness(
            model=model,
            settings=trainer.settings(first),
            plugins=plugins,
            evaluator=evaluator,
            initial=lambda: trainer.untrained(first.seed).state_dict(),
        )
        self.resumable = len(stages) == 1 and not any(traits_of(plugin).opaque for plugin in self.plugins)
        self.names = list(dict.fromkeys(name for stage in stages for name in (*stage.past, *stage.trained)))
        # Tasks are trained together in a run's only stage, or not at all; a past one shows what it showed.
        together = first.trained if len(first.trained) > 1 else ()
        data = {name: trainer.datasets(name, first.seed, together) for name in self.names}
        self.images = {name: train for name, (train, _) in data.items()}
        self.benchmark = make_benchmark(
            [[self.images[name] for name in stage.trained] for stage in stages], [test for _, test in data.values()]
        )

    def train(self, stage: Stage, experience: Any) -> bool:
        """Train one stage, from where an earlier attempt at it had got to; return whether it was put into the store.

        Where another chain has trained it, that one's stays.
        """
        trainer, harness = self.trainer, self.harness
        settings, current = trainer.settings(stage), [self.images[name] for name in stage.trained]
        tests = zip(self.benchmark.test_stream, self.names, strict=True)
        seen = [test for test, name in tests if name in (*stage.past, *stage.trained)]
        self.metrics.reset()
        if stage is self.stages[0] and stage.parent is not None:
            plugin_state.restore(self.plugins, trainer.store.states(stage.parent))
        before, snapshot = digest(harness.model.state_dict()), self._resumed(stage)
        earlier = snapshot.values["cost"] if snapshot else {"seconds": 0.0, "peak_memory_mb": 0.0}
        reset_peak_memory(settings.device)
        started = time.perf_counter()

        def cost() -> dict[str, float]:
            seconds = earlier["seconds"] + time.perf_counter() - started
            return {
                "seconds": seconds,
                "peak_memory_mb": max(earlier["peak_memory_mb"], peak_memory_mb(settings.device)),
            }

        def checkpoint() -> None:
            if self.resumable:
                now = take(harness)
                now.values.update(rows=list(map(asdict, self.metrics.rows)), cost=cost())
                trainer.store.checkpoints.save(stage.key, now)

        self.reporter.start(stage.key, settings, current)
        experts = {name: partial(trainer.weights_of, key) for name, key in stage.experts.items()}
        ancestors = self._ancestors(stage)
        # A checkpoint of a version that did not count leaves the sum unknown.
        with self.meter.stage(math.nan if snapshot else 0.0):
            harness.train_stage(experience, settings, current, ancestors, seen, experts, snapshot, checkpoint)
        return self._keep(stage, before, cost())

    def _resumed(self, stage: Stage) -> Snapshot | None:
        """Return where an earlier attempt at the stage had got to, and take up its rows."""
        snapshot = self.trainer.store.checkpoints.load(stage.key) if self.resumable else None
        if snapshot is not None:
            self.metrics.rows.extend(Row(**row) for row in snapshot.values["rows"])
        return snapshot

    def _ancestors(self, stage: Stage) -> list[Ancestor]:
        return [
            Ancestor(tuple(self.images[name] for name in one.trained), partial(self.trainer.weights_of, one.key))
            for one in self.plan.ancestors(stage)
        ]

    def _keep(self, stage: Stage, before: str, cost: dict[str, float]) -> bool:
        experiment, counted = self.trainer.experiment, sum(p.numel() for p in self.harness.model.parameters())
        # The baseline that the stage follows was trained for it, too, however many others share it.
        own = [stage.experts[name] for name in stage.trained if name in stage.experts]
        experts = [self.trainer.store.describe(key)["cost"] for key in own]
        flops = sum((expert.get("training_flops") or math.nan for expert in experts), self.meter.total)
        seconds = cost["seconds"] - self.harness.evaluation_seconds
        size = max(self.trainer.entries[name].task.image_size for name in stage.trained)
        measured = {
            "train_seconds": seconds + sum(expert["train_seconds"] for expert in experts),
            "training_flops": None if math.isnan(flops) else flops,
            "peak_memory_mb": cost["peak_memory_mb"],
            "parameters": counted,
            "multiply_adds": multiply_adds(self.harness.model.eval(), size),
            "added_parameters": counted - self.parameters,
        }
        description = {
            **describe(stage, self.harness, measured, before),
            "environment": environment(experiment.threads, experiment.device, experiment.precision),
        }
        return keep(self.trainer.store, description, self.harness, self.metrics, self.plugins)


class _Reporter(SupervisedPlugin):
    """Tells how far a stage is."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def start(self, key: str, settings: StageSettings, current: Sequence[TaskDataset]) -> None:
        names = [dataset.task.name for dataset in current]
        lengths = [-(-len(d) // settings.batch_sizes[n]) for d, n in zip(current, names, strict=True)]
        self.key, self.total = key, sum(settings.epochs[n] * length for n, length in zip(names, lengths, strict=True))
        self.progress(key, 0, self.total)

    def after_training_iteration(self, strategy: Harness, **_: Any) -> None:
        self.progress(self.key, strategy.step, self.total)
