"""Images as runtimes take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cl_bench.deploy.runtimes import Images
from cl_bench.deploy.trained import Trained
from cl_bench.tasks.catalog import load_catalog, pixels


def as_images(batch: Sequence[Any]) -> Images:
    """Return decoded images (S, S, 3) uint8 as one batch."""
    return np.ascontiguousarray(np.stack(batch).transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)


def calibration(trained: Trained, count: int = 32) -> list[Images]:
    """Return `count` training images, evenly spread over the tasks, each a batch of its own."""
    catalog = load_catalog(trained.experiment)
    chosen: list[Images] = []
    for entry in catalog:
        split = entry.audit.train
        images, _ = pixels(entry.task, split, entry.audit.train_fingerprint, entry.task.image_size, entry.corruption)
        step = max(1, len(split.examples) * len(catalog) // count)
        chosen += [as_images([images[index]]) for index in range(0, len(split.examples), step)]
    return chosen
