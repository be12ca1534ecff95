"""Trains stages: from settings and a parent's weights to an artifact in the store."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EvaluationPlugin
from safetensors.torch import save_file

from cl_bench.ancestry import Ancestor
from cl_bench.catalog import Entry, pixels
from cl_bench.config import Experiment
from cl_bench.errors import StageFailedError
from cl_bench.metrics.forgetting import StreamMetrics
from cl_bench.model import UnifiedModel, build_model
from cl_bench.registry import code_identity
from cl_bench.resources import environment, peak_memory_mb, reset_peak_memory, set_up_numerics
from cl_bench.schedule import StageSettings
from cl_bench.stages import states
from cl_bench.stages.plan import Plan, Stage
from cl_bench.stages.store import Store, write_csv, write_json
from cl_bench.stream import TaskDataset, make_benchmark
from cl_bench.training import Harness
from cl_bench.weights import Weights, digest

Progress = Callable[[str, int, int], None]
"""Called with a stage's key, the steps done and the steps in all."""


@dataclass(frozen=True, eq=False)
class Trainer:
    """Everything that the stages of one experiment have in common; logs: a folder for TensorBoard, None for no logs."""

    experiment: Experiment
    catalog: Sequence[Entry]
    weights: Weights
    store: Store
    logs: Path | None = None

    def train(self, plan: Plan, keys: Sequence[str], progress: Progress = lambda *_: None) -> None:
        """Train the stages `keys`, one after the other in one process, and put each into the store."""
        experiment = self.experiment
        set_up_numerics(experiment.threads)
        stages = [plan.stages[key] for key in keys]
        first = stages[0]
        entries = {entry.task.name: entry for entry in self.catalog}
        model = self._model(first)
        parameters = sum(p.numel() for p in model.parameters())
        tasks = tuple(entry.task for entry in self.catalog)
        metrics = StreamMetrics(tasks, {name: entry.audit.val for name, entry in entries.items()})
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No loggers specified")  # rows are what we keep
            evaluator = EvaluationPlugin(metrics, loggers=self._loggers(first))
        reporter = _Reporter(progress)
        # Plug-ins live as long as the chain; the last stage has every term that acts in an earlier one.
        plugins = [plugin for term in stages[-1].terms for plugin in term.build()]
        harness = Harness(
            model=model, settings=self._settings(first, entries), plugins=[*plugins, reporter], evaluator=evaluator
        )
        names = dict.fromkeys(name for stage in stages for name in (*stage.past, *stage.trained))
        data = {name: self._datasets(entries[name], first.seed) for name in names}
        benchmark = make_benchmark(
            [[data[name][0] for name in stage.trained] for stage in stages], [data[name][1] for name in names]
        )
        for stage, experience in zip(stages, benchmark.train_stream, strict=True):
            settings = self._settings(stage, entries)
            current = [data[name][0] for name in stage.trained]
            ancestors = [
                Ancestor(tuple(data[name][0] for name in one.trained), partial(self.store.weights, one.key))
                for one in plan.ancestors(stage)
            ]
            if stage.parent is not None and stage.parent not in keys:
                states.restore(plugins, self.store.states(stage.parent))
            seen = [
                e for e, name in zip(benchmark.test_stream, names, strict=True) if name in (*stage.past, *stage.trained)
            ]
            metrics.reset(*self._scores_so_far(plan, stage))
            reporter.start(stage.key, settings, current)
            reset_peak_memory(experiment.device)
            before, started = digest(model.state_dict()), time.perf_counter()
            harness.train_stage(experience, settings, current, ancestors, seen)
            seconds = time.perf_counter() - started - harness.evaluation_seconds
            self._save(stage, harness, plugins, metrics, parameters, before, seconds)

    def _model(self, stage: Stage) -> UnifiedModel:
        tasks = [entry.task for entry in self.catalog]
        model = build_model(self.experiment.model, tasks, self.weights, stage.seed)
        if stage.parent is not None:
            model.load_state_dict(self.store.weights(stage.parent))
            if digest(model.state_dict()) != self.store.describe(stage.parent)["hashes"]["last"]:
                raise StageFailedError(f"the stored weights of stage {stage.parent[:12]} are not those it ended with")
        return model.to(self.experiment.device)

    def _settings(self, stage: Stage, entries: Mapping[str, Entry]) -> StageSettings:
        experiment = self.experiment
        protocols = {name: entries[name].protocol for name in stage.trained}
        return StageSettings(
            **experiment.optimized_like(list(protocols.values())),
            epochs={name: protocol.epochs for name, protocol in protocols.items()},
            batch_sizes={name: protocol.batch_size for name, protocol in protocols.items()},
            first_epoch=stage.first_epoch,
            total_epochs=stage.total_epochs,
            evaluation_batch=experiment.evaluation_batch,
            evaluate_every=experiment.evaluate_every,
            seed=stage.seed,
            device=experiment.device,
            precision=experiment.precision,
            visits={name: stage.past.count(name) for name in stage.trained},
        )

    def _datasets(self, entry: Entry, seed: int) -> tuple[TaskDataset, TaskDataset]:
        task, audited = entry.task, entry.audit
        size, augment = task.image_size, entry.protocol.augment
        stored = pixels(task, audited.train, audited.train_fingerprint, round(size * augment.oversize))
        train = TaskDataset(task, audited.train, *stored, augment, seed)
        return train, TaskDataset(task, audited.val, *pixels(task, audited.val, audited.val_fingerprint, size))

    def _scores_so_far(self, plan: Plan, stage: Stage) -> tuple[dict[str, float], dict[str, list[float]]]:
        """Return, for the logs only, the baselines that are trained already and the scores at earlier stages' ends."""
        headline = {entry.task.name: entry.task.kind.metrics[0] for entry in self.catalog}
        baselines: dict[str, float] = {}
        history: dict[str, list[float]] = {}
        for name in (*stage.past, *stage.trained):
            key = plan.baseline(name, stage.seed)
            if key in self.store:
                baselines[name] = self.store.scores(key)[name, headline[name]]
        parent = stage.parent
        while parent is not None and parent in plan.stages:
            for (name, metric), value in self.store.scores(parent).items():
                if metric == headline[name]:
                    history.setdefault(name, []).insert(0, value)
            parent = plan.stages[parent].parent
        return baselines, history

    def _loggers(self, stage: Stage) -> list[Any]:
        if self.logs is None or "tensorboard" not in self.experiment.trackers:
            return []
        from avalanche.logging import TensorboardLogger

        return [TensorboardLogger(str(self.logs / stage.key[:16]))]

    def _save(
        self,
        stage: Stage,
        harness: Harness,
        plugins: Sequence[Any],
        metrics: StreamMetrics,
        parameters: int,
        before: str,
        seconds: float,
    ) -> None:
        experiment = self.experiment
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in harness.model.state_dict().items()}
        stored = harness.report.get("memory", {})
        counted = sum(p.numel() for p in harness.model.parameters())
        description = {
            "key": stage.key,
            "parent": stage.parent,
            "tasks": list(stage.trained),
            "settings": stage.identity,
            "environment": environment(experiment.threads, experiment.device, experiment.precision),
            "cost": {
                "train_seconds": seconds,
                "evaluation_seconds": harness.evaluation_seconds,
                "peak_memory_mb": peak_memory_mb(experiment.device),
                "parameters": counted,
                "added_parameters": counted - parameters,
                "added_passes": harness.passes_per_evaluation - 1,
                # None, not 0, where a plug-in from elsewhere may store images without saying so.
                "stored_images": max(map(len, stored.values()), default=0 if _all_report(stage) else None),
            },
            "memory": stored,
            "hashes": {"first": before, "last": digest(state)},
        }

        def write(folder: Path) -> None:
            save_file(state, folder / "model.safetensors")
            if carried := states.collect(plugins):
                save_file(carried, folder / "state.safetensors")
            arrays = {
                f"{task}/{name}": torch.from_numpy(array).contiguous()
                for task, found in metrics.per_image.items()
                for name, array in found.items()
            }
            save_file(arrays, folder / "predictions.safetensors")
            write_csv(folder / "evaluations.csv", map(asdict, metrics.rows), ["epoch", "task", "metric", "value"])
            write_csv(folder / "training.csv", _training_rows(harness.log), list(_TRAINING))
            write_json(folder / "stage.json", description)

        self.store.add(stage.key, write)


def _all_report(stage: Stage) -> bool:
    return all(code_identity(plugin) is None for term in stage.terms for plugin in term.build())


_TRAINING = ("epoch", "task", "loss", "gradient_norm", "learning_rate", "seconds")


def _training_rows(log: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    shared = ("epoch", "gradient_norm", "learning_rate", "seconds")
    return [
        {**{key: entry[key] for key in shared}, "task": name, "loss": loss}
        for entry in log
        for name, loss in entry.items()
        if name not in shared
    ]


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
