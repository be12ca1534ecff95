"""What a trained stage leaves in the store: weights, rows, predictions, and a description of it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from cl_bench.data.base import Split
from cl_bench.data.images import open_image
from cl_bench.kinds.base import Task, gallery_indices
from cl_bench.metrics.bootstrap import image_weights
from cl_bench.results import per_class
from cl_bench.results.store import pictures
from cl_bench.results.store.json_files import write_csv
from cl_bench.results.store.store import Store
from cl_bench.stages.plan import Stage
from cl_bench.training import plugin_state
from cl_bench.training.evaluation import StreamMetrics
from cl_bench.training.harness import Harness
from cl_bench.utils.hashing import digest

_TRAINING = ("epoch", "task", "loss", "gradient_norm", "learning_rate", "seconds")


def describe(stage: Stage, harness: Harness, cost: Mapping[str, Any], before: str) -> dict[str, Any]:
    """Return the stage's stage.json; before: the hash of the weights that it started from."""
    stored = harness.report.get("memory", {})
    return {
        "key": stage.key,
        "parent": stage.parent,
        "tasks": list(stage.trained),
        "settings": stage.identity,
        "cost": {
            **cost,
            "evaluation_seconds": harness.evaluation_seconds,
            "added_passes": harness.passes_per_evaluation - 1,
            # None, not 0, where a plug-in from elsewhere may store images without saying so.
            "stored_images": max(map(len, stored.values()), default=0 if _all_report(stage) else None),
        },
        "memory": stored,
        "notes": {name: value for name, value in harness.report.items() if isinstance(value, (bool, int, float, str))},
        "hashes": {"first": before, "last": digest(harness.model.state_dict())},
    }


def keep(
    store: Store, description: Mapping[str, Any], harness: Harness, metrics: StreamMetrics, plugins: Sequence[Any]
) -> bool:
    """Put the trained stage into the store, whole; return whether it is there, and not another training of it."""

    def write(folder: Path) -> None:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in harness.model.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        if carried := plugin_state.collect(plugins):
            save_file(carried, folder / "state.safetensors")
        found = {task: last.per_image() for task, last in metrics.last.items()}
        arrays = {f"{task}/{name}": np.ascontiguousarray(found[task][name]) for task in found for name in found[task]}
        save_arrays(arrays, folder / "predictions.safetensors")
        drawn = {
            task.name: draw_pictures(task, metrics.val[task.name], found[task.name])
            for task in metrics.tasks
            if task.name in found
        }
        pictures.save(drawn, folder / pictures.FILE)
        save_arrays(_resampled(metrics), folder / "resamples.safetensors")
        write_csv(folder / "evaluations.csv", map(asdict, metrics.rows), ["epoch", "task", "metric", "value"])
        write_csv(folder / per_class.FILE, _per_class(metrics), list(per_class.COLUMNS))
        write_csv(folder / "training.csv", _training_rows(harness.log), list(_TRAINING))

    return store.add(description["key"], description, write)


def draw_pictures(task: Task, val: Split, found: Mapping[str, npt.NDArray[Any]]) -> list[pictures.Picture]:
    """Return a few validation images with truth and prediction drawn on them."""
    drawn = []
    for index in gallery_indices(len(val.examples)):
        example = val.examples[index]
        image = open_image(example.image)
        both = (example.target, task.kind.predicted(found, index))
        truth, prediction = (pictures.encode(task.kind.draw(image, target, task.classes)) for target in both)
        drawn.append(pictures.Picture(example.name, truth, prediction))
    return drawn


def _resampled(metrics: StreamMetrics) -> dict[str, npt.NDArray[np.float32]]:
    """Return task -> its headline metric in every resample of its validation images."""
    return {
        task: last.resampled(image_weights(task, len(metrics.val[task].examples))).astype(np.float32)
        for task, last in metrics.last.items()
    }


def _per_class(metrics: StreamMetrics) -> list[dict[str, Any]]:
    return [
        {"task": task.name, "class": name, "value": float(value)}
        for task in metrics.tasks
        if task.name in metrics.last
        for name, value in zip(task.classes, metrics.last[task.name].per_class(), strict=True)
    ]


def _all_report(stage: Stage) -> bool:
    return all(plugin.tells_of_images for term in stage.terms for plugin in term.traits)


def _training_rows(log: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    shared = ("epoch", "gradient_norm", "learning_rate", "seconds")
    return [
        {**{key: entry[key] for key in shared}, "task": name, "loss": loss}
        for entry in log
        for name, loss in entry.items()
        if name not in shared
    ]
