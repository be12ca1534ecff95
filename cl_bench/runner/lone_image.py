"""Whether a batch of one image can be trained on, before a stage finds out that it cannot."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cl_bench.config.schema import Experiment
from cl_bench.errors import UserError
from cl_bench.model.backbone import Weights
from cl_bench.model.unified import build_model
from cl_bench.stages.plan import Plan
from cl_bench.tasks.catalog import TaskEntry


def check_lone_images(experiment: Experiment, catalog: Sequence[TaskEntry], weights: Weights, plan: Plan) -> None:
    """Raise UserError where batches leave one image over whose map is one pixel: batch norm cannot normalise it.

    That depends on the backbone, so it is tried, with one black image of each such task.
    """
    entries = {entry.task.name: entry for entry in catalog}
    normed = set[str]()
    for stage in plan.stages.values():
        how = experiment.optimized_like([entries[name].protocol for name in stage.trained])
        normed |= set(stage.trained) if how["batch_norm"] == "train" else set()
    alone = [entry for entry in catalog if entry.task.name in normed and _leaves_one(entry)]
    if not alone:
        return
    model = build_model(experiment.model, [entry.task for entry in catalog], weights, seed=0).train()
    for entry in alone:
        side, size = entry.task.image_size, entry.protocol.batch_size
        try:
            with torch.no_grad():
                model.raw(model.features(torch.zeros(1, 3, side, side, dtype=torch.uint8)), entry.task)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                f"task {entry.task.name}: {len(entry.audit.train.examples)} training images in batches of {size} leave "
                f"a batch of one, which batch norm cannot normalise at {side} pixels: change batch_size or image_size, "
                "or set batch_norm=frozen"
            ) from error


def _leaves_one(entry: TaskEntry) -> bool:
    size = entry.protocol.batch_size
    return size == 1 or len(entry.audit.train.examples) % size == 1
