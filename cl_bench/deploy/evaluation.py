"""What a runtime scores on an experiment's validation images, beside PyTorch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from cl_bench.deploy.export import FORMATS, MANIFEST
from cl_bench.deploy.inputs import as_images
from cl_bench.deploy.runtimes import Forward, eager
from cl_bench.deploy.trained import Trained
from cl_bench.tasks.catalog import TaskEntry, load_catalog, pixels
from cl_bench.utils.files import write_whole

_BATCH = 8


def scores(catalog: Sequence[TaskEntry], forward: Forward) -> dict[str, dict[str, float]]:
    """Return task -> metric -> value in 0..1 of the model as `forward` runs it."""
    found = {}
    for place, entry in enumerate(catalog):
        task, split = entry.task, entry.audit.val
        metric = task.kind.metric(task, split)
        images, _ = pixels(task, split, entry.audit.val_fingerprint, task.image_size, entry.corruption)
        for start in range(0, len(split.examples), _BATCH):
            indices = range(start, min(start + _BATCH, len(split.examples)))
            outputs = forward(as_images([images[index] for index in indices]))
            metric.update(torch.from_numpy(outputs[place]), indices)
        found[task.name] = metric.compute()
    return found


def compared(trained: Trained, folder: Path, format: str) -> list[str]:
    """Return one line a metric: what PyTorch and the export in `folder` score on the validation images.

    What the export scores is written into its `model.json`, too.
    """
    catalog = load_catalog(trained.experiment)
    described = json.loads((folder / MANIFEST).read_text())
    file = folder / described["file"]
    threads = torch.get_num_threads()
    plain = scores(catalog, eager(trained.deployed(), threads))
    other = scores(catalog, FORMATS[format].run(file, threads))
    content = {**described, "scores": {"pytorch": plain, format: other}}
    write_whole(folder / MANIFEST, (json.dumps(content, indent=1) + "\n").encode())
    return [
        f"{task} {metric}: PyTorch {value:.4f}, {format} {other[task][metric]:.4f}"
        f" ({100 * (other[task][metric] - value):+.2f} points)"
        for task, metrics in plain.items()
        for metric, value in metrics.items()
    ]
